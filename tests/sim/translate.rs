//! Between the simulation's numbers and the real types: commands on the way in, facts and counters on the way out.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use budget::entry::{Applied, Opened, Origin};
use budget::policy::{KillStep, WindDown};
use budget::reservation::{Amounts, Claim, Estimate, Found};
use budget::signal::{Attempt, Cause, Channel, CounterAt};
use budget::{
    Adjust, AdjustReason, Budget, Charge, Command, Entry, Fact, Fraction, Limit, Priced, Ref, Reserve, Scope, Source,
    Subject,
};
use pricing::cost::{Cost, TableRef, Unpriced};
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};

use crate::words::{Act, BudgetId, Call, Held, Key, Kind, NEW_YORK, RunNo, Seen, Share, Spec, Wish};

const NS: &str = "ns";

pub fn run_ref(run: RunNo) -> Ref {
    Ref::new(NS, &format!("r{run}"))
}

pub fn run_of(id: &Ref) -> RunNo {
    id.name[1..].parse().unwrap()
}

fn budget_ref(id: BudgetId) -> (Source, &'static str, Ref) {
    match id {
        BudgetId::Named(number) => (Source::Budget, "Budget", Ref::new(NS, &format!("b{number}"))),
        BudgetId::Agent(agent) => (Source::Agent, "Agent", Ref::new(NS, &format!("a{agent}"))),
        BudgetId::Own(run) => (Source::Execution, "Execution", run_ref(run)),
    }
}

fn budget_of(source: Source, id: &Ref) -> BudgetId {
    let number = &id.name[1..];
    match source {
        Source::Agent => BudgetId::Agent(number.parse().unwrap()),
        Source::Execution => BudgetId::Own(number.parse().unwrap()),
        _ => BudgetId::Named(number.parse().unwrap()),
    }
}

fn kind_of(kind: &str, id: &Ref) -> BudgetId {
    budget_of(if kind == "Agent" { Source::Agent } else { Source::Budget }, id)
}

pub fn kill_of(kill: &str) -> u64 {
    kill.strip_prefix("kill-").unwrap().parse().unwrap()
}

pub fn kill_id(kill: u64) -> Arc<str> {
    format!("kill-{kill}").into()
}

fn subject(team: Option<u8>, agent: Option<u8>) -> Subject {
    let name = |kind: &str, number: Option<u8>| number.map(|number| format!("{kind}{number}").into());
    Subject { agent: name("a", agent), team: name("t", team), ..Subject::default() }
}

fn number(name: Option<&Arc<str>>) -> Option<u8> {
    name.map(|name| name[1..].parse().unwrap())
}

pub fn money(scaled: i128) -> Money {
    Money::from_scaled(scaled).unwrap()
}

fn table(number: u8) -> TableRef {
    TableRef::new("sim", "1", format!("{number:02x}"))
}

fn priced(price: Option<i128>, by: u8) -> Priced {
    match price {
        Some(total) => Priced::Cost(Cost { total: money(total), lines: Vec::new(), table: table(by) }),
        None => Priced::Unpriced(Unpriced::UnknownModel),
    }
}

/// A key spread over all its bits, as a hash would be.
fn spread(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(number)
}

pub fn charge(call: &Call) -> Charge {
    let mut usage = Usage::new();
    let mut set = |key, count| usage.set(key, Quantity::from_u64(count).unwrap()).unwrap();
    set(UsageKey::InputTokens, call.tokens);
    let called = match call.kind {
        Kind::Model => Called::Model {
            provider: "sim".into(),
            model: "m".into(),
            request_model: None,
            response_id: call.response.map(|id| format!("resp-{id}").into()),
        },
        Kind::Tool(calls) => {
            set(UsageKey::Calls, calls);
            Called::Tool { tool: "search".into(), mcp_server: None }
        }
        Kind::Approval => Called::Approval,
    };
    Charge {
        event_id: format!("e{}", call.id).into(),
        source: format!("sim-{}", call.source).into(),
        via: "api".into(),
        key: spread(call.id),
        response_key: call.response.map(|id| spread(id) ^ 1),
        body: call.body,
        time: Timestamp::from_nanos(call.time),
        execution: run_ref(call.run),
        subject: subject(call.team, call.agent),
        parent: call.parent.map(run_ref),
        conversation: None,
        called,
        usage,
        attrs: Attrs::default(),
        outcome: CallOutcome::Ok,
        estimated: call.estimated,
        priced: priced(call.price, 0),
        reported_cost: None,
        claim: call.claim.map(|(id, last)| Claim { reservation: reservation_id(id), last, found: Found::default() }),
        ceiling: call.ceiling.map(money),
        late: false,
    }
}

pub fn budget(id: BudgetId, spec: &Spec) -> Budget {
    let (source, _, name) = budget_ref(id);
    let one =
        |kind: &str, number: Option<u8>| number.map(|number| format!("{kind}{number}").into()).into_iter().collect();
    let shares = [("a0".into(), Fraction(500_000)), ("a1".into(), Fraction(300_000))];
    Budget {
        source,
        id: name.clone(),
        generation: 0,
        scope: Scope {
            teams: one("t", spec.team),
            agents: one("a", spec.agent),
            execution: matches!(id, BudgetId::Own(_)).then_some(name),
            ..Scope::default()
        },
        limits: spec
            .limits
            .iter()
            .map(|(unit, window, amount)| Limit { unit: *unit, window: *window, amount: *amount })
            .collect(),
        soft_levels: spec.levels.iter().map(|level| Fraction(*level)).collect(),
        on_hard_limit: spec.action,
        time_zone: match spec.zone_hours {
            0 => "UTC".into(),
            NEW_YORK => "America/New_York".into(),
            east => format!("Etc/GMT-{east}").into(),
        },
        week_start: 1,
        month_start_day: 1,
        by_agent: if spec.shares { shares.to_vec() } else { Vec::new() },
        policy: budget::Policy {
            on_unpriced: spec.unpriced,
            estimate_ceiling: spec.ceiling.map(money),
            wind_down: spec.turn.map(|(allowance, grace_ms)| WindDown { allowance: money(allowance), grace_ms }),
            kill_plan: if spec.plan {
                vec![KillStep { channel: Channel::Webhook, grace_ms: None }]
            } else {
                Vec::new()
            },
            ..budget::Policy::default()
        },
    }
}

fn reservation_id(id: u64) -> Arc<str> {
    format!("v{id}").into()
}

pub fn reservation_of(id: &str) -> u64 {
    id[1..].parse().unwrap()
}

pub fn wish(wish: &Wish) -> Reserve {
    let Held { usd, tokens, tool_calls, model_calls } = wish.held;
    Reserve {
        id: reservation_id(wish.id),
        body: wish.body,
        execution: run_ref(wish.run),
        subject: subject(wish.team, wish.agent),
        parent: None,
        estimate: Estimate { usd: Some(money(usd)), tokens, tool_calls, model_calls, unpriced: false },
        ceiling: None,
        ttl_ms: wish.ttl_ms,
    }
}

pub fn held(amounts: &Amounts) -> Held {
    let Amounts { usd, tokens, tool_calls, model_calls } = *amounts;
    Held { usd: usd.scaled(), tokens, tool_calls, model_calls }
}

/// A command for the meter; charges have their own way in. `entry` reads an entry of the ledger.
pub fn command(act: &Act, entry: impl Fn(u64) -> Entry) -> Command {
    match act {
        Act::Charge(_) | Act::Reserve(_) | Act::Settle(_) | Act::Forget { .. } => {
            unreachable!("they have a way of their own")
        }
        Act::Release { id } => Command::Release { reservation: reservation_id(*id) },
        Act::Extend { id, ttl_ms } => Command::Extend { reservation: reservation_id(*id), ttl_ms: *ttl_ms },
        Act::Expire => Command::Expire,
        Act::Open { run, team, agent, parent, inherit, own } => Command::Open(Box::new(Opened {
            execution: run_ref(*run),
            subject: subject(*team, *agent),
            parent: parent.map(run_ref),
            conversation: None,
            inherit_from_agent: *inherit,
            budget: own.as_ref().map(|own| budget(BudgetId::Own(*run), own)),
            route: None,
            document: None,
        })),
        Act::End { run, phase } => Command::End { execution: run_ref(*run), phase: *phase },
        Act::Kill { run } => Command::Kill { execution: run_ref(*run), reason: "sim".into(), by: "operator".into() },
        Act::Fence { kill } => Command::Fence { kill: kill_id(*kill) },
        Act::Ack { run, kill } => {
            Command::Ack { execution: run_ref(*run), kill: kill_id(*kill), channel: Channel::Stream }
        }
        Act::Sent { kill, taken } => {
            let attempt = if *taken { Attempt::Delivered } else { Attempt::Failed("refused".into()) };
            Command::Sent { kill: kill_id(*kill), channel: Channel::Webhook, attempt, took_us: 0 }
        }
        Act::Confirm { kill, proof } => Command::Confirm { kill: kill_id(*kill), proof: *proof },
        Act::Apply { budget: id, spec } => {
            let (_, kind, name) = budget_ref(*id);
            let document = format!("{spec:?}").into();
            let budgets = vec![budget(*id, spec)];
            Command::Apply(Applied {
                kind: kind.into(),
                id: name,
                generation: 0,
                origin: Origin::Api,
                document,
                link: budget::Link::default(),
                budgets,
            })
        }
        Act::Remove { budget } => {
            let (_, kind, id) = budget_ref(*budget);
            Command::Remove { kind: kind.into(), id }
        }
        Act::Price { of, price, table } => {
            let Entry { at, fact: Fact::Charged(charge), .. } = entry(*of) else { panic!("entry {of} is no charge") };
            let reason = if charge.price().is_none() { AdjustReason::Settled } else { AdjustReason::Repriced };
            let priced = priced(Some(*price), *table);
            let (of, logged) = (*of, at);
            Command::Adjust(Box::new(Adjust {
                of,
                logged,
                charge: *charge,
                standing: None,
                read_to: of,
                priced,
                reason,
                run: None,
            }))
        }
    }
}

/// A counter as a fact or an allowance names it.
pub fn key(at: &CounterAt, run: RunNo) -> Key {
    let share = match at.agent.as_deref() {
        None => Share::Whole,
        Some("*") => Share::Rest,
        Some(agent) => Share::Agent(agent[1..].parse().unwrap()),
    };
    let per_run = at.window == budget::Window::Run;
    // A budget that a run carries itself has the run's name; the call may be of a run below it.
    let run = if at.source == Source::Execution { run_of(&at.budget) } else { run };
    Key {
        budget: budget_of(at.source, &at.budget),
        unit: at.unit,
        window: at.window,
        share,
        run: per_run.then_some(run),
    }
}

/// A fact in the simulation's words.
pub fn seen(fact: &Fact) -> Seen {
    match fact {
        Fact::Applied(applied) => {
            Seen::Applied { budget: kind_of(&applied.kind, &applied.id), generation: applied.generation }
        }
        Fact::Removed { kind, id } => Seen::Removed { budget: kind_of(kind, id) },
        Fact::Opened(opened) => Seen::Opened { run: run_of(&opened.execution) },
        Fact::Ended { execution, phase } => Seen::Ended { run: run_of(execution), phase: *phase },
        Fact::Charged(charge) => Seen::Charged {
            id: charge.event_id[1..].parse().unwrap(),
            run: run_of(&charge.execution),
            team: number(charge.subject.team.as_ref()),
            agent: number(charge.subject.agent.as_ref()),
            price: charge.price().map(Money::scaled),
            held: charge.ceiling.map(Money::scaled),
        },
        Fact::Adjusted(adjustment) => Seen::Adjusted {
            of: adjustment.of,
            delta: adjustment.delta.scaled(),
            supersedes: matches!(adjustment.reason, AdjustReason::Superseded(_)),
            held: adjustment.ceiling.map(Money::scaled),
        },
        Fact::Warned { execution, counter, level } => {
            let run = run_of(execution);
            Seen::Warned { run, key: key(counter, run), level: level.0, spent: counter.spent, limit: counter.limit }
        }
        Fact::Reached { execution, counter } => {
            let run = run_of(execution);
            Seen::Reached { run, key: key(counter, run), spent: counter.spent, limit: counter.limit }
        }
        Fact::Killed { execution, cause, cost, .. } => {
            let by_operator = matches!(cause, Cause::Operator { .. });
            Seen::Killed { run: run_of(execution), cost: cost.scaled(), by_operator }
        }
        Fact::WindDown { execution, cost, turn, .. } => Seen::WindDown {
            run: run_of(execution),
            cost: cost.scaled(),
            allowance: turn.allowance.scaled(),
            until: turn.until.nanos(),
        },
        Fact::Fenced { kill, cost, .. } => Seen::Fenced { kill: kill_of(kill), cost: cost.scaled() },
        Fact::KillPlanned { .. } => Seen::Planned,
        Fact::KillSent { kill, attempt, .. } => {
            Seen::Sent { kill: kill_of(kill), taken: *attempt == Attempt::Delivered }
        }
        Fact::KillAcked { kill, .. } => Seen::Acked { kill: kill_of(kill) },
        Fact::KillConfirmed { kill, proof } => Seen::Confirmed { kill: kill_of(kill), proof: *proof },
        Fact::Reserved(reserved) => Seen::Reserved {
            id: reservation_of(&reserved.id),
            run: run_of(&reserved.execution),
            held: held(&reserved.asked),
            denied: reserved.denial.is_some(),
        },
        Fact::Resolved { reservation, standing, .. } => {
            Seen::Resolved { id: reservation_of(reservation), standing: *standing }
        }
        Fact::Extended { reservation, expires_at, .. } => {
            Seen::Extended { id: reservation_of(reservation), until: expires_at.nanos() }
        }
        Fact::Rested { executions } => Seen::Rested { runs: executions.iter().map(run_of).collect() },
        Fact::Forgotten { executions } => Seen::Forgotten { runs: executions.iter().map(run_of).collect() },
        other => panic!("nobody asked for {other:?}"),
    }
}
