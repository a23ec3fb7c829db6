//! Entries as the meter would write them.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use budget::entry::{Applied, Opened, Origin, Phase};
use budget::signal::CounterAt;
use budget::window::Span;
use budget::{
    Action, AdjustReason, Adjustment, Budget, Charge, Entry, Fact, Fraction, Limit, Priced, Ref, Scope, Source,
    Subject, Turns, Unit, Window,
};
use pricing::cost::{Cost, TableRef};
use pricing::{Attrs, Money, Quantity, Timestamp, Unpriced, Usage, UsageKey};

/// 10⁻¹² USD in the scale of money.
pub(in crate::metrics) const PICO: i128 = 1_000_000;

pub(in crate::metrics) fn usd(text: &str) -> i128 {
    text.parse::<Money>().unwrap().scaled()
}

pub(in crate::metrics) fn entry(seq: u64, seconds: i64, fact: Fact) -> Entry {
    Entry { seq, at: Timestamp::from_nanos(seconds * 1_000_000_000), fact }
}

pub(in crate::metrics) fn model(provider: &str, model: &str) -> Called {
    Called::Model { provider: provider.into(), model: model.into(), request_model: None, response_id: None }
}

pub(in crate::metrics) fn tool(tool: &str) -> Called {
    Called::Tool { tool: tool.into(), mcp_server: None }
}

/// A chain of entries, one second apart.
#[derive(Default)]
pub(in crate::metrics) struct Feed {
    pub(in crate::metrics) entries: Vec<Entry>,
    now: i64,
}

impl Feed {
    pub(in crate::metrics) fn push(&mut self, fact: Fact) -> &mut Self {
        self.now += 1;
        let seq = u64::try_from(self.entries.len()).unwrap() + 1;
        self.entries.push(entry(seq, self.now, fact));
        self
    }

    pub(in crate::metrics) fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    pub(in crate::metrics) fn open(&mut self, run: &str, agent: &str, team: &str) -> &mut Self {
        self.push(Fact::Opened(Box::new(Opened {
            execution: Ref::new("ns", run),
            subject: subject(agent, team),
            parent: None,
            conversation: None,
            inherit_from_agent: true,
            budget: None,
            route: None,
            document: None,
        })))
    }

    pub(in crate::metrics) fn end(&mut self, run: &str, phase: Phase) -> &mut Self {
        self.push(Fact::Ended { execution: Ref::new("ns", run), phase })
    }

    /// A call of a run for an agent and a team.
    pub(in crate::metrics) fn charge(&mut self, who: [&str; 3], called: Called, priced: Priced) -> &mut Self {
        self.call(who, called, priced, CallOutcome::Ok, &[])
    }

    pub(in crate::metrics) fn call(
        &mut self,
        [run, agent, team]: [&str; 3],
        called: Called,
        priced: Priced,
        outcome: CallOutcome,
        usage: &[(UsageKey, u64)],
    ) -> &mut Self {
        let mut declared = Usage::new();
        for (key, count) in usage {
            declared.set(*key, Quantity::from_u64(*count).unwrap()).unwrap();
        }
        self.push(Fact::Charged(Box::new(Charge {
            event_id: "e".into(),
            source: "s".into(),
            via: "api".into(),
            key: 0,
            response_key: None,
            body: 0,
            time: Timestamp::from_nanos(self.now * 1_000_000_000),
            execution: Ref::new("ns", run),
            subject: subject(agent, team),
            parent: None,
            conversation: None,
            called,
            usage: declared,
            attrs: Attrs::default(),
            outcome,
            estimated: false,
            priced,
            reported_cost: None,
            claim: None,
            ceiling: None,
            late: false,
        })))
    }

    /// Another price of a charge of the chain, counted from its beginning and round again; none without charges.
    pub(in crate::metrics) fn adjust(&mut self, pick: usize, scaled: i128) -> &mut Self {
        let charged = |entry: &Entry| match &entry.fact {
            Fact::Charged(charge) => Some((entry.seq, (**charge).clone())),
            _ => None,
        };
        let charges: Vec<(u64, Charge)> = self.entries.iter().filter_map(charged).collect();
        let Some((of, charge)) = pick.checked_rem(charges.len()).and_then(|pick| charges.get(pick)).cloned() else {
            return self;
        };
        let newest = self.entries.iter().rev().find_map(|entry| match &entry.fact {
            Fact::Adjusted(adjustment) if adjustment.of == of => adjustment.priced.total(),
            _ => None,
        });
        let (before, total) = (newest.or(charge.price()), Money::from_scaled(scaled).unwrap());
        self.push(Fact::Adjusted(Box::new(Adjustment {
            of,
            event_id: charge.event_id,
            execution: charge.execution,
            subject: charge.subject,
            called: charge.called,
            time: charge.time,
            event_time: charge.time,
            reason: if before.is_none() { AdjustReason::Settled } else { AdjustReason::Repriced },
            before,
            priced: cost(scaled),
            delta: total.checked_sub(before.unwrap_or(Money::ZERO)).unwrap(),
            turns: if before.is_none() { Turns::Priced } else { Turns::Not },
            ceiling: None,
            run: None,
        })))
    }

    pub(in crate::metrics) fn apply(&mut self, budget: Budget) -> &mut Self {
        let kind: Arc<str> = if budget.source == Source::Agent { "Agent".into() } else { "Budget".into() };
        self.push(Fact::Applied(Applied {
            kind,
            id: budget.id.clone(),
            generation: 1,
            origin: Origin::Api,
            document: "{}".into(),
            budgets: vec![budget],
            link: budget::Link::default(),
        }))
    }
}

fn subject(agent: &str, team: &str) -> Subject {
    let known = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    Subject { agent: known(agent), team: known(team), ..Subject::default() }
}

/// A price of so many 10⁻¹⁸ USD.
pub(in crate::metrics) fn cost(scaled: i128) -> Priced {
    let table = TableRef::new("t", "1", "d");
    Priced::Cost(Cost { total: Money::from_scaled(scaled).unwrap(), lines: Vec::new(), table })
}

pub(in crate::metrics) fn no_price(reason: Unpriced) -> Priced {
    Priced::Unpriced(reason)
}

/// A budget of a team with a daily and a per-run limit of `limit`.
pub(in crate::metrics) fn budget_of(source: Source, name: &str, team: &str, limit: i128) -> Budget {
    let limit = |window| Limit { unit: Unit::Usd, window, amount: limit };
    Budget {
        source,
        id: Ref::new("ns", name),
        generation: 1,
        scope: Scope { teams: vec![team.into()], ..Scope::default() },
        limits: vec![limit(Window::Day), limit(Window::Run)],
        soft_levels: vec![Fraction(800_000)],
        on_hard_limit: Action::Terminate,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: budget::Policy::default(),
    }
}

/// That budget's daily counter with so much spent.
pub(in crate::metrics) fn counter_at(budget: &Budget, spent: i128) -> CounterAt {
    let day = 86_400_000_000_000;
    CounterAt {
        source: budget.source,
        budget: budget.id.clone(),
        generation: budget.generation,
        unit: Unit::Usd,
        window: Window::Day,
        span: Span { start: Timestamp::from_nanos(0), end: Some(Timestamp::from_nanos(day)) },
        agent: None,
        limit: budget.limits.first().unwrap().amount,
        spent,
        held: 0,
        resets_at: Some(Timestamp::from_nanos(day)),
    }
}
