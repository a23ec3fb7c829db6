//! A world for tests: decides, writes the entries as the meter would, folds them. Holds the ledger for replays.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use budget::entry::{Applied, Opened, Origin};
use budget::{
    Adjust, AdjustReason, Budget, Charge, Command, Entry, Fact, Priced, Ref, State, Subject, Verdict, decide,
};
use pricing::cost::{Cost, TableRef, Unpriced};
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};

/// State, its ledger, and the wall clock.
#[derive(Default)]
pub struct World {
    pub state: State,
    pub entries: Vec<Entry>,
    pub now: Timestamp,
    pub events: u64,
}

impl World {
    /// One command through the core: its verdict and its facts, which are in the ledger then.
    pub fn run(&mut self, command: Command) -> (Verdict, Vec<Fact>) {
        let mut facts = Vec::new();
        let verdict = decide(&self.state, self.now, command, &mut facts);
        for fact in &facts {
            let at = self.now.max(self.state.log_time().saturating_add(1));
            let entry = Entry { seq: self.state.seq() + 1, at, fact: fact.clone() };
            self.state.apply(&entry);
            self.entries.push(entry);
        }
        (verdict, facts)
    }

    /// The law of the fold: a replay, and a state that went through bytes half way, end as the live state.
    pub fn check_replay(&self) {
        let mut replayed = State::default();
        let half = self.entries.len() / 2;
        for (done, entry) in self.entries.iter().enumerate() {
            if done == half {
                let bytes = postcard::to_stdvec(&replayed).unwrap();
                replayed = postcard::from_bytes(&bytes).unwrap();
            }
            replayed.apply(entry);
        }
        assert!(replayed == self.state, "a replay differs from the live state");
        let bytes = postcard::to_stdvec(&self.state).unwrap();
        let restored: State = postcard::from_bytes(&bytes).unwrap();
        assert!(restored == self.state, "a restored state differs from the live state");
        assert_eq!(restored.live(), self.state.live());
        assert_eq!(restored.counters(self.now), self.state.counters(self.now));
        for execution in self.state.executions() {
            let allowance = budget::allowance(&restored, self.now, &execution.id);
            assert_eq!(allowance, budget::allowance(&self.state, self.now, &execution.id));
        }
    }

    /// A call, not yet charged.
    pub fn call(&mut self, execution: Ref, subject: Subject, called: Called, amount: Option<Money>) -> Charge {
        self.events += 1;
        let table = TableRef::new("test", "1", "00");
        Charge {
            event_id: format!("e{}", self.events).into(),
            source: "test".into(),
            via: "api".into(),
            key: u128::from(self.events),
            response_key: None,
            body: self.events,
            time: self.now,
            execution,
            subject,
            parent: None,
            conversation: None,
            called,
            usage: Usage::new(),
            attrs: Attrs::default(),
            outcome: CallOutcome::Ok,
            estimated: false,
            priced: match amount {
                Some(total) => Priced::Cost(Cost { total, lines: Vec::new(), table }),
                None => Priced::Unpriced(Unpriced::UnknownModel),
            },
            reported_cost: None,
            claim: None,
            ceiling: None,
            late: false,
        }
    }
}

/// The wish that a charge cost `total` by the table of that digest, or because an operator says so.
pub fn wish(of: u64, logged: Timestamp, charge: Charge, total: Money, digest: &str, operator: bool) -> Adjust {
    let table = TableRef::new("test", "2", digest);
    let reason = match (operator, charge.price()) {
        (true, _) => AdjustReason::Operator { reason: "refund".into(), by: "admin".into() },
        (false, None) => AdjustReason::Settled,
        (false, Some(_)) => AdjustReason::Repriced,
    };
    let priced = Priced::Cost(Cost { total, lines: Vec::new(), table });
    Adjust { of, logged, charge, standing: None, read_to: of, priced, reason, run: None }
}

pub fn model() -> Called {
    Called::Model { provider: "openai".into(), model: "gpt-5".into(), request_model: None, response_id: None }
}

pub fn tool() -> Called {
    Called::Tool { tool: "search".into(), mcp_server: None }
}

pub fn set(usage: &mut Usage, key: UsageKey, count: u64) {
    usage.set(key, Quantity::from_u64(count).unwrap()).unwrap();
}

pub fn opened(execution: Ref, subject: Subject) -> Opened {
    Opened {
        execution,
        subject,
        parent: None,
        conversation: None,
        inherit_from_agent: true,
        budget: None,
        route: None,
        document: None,
    }
}

/// A budget as its own resource; the document is its text.
pub fn applied(kind: &str, budget: Budget) -> Applied {
    let document: Arc<str> = format!("{budget:?}").into();
    let id = budget.id.clone();
    Applied {
        kind: kind.into(),
        id,
        generation: 0,
        origin: Origin::Api,
        document,
        budgets: vec![budget],
        link: budget::Link::default(),
    }
}
