//! Events, charges, entries and one price table, for the tests of every room on the writer's side.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use budget::entry::{Applied, Audit, Opened, Origin, Phase};
use budget::policy::KillStep;
use budget::signal::{Attempt, Cause, Channel, CounterAt, Members, Process, Proof, Turn};
use budget::window::Span;
use budget::{Action, Budget, Charge, Entry, Fact, Fraction, Limit, Ref, Scope, Source, Subject, Unit, Window};
use pricing::cost::TableRef;
use pricing::{Attrs, Money, PriceBook, PriceTable, Quantity, Timestamp, Usage, UsageKey};

use crate::event::UsageEvent;
use crate::event::charge::charge;
use crate::ledger::DataDir;

/// 2026-11-22T10:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_nanos(1_795_341_600_000_000_000);

/// 2 USD a million input tokens, 8 USD a million output tokens.
pub(crate) const TABLE: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: acme }
spec:
  version: "1"
  currency: USD
  per: { tokens: 1000000 }
  models:
    - provider: acme
      id: swift
      match: { exact: [swift] }
      rates:
        - set: { input_tokens: "2", output_tokens: "8" }
"#;

/// What [`event`] costs: 1000 × 2e-6 + 500 × 8e-6.
pub(crate) const CALL_USD: &str = "0.006";

pub(crate) fn book() -> PriceBook {
    let (tables, warnings) = PriceTable::parse(TABLE).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

/// Puts the book's tables where `verify` finds them.
pub(crate) fn pin(dir: &DataDir, book: &PriceBook) {
    for table in book.tables() {
        let path = dir.prices().join(format!("{}.json", table.reference().digest));
        std::fs::write(path, table.canonical_json().as_bytes()).unwrap();
    }
}

pub(crate) fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

pub(crate) fn later(nanos: i64) -> Timestamp {
    START.saturating_add(nanos)
}

pub(crate) fn usage(tokens: &[(UsageKey, u64)]) -> Usage {
    let mut usage = Usage::new();
    for (key, count) in tokens {
        usage.set(*key, Quantity::from_u64(*count).unwrap()).unwrap();
    }
    usage
}

/// A call of a priced model, with every field filled in.
pub(crate) fn event(id: &str, execution: &str) -> UsageEvent {
    UsageEvent {
        id: id.into(),
        source: "worker".into(),
        time: START,
        namespace: "ns".into(),
        execution: execution.into(),
        parent_execution: None,
        agent: Some("helper".into()),
        team: Some("blue".into()),
        environment: Some("prod".into()),
        conversation: Some("talk".into()),
        labels: vec![("tier".into(), "gold".into())],
        called: Called::Model {
            provider: "acme".into(),
            model: "swift".into(),
            request_model: None,
            response_id: Some(format!("response-{id}").into()),
        },
        usage: Some(usage(&[(UsageKey::InputTokens, 1_000), (UsageKey::OutputTokens, 500)])),
        attrs: Attrs::new(),
        outcome: CallOutcome::Ok,
        estimated: false,
        reservation: None,
        settles: false,
        reported_cost: None,
    }
}

/// [`event`], priced.
pub(crate) fn call(id: &str, execution: &str) -> Charge {
    charge(&book(), event(id, execution), "local", "api")
}

/// A terminating budget of its own for a run.
pub(crate) fn own_budget(execution: &str, limit: &str) -> Budget {
    let id = Ref::new("ns", execution);
    Budget {
        source: Source::Execution,
        id: id.clone(),
        generation: 0,
        scope: Scope { execution: Some(id), ..Scope::default() },
        limits: vec![Limit { unit: Unit::Usd, window: Window::Run, amount: usd(limit).scaled() }],
        soft_levels: vec![Fraction(800_000)],
        on_hard_limit: Action::Terminate,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: budget::Policy::default(),
    }
}

pub(crate) fn opened(execution: &str, budget: Option<Budget>) -> Opened {
    Opened {
        execution: Ref::new("ns", execution),
        subject: Subject { agent: Some("helper".into()), ..Subject::default() },
        parent: None,
        conversation: None,
        inherit_from_agent: true,
        budget,
        route: None,
        document: None,
    }
}

/// Facts as entries from `first` on, a second apart.
pub(crate) fn entries(first: u64, facts: impl IntoIterator<Item = Fact>) -> Vec<Entry> {
    let entry = |(seq, fact)| Entry { seq, at: later(i64::try_from(seq).unwrap() * 1_000_000_000), fact };
    (first..).zip(facts).map(entry).collect()
}

/// A small fact that names nothing else.
pub(crate) fn small(version: usize) -> Fact {
    Fact::Pinned(TableRef::new("acme", version.to_string(), "d"))
}

/// A registered worker.
fn process() -> Process {
    Process {
        boot: "b52b5d4d-0000-4000-8000-5a6b7c8d9e0f".into(),
        pid: 4242,
        started: 987_654,
        uid: 1000,
        members: Members::Cgroup("/agents/run".into()),
        shared: true,
    }
}

/// A budget of a team.
fn applied() -> Applied {
    Applied {
        kind: "Budget".into(),
        id: Ref::new("ns", "team"),
        generation: 1,
        origin: Origin::Directory,
        document: r#"{"kind":"Budget"}"#.into(),
        budgets: vec![Budget {
            source: Source::Budget,
            by_agent: vec![("helper".into(), Fraction(1))],
            ..own_budget("team", "5")
        }],
        link: budget::Link::default(),
    }
}

/// The way of a kill with a turn, and a worker.
fn kill_facts(execution: &Ref) -> Vec<Fact> {
    vec![
        Fact::Registered { execution: execution.clone(), process: process() },
        Fact::WindDown {
            kill: "kill-17".into(),
            execution: execution.clone(),
            cause: Cause::Operator { reason: "loop".into(), by: "me".into() },
            cost: usd("0.5"),
            turn: Turn { allowance: usd("0.25"), until: later(60_000_000_000) },
        },
        Fact::KillPlanned {
            kill: "kill-17".into(),
            steps: vec![KillStep { channel: Channel::Process, grace_ms: Some(250) }],
        },
        Fact::Fenced {
            kill: "kill-17".into(),
            execution: execution.clone(),
            cause: Cause::Operator { reason: "loop".into(), by: "me".into() },
            cost: usd("0.75"),
        },
        Fact::KillEscalated { kill: "kill-17".into(), to: Some(Channel::Joch) },
        Fact::KillEscalated { kill: "kill-17".into(), to: None },
        Fact::KillManual { kill: "kill-17".into() },
        Fact::KillCollateral { kill: "kill-17".into(), executions: vec![Ref::new("ns", "other")] },
        Fact::Forgotten { executions: vec![Ref::new("ns", "old"), Ref::new("ns", "older")] },
        Fact::Rested { executions: vec![Ref::new("ns", "idle")] },
    ]
}

/// A fact of the same kind again; a new kind belongs in here, and in the fixture.
pub(crate) fn one_of_each_fact() -> Vec<Fact> {
    let execution = Ref::new("ns", "run");
    let counter = CounterAt {
        source: Source::Budget,
        budget: Ref::new("ns", "team"),
        generation: 2,
        unit: Unit::Usd,
        window: Window::Day,
        span: Span { start: START, end: Some(later(86_400_000_000_000)) },
        agent: Some("helper".into()),
        limit: usd("5").scaled(),
        spent: usd("5.000000000000000001").scaled(),
        held: 0,
        resets_at: Some(later(86_400_000_000_000)),
    };
    let mut full = event("e-1", "run");
    full.parent_execution = Some("above".into());
    full.reported_cost = Some(usd("0.0123"));
    full.attrs.set("service_tier", "standard");
    let mut unpriced = event("e-2", "run");
    unpriced.called = Called::Tool { tool: "search".into(), mcp_server: Some("web".into()) };
    let kill: Arc<str> = "kill-9".into();
    let ended = Fact::Ended { execution: execution.clone(), phase: Phase::Cancelled };
    let last = kill_facts(&execution).into_iter().chain([ended]);
    let first = vec![
        Fact::Applied(applied()),
        Fact::Removed { kind: "Budget".into(), id: Ref::new("ns", "team") },
        small(1),
        Fact::Opened(Box::new(Opened {
            document: Some("{}".into()),
            parent: Some(Ref::new("ns", "above")),
            ..opened("run", Some(own_budget("run", "1")))
        })),
        Fact::Charged(Box::new(charge(&book(), full, "local", "api"))),
        Fact::Charged(Box::new(charge(&book(), unpriced, "local", "otlp"))),
        Fact::Warned { execution: execution.clone(), counter: counter.clone(), level: Fraction(800_000) },
        Fact::Reached { execution: execution.clone(), counter: counter.clone() },
        Fact::Killed {
            kill: Arc::clone(&kill),
            execution: execution.clone(),
            cause: Cause::Budget(counter),
            cost: usd("0.006"),
        },
        Fact::KillSent {
            kill: Arc::clone(&kill),
            channel: Channel::Webhook,
            attempt: Attempt::Failed("timeout: 3 s".into()),
            took_us: 3_000_000,
        },
        Fact::KillSent { kill: Arc::clone(&kill), channel: Channel::Stream, attempt: Attempt::Delivered, took_us: 0 },
        Fact::KillAcked { kill: Arc::clone(&kill), channel: Channel::Stream },
        Fact::KillConfirmed { kill, proof: Proof::ProcessGone },
        Fact::Killed {
            kill: "kill-14".into(),
            execution: execution.clone(),
            cause: Cause::Operator { reason: "loop".into(), by: "me".into() },
            cost: Money::ZERO,
        },
        audited(),
    ];
    first.into_iter().chain(last).collect()
}

fn audited() -> Fact {
    Fact::Audited(Audit {
        principal: "root".into(),
        tenant: "local".into(),
        action: "POST /v1/resources/apply".into(),
        object: "/v1/resources/apply".into(),
        status: 200,
    })
}
