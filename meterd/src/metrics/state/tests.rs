//! Gauges of budgets and kills from made-up figures, and of a whole state.

use budget::signal::{Attempt, Cause, Channel, Kill, KillState};
use budget::{Limit, Ref, Source, Unit, Window};
use pricing::{Money, Timestamp};

use super::{Figures, budgets, kills};
use crate::metrics::tests::{Exposition, budget_of, counter_at, usd};
use crate::metrics::text::{Format, Writer};

fn written(write: impl FnOnce(&mut Writer)) -> Exposition {
    let mut writer = Writer::new(Format::Text);
    write(&mut writer);
    Exposition::parse(writer.finish())
}

#[test]
fn a_budget_shows_limits_spend_and_windows_but_nothing_it_does_not_have() {
    let mut budget = budget_of(Source::Budget, "b", "t", usd("5"));
    budget.limits.push(Limit { unit: Unit::Tokens, window: Window::Day, amount: 1000 });
    budget.limits.push(Limit { unit: Unit::ToolCalls, window: Window::Run, amount: 3 });
    let unlimited = budget::Budget { limits: Vec::new(), ..budget_of(Source::Budget, "free", "t", 0) };
    let route = budget_of(Source::ModelRoute, "route", "t", usd("1"));
    let mut at = counter_at(&budget, usd("1.25"));
    at.held = usd("0.5");
    let share = budget::signal::CounterAt { agent: Some("a".into()), spent: usd("1"), ..at.clone() };
    let tokens = budget::signal::CounterAt { unit: Unit::Tokens, limit: 1000, spent: 250, held: 0, ..at.clone() };
    let figures = Figures {
        budgets: vec![&budget, &unlimited, &route],
        counters: vec![at, share, tokens, counter_at(&route, usd("1"))],
        run_utilization: vec![(Source::Budget, Ref::new("ns", "b"), 1_250_000)],
    };
    let exposed = written(|writer| budgets(&figures, writer));
    let labels = r#"agent_namespace="ns",budget="b",team="t""#;
    exposed.check(&format!(r#"meterd_budget_info{{{labels},action="terminate"}}"#), "1");
    exposed.check(&format!(r#"meterd_budget_limit_usd{{{labels},window="day"}}"#), "5");
    exposed.check(&format!(r#"meterd_budget_limit_usd{{{labels},window="run"}}"#), "5");
    exposed.check(&format!(r#"meterd_budget_limit_tokens{{{labels},window="day"}}"#), "1000");
    exposed.check(&format!(r#"meterd_budget_spent_usd{{{labels},window="day"}}"#), "1.25");
    exposed.check(&format!(r#"meterd_budget_reserved_usd{{{labels},window="day"}}"#), "0.5");
    exposed.check(&format!(r#"meterd_budget_spent_tokens{{{labels},window="day"}}"#), "250");
    exposed.check(r#"meterd_budget_soft_limit_ratio{agent_namespace="ns",budget="b",window="day"}"#, "0.8");
    exposed.check(&format!(r#"meterd_budget_window_start_timestamp_seconds{{{labels},window="day"}}"#), "0");
    exposed.check(&format!(r#"meterd_budget_window_end_timestamp_seconds{{{labels},window="day"}}"#), "86400");
    exposed.check(r#"meterd_budget_run_max_utilization_ratio{agent_namespace="ns",budget="b"}"#, "1.25");
    assert_eq!(exposed.family("meterd_budget_limit_usd").count(), 2);
    assert_eq!(exposed.family("meterd_budget_spent_usd").count(), 1);
    assert_eq!(exposed.family("meterd_budget_info").count(), 2);
    assert!(!exposed.text.contains("Inf") && !exposed.text.contains("route"));
}

#[test]
fn an_agents_limits_do_not_mix_with_a_budget_of_the_same_name() {
    let (budget, agent) = (budget_of(Source::Budget, "b", "t", usd("5")), budget_of(Source::Agent, "b", "t", usd("7")));
    let figures = Figures {
        budgets: vec![&budget, &agent],
        counters: vec![counter_at(&budget, 1), counter_at(&agent, 2)],
        run_utilization: Vec::new(),
    };
    let exposed = written(|writer| budgets(&figures, writer));
    let limit =
        |budget| format!(r#"meterd_budget_limit_usd{{agent_namespace="ns",budget="{budget}",team="t",window="day"}}"#);
    exposed.check(&limit("b"), "5");
    exposed.check(&limit("agent/b"), "7");
    assert_eq!(exposed.family("meterd_budget_run_max_utilization_ratio").count(), 0);
}

fn kill(state: KillState, decided: i64, attempts: &[(i64, Channel, Attempt)]) -> Kill {
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    Kill {
        id: "kill-1".into(),
        execution: Ref::new("ns", "r"),
        cause: Cause::Operator { reason: "stop".into(), by: "op".into() },
        state,
        decided_at: at(decided),
        sent_at: None,
        acked_at: None,
        acked_by: None,
        confirmed_at: None,
        cost_at_decision: Money::ZERO,
        attempts: attempts.iter().map(|(time, channel, attempt)| (at(*time), *channel, attempt.clone())).collect(),
    }
}

#[test]
fn open_kills_count_for_the_channels_that_took_them() {
    use Attempt::{Delivered, Failed};
    let open = [
        kill(KillState::Fenced, 40, &[(41, Channel::Webhook, Failed("timeout".into()))]),
        kill(KillState::Sent, 10, &[(12, Channel::Stream, Delivered), (20, Channel::Process, Delivered)]),
        kill(KillState::Sent, 11, &[(13, Channel::Stream, Delivered), (14, Channel::Stream, Delivered)]),
        kill(KillState::Acked, 1, &[(2, Channel::Stream, Delivered)]),
        kill(KillState::Confirmed, 1, &[(2, Channel::Joch, Delivered)]),
        kill(KillState::Moot, 1, &[]),
    ];
    let exposed = written(|writer| kills(open.iter(), writer));
    for (channel, pending, oldest) in
        [("stream", "2", "12"), ("process", "1", "20"), ("webhook", "0", "0"), ("joch", "0", "0"), ("none", "1", "40")]
    {
        exposed.check(&format!(r#"meterd_kill_signals_pending{{channel="{channel}"}}"#), pending);
        exposed.check(&format!(r#"meterd_kill_oldest_pending_timestamp_seconds{{channel="{channel}"}}"#), oldest);
    }
}
