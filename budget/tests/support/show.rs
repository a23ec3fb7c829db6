//! What happened in scenario tables, in short: verdicts, facts, balances.

use budget::decide::{Allowance, Denial};
use budget::reservation::{Amounts, Standing};
use budget::signal::{Attempt, Cause, CounterAt};
use budget::state::{Execution, Overshoot};
use budget::{Fact, Fraction, Ref, Unit, Verdict, Window, allowance as allowed};
use pricing::Money;

use crate::world::World;

fn name(id: &Ref) -> String {
    if &*id.namespace == "ns" { id.name.to_string() } else { id.to_string() }
}

fn amount(unit: Unit, amount: i128) -> String {
    match unit {
        Unit::Usd => format!("${}", Money::from_scaled(amount).unwrap()),
        _ => amount.to_string(),
    }
}

fn percent(Fraction(ppm): Fraction) -> String {
    assert_eq!(ppm % 10_000, 0);
    format!("{}%", ppm / 10_000)
}

fn counter(counter: &CounterAt) -> String {
    let unit = match counter.unit {
        Unit::Usd => "usd",
        Unit::Tokens => "tokens",
        Unit::ToolCalls => "tools",
        Unit::ModelCalls => "models",
    };
    let window = match counter.window {
        Window::Run => "run",
        Window::Hour => "hour",
        Window::Day => "day",
        Window::Week => "week",
        Window::Month => "month",
        Window::Rolling24h => "rolling",
    };
    let agent = counter.agent.as_ref().map(|agent| format!("({agent})")).unwrap_or_default();
    let (spent, limit) = (amount(counter.unit, counter.spent), amount(counter.unit, counter.limit));
    let held =
        if counter.held == 0 { String::new() } else { format!(" + {} held", amount(counter.unit, counter.held)) };
    format!("{} {unit}/{window}{agent} {spent}{held} of {limit}", name(&counter.budget))
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Applied(applied) => format!("applied g{}", applied.generation),
        Fact::Removed { id, .. } => format!("removed {}", name(id)),
        Fact::Pinned(table) => format!("pinned {}", table.name),
        Fact::Audited(audit) => format!("audited {} {}", audit.principal, audit.action),
        Fact::Opened(opened) => format!("opened {}", name(&opened.execution)),
        Fact::Ended { execution, phase } => format!("ended {} {}", name(execution), phase.as_str()),
        Fact::Charged(charge) => {
            let held = charge.ceiling.filter(|_| charge.price().is_none()).map(|held| format!(", ${held} held"));
            format!("charged {}{}", name(&charge.execution), held.unwrap_or_default())
        }
        Fact::Adjusted(adjustment) => {
            format!("{} {} by ${}", adjustment.reason.as_str(), adjustment.of, adjustment.delta)
        }
        Fact::Reserved(reserved) => match &reserved.denial {
            None => format!("held {}", amounts(&reserved.asked)),
            Some(_) => "denied".to_owned(),
        },
        Fact::Resolved { reservation, standing, .. } => format!("{} {reservation}", standing.as_str()),
        Fact::Extended { reservation, expires_at, .. } => format!("extended {reservation} to {expires_at}"),
        Fact::Warned { counter: at, level, .. } => format!("warned at {}: {}", percent(*level), counter(at)),
        Fact::Reached { counter: at, .. } => format!("reached: {}", counter(at)),
        Fact::Killed { kill, execution, cause, cost } => {
            let cause = match cause {
                Cause::Budget(at) => counter(at),
                Cause::Operator { reason, by } => format!("{by}, {reason}"),
            };
            format!("killed {} as {kill} at ${cost} by {cause}", name(execution))
        }
        Fact::KillSent { kill, attempt: Attempt::Delivered, .. } => format!("delivered {kill}"),
        Fact::KillSent { kill, attempt: Attempt::Failed(why), .. } => format!("not delivered {kill}: {why}"),
        Fact::WindDown { kill, execution, cause, cost, turn } => {
            let cause = match cause {
                Cause::Budget(at) => counter(at),
                Cause::Operator { reason, by } => format!("{by}, {reason}"),
            };
            let turn = format!("${} until {}", turn.allowance, turn.until);
            format!("winding down {} as {kill} at ${cost} by {cause}: {turn}", name(execution))
        }
        Fact::Fenced { kill, execution, cost, .. } => format!("fenced {} by {kill} at ${cost}", name(execution)),
        Fact::KillPlanned { kill, steps } => {
            let steps: Vec<&str> = steps.iter().map(|step| step.channel.as_str()).collect();
            format!("{kill} goes by {}", steps.join(", "))
        }
        Fact::KillEscalated { kill, to: Some(to) } => format!("{kill} goes on by {}", to.as_str()),
        Fact::KillEscalated { kill, to: None } => format!("{kill} reaches nobody"),
        Fact::Rested { executions } => {
            format!("at rest {}", executions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Fact::Forgotten { executions } => {
            format!("forgot {}", executions.iter().map(name).collect::<Vec<_>>().join(" "))
        }
        Fact::KillManual { kill } => format!("{kill} calls a person"),
        Fact::KillCollateral { kill, executions } => format!("{kill} took {} with it", executions.len()),
        Fact::Registered { execution, process } => format!("{} is process {}", name(execution), process.pid),
        Fact::KillAcked { kill, .. } => format!("acked {kill}"),
        Fact::KillConfirmed { kill, proof } => format!("confirmed {kill} {proof:?}"),
    }
}

fn denial(denial: &Denial) -> String {
    match denial {
        Denial::Fenced(kill) => format!("fenced by {kill}"),
        Denial::Ended(phase) => phase.as_str().to_owned(),
        Denial::Limit(at) => counter(at),
        Denial::NoEstimate => "no estimate".to_owned(),
        Denial::Unpriced(budget) => format!("unpriced, {}", name(budget)),
        Denial::PerCall { budget, limit } => format!("{} ${limit} a call", name(budget)),
    }
}

fn amounts(amounts: &Amounts) -> String {
    let mut text = format!("${}", amounts.usd);
    for (count, unit) in [
        (amounts.tokens, "tokens"),
        (u64::from(amounts.tool_calls), "tools"),
        (u64::from(amounts.model_calls), "models"),
    ] {
        if count > 0 {
            text += &format!(" {count} {unit}");
        }
    }
    text
}

pub fn outcome(verdict: &Verdict, facts: &[Fact]) -> String {
    let verdict = match verdict {
        Verdict::Booked { cost, fenced } => {
            let cost = cost.map_or_else(|| "unpriced".to_owned(), |cost| format!("${cost}"));
            format!("booked {cost}{}", if *fenced { ", fenced" } else { "" })
        }
        Verdict::Granted { expires_at, standing, again, .. } => {
            let (again, word) = (if *again { " again" } else { "" }, standing.as_str());
            if *standing == Standing::Held {
                format!("granted{again} to {expires_at}")
            } else {
                format!("granted{again}, {word}")
            }
        }
        Verdict::Refused { denial: why, again, .. } => {
            format!("refused{}: {}", if *again { " again" } else { "" }, denial(why))
        }
        Verdict::AlreadyResolved(standing) => format!("already {}", standing.as_str()),
        Verdict::Killed { kill } => format!("killed by {kill}"),
        Verdict::AlreadyEnded(phase) => format!("already {}", phase.as_str()),
        verdict => format!("{verdict:?}"),
    };
    let facts: Vec<String> = facts.iter().map(fact).collect();
    if facts.is_empty() { verdict } else { format!("{verdict} | {}", facts.join(" | ")) }
}

pub fn allowance(allowance: Option<&Allowance>) -> String {
    let Some(allowance) = allowance else { return "unknown".to_owned() };
    let decision = match &allowance.denial {
        None => "allow".to_owned(),
        Some(why) => format!("deny: {}", denial(why)),
    };
    let decision = match &allowance.turn {
        Some(turn) => format!("{decision}, a turn of ${} before {}", turn.left, turn.kill),
        None => decision,
    };
    let counters: Vec<String> = allowance.counters.iter().map(counter).collect();
    if counters.is_empty() { decision } else { format!("{decision} | {}", counters.join(" | ")) }
}

fn execution(world: &World, run: &Execution) -> String {
    let tokens = run.tokens;
    let kill = run.kill.as_ref().map(|id| {
        let kill = world.state.kill(id).unwrap();
        format!(", {id} {:?}, after the fence {} calls ${}", kill.state, run.calls_after_fence, run.cost_after_fence)
    });
    let limits = [("soft", &run.soft_limit), ("hard", &run.hard_limit)];
    let limits = limits.into_iter().filter_map(|(kind, limit)| Some(format!(", {kind} {}", name(&limit.as_ref()?.0))));
    format!(
        "{} {} ${} of subtree ${}, calls {}/{}/{}, tokens {}, unpriced {}{}{}{}",
        name(&run.id),
        run.phase.as_str(),
        run.cost,
        run.subtree_cost,
        run.model_calls,
        run.tool_calls,
        run.approvals,
        tokens.total(),
        run.unpriced_calls,
        kill.unwrap_or_default(),
        limits.collect::<String>(),
        overshoot(&run.overshoot),
    )
}

/// Where something was reserved for: what of it nothing was held for.
fn overshoot(over: &Overshoot) -> String {
    let parts = [("above", over.above_estimate), ("late", over.late), ("unreserved", over.unreserved)];
    let parts = parts.into_iter().filter(|(_, part)| !part.is_zero());
    parts.map(|(word, part)| format!(", {word} ${part}")).collect()
}

/// Every run with its counters, then every shared counter, at the end of the script.
pub fn balances(world: &World) -> String {
    let mut out = String::new();
    for run in world.state.executions() {
        out += &format!("{}\n", execution(world, run));
        for at in allowed(&world.state, world.now, &run.id).unwrap().counters {
            if at.window == Window::Run {
                out += &format!("  {}\n", counter(&at));
            }
        }
    }
    for at in world.state.counters(world.now) {
        let end = at.span.end.map(|end| end.to_string()).unwrap_or_default();
        out += &format!("{} from {} to {end}\n", counter(&at), at.span.start);
    }
    out
}
