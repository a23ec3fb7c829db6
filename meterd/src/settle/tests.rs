//! Settling and re-pricing over a real ledger and the real meter: each price once, also after a restart.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use budget::{AdjustReason, Charge, Entry, Fact, Ref};
use pricing::{Money, PriceBook, PriceTable, Timestamp};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Asked, Report, Settler};
use crate::clock::Clock;
use crate::event::charge::charge;
use crate::follow::follow;
use crate::ingest::json::{BodyKind, decode};
use crate::ledger::verify::{Difference, verify};
use crate::ledger::{DataDir, Reader};
use crate::meter::{self, Meter, Refused, Rules, restore};
use crate::reconcile::View;

const NOW: &str = "2026-11-22T10:00:00Z";
/// Nothing here takes long; what hangs fails.
const LONG: Duration = Duration::from_secs(60);

/// A meter on a folder, its view, and a settler that does nothing by itself.
struct House {
    dir: DataDir,
    meter: Meter,
    reader: Reader,
    prices: Arc<ArcSwap<PriceBook>>,
    settler: Settler,
    clock: Clock,
    stop: CancellationToken,
}

impl House {
    fn open(folder: &TempDir, queue_events_max: usize) -> Self {
        let dir = DataDir::new(folder.path().join("data"));
        let restored = restore(&dir).unwrap();
        let reader = restored.writer.reader();
        let (view, reconciler) = View::new(restored.state.clone(), reader.clone());
        let (cursor, stop) = (restored.state.seq(), CancellationToken::new());
        let clock = Clock::manual(time(NOW));
        let rules = Rules { queue_events_max, dedup_horizon: Duration::from_secs(35 * 86_400) };
        let meter = meter::start(dir.clone(), restored, clock.clone(), &rules, Box::new(|_| {})).unwrap();
        tokio::spawn(follow("status", reader.clone(), cursor, reconciler, stop.clone()));
        let prices = Arc::new(ArcSwap::from_pointee(PriceBook::default()));
        let settler = Settler::new(meter.handle.clone(), view, dir.clone(), Arc::clone(&prices));
        Self { dir, meter, reader, prices, settler, clock, stop }
    }

    fn put(&self, table: &str) {
        let book = book_of(table);
        super::pin(&self.dir, &book).unwrap();
        self.settler.put(book);
    }

    /// Books calls at the prices in force.
    async fn book(&self, events: &[String]) {
        self.book_with(&self.prices.load_full(), events).await;
    }

    async fn book_with(&self, book: &PriceBook, events: &[String]) {
        for events in events.chunks(32) {
            let charges: Vec<Charge> = events.iter().map(|event| charge_of(book, event)).collect();
            // A reply may come a moment before its room is free again.
            while let Err(refused) = self.meter.handle.book(charges.clone()).await {
                assert_eq!(refused, Refused::Full);
                tokio::task::yield_now().await;
            }
        }
    }

    /// One pass over the whole quarantine: how many adjustments it booked.
    async fn pass(&self) -> usize {
        let before = self.adjustments().len();
        self.settler.pass(0).await.unwrap();
        self.adjustments().len() - before
    }

    async fn reprice(&self, asked: &Asked) -> Report {
        tokio::time::timeout(LONG, self.settler.reprice(asked)).await.unwrap().unwrap()
    }

    fn adjustments(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        let keep = |entry: &Entry| {
            if matches!(entry.fact, Fact::Adjusted(_)) {
                found.push(entry.clone());
            }
            true
        };
        self.reader.scan(1, keep).unwrap();
        found
    }

    async fn cost(&self, execution: &str) -> String {
        let id = Ref::new("default", execution);
        let cost = self.settler.shared.view.read_fresh(|state| state.execution(&id).unwrap().cost);
        cost.await.to_string()
    }

    async fn quarantined(&self) -> u64 {
        self.settler.shared.view.read_fresh(budget::State::quarantined).await
    }

    /// Stops and proves the ledger.
    async fn close(self) {
        self.stop.cancel();
        self.meter.handle.stop();
        self.meter.ended.await.unwrap().unwrap();
        verify(&self.dir, None, |_, _| {}).unwrap();
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A table of acme's models at one rate: USD a million tokens in.
fn table(version: &str, models: &[&str], rate: &str) -> String {
    let models = models.iter().map(|model| {
        format!(
            "    - provider: acme\n      id: {model}\n      match: {{ exact: [{model}] }}\n      rates:\n        \
             - set: {{ input_tokens: \"{rate}\" }}\n"
        )
    });
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: house }}\nspec:\n  version: \"{version}\"\n  \
         currency: USD\n  per: {{ tokens: 1000000 }}\n  models:\n{}",
        models.collect::<String>()
    )
}

fn book_of(table: &str) -> PriceBook {
    let (tables, _) = PriceTable::parse(table).unwrap();
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

fn call(id: &str, model: &str, at: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"{id}","source":"t","time":"{at}","execution":"run","agent":"a","team":"t","kind":"model","provider":"acme","model":"{model}"{usage}}}"#
    )
}

/// A call of a million tokens.
fn million(id: usize, model: &str) -> String {
    call(&id.to_string(), model, NOW, r#","usage":{"input_tokens":1000000}"#)
}

fn charge_of(book: &PriceBook, event: &str) -> Charge {
    let item = decode(event.as_bytes(), BodyKind::Json).unwrap().items.remove(0);
    charge(book, item.event.unwrap(), "local", "api")
}

fn asked(table: &str, since: &str) -> Asked {
    let prices = Arc::new(book_of(table));
    Asked { prices, since: time(since), until: None, dry_run: false, reopen: false, now: time(NOW) }
}

/// More calls than a page and than the queue holds; some have no price still; a restart between.
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_priced_settles_once() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 48);
    let calls: Vec<String> = (0..1_500).map(|id| million(id, if id % 3 == 0 { "other" } else { "thinker" })).collect();
    house.book(&calls).await;
    assert_eq!((house.quarantined().await, house.pass().await), (1_500, 0), "nothing has a price");
    house.put(&table("1", &["thinker"], "2"));
    assert_eq!(house.pass().await, 1_000);
    assert_eq!((house.quarantined().await, house.cost("run").await.as_str()), (500, "2000"));
    assert_eq!(house.pass().await, 0);
    house.close().await;
    let house = House::open(&folder, 48);
    assert_eq!((house.quarantined().await, house.cost("run").await.as_str()), (500, "2000"));
    house.put(&table("2", &["thinker", "other"], "3"));
    assert_eq!(house.pass().await, 500, "what has a price keeps it");
    assert_eq!((house.quarantined().await, house.cost("run").await.as_str()), (0, "3500"));
    let of: Vec<u64> = house.adjustments().iter().map(|entry| adjusted(entry).of).collect();
    assert!(of[..1_000].is_sorted() && of[1_000..].is_sorted(), "in the order of the charges");
    house.close().await;
}

fn adjusted(entry: &Entry) -> &budget::Adjustment {
    let Fact::Adjusted(adjustment) = &entry.fact else { panic!("not an adjustment: {entry:?}") };
    adjustment
}

/// A request keeps the prices it began with. What it books after the change settles all the same, without another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_began_with_older_prices_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 64);
    let task = tokio::spawn(house.settler.clone().run(house.stop.clone()));
    let older = house.prices.load_full();
    house.book(&[million(1, "thinker")]).await;
    house.put(&table("1", &["thinker"], "2"));
    let settled = async |count: u64| {
        let mut seen = 0;
        while house.quarantined().await > count {
            seen = house.reader.wait_past(seen).await.unwrap();
        }
    };
    tokio::time::timeout(LONG, settled(0)).await.unwrap();
    house.book_with(&older, &[million(2, "thinker")]).await;
    drop(older);
    tokio::time::timeout(LONG, settled(0)).await.unwrap();
    assert_eq!(house.cost("run").await, "4");
    house.stop.cancel();
    task.await.unwrap();
    house.close().await;
}

/// Where it is not known what was used, no table can say what it cost.
#[tokio::test(flavor = "multi_thread")]
async fn missing_and_impossible_usage_never_settles() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 64);
    let impossible = r#","usage":{"input_tokens":10,"cache_read_tokens":20}"#;
    let calls = [
        call("missing", "thinker", NOW, ""),
        call("impossible", "thinker", NOW, impossible),
        call("failed", "thinker", NOW, r#","outcome":"error""#),
        million(1, "thinker"),
    ];
    house.book(&calls).await;
    let prices = table("1", &["thinker"], "2");
    house.put(&prices);
    assert_eq!(house.pass().await, 1);
    let report = house.reprice(&asked(&prices, "2026-11-01T00:00:00Z")).await;
    assert_eq!((report.examined, report.not_priced, report.changed, report.booked), (4, 3, 0, 0));
    assert_eq!((house.quarantined().await, house.cost("run").await.as_str()), (2, "2"));
    house.close().await;
}

/// Closed months stay closed unless they are opened again; the time asked for is half-open.
#[tokio::test(flavor = "multi_thread")]
async fn closed_months_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 64);
    house.put(&table("1", &["thinker"], "2"));
    let usage = r#","usage":{"input_tokens":1000000}"#;
    let times = ["2026-10-20T00:00:00Z", "2026-10-31T23:59:59.999Z", "2026-11-01T00:00:00Z", NOW];
    let calls: Vec<String> = times.iter().map(|at| call(at, "thinker", at, usage)).collect();
    house.book(&calls).await;
    let wish = asked(&table("2", &["thinker"], "5"), "2026-10-31T00:00:00Z");
    let until = Some(time(NOW));
    let report = house.reprice(&Asked { until, dry_run: true, ..wish.clone() }).await;
    assert_eq!((report.examined, report.closed, report.changed, report.booked), (2, 1, 1, 0));
    assert_eq!((report.before_usd, report.after_usd), (usd("2"), usd("5")));
    assert!(house.adjustments().is_empty(), "a dry run books nothing");
    let report = house.reprice(&wish).await;
    assert_eq!((report.examined, report.closed, report.booked), (3, 1, 2));
    let report = house.reprice(&Asked { reopen: true, ..wish.clone() }).await;
    assert_eq!((report.closed, report.booked, report.difference_usd), (0, 1, usd("3")));
    let report = house.reprice(&Asked { reopen: true, ..wish }).await;
    assert_eq!((report.changed, report.booked, report.rows.len()), (0, 0, 0));
    assert_eq!(house.cost("run").await, "17", "one call of 2 and three of 5");
    let ids: Vec<_> = house.adjustments().iter().map(|entry| adjusted(entry).run.clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.is_some()), "one re-pricing: {ids:?}");
    house.close().await;
}

/// The ledger before the time asked for is not read; a call dated ahead of its entry is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_time_asked_for_is_priced_again() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 64);
    house.put(&table("1", &["thinker"], "2"));
    let usage = r#","usage":{"input_tokens":1000000}"#;
    for day in 22..=27 {
        let at = format!("2026-11-{day}T12:00:00Z");
        house.clock.set(time(&at));
        house.book(&[call(&at, "thinker", &at, usage)]).await;
    }
    let ahead = "2026-11-28T11:00:00Z";
    house.book(&[call("ahead", "thinker", ahead, usage)]).await;
    let now = time("2026-11-28T12:00:00Z");
    for (since, version, examined) in
        [("2026-11-25T12:00:00Z", "5", 4), (ahead, "3", 1), ("2026-11-01T00:00:00Z", "4", 7)]
    {
        let wish = Asked { now, ..asked(&table(version, &["thinker"], version), since) };
        let report = house.reprice(&wish).await;
        assert_eq!((report.examined, report.changed, report.booked), (examined, examined, examined), "since {since}");
        assert_eq!(house.reprice(&wish).await.changed, 0);
    }
    house.close().await;
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

/// Cut off in the middle, it is done by a repeat; back to the first table it books the way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_repricing_that_was_cut_off_is_finished_by_a_repeat() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 64);
    let first = table("1", &["thinker"], "2");
    house.put(&first);
    house.book(&(0..600).map(|id| million(id, "thinker")).collect::<Vec<_>>()).await;
    house.book(&[million(600, "unknown")]).await;
    let second = table("2", &["thinker", "unknown"], "3");
    let wish = asked(&second, "2026-11-01T00:00:00Z");
    let settler = house.settler.clone();
    let job = wish.clone();
    let cut = tokio::spawn(async move { settler.reprice(&job).await });
    while house.adjustments().is_empty() {
        house.reader.wait_past(house.reader.committed()).await.unwrap();
    }
    cut.abort();
    let _ = cut.await;
    let report = house.reprice(&wish).await;
    assert_eq!(report.out_of_range, 0);
    let (rise, settled): (Vec<_>, Vec<_>) =
        house.adjustments().into_iter().partition(|entry| adjusted(entry).reason == AdjustReason::Repriced);
    assert_eq!((rise.len(), settled.len()), (600, 1));
    assert_eq!((house.cost("run").await.as_str(), house.quarantined().await), ("1803", 0));
    let back = house.reprice(&asked(&first, "2026-11-01T00:00:00Z")).await;
    assert_eq!((back.booked, back.not_priced, back.difference_usd), (600, 1, usd("-600")));
    assert_eq!(house.cost("run").await, "1203");
    house.close().await;
}

/// Repricing and settling at once, twice each: every charge ends at one price, and the ledger proves it.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_book_each_difference_once() {
    let folder = TempDir::new().unwrap();
    let house = House::open(&folder, 4_096);
    house.book(&(0..300).map(|id| million(id, "thinker")).collect::<Vec<_>>()).await;
    let prices = table("1", &["thinker"], "2");
    house.put(&prices);
    let wish = asked(&prices, "2026-11-01T00:00:00Z");
    let (one, two, three, four) = tokio::join!(
        house.settler.reprice(&wish),
        house.settler.pass(0),
        house.settler.reprice(&wish),
        house.settler.pass(0)
    );
    assert_eq!((one.unwrap().booked, three.unwrap().booked), (300, 0));
    assert!(two.is_ok() && four.is_ok());
    assert_eq!((house.adjustments().len(), house.cost("run").await.as_str()), (300, "600"));
    house.close().await;
}

/// `verify` finds an adjustment that does not follow from its charge.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_adjustment_is_a_difference() {
    type Spoil = fn(&mut budget::Adjustment);
    let spoilt: [(&str, Spoil); 4] = [
        ("it states", |adjustment| adjustment.before = None),
        ("it books", |adjustment| adjustment.delta = usd("2")),
        ("that is no charge", |adjustment| adjustment.of += 1),
        ("its pinned table gives", |adjustment| {
            let budget::Priced::Cost(cost) = &mut adjustment.priced else { panic!("no cost") };
            cost.total = usd("4");
            cost.lines[0].amount = usd("4");
            adjustment.delta = usd("1");
        }),
    ];
    for (expected, spoil) in spoilt {
        let folder = TempDir::new().unwrap();
        let house = House::open(&folder, 64);
        house.put(&table("1", &["thinker"], "2"));
        house.book(&[million(1, "thinker")]).await;
        let second = table("2", &["thinker"], "3");
        house.reprice(&asked(&second, "2026-11-01T00:00:00Z")).await;
        let adjustments = house.adjustments();
        let dir = house.dir.clone();
        house.close().await;
        // The same adjustment again, spoilt, as if the meter had written it: after a 2 → 3 comes a wrong 3 → 2.
        let mut spoilt = adjusted(&adjustments[0]).clone();
        spoilt.before = Some(usd("3"));
        let budget::Priced::Cost(first) =
            &charge_of(&book_of(&table("1", &["thinker"], "2")), &million(1, "thinker")).priced
        else {
            panic!("no price")
        };
        (spoilt.priced, spoilt.delta) = (budget::Priced::Cost(first.clone()), usd("-1"));
        let good = spoilt.clone();
        spoil(&mut spoilt);
        for (adjustment, fails) in [(spoilt, true), (good, false)] {
            let copy = TempDir::new().unwrap();
            copy_folder(folder.path(), copy.path());
            let dir = DataDir::new(copy.path().join("data"));
            let mut restored = restore(&dir).unwrap();
            let (seq, at) = (restored.state.seq() + 1, restored.state.log_time().saturating_add(1));
            restored.writer.append(vec![Entry { seq, at, fact: Fact::Adjusted(Box::new(adjustment)) }]).unwrap();
            drop(restored);
            let found = verify(&dir, None, |_, _| {});
            assert_eq!(found.is_err(), fails, "{found:?}");
            if let Err(difference) = found {
                assert!(difference.to_string().contains(expected), "{difference}");
                assert!(matches!(difference, Difference::Adjustment { .. } | Difference::Cost { .. }));
            }
        }
        drop(dir);
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
