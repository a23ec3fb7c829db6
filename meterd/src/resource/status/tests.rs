//! Live status as joch documents: digits, conditions, and what was there before.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called, Charge, Priced, Subject};
use budget::entry::Phase;
use budget::entry::{Entry, Origin};
use budget::signal::Channel;
use budget::signal::CounterAt;
use budget::state::{Overshoot, State, Tokens};
use budget::window::Span;
use budget::{Command, Ref, Source, Verdict, Window, decide};
use pricing::cost::{Cost, TableRef};
use pricing::{Attrs, Usage};

use super::counters::{Held, budget_document, budget_status};
use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn run() -> Execution {
    Execution {
        id: Ref::new("support", "exec-1"),
        subject: Subject { agent: Some(Arc::from("triage")), ..Subject::default() },
        parent: None,
        conversation: None,
        phase: Phase::Running,
        document: None,
        started_at: at("2026-05-10T10:34:50Z"),
        completed_at: None,
        rested_at: None,
        cost: "0.620000000000000001".parse().unwrap(),
        subtree_cost: "5".parse().unwrap(),
        model_calls: 9,
        tool_calls: 4,
        approvals: 1,
        tokens: Tokens { input: 1, cache_read: 2, cache_write: 3, output: 4, reasoning: 5 },
        unpriced_calls: 0,
        calls_after_fence: 0,
        cost_after_fence: Money::ZERO,
        tables: vec![TableRef::new("list", "1", "abc")],
        kill: None,
        winding: None,
        soft_limit: None,
        hard_limit: None,
        last_seq: 17,
        revision: 0,
        holds: 0,
        overshoot: Overshoot::default(),
    }
}

#[test]
fn a_running_execution_shows_its_live_cost() {
    let yaml = execution_document(&run(), at("2026-05-10T10:35:14.5Z")).to_yaml();
    let expected = r#"apiVersion: joch.dev/v1alpha1
kind: Execution
metadata:
  name: exec-1
  namespace: support
spec:
  agentRef:
    name: triage
status:
  phase: Running
  startedAt: "2026-05-10T10:34:50Z"
  costUsd: 0.620000000000000001
  ownCostUsd: 0.620000000000000001
  subtreeCostUsd: 5
  durationMs: 24500
  modelCalls: 9
  toolCalls: 4
  approvals: 1
  unpricedCalls: 0
  tokens:
    input: 1
    cacheRead: 2
    cacheWrite: 3
    output: 4
    reasoning: 5
  overshootUsd: 0
  priceTables:
  - name: list
    version: "1"
    digest: abc
  revision: 0
  lastEntry: 17
  conditions:
  - type: CostFinal
    status: "False"
    reason: Running
    message: "the run is not over: the cost so far is provisional"
    lastTransitionTime: "2026-05-10T10:34:50Z"
"#;
    assert_eq!(yaml, expected);
}

#[test]
fn the_document_as_sent_stays_and_the_status_is_overlaid() {
    let mut run = run();
    run.document = Some(Arc::from(
        r#"{"kind":"Execution","apiVersion":"joch.dev/v1alpha1","metadata":{"name":"exec-1","namespace":"support"},"spec":{"novel":0.10},"status":{"hookDecisions":24}}"#,
    ));
    let json = execution_document(&run, at("2026-05-10T10:35:00Z")).to_json();
    assert!(json.starts_with(r#"{"apiVersion":"joch.dev/v1alpha1","kind":"Execution","metadata":{"name":"exec-1","namespace":"support"},"spec":{"novel":0.1},"status":{"hookDecisions":24,"phase":"Running","#), "{json}");
}

/// `type=status/reason` of every condition.
fn check_conditions(run: &Execution, kill: Option<&Kill>, now: &str, expected: &[&str]) {
    let document = execution_document_with_kill(run, kill, at(now), SETTLE_GRACE);
    let Some(Json::List(conditions)) = document.get("status").and_then(|status| status.get("conditions")) else {
        panic!("no conditions")
    };
    let text = |condition: &Json, key: &str| match condition.get(key) {
        Some(Json::String(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    };
    let shown: Vec<String> =
        conditions.iter().map(|c| format!("{}={}/{}", text(c, "type"), text(c, "status"), text(c, "reason"))).collect();
    assert_eq!(shown, expected);
}

#[test]
fn conditions_follow_the_run() {
    let mut run = run();
    run.soft_limit = Some((Ref::new("support", "b"), at("2026-05-10T10:34:55Z")));
    run.hard_limit = Some((Ref::new("support", "b"), at("2026-05-10T10:34:56Z")));
    run.kill = Some(Arc::from("kill-9"));
    check_conditions(
        &run,
        None,
        "2026-05-10T10:35:00Z",
        &[
            "SoftLimitReached=True/SoftLevelPassed",
            "BudgetExceeded=True/HardLimitReached",
            "Killed=True/Fenced",
            "CostFinal=False/Running",
        ],
    );
    run.phase = Phase::Cancelled;
    run.completed_at = Some(at("2026-05-10T10:35:00Z"));
    let kill = Kill {
        state: KillState::Acked,
        fenced_at: Some(at("2026-05-10T10:34:56Z")),
        acked_at: Some(at("2026-05-10T10:34:57Z")),
        acked_by: Some(Channel::Stream),
        ..Kill::new(
            Arc::from("kill-9"),
            run.id.clone(),
            Cause::Operator { reason: Arc::from("too slow"), by: Arc::from("ops") },
            at("2026-05-10T10:34:56Z"),
            "0.5".parse().unwrap(),
        )
    };
    let killed =
        ["SoftLimitReached=True/SoftLevelPassed", "BudgetExceeded=True/HardLimitReached", "Killed=True/Operator"];
    let with = |last: &'static str| killed.into_iter().chain([last]).collect::<Vec<_>>();
    check_conditions(&run, Some(&kill), "2026-05-10T10:35:29Z", &with("CostFinal=False/SettleGrace"));
    check_conditions(&run, Some(&kill), "2026-05-10T10:35:30Z", &with("CostFinal=True/Settled"));
    run.unpriced_calls = 2;
    let mut unpriced = with("CostFinal=False/Unpriced");
    unpriced.insert(2, "Unpriced=True/PriceMissing");
    check_conditions(&run, Some(&kill), "2026-05-10T10:36:00Z", &unpriced);
    let json = execution_document_with_kill(&run, Some(&kill), at("2026-05-10T10:36:00Z"), SETTLE_GRACE).to_json();
    assert!(json.contains(r#""kill":{"id":"kill-9","state":"Acked","decidedAt":"2026-05-10T10:34:56Z","fencedAt":"2026-05-10T10:34:56Z","ackedAt":"2026-05-10T10:34:57Z","ackedBy":"stream","msToFence":0,"msToAck":1000,"attempts":0,"cause":"killed by ops: too slow","costAtDecisionUsd":0.5}"#), "{json}");
}

fn counter(unit: Unit, window: Window, limit: i128, spent: i128) -> CounterAt {
    let span =
        Span { start: at("2026-05-10T00:00:00Z"), end: (window != Window::Run).then(|| at("2026-05-11T00:00:00Z")) };
    let budget = Ref::new("ns", "b");
    let (source, resets_at) = (Source::Budget, span.end);
    CounterAt { source, budget, generation: 1, unit, window, span, agent: None, limit, spent, held: 1, resets_at }
}

#[test]
fn a_budget_shows_what_its_counters_hold() {
    let text = "{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b, namespace: ns}, spec: {limits: {dailyUsd: 5, monthlyUsd: 9, perRunUsd: 1}}}";
    let (resources, _) = crate::resource::read(text).unwrap();
    let budget::Command::Apply(mut applied) = resources[0].command(budget::entry::Origin::Api) else { panic!() };
    applied.generation = 3;
    const USD: i128 = 1_000_000_000_000_000_000;
    let held = Held {
        shared: vec![counter(Unit::Usd, Window::Day, 5 * USD, 4 * USD)],
        runs: vec![
            vec![counter(Unit::Usd, Window::Run, USD, USD), counter(Unit::Tokens, Window::Run, 1, 1)],
            vec![counter(Unit::Usd, Window::Run, USD, 1)],
        ],
    };
    let status = Json::map(budget_status(&applied, &held)).to_json();
    assert_eq!(
        status,
        concat!(
            r#"{"phase":"SoftLimitReached","observedGeneration":3,"daySpentUsd":4,"#,
            r#""recentRuns":{"overSoftLimit":1,"overHardLimit":1},"counters":[{"unit":"USD","window":"day","limit":5,"#,
            r#""spent":4,"held":0.000000000000000001,"remaining":0.999999999999999999,"resetsAt":"2026-05-11T00:00:00Z"}]}"#
        )
    );
}

/// A call of one tool that costs `usd`, for a run of `execution`.
fn charge(execution: &Ref, usd: &str, key: u128) -> Charge {
    let table = TableRef::new("list", "1", "abc");
    Charge {
        event_id: Arc::from(key.to_string()),
        source: Arc::from("test"),
        via: Arc::from("api"),
        key,
        response_key: None,
        body: 0,
        time: at("2026-05-10T10:00:00Z"),
        execution: execution.clone(),
        subject: Subject::default(),
        parent: None,
        conversation: None,
        called: Called::Tool { tool: Arc::from("search"), mcp_server: None },
        usage: Usage::default(),
        attrs: Attrs::default(),
        outcome: CallOutcome::Ok,
        estimated: false,
        priced: Priced::Cost(Cost { total: usd.parse().unwrap(), lines: Vec::new(), table }),
        reported_cost: None,
        claim: None,
        ceiling: None,
        late: false,
    }
}

#[test]
fn a_document_goes_in_and_its_live_counters_come_out() {
    let text = "
{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b, namespace: ns},
 spec: {limits: {dailyUsd: 5, perRunUsd: 1}, enforcement: {onHardLimit: alert}, allocation: {byAgent: {a: 0.5}}}}
---
{apiVersion: joch.dev/v1alpha1, kind: Execution, metadata: {name: run-1, namespace: ns}, spec: {agent: a}}
---
{apiVersion: joch.dev/v1alpha1, kind: Execution, metadata: {name: run-2, namespace: ns}}
";
    let (resources, _) = crate::resource::read(text).unwrap();
    let now = at("2026-05-10T10:00:00Z");
    let mut state = State::default();
    let mut seq = 0;
    let mut run = |state: &mut State, command| {
        let mut facts = Vec::new();
        let verdict = decide(state, now, command, &mut facts);
        for fact in facts {
            seq += 1;
            state.apply(&Entry { seq, at: now.saturating_add(i64::try_from(seq).unwrap()), fact });
        }
        verdict
    };
    for resource in &resources {
        assert_eq!(run(&mut state, resource.command(Origin::Api)), Verdict::Done);
    }
    for (key, name, usd) in [(1, "run-1", "0.123456789012345678"), (2, "run-2", "3.4")] {
        let charge = charge(&Ref::new("ns", name), usd, key);
        assert!(matches!(run(&mut state, Command::Charge(Box::new(charge))), Verdict::Booked { .. }));
    }
    let id = Ref::new("ns", "b");
    let document = budget_document(state.resource("Budget", &id).unwrap(), &state, now.saturating_add(1_000));
    let status = document.get("status").unwrap();
    let shown = |key: &str| status.get(key).unwrap().to_json();
    assert_eq!(shown("daySpentUsd"), "3.523456789012345678");
    assert_eq!(shown("recentRuns"), r#"{"overSoftLimit":1,"overHardLimit":1}"#);
    assert_eq!(shown("phase"), r#""Active""#);
    assert_eq!(status.get("monthSpentUsd"), None, "no monthly limit, no monthly figure");
    let agent = r#""limit":2.5,"spent":0.123456789012345678,"held":0,"remaining":2.376543210987654322,"agent":"a","#;
    assert!(shown("counters").contains(agent), "{}", shown("counters"));
    // Applying the document that was read back changes nothing.
    let (again, _) = crate::resource::read(&document.to_yaml()).unwrap();
    assert_eq!(run(&mut state, again[0].command(Origin::Api)), Verdict::Unchanged);
    let execution = execution_document(state.execution(&Ref::new("ns", "run-1")).unwrap(), now);
    assert!(execution.to_json().contains(r#""costUsd":0.123456789012345678,"#), "{execution}");
}
