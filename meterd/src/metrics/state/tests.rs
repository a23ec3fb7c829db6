//! Gauges of budgets and kills from made-up figures, and of a whole state.

use budget::entry::{Applied, Origin, Phase};
use budget::signal::{Attempt, Cause, Channel, Kill, KillState, Tried};
use budget::{Command, Entry, Fact, Limit, Ref, Source, State, Unit, Window, decide};
use pricing::{Money, Timestamp};
use proptest::prelude::*;

use super::{Figures, Gauges, budgets, gauges, kills};
use crate::metrics::tests::{Exposition, Feed, budget_of, cost, counter_at, model, sum, usd};
use crate::metrics::text::{Format, Writer};
use crate::metrics::{Caps, LedgerMetrics};

fn written(fill: impl FnOnce(&mut Gauges)) -> Exposition {
    let mut writer = Writer::new(Format::Text);
    let mut gauges = Gauges::default();
    fill(&mut gauges);
    gauges.write(&mut writer);
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
    let exposed = written(|into| budgets(&figures, into));
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
    let exposed = written(|into| budgets(&figures, into));
    let limit =
        |budget| format!(r#"meterd_budget_limit_usd{{agent_namespace="ns",budget="{budget}",team="t",window="day"}}"#);
    exposed.check(&limit("b"), "5");
    exposed.check(&limit("agent/b"), "7");
    assert_eq!(exposed.family("meterd_budget_run_max_utilization_ratio").count(), 0);
}

fn kill(state: KillState, decided: i64, attempts: &[(i64, Channel, Attempt)]) -> Kill {
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let cause = Cause::Operator { reason: "stop".into(), by: "op".into() };
    let tried = |(time, channel, attempt): &(i64, Channel, Attempt)| Tried {
        at: at(*time),
        channel: *channel,
        attempt: attempt.clone(),
        took_us: 0,
    };
    Kill {
        state,
        attempts: attempts.iter().map(tried).collect(),
        ..Kill::new("kill-1".into(), Ref::new("ns", "r"), cause, at(decided), Money::ZERO)
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
    let exposed = written(|into| kills(open.iter(), into));
    for (channel, pending, oldest) in
        [("stream", "2", "12"), ("process", "1", "20"), ("webhook", "0", "0"), ("joch", "0", "0"), ("none", "1", "40")]
    {
        exposed.check(&format!(r#"meterd_kill_signals_pending{{channel="{channel}"}}"#), pending);
        exposed.check(&format!(r#"meterd_kill_oldest_pending_timestamp_seconds{{channel="{channel}"}}"#), oldest);
    }
}

/// A ledger written by `decide`, folded by the state and by the metrics alike.
struct Live {
    state: State,
    ledger: LedgerMetrics,
    now: i64,
}

impl Live {
    fn command(&mut self, command: Command) {
        self.now += 1_000_000_000;
        let mut facts = Vec::new();
        let at = Timestamp::from_nanos(self.now);
        let _ = decide(&self.state, at, command, &mut facts);
        for fact in facts {
            self.now += 1;
            let entry = Entry { seq: self.state.seq() + 1, at: Timestamp::from_nanos(self.now), fact };
            self.state.apply(&entry);
            self.ledger.apply(&entry);
        }
    }

    fn charge(&mut self, run: &str, team: &str, amount: i128) {
        let mut feed = Feed::default();
        feed.charge([run, "a", team], model("p", "m"), cost(amount));
        let Some(Entry { fact: Fact::Charged(mut charge), .. }) = feed.entries.pop() else { panic!("a charge") };
        charge.key = u128::try_from(self.now).unwrap();
        charge.time = Timestamp::from_nanos(self.now);
        self.command(Command::Charge(charge));
    }

    fn exposed(&self) -> Exposition {
        let mut writer = Writer::new(Format::Text);
        self.ledger.write(&mut writer);
        gauges(&self.state, Timestamp::from_nanos(self.now), &self.ledger).write(&mut writer);
        Exposition::parse(writer.finish())
    }
}

fn live(limit: i128) -> Live {
    let mut live =
        Live { state: State::default(), ledger: LedgerMetrics::new(Caps::default()), now: 1_795_341_600_000_000_000 };
    let budget = budget_of(Source::Budget, "b", "t0", limit);
    live.command(Command::Apply(Applied {
        kind: "Budget".into(),
        id: budget.id.clone(),
        generation: 0,
        origin: Origin::Api,
        document: "{}".into(),
        budgets: vec![budget],
        link: budget::Link::default(),
    }));
    live
}

#[test]
fn a_run_that_goes_over_its_budget_shows_in_every_family() {
    let mut live = live(usd("1"));
    live.charge("r1", "t0", usd("0.6"));
    live.charge("r2", "t0", usd("0.25"));
    live.charge("r3", "t1", usd("7"));
    let before = live.exposed();
    let labels = r#"agent_namespace="ns",budget="b",team="t0""#;
    before.check(&format!(r#"meterd_budget_limit_usd{{{labels},window="day"}}"#), "1");
    before.check(&format!(r#"meterd_budget_limit_usd{{{labels},window="run"}}"#), "1");
    before.check(&format!(r#"meterd_budget_spent_usd{{{labels},window="day"}}"#), "0.85");
    assert_eq!(before.value(&format!(r#"meterd_budget_spent_usd{{{labels},window="run"}}"#)), None);
    before.check(r#"meterd_budget_run_max_utilization_ratio{agent_namespace="ns",budget="b"}"#, "0.6");
    before.check(r#"meterd_executions_active{agent_namespace="ns",team="t0"}"#, "2");
    let window = format!(r#"{{{labels},window="day"}}"#);
    let (start, end) = ("1795305600", "1795392000");
    before.check(&format!("meterd_budget_window_start_timestamp_seconds{window}"), start);
    before.check(&format!("meterd_budget_window_end_timestamp_seconds{window}"), end);
    live.charge("r2", "t0", usd("0.2"));
    live.command(Command::End { execution: Ref::new("ns", "r3"), phase: Phase::Succeeded });
    let after = live.exposed();
    let threshold = |threshold, action| {
        format!(
            r#"meterd_budget_threshold_events_total{{agent_namespace="ns",budget="b",window="day",threshold="{threshold}",action="{action}"}}"#
        )
    };
    after.check(&threshold("soft", "alert"), "1");
    after.check(&threshold("hard", "terminate"), "1");
    after.check(r#"meterd_budget_charged_usd_total{agent_namespace="ns",budget="b"}"#, "1.05");
    let killed = live.state.kills().count();
    assert!(killed > 0);
    after.check(r#"meterd_kill_signals_pending{channel="none"}"#, &killed.to_string());
    after.check(r#"meterd_executions_active{agent_namespace="ns",team="t1"}"#, "0");
    let runs: Vec<Ref> = live.state.kills().map(|kill| kill.execution.clone()).collect();
    for execution in runs {
        live.command(Command::End { execution, phase: Phase::Cancelled });
    }
    let over = live.exposed();
    over.check(r#"meterd_kill_signals_pending{channel="none"}"#, "0");
    // Only the charge that crossed the limit went over it.
    over.check(r#"meterd_kill_overshoot_usd_sum{agent_namespace="ns"}"#, "0.05");
    over.check(r#"meterd_kill_overshoot_usd_count{agent_namespace="ns"}"#, &killed.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What the counters say and what the state says is the same money, whatever happened.
    #[test]
    fn counters_and_state_agree(steps in prop::collection::vec((0..5u8, 0..3u8, 0..10u8, 0..10i128.pow(19)), 0..60)) {
        let mut live = live(usd("40"));
        for (run, team, kind, amount) in steps {
            let (run, team) = (format!("r{run}"), format!("t{team}"));
            match kind {
                0 => live.command(Command::End { execution: Ref::new("ns", &run), phase: Phase::Succeeded }),
                1 => live.command(Command::Kill {
                    execution: Ref::new("ns", &run),
                    reason: "law".into(),
                    by: "law".into(),
                }),
                _ => live.charge(&run, &team, amount),
            }
        }
        let exposed = live.exposed();
        let booked: i128 = live.state.executions().map(|run| run.cost.scaled()).sum();
        prop_assert_eq!(sum(&exposed, "meterd_cost_usd_total", &[]), booked);
        let charged: i128 = live.state.charged_by_budget().map(|(_, _, charged)| charged.scaled()).sum();
        prop_assert_eq!(sum(&exposed, "meterd_budget_charged_usd_total", &[]), charged);
        let spent: i128 = live.state.counters(Timestamp::from_nanos(live.now)).iter().map(|at| at.spent).sum();
        prop_assert_eq!(sum(&exposed, "meterd_budget_spent_usd", &[]), spent);
        let one = usd("1");
        let open = live.state.executions().filter(|run| !run.phase.is_terminal()).count();
        prop_assert_eq!(sum(&exposed, "meterd_executions_active", &[]), i128::try_from(open).unwrap() * one);
        let over = i128::try_from(live.state.executions().count() - open).unwrap() * one;
        prop_assert_eq!(sum(&exposed, "meterd_executions_total", &[]), over);
        let unanswered = live.state.kills().filter(|kill| kill.state.is_unanswered());
        let unanswered = i128::try_from(unanswered.count()).unwrap() * one;
        prop_assert_eq!(sum(&exposed, "meterd_kill_signals_pending", &[]), unanswered);
    }
}
