//! The fold: what each entry does to the series, caps, resuming, and the laws that hold over random charges.

mod caps;
mod kills;
mod laws;

use budget::charge::CallOutcome;
use budget::entry::Phase;
use budget::{Fact, Ref, Source};
use pricing::{Unpriced, UsageKey};

use super::{Caps, LedgerMetrics};
use crate::metrics::tests::{Exposition, Feed, budget_of, cost, counter_at, model, no_price, tool, usd};

fn fold(feed: &Feed, caps: Caps) -> LedgerMetrics {
    let mut ledger = LedgerMetrics::new(caps);
    feed.entries.iter().for_each(|entry| ledger.apply(entry));
    ledger
}

fn exposed(feed: &Feed) -> Exposition {
    Exposition::of_ledger(&fold(feed, Caps::default()))
}

fn snapshot(ledger: &LedgerMetrics) -> Vec<u8> {
    postcard::to_stdvec(ledger).unwrap()
}

const WHO: [&str; 3] = ["r1", "a", "t"];
const A_T: &str = r#"agent_namespace="ns",agent="a",team="t""#;

#[test]
fn a_run_is_known_at_zero_before_its_first_charge() {
    let mut feed = Feed::default();
    feed.open("r1", "a", "t");
    let exposed = exposed(&feed);
    for category in ["model", "tool", "approval"] {
        exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="{category}",basis="priced"}}"#), "0");
    }
    for outcome in ["ok", "error", "aborted"] {
        exposed.check(&format!(r#"meterd_executions_total{{{A_T},outcome="{outcome}"}}"#), "0");
    }
    exposed.check(r#"meterd_cost_credit_usd_total{agent_namespace="ns",team="t"}"#, "0");
    exposed.check(r#"meterd_execution_cost_usd_count{agent_namespace="ns",team="t"}"#, "0");
    exposed.check(r#"meterd_kill_signals_acked_total{channel="process",outcome="confirmed"}"#, "0");
}

#[test]
fn a_model_call_counts_money_calls_and_disjoint_tokens() {
    let mut feed = Feed::default();
    let usage = [
        (UsageKey::InputTokens, 2600),
        (UsageKey::CacheReadTokens, 2000),
        (UsageKey::CacheWriteTokens, 400),
        (UsageKey::OutputTokens, 1200),
        (UsageKey::OutputReasoningTokens, 900),
    ];
    feed.open("r1", "a", "t");
    for _ in 0..3 {
        feed.call(WHO, model("anthropic", "claude"), cost(usd("0.00000015")), CallOutcome::Ok, &usage);
    }
    feed.call(WHO, model("anthropic", "claude"), cost(0), CallOutcome::Error, &[]);
    let exposed = exposed(&feed);
    let labels = format!(r#"provider="anthropic",model="claude",{A_T}"#);
    exposed.check(&format!("meterd_model_cost_usd_total{{{labels}}}"), "0.00000045");
    exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="model",basis="priced"}}"#), "0.00000045");
    for (token_type, tokens) in
        [("input", "600"), ("cache_read", "6000"), ("cache_write", "1200"), ("output", "900"), ("reasoning", "2700")]
    {
        exposed.check(&format!(r#"meterd_tokens_total{{{labels},token_type="{token_type}"}}"#), tokens);
    }
    for (outcome, calls) in [("ok", "3"), ("error", "1"), ("aborted", "0")] {
        exposed.check(&format!(r#"meterd_model_calls_total{{{labels},outcome="{outcome}"}}"#), calls);
    }
}

#[test]
fn a_tool_event_counts_the_calls_it_stands_for() {
    let mut feed = Feed::default();
    feed.call(WHO, tool("search"), cost(usd("0.01")), CallOutcome::Ok, &[]);
    feed.call(WHO, tool("search"), cost(usd("0.04")), CallOutcome::Ok, &[(UsageKey::Calls, 4)]);
    let exposed = exposed(&feed);
    exposed.check(&format!(r#"meterd_tool_cost_usd_total{{tool="search",{A_T}}}"#), "0.05");
    exposed.check(&format!(r#"meterd_tool_calls_total{{tool="search",{A_T},outcome="ok"}}"#), "5");
}

#[test]
fn an_ended_run_counts_its_outcome_and_whole_cost_exactly() {
    let mut feed = Feed::default();
    feed.open("r1", "a", "t").charge(WHO, model("p", "m"), cost(usd("0.1"))).charge(WHO, tool("x"), cost(usd("0.2")));
    feed.end("r1", Phase::Succeeded).open("r2", "a", "t").end("r2", Phase::Cancelled);
    // Once over is over: the second end of a run and a late charge change neither figure.
    feed.end("r1", Phase::Failed).charge(WHO, model("p", "m"), cost(usd("1")));
    let exposed = exposed(&feed);
    for (outcome, runs) in [("ok", "1"), ("error", "0"), ("aborted", "1")] {
        exposed.check(&format!(r#"meterd_executions_total{{{A_T},outcome="{outcome}"}}"#), runs);
    }
    let labels = r#"agent_namespace="ns",team="t""#;
    exposed.check(&format!("meterd_execution_cost_usd_sum{{{labels}}}"), "0.3");
    exposed.check(&format!("meterd_execution_cost_usd_count{{{labels}}}"), "2");
    for (le, count) in [("0.001", "1"), ("0.25", "1"), ("0.5", "2"), ("1.0", "2"), ("+Inf", "2")] {
        exposed.check(&format!(r#"meterd_execution_cost_usd_bucket{{{labels},le="{le}"}}"#), count);
    }
}

#[test]
fn a_credit_is_a_counter_of_its_own_and_no_counter_falls() {
    let mut feed = Feed::default();
    feed.charge(WHO, model("p", "m"), cost(usd("2"))).charge(WHO, model("p", "m"), cost(usd("-0.5")));
    let exposed = exposed(&feed);
    exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="model",basis="priced"}}"#), "2");
    exposed.check(&format!(r#"meterd_model_cost_usd_total{{provider="p",model="m",{A_T}}}"#), "2");
    exposed.check(r#"meterd_cost_credit_usd_total{agent_namespace="ns",team="t"}"#, "0.5");
}

#[test]
fn an_adjustment_moves_money_under_the_labels_of_its_charge_and_nothing_else() {
    let mut feed = Feed::default();
    feed.open("r1", "a", "t").apply(budget_of(Source::Budget, "b", "t", usd("5")));
    feed.charge(WHO, model("p", "m"), no_price(Unpriced::UnknownModel)).charge(WHO, tool("x"), cost(usd("0.5")));
    feed.adjust(0, usd("2")).adjust(0, usd("1.25")).adjust(1, usd("0.75")).end("r1", Phase::Succeeded);
    // After the end the run's own cost is not observed again; the money counts all the same.
    feed.adjust(0, usd("1.5"));
    let exposed = exposed(&feed);
    exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="model",basis="priced"}}"#), "2.25");
    exposed.check(&format!(r#"meterd_model_cost_usd_total{{provider="p",model="m",{A_T}}}"#), "2.25");
    exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="tool",basis="priced"}}"#), "0.75");
    exposed.check(&format!(r#"meterd_tool_cost_usd_total{{tool="x",{A_T}}}"#), "0.75");
    exposed.check(r#"meterd_cost_credit_usd_total{agent_namespace="ns",team="t"}"#, "0.75");
    exposed.check(r#"meterd_budget_charged_usd_total{agent_namespace="ns",budget="b"}"#, "3");
    exposed.check(&format!(r#"meterd_tool_calls_total{{tool="x",{A_T},outcome="ok"}}"#), "1");
    exposed.check(r#"meterd_unpriced_events_total{provider="p",reason="unknown_model"}"#, "1");
    exposed.check(r#"meterd_execution_cost_usd_sum{agent_namespace="ns",team="t"}"#, "2");
    exposed.check(r#"meterd_execution_cost_usd_count{agent_namespace="ns",team="t"}"#, "1");
}

#[test]
fn values_that_concatenate_alike_stay_two_series() {
    let mut feed = Feed::default();
    feed.charge(["r1", "ab", "c"], model("p", "m"), cost(usd("1")));
    feed.charge(["r1", "a", "bc"], model("p", "m"), cost(usd("10")));
    let exposed = exposed(&feed);
    let series = |agent, team| {
        format!(
            r#"meterd_cost_usd_total{{agent_namespace="ns",agent="{agent}",team="{team}",category="model",basis="priced"}}"#
        )
    };
    exposed.check(&series("ab", "c"), "1");
    exposed.check(&series("a", "bc"), "10");
}

#[test]
fn a_budget_is_charged_once_for_each_call_and_counts_its_thresholds() {
    let budget = budget_of(Source::Budget, "b", "t", usd("5"));
    let counter = counter_at(&budget, usd("4"));
    let mut feed = Feed::default();
    // An agent of the same name has limits of its own: two budgets, two series.
    feed.apply(budget).apply(budget_of(Source::Agent, "b", "t", usd("1")));
    feed.charge(WHO, model("p", "m"), cost(usd("4"))).charge(["r2", "a", "else"], model("p", "m"), cost(usd("9")));
    let execution = Ref::new("ns", "r1");
    feed.push(Fact::Warned {
        execution: execution.clone(),
        counter: counter.clone(),
        level: budget::Fraction(800_000),
    });
    feed.push(Fact::Reached { execution, counter });
    let exposed = exposed(&feed);
    exposed.check(r#"meterd_budget_charged_usd_total{agent_namespace="ns",budget="b"}"#, "4");
    exposed.check(r#"meterd_budget_charged_usd_total{agent_namespace="ns",budget="agent/b"}"#, "4");
    let series = |budget, window, threshold, action| {
        format!(
            r#"meterd_budget_threshold_events_total{{agent_namespace="ns",budget="{budget}",window="{window}",threshold="{threshold}",action="{action}"}}"#
        )
    };
    exposed.check(&series("b", "day", "soft", "alert"), "1");
    exposed.check(&series("b", "day", "hard", "terminate"), "1");
    exposed.check(&series("b", "run", "hard", "terminate"), "0");
    exposed.check(&series("agent/b", "day", "hard", "terminate"), "0");
}

#[test]
fn a_removed_budget_is_hidden_and_comes_back_with_its_total() {
    let budget = budget_of(Source::Budget, "b", "t", usd("5"));
    let series = r#"meterd_budget_charged_usd_total{agent_namespace="ns",budget="b"}"#;
    let gone = r#"meterd_exporter_evicted_series_total{family="meterd_budget_charged_usd_total",reason="removed"}"#;
    let mut feed = Feed::default();
    feed.apply(budget.clone()).charge(WHO, model("p", "m"), cost(usd("4")));
    feed.push(Fact::Removed { kind: "Budget".into(), id: budget.id.clone() });
    feed.charge(WHO, model("p", "m"), cost(usd("1")));
    let hidden = exposed(&feed);
    assert_eq!(hidden.value(series), None);
    hidden.check(gone, "1");
    feed.apply(budget);
    let back = exposed(&feed);
    back.check(series, "4");
    back.check(gone, "1");
}

#[test]
fn unpriced_usage_is_counted_by_provider_and_reason() {
    let mut feed = Feed::default();
    feed.charge(WHO, model("openai", "gpt"), cost(0));
    feed.charge(WHO, model("openai", "gtp"), no_price(Unpriced::UnknownModel));
    feed.charge(WHO, model("openay", "gpt"), no_price(Unpriced::UnknownProvider));
    feed.charge(WHO, tool("x"), no_price(Unpriced::UnknownTool));
    let exposed = exposed(&feed);
    let series =
        |provider, reason| format!(r#"meterd_unpriced_events_total{{provider="{provider}",reason="{reason}"}}"#);
    exposed.check(&series("openai", "unknown_model"), "1");
    exposed.check(&series("openai", "missing_usage"), "0");
    exposed.check(&series("_other", "unknown_provider"), "1");
    exposed.check(&series("", "unknown_tool"), "1");
}

#[test]
fn a_run_takes_its_team_from_its_calls_when_its_opening_names_none() {
    let mut feed = Feed::default();
    feed.open("r1", "", "").charge(WHO, model("p", "m"), cost(usd("1"))).end("r1", Phase::Succeeded);
    let exposed = exposed(&feed);
    exposed.check(&format!(r#"meterd_executions_total{{{A_T},outcome="ok"}}"#), "1");
    exposed.check(r#"meterd_execution_cost_usd_sum{agent_namespace="ns",team="t"}"#, "1");
}
