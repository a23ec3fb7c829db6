//! A courier and its peer: failures, bounds, places that survive a crash.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::event::charge::tests::sample::{entries, small};
use crate::follow::{Courier, Cursor, Deliver, Delivery, Failed, Pace, Place, Retry, Step, places};
use crate::ledger::{DataDir, LedgerError, Writer, open};

/// What arrived: bounds and sequence numbers.
type Arrived = Arc<Mutex<Vec<(u64, u64, Vec<u64>)>>>;

/// A peer that answers what it is told to, in turn, and then takes everything. Whatever it answers, it has seen it.
struct Peer {
    arrived: Arrived,
    answers: Vec<Result<(), Failed>>,
}

impl Deliver for Peer {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<(), Failed> {
        let seqs = delivery.entries().map(|entry| entry.seq).collect();
        self.arrived.lock().unwrap().push((delivery.from, delivery.to, seqs));
        if self.answers.is_empty() { Ok(()) } else { self.answers.remove(0) }
    }
}

struct Scene {
    _folder: TempDir,
    dir: DataDir,
    writer: Writer,
    arrived: Arrived,
}

impl Scene {
    /// Batches of so many entries.
    fn of(batches: &[usize]) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::new(folder.path());
        let writer = open(&dir, 0, |_| {}).unwrap().writer;
        let mut scene = Self { _folder: folder, dir, writer, arrived: Arc::default() };
        batches.iter().for_each(|batch| scene.append(*batch));
        scene
    }

    fn append(&mut self, batch: usize) {
        self.writer.append(entries(self.writer.next_seq(), (0..batch).map(small))).unwrap();
    }

    fn courier(&self, entries_max: usize, answers: Vec<Result<(), Failed>>) -> Courier<Peer> {
        let reader = self.writer.reader();
        let cursor = Cursor::open(&self.dir, "peer", 0, reader.committed()).unwrap();
        let peer = Peer { arrived: Arc::clone(&self.arrived), answers };
        let pace = Pace { entries_max, gather: Duration::ZERO, pause_max: Duration::from_secs(1) };
        Courier::new("peer", reader, cursor, pace, peer)
    }

    fn bounds(&self) -> Vec<(u64, u64)> {
        self.arrived.lock().unwrap().iter().map(|(from, to, _)| (*from, *to)).collect()
    }
}

#[tokio::test]
async fn deliveries_are_bounded_and_leave_nothing_out() {
    let scene = Scene::of(&[3, 4, 2]);
    let mut courier = scene.courier(5, Vec::new());
    assert_eq!(courier.step().await, Step::Delivered(5));
    assert_eq!(courier.step().await, Step::Delivered(9));
    assert_eq!(courier.step().await, Step::Idle);
    let seqs = scene.arrived.lock().unwrap().iter().flat_map(|(_, _, seqs)| seqs.clone()).collect::<Vec<_>>();
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
    assert_eq!(places(&scene.dir).unwrap(), [("peer".to_owned(), Place { delivered: 9, intended: 9 })]);
}

#[tokio::test]
async fn what_a_crash_cut_off_comes_again_with_the_same_bounds() {
    let mut scene = Scene::of(&[3]);
    let mut courier = scene.courier(10, vec![Err(Failed::now("the line went dead"))]);
    assert!(matches!(courier.step().await, Step::Failed(_)));
    // A crash here, and more entries before the next start: they are not put into the same delivery.
    drop(courier);
    scene.append(4);
    let mut courier = scene.courier(2, Vec::new());
    for delivered in [3, 5, 7] {
        assert_eq!(courier.step().await, Step::Delivered(delivered));
    }
    assert_eq!(scene.bounds(), [(1, 3), (1, 3), (4, 5), (6, 7)]);
}

#[tokio::test]
async fn a_peer_says_when_to_come_back_and_when_never() {
    let scene = Scene::of(&[1]);
    let later = Failed { message: "busy".to_owned(), retry: Retry::After(Duration::from_secs(7)) };
    let answers = vec![Err(Failed::now("away")), Err(later), Err(Failed::never("no such table"))];
    let mut courier = scene.courier(10, answers);
    let progress = courier.progress();
    let Step::Failed(pause) = courier.step().await else { panic!("it failed") };
    assert!((Duration::from_millis(25)..=Duration::from_millis(50)).contains(&pause), "{pause:?}");
    assert_eq!(progress.borrow().failing.as_deref(), Some("away"));
    assert_eq!(courier.step().await, Step::Failed(Duration::from_secs(7)));
    assert_eq!(courier.step().await, Step::Halted);
    assert_eq!(courier.step().await, Step::Halted);
    let said = progress.borrow().clone();
    assert_eq!((said.delivered, said.failures, said.halted), (0, 3, true));
    // Halted, it asks the peer nothing more.
    assert_eq!(scene.bounds(), [(1, 1), (1, 1), (1, 1)]);
}

#[tokio::test]
async fn a_courier_runs_until_it_is_stopped() {
    let mut scene = Scene::of(&[2]);
    let courier = scene.courier(3, vec![Err(Failed::now("not yet"))]);
    let mut progress = courier.progress();
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(courier.run(stop.clone()));
    progress.wait_for(|progress| progress.delivered == 2).await.unwrap();
    scene.append(4);
    progress.wait_for(|progress| progress.delivered == 6).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    assert_eq!(places(&scene.dir).unwrap()[0].1.delivered, 6);
}

#[test]
fn a_place_beyond_the_ledger_is_refused() {
    let scene = Scene::of(&[2]);
    let mut cursor = Cursor::open(&scene.dir, "peer", 0, 2).unwrap();
    cursor.deliver(2).unwrap();
    let error = Cursor::open(&scene.dir, "peer", 0, 1).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { from: 2, to: 2, .. }), "{error}");
    std::fs::write(scene.dir.followers().join("peer.cursor"), b"{\"delivered\":9,\"intended\":2}").unwrap();
    let error = Cursor::open(&scene.dir, "peer", 0, 9).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}
