//! Steps of scenario tables: text to commands.

use std::sync::Arc;

use budget::charge::Called;
use budget::entry::{Origin, Phase};
use budget::policy::{KillStep, OnUnpriced, Policy, Slice, WindDown};
use budget::reservation::{Claim, Estimate, Found, Reserve};
use budget::signal::{Attempt, Channel, Proof};
use budget::{
    Action, Budget, Command, Entry, Fact, Fraction, Limit, Ref, Scope, Source, Subject, Unit, Window, allowance,
};
use pricing::{Money, UsageKey};

use crate::linked::{linked, route};
use crate::show;
use crate::world::{World, applied, model, opened, set, tool, wish};

type Fallible<T> = Result<T, String>;

/// Performs one step and tells what happened.
pub fn perform(world: &mut World, step: &str) -> Fallible<String> {
    let words: Vec<&str> = step.split_whitespace().collect();
    let (verb, name) = (words[0], words.get(1).copied().unwrap_or_default());
    let rest = words.get(2..).unwrap_or_default();
    let command = match verb {
        "budget" | "agent" => Command::Apply(applied(kind(verb), budget(verb, name, rest)?)),
        "execution" => {
            let mut resource = applied("Execution", budget("own", name, rest)?);
            resource.origin = Origin::Directory;
            Command::Apply(resource)
        }
        "team" | "environment" | "takes" => Command::Apply(linked(linked_kind(verb), reference(name), &pairs(rest)?)?),
        "route" => Command::Apply(route(budget(verb, name, rest)?)),
        "remove" => Command::Remove { kind: name.into(), id: reference(rest[0]) },
        "open" => open(name, rest)?,
        "charge" => charge(world, name, rest)?,
        "adjust" => adjust(world, name, rest)?,
        "reserve" => reserve(name, rest)?,
        "release" => Command::Release { reservation: name.into() },
        "extend" => Command::Extend { reservation: name.into(), ttl_ms: minutes(rest[0])? },
        "expire" => Command::Expire,
        "end" => Command::End { execution: reference(name), phase: phase(rest[0])? },
        "kill" => Command::Kill { execution: reference(name), reason: rest.join(" ").into(), by: "admin".into() },
        "ack" => Command::Ack { execution: reference(name), kill: rest[0].into(), channel: Channel::Stream },
        "sent" => sent(name, rest)?,
        "fence" => Command::Fence { kill: name.into() },
        "escalate" => Command::Escalate { kill: name.into(), to: rest.first().map(|to| channel(to)).transpose()? },
        "manual" => Command::Manual { kill: name.into() },
        "gone" => Command::Confirm { kill: name.into(), proof: Proof::ProcessGone },
        "allowance" => {
            let allowance = allowance(&world.state, world.now, &reference(name));
            return Ok(show::allowance(allowance.as_ref()));
        }
        _ => return Err(format!("unknown step {verb}")),
    };
    let (verdict, facts) = world.run(command);
    Ok(show::outcome(&verdict, &facts))
}

fn kind(verb: &str) -> &'static str {
    if verb == "agent" { "Agent" } else { "Budget" }
}

fn linked_kind(verb: &str) -> &'static str {
    match verb {
        "team" => "Team",
        "environment" => "Environment",
        _ => "Agent",
    }
}

/// `name` in namespace `ns`, or `namespace/name`.
fn reference(text: &str) -> Ref {
    let (namespace, name) = text.split_once('/').unwrap_or(("ns", text));
    Ref::new(namespace, name)
}

fn pairs<'a>(words: &[&'a str]) -> Fallible<Vec<(&'a str, &'a str)>> {
    words.iter().map(|word| word.split_once('=').ok_or_else(|| format!("not key=value: {word}"))).collect()
}

fn subject_word(subject: &mut Subject, key: &str, value: &str) -> bool {
    let value: Arc<str> = value.into();
    match key {
        "agent" => subject.agent = Some(value),
        "team" => subject.team = Some(value),
        "env" => subject.environment = Some(value),
        "label" => subject.labels.push(("label".into(), value)),
        _ => return false,
    }
    true
}

fn open(name: &str, words: &[&str]) -> Fallible<Command> {
    let mut run = opened(reference(name), Subject::default());
    run.document = Some(format!("{{\"open\":\"{}\"}}", words.join(" ")).into());
    let mut own = Vec::new();
    for (key, value) in pairs(words)? {
        match key {
            "parent" => run.parent = Some(reference(value)),
            "route" => run.route = Some(reference(value)),
            "inherit" => run.inherit_from_agent = value == "yes",
            "limit" | "hard" | "soft" | "ceiling" | "unpriced" | "percall" | "slice" => {
                own.push(format!("{key}={value}"))
            }
            _ if subject_word(&mut run.subject, key, value) => {}
            _ => return Err(format!("unknown word {key}")),
        }
    }
    if !own.is_empty() {
        let words: Vec<&str> = own.iter().map(String::as_str).collect();
        run.budget = Some(budget("own", name, &words)?);
    }
    Ok(Command::Open(Box::new(run)))
}

/// `charge run $1.5|unpriced [tool[=n]|approval] [in=n] [out=n] [time=…] [agent=…] …`
fn charge(world: &mut World, name: &str, words: &[&str]) -> Fallible<Command> {
    let amount = match words[0] {
        "unpriced" => None,
        amount => Some(money(amount)?),
    };
    let mut call = world.call(reference(name), Subject::default(), model(), amount);
    for word in &words[1..] {
        let (key, value) = word.split_once('=').unwrap_or((word, "1"));
        let count = || value.parse::<u64>().map_err(|why| format!("{word}: {why}"));
        match key {
            "tool" => {
                call.called = tool();
                set(&mut call.usage, UsageKey::Calls, count()?);
            }
            "approval" => call.called = Called::Approval,
            "for" => {
                let (reservation, last) = value.strip_suffix('+').map_or((value, true), |more| (more, false));
                call.claim = Some(Claim { reservation: reservation.into(), last, found: Found::Nothing });
            }
            "ceiling" => call.ceiling = Some(money(value)?),
            "in" => set(&mut call.usage, UsageKey::InputTokens, count()?),
            "out" => set(&mut call.usage, UsageKey::OutputTokens, count()?),
            "time" => call.time = value.parse().map_err(|why| format!("{word}: {why}"))?,
            "parent" => call.parent = Some(reference(value)),
            _ if subject_word(&mut call.subject, key, value) => {}
            _ => return Err(format!("unknown word {key}")),
        }
    }
    Ok(Command::Charge(Box::new(call)))
}

/// `reserve id run $1|?|unknown [in=tokens] [tool=n] [model=n] [ttl=minutes] [body=n] [ceiling=$1] [parent=…] [agent=…] …`
fn reserve(id: &str, words: &[&str]) -> Fallible<Command> {
    let usd = if matches!(words[1], "?" | "unknown") { None } else { Some(money(words[1])?) };
    let mut wish = Reserve {
        id: id.into(),
        body: 0,
        execution: reference(words[0]),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd, model_calls: 1, unpriced: words[1] == "unknown", ..Estimate::default() },
        ceiling: None,
        ttl_ms: 600_000,
    };
    for (key, value) in pairs(&words[2..])? {
        let count = || value.parse::<u32>().map_err(|why| format!("{key}: {why}"));
        match key {
            "in" => wish.estimate.tokens = u64::from(count()?),
            "tool" => {
                wish.estimate.tool_calls = count()?;
                wish.estimate.model_calls = 0;
            }
            "model" => wish.estimate.model_calls = count()?,
            "ttl" => wish.ttl_ms = minutes(value)?,
            "body" => wish.body = u64::from(count()?),
            "ceiling" => wish.ceiling = Some(money(value)?),
            "parent" => wish.parent = Some(reference(value)),
            _ if subject_word(&mut wish.subject, key, value) => {}
            _ => return Err(format!("unknown word {key}")),
        }
    }
    Ok(Command::Reserve(Box::new(wish)))
}

fn minutes(text: &str) -> Fallible<u64> {
    text.parse::<u64>().map(|minutes| minutes * 60_000).map_err(|why| format!("{text}: {why}"))
}

/// `adjust SEQ|eN $1.5 [table=b] [by=operator]`: the charge of that entry, or of that event, costs so much.
fn adjust(world: &World, of: &str, words: &[&str]) -> Fallible<Command> {
    let event = |entry: &&Entry| matches!(&entry.fact, Fact::Charged(charge) if &*charge.event_id == of);
    let numbered = |entry: &&Entry| of.parse() == Ok(entry.seq);
    let entry = world.entries.iter().find(|entry| event(entry) || numbered(entry)).ok_or("no such entry")?;
    let of = entry.seq;
    let Fact::Charged(charge) = &entry.fact else { return Err(format!("entry {of} is no charge")) };
    let (mut table, mut operator) = ("b", false);
    for (key, value) in pairs(&words[1..])? {
        match key {
            "table" => table = value,
            "by" => operator = value == "operator",
            _ => return Err(format!("unknown word {key}")),
        }
    }
    let digest = if operator { "" } else { table };
    Ok(Command::Adjust(Box::new(wish(of, entry.at, (**charge).clone(), money(words[0])?, digest, operator))))
}

fn money(text: &str) -> Fallible<Money> {
    let text = text.strip_prefix('$').ok_or_else(|| format!("not an amount: {text}"))?;
    text.parse().map_err(|why| format!("{why}"))
}

fn budget(verb: &str, name: &str, words: &[&str]) -> Fallible<Budget> {
    let id = reference(name);
    let mut scope = Scope::default();
    let source = match verb {
        "agent" => {
            scope.agents.push(Arc::clone(&id.name));
            scope.namespaces.push(Arc::clone(&id.namespace));
            Source::Agent
        }
        "own" => {
            scope.execution = Some(id.clone());
            Source::Execution
        }
        "route" => Source::ModelRoute,
        _ => Source::Budget,
    };
    let mut budget = Budget {
        source,
        id,
        generation: 0,
        scope,
        limits: Vec::new(),
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy::default(),
    };
    for (key, value) in pairs(words)? {
        match key {
            "limit" => budget.limits.push(limit(value)?),
            "soft" => budget.soft_levels.push(percent(value)?),
            "hard" => budget.on_hard_limit = action(value)?,
            "zone" => budget.time_zone = value.into(),
            "week" => budget.week_start = value.parse().unwrap(),
            "month" => budget.month_start_day = value.parse().unwrap(),
            "team" => budget.scope.teams.push(value.into()),
            "agent" => budget.scope.agents.push(value.into()),
            "env" => budget.scope.environments.push(value.into()),
            "implied" => {
                budget.scope.namespaces.push(value.into());
                budget.scope.implied = true;
            }
            "ns" => budget.scope.namespaces.push(value.into()),
            "share" => {
                let (agent, share) = value.split_once(':').ok_or("share=agent:percent")?;
                budget.by_agent.push((agent.into(), percent(share)?));
            }
            _ => policy(&mut budget.policy, key, value)?,
        }
    }
    if let Some(slice) = &mut budget.policy.slice {
        slice.stated.clone_from(&budget.limits);
    }
    Ok(budget)
}

/// What a budget does beside counting.
fn policy(policy: &mut Policy, key: &str, value: &str) -> Fallible<()> {
    match key {
        "ceiling" => policy.estimate_ceiling = Some(money(value)?),
        "percall" => policy.per_call = Some(money(value)?),
        "unpriced" => {
            policy.on_unpriced = match value {
                "deny" => OnUnpriced::Deny,
                "hold" => OnUnpriced::Hold,
                "allow" => OnUnpriced::Allow,
                _ => return Err(format!("unknown word {value}")),
            };
        }
        "turn" => {
            let (allowance, grace) = value.split_once('/').ok_or("turn=$amount/seconds")?;
            let grace_ms = grace.parse::<u64>().map_err(|why| format!("{why}"))? * 1_000;
            policy.wind_down = Some(WindDown { allowance: money(allowance)?, grace_ms });
        }
        "plan" => {
            for step in value.split(',') {
                policy.kill_plan.push(KillStep { channel: channel(step)?, grace_ms: None });
            }
        }
        "slice" => policy.slice = Some(Slice { share: percent(value)?, stated: Vec::new() }),
        _ => return Err(format!("unknown word {key}")),
    }
    Ok(())
}

/// `usd/day:$10`, `tokens/run:500`.
fn limit(text: &str) -> Fallible<Limit> {
    let (kind, amount) = text.split_once(':').ok_or("limit=unit/window:amount")?;
    let (unit, window) = kind.split_once('/').ok_or("limit=unit/window:amount")?;
    let unit = match unit {
        "usd" => Unit::Usd,
        "tokens" => Unit::Tokens,
        "tools" => Unit::ToolCalls,
        "models" => Unit::ModelCalls,
        _ => return Err(format!("unknown unit {unit}")),
    };
    let window = match window {
        "run" => Window::Run,
        "hour" => Window::Hour,
        "day" => Window::Day,
        "week" => Window::Week,
        "month" => Window::Month,
        "rolling" => Window::Rolling24h,
        _ => return Err(format!("unknown window {window}")),
    };
    let amount = if unit == Unit::Usd { money(amount)?.scaled() } else { amount.parse().unwrap() };
    Ok(Limit { unit, window, amount })
}

fn percent(text: &str) -> Fallible<Fraction> {
    let percent: u32 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).ok_or("not a percentage")?;
    Ok(Fraction(percent * 10_000))
}

fn action(text: &str) -> Fallible<Action> {
    match text {
        "alert" => Ok(Action::Alert),
        "deny" => Ok(Action::Deny),
        "terminate" => Ok(Action::Terminate),
        _ => Err(format!("unknown action {text}")),
    }
}

fn phase(text: &str) -> Fallible<Phase> {
    let all = [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Cancelled];
    all.into_iter().find(|phase| phase.as_str() == text).ok_or_else(|| format!("unknown phase {text}"))
}

/// `sent kill-9 [by=webhook] [why it failed]`
fn sent(kill: &str, words: &[&str]) -> Fallible<Command> {
    let by = words.first().and_then(|word| word.strip_prefix("by="));
    let words = words.get(usize::from(by.is_some())..).unwrap_or_default();
    let attempt = if words.is_empty() { Attempt::Delivered } else { Attempt::Failed(words.join(" ").into()) };
    Ok(Command::Sent { kill: kill.into(), channel: channel(by.unwrap_or("stream"))?, attempt, took_us: 0 })
}

fn channel(text: &str) -> Fallible<Channel> {
    let found = Channel::ALL.into_iter().find(|channel| channel.as_str() == text);
    found.ok_or_else(|| format!("unknown channel {text}"))
}
