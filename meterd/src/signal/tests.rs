//! Who hears what: each run's listeners its own signals, and no more of them than the bound.

use budget::{Entry, Fact, Ref};
use serde_json::json;

use super::{
    Feed, Hub, LAG_MAX, LISTENERS_PER_RUN_MAX, Lagged, Listener, Signal, TooManyListeners, fraction, signal_of,
};
use crate::event::charge::tests::sample::{entries, one_of_each_fact};
use crate::follow::Handler;

fn killed(seq: u64, execution: &str) -> Entry {
    let facts = one_of_each_fact().into_iter().filter_map(|fact| match fact {
        Fact::Killed { cause, cost, .. } => {
            Some(Fact::Killed { kill: format!("kill-{seq}").into(), execution: Ref::new("ns", execution), cause, cost })
        }
        _ => None,
    });
    entries(seq, facts.take(1)).remove(0)
}

fn scene() -> (Hub, Feed, impl Fn(&Hub, &str) -> Listener) {
    let (hub, feed) = Hub::new();
    (hub, feed, |hub: &Hub, run: &str| hub.listen(&Ref::new("ns", run)).unwrap())
}

/// The next signal if it is there already.
async fn ready(listener: &mut Listener) -> Option<Result<Signal, Lagged>> {
    tokio::select! {
        biased;
        next = listener.next() => Some(next),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_listener_hears_its_run_and_no_other() {
    let (hub, mut feed, listen) = scene();
    let (mut first, mut second, mut other) = (listen(&hub, "a"), listen(&hub, "a"), listen(&hub, "b"));
    feed.take(&[killed(1, "a"), killed(2, "nobody"), killed(3, "a")]).unwrap();
    for listener in [&mut first, &mut second] {
        for seq in [1, 3] {
            let signal = listener.next().await.unwrap();
            assert_eq!((signal.seq, signal.kill.as_deref()), (seq, Some(&*format!("kill-{seq}"))));
        }
        assert_eq!(ready(listener).await, None);
    }
    assert_eq!(ready(&mut other).await, None);
    // A namesake in another namespace is another run.
    let mut namesake = hub.listen(&Ref::new("other", "a")).unwrap();
    feed.take(&[killed(4, "a")]).unwrap();
    assert_eq!(ready(&mut namesake).await, None);
}

#[tokio::test]
async fn a_listener_that_lags_is_told_so() {
    let (hub, mut feed, listen) = scene();
    let mut slow = listen(&hub, "a");
    let all: Vec<Entry> = (1..=LAG_MAX as u64 + 1).map(|seq| killed(seq, "a")).collect();
    feed.take(&all).unwrap();
    assert_eq!(slow.next().await, Err(Lagged));
}

#[test]
fn a_run_has_so_many_listeners_and_no_more() {
    let (hub, _feed, listen) = scene();
    let mut listeners: Vec<Listener> = (0..LISTENERS_PER_RUN_MAX).map(|_| listen(&hub, "a")).collect();
    assert_eq!(hub.listen(&Ref::new("ns", "a")).err(), Some(TooManyListeners));
    listeners.push(listen(&hub, "b"));
    assert_eq!(hub.runs(), 2);
    listeners.remove(0);
    listeners.push(listen(&hub, "a"));
    drop(listeners);
    assert_eq!(hub.runs(), 0, "nothing is kept for runs that nobody listens to");
}

#[test]
fn kills_and_limits_are_signals_and_nothing_else_is() {
    let entries = entries(1, one_of_each_fact());
    let signals: Vec<Signal> = entries
        .iter()
        .filter_map(|entry| {
            let (run, signal) = signal_of(entry)?;
            assert_eq!(*run, Ref::new("ns", "run"));
            assert_eq!(signal.seq, entry.seq);
            assert_eq!(signal.data["execution"], "run");
            Some(signal)
        })
        .collect();
    let events: Vec<&str> = signals.iter().map(|signal| signal.event).collect();
    assert_eq!(events, ["budget_warning", "budget_warning", "kill", "kill", "wind_down", "kill"]);
    assert_eq!((&signals[0].data["level"], &signals[1].data["level"]), (&json!("0.8"), &json!("1")));
    let budget = json!({
        "name": "team", "namespace": "ns", "source": "Budget", "generation": 2, "window": "day", "unit": "usd",
        "windowStart": "2026-11-22T10:00:00Z", "resetsAt": "2026-11-23T10:00:00Z", "agent": "helper",
        "limitUsd": "5", "spentUsd": "5.000000000000000001", "heldUsd": "0", "remainingUsd": "0",
    });
    assert_eq!(signals[1].data["budget"], budget);
    let kill = &signals[2].data;
    assert_eq!(
        (&kill["id"], &kill["reason"], &kill["costUsd"]),
        (&json!("kill-9"), &json!("budget_exceeded"), &json!("0.006"))
    );
    assert_eq!(kill["message"], "budget ns/team reached its day limit: 5.000000000000000001 of 5 usd");
    assert_eq!(
        (&signals[3].data["reason"], &signals[3].data["message"]),
        (&json!("operator"), &json!("killed by me: loop"))
    );
    let turn = &signals[4].data;
    assert_eq!((&turn["id"], &turn["type"]), (&json!("kill-17"), &json!("wind_down")));
    assert_eq!(
        (&turn["allowanceUsd"], &turn["until"], &turn["costUsd"]),
        (&json!("0.25"), &json!("2026-11-22T10:01:00Z"), &json!("0.5"))
    );
    assert_eq!((&signals[5].data["id"], &signals[5].data["costUsd"]), (&json!("kill-17"), &json!("0.75")));
}

#[test]
fn parts_per_million_print_as_the_shortest_decimal() {
    for (ppm, expected) in [(0, "0"), (1, "0.000001"), (800_000, "0.8"), (1_000_000, "1"), (1_250_000, "1.25")] {
        assert_eq!(fraction(ppm), expected);
    }
}
