//! Kills: counted by channel, timed once, and their overshoot exact.

use budget::entry::Phase;
use budget::signal::{Attempt, Cause, Channel, Proof};
use budget::{Fact, Ref, Source};

use super::{WHO, exposed};
use crate::metrics::tests::{Feed, budget_of, cost, counter_at, model, usd};

/// A run that crosses its budget's limit by 0.25 USD and is killed for it.
fn killed() -> Feed {
    let budget = budget_of(Source::Budget, "b", "t", usd("5"));
    let counter = counter_at(&budget, usd("5.25"));
    let execution = Ref::new("ns", "r1");
    let mut feed = Feed::default();
    feed.apply(budget).open("r1", "a", "t");
    feed.charge(WHO, model("p", "m"), cost(usd("4.95"))).charge(WHO, model("p", "m"), cost(usd("0.3")));
    feed.push(Fact::Reached { execution: execution.clone(), counter: counter.clone() });
    feed.push(Fact::Killed {
        kill: "kill-1".into(),
        execution,
        cause: Cause::Budget(counter),
        cost: pricing::Money::ZERO,
    });
    feed
}

fn sent(channel: Channel, attempt: Attempt) -> Fact {
    Fact::KillSent { kill: "kill-1".into(), channel, attempt, took_us: 0 }
}

#[test]
fn handing_on_and_calling_a_person_are_counted() {
    let mut feed = killed();
    let to = |to| Fact::KillEscalated { kill: "kill-1".into(), to };
    feed.push(to(Some(Channel::Webhook)))
        .push(to(Some(Channel::Process)))
        .push(to(Some(Channel::Webhook)))
        .push(to(None));
    feed.push(Fact::KillManual { kill: "kill-1".into() });
    let exposed = exposed(&feed);
    exposed.check(r#"meterd_kill_signals_escalated_total{channel="webhook"}"#, "2");
    exposed.check(r#"meterd_kill_signals_escalated_total{channel="process"}"#, "1");
    exposed.check(r#"meterd_kill_signals_escalated_total{channel="stream"}"#, "0");
    exposed.check(r#"meterd_kill_signals_escalated_total{channel="none"}"#, "1");
    exposed.check(r#"meterd_kill_signals_manual_total{agent_namespace="ns"}"#, "1");
}

#[test]
fn a_kill_is_counted_timed_and_measured() {
    let mut feed = killed();
    feed.push(sent(Channel::Webhook, Attempt::Failed("timeout: after 3 s to https://example.test/hook".into())));
    feed.push(sent(Channel::Webhook, Attempt::Failed("something nobody thought of".into())));
    feed.push(sent(Channel::Stream, Attempt::Delivered)).charge(WHO, model("p", "m"), cost(usd("0.05")));
    feed.push(Fact::KillAcked { kill: "kill-1".into(), channel: Channel::Stream });
    feed.push(Fact::KillConfirmed { kill: "kill-1".into(), proof: Proof::PhaseTerminal });
    feed.end("r1", Phase::Cancelled);
    let exposed = exposed(&feed);
    exposed.check(r#"meterd_kill_signals_sent_total{channel="stream",agent_namespace="ns"}"#, "1");
    exposed.check(r#"meterd_kill_signals_sent_total{channel="webhook",agent_namespace="ns"}"#, "0");
    exposed.check(r#"meterd_kill_signals_failed_total{channel="webhook",reason="timeout"}"#, "1");
    exposed.check(r#"meterd_kill_signals_failed_total{channel="webhook",reason="other"}"#, "1");
    exposed.check(r#"meterd_kill_signals_acked_total{channel="stream",outcome="acked"}"#, "1");
    exposed.check(r#"meterd_kill_signals_acked_total{channel="stream",outcome="confirmed"}"#, "1");
    // Decided one second before the first attempt; the answer came five entries, so five seconds, later.
    exposed.check(r#"meterd_kill_ack_latency_seconds_sum{channel="stream"}"#, "5");
    exposed.check(r#"meterd_kill_ack_latency_seconds_count{channel="stream"}"#, "1");
    exposed.check(r#"meterd_kill_ack_latency_seconds_bucket{channel="stream",le="2.5"}"#, "0");
    exposed.check(r#"meterd_kill_ack_latency_seconds_bucket{channel="stream",le="5.0"}"#, "1");
    // 0.25 above the limit at the decision, and 0.05 until the stop.
    exposed.check(r#"meterd_kill_overshoot_usd_sum{agent_namespace="ns"}"#, "0.3");
    exposed.check(r#"meterd_kill_overshoot_usd_count{agent_namespace="ns"}"#, "1");
    assert!(!exposed.text.contains("example.test"), "a raw error text became a label");
}

#[test]
fn the_end_of_a_run_confirms_a_kill_that_was_sent_and_moots_one_that_was_not() {
    let mut told = killed();
    told.push(sent(Channel::Process, Attempt::Delivered)).end("r1", Phase::Cancelled);
    // The confirmation may come after the end, too; it is the same one.
    told.push(Fact::KillConfirmed { kill: "kill-1".into(), proof: Proof::PhaseTerminal });
    let told = exposed(&told);
    told.check(r#"meterd_kill_signals_acked_total{channel="process",outcome="confirmed"}"#, "1");
    told.check(r#"meterd_kill_ack_latency_seconds_count{channel="process"}"#, "1");
    told.check(r#"meterd_kill_overshoot_usd_sum{agent_namespace="ns"}"#, "0.25");
    let mut untold = killed();
    untold.end("r1", Phase::Succeeded);
    let untold = exposed(&untold);
    untold.check(r#"meterd_kill_signals_acked_total{channel="none",outcome="moot"}"#, "1");
    assert_eq!(untold.value(r#"meterd_kill_ack_latency_seconds_count{channel="none"}"#), None);
    untold.check(r#"meterd_kill_overshoot_usd_count{agent_namespace="ns"}"#, "1");
}

#[test]
fn a_run_answers_only_for_what_it_charged_itself() {
    // Another run has put the shared budget 0.25 over; this one's own charge is 0.01.
    let budget = budget_of(Source::Budget, "b", "t", usd("5"));
    let counter = counter_at(&budget, usd("5.26"));
    let mut feed = killed();
    feed.open("r2", "a", "t").charge(["r2", "a", "t"], model("p", "m"), cost(usd("0.01")));
    feed.push(Fact::Killed {
        kill: "kill-2".into(),
        execution: Ref::new("ns", "r2"),
        cause: Cause::Budget(counter),
        cost: pricing::Money::ZERO,
    });
    feed.end("r2", Phase::Cancelled).end("r1", Phase::Cancelled);
    exposed(&feed).check(r#"meterd_kill_overshoot_usd_sum{agent_namespace="ns"}"#, "0.26");
}

#[test]
fn an_operators_kill_has_no_limit_to_overshoot() {
    let mut feed = Feed::default();
    feed.open("r1", "a", "t").charge(WHO, model("p", "m"), cost(usd("3")));
    let cause = Cause::Operator { reason: "stop".into(), by: "op".into() };
    feed.push(Fact::Killed {
        kill: "kill-1".into(),
        execution: Ref::new("ns", "r1"),
        cause,
        cost: pricing::Money::ZERO,
    });
    feed.charge(WHO, model("p", "m"), cost(usd("0.5")));
    feed.push(Fact::KillConfirmed { kill: "kill-1".into(), proof: Proof::ProcessGone });
    let exposed = exposed(&feed);
    exposed.check(r#"meterd_kill_overshoot_usd_sum{agent_namespace="ns"}"#, "0.5");
    exposed.check(r#"meterd_kill_signals_acked_total{channel="process",outcome="confirmed"}"#, "1");
}
