//! Following a real ledger: in order, each entry once per success, from memory and from disk.

mod deliver;

use std::sync::{Arc, Mutex};

use budget::Entry;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Again, Handler, follow};
use crate::event::charge::tests::sample::{entries, small};
use crate::ledger::{DataDir, Reader, Writer, open};

/// Takes entries down; fails at these calls.
struct Notes {
    taken: Arc<Mutex<Vec<Entry>>>,
    last: watch::Sender<u64>,
    calls: usize,
    fails: &'static [usize],
}

impl Handler for Notes {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        assert!(!entries.is_empty());
        self.calls += 1;
        if self.fails.contains(&self.calls) {
            return Err(Again("not now".to_owned()));
        }
        self.taken.lock().unwrap().extend_from_slice(entries);
        self.last.send_replace(entries[entries.len() - 1].seq);
        Ok(())
    }
}

/// A ledger, a follower of it, and what that has taken.
struct Scene {
    _folder: TempDir,
    writer: Writer,
    reader: Reader,
    written: Vec<Entry>,
}

struct Following {
    taken: Arc<Mutex<Vec<Entry>>>,
    last: watch::Receiver<u64>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let writer = open(&DataDir::new(folder.path()), 0, |_| {}).unwrap().writer;
        let reader = writer.reader();
        Self { _folder: folder, writer, reader, written: Vec::new() }
    }

    fn append(&mut self, batch: usize) {
        let batch = entries(self.writer.next_seq(), (0..batch).map(small));
        self.written.extend(batch.iter().cloned());
        self.writer.append(batch).unwrap();
    }

    fn follow(&self, cursor: u64, fails: &'static [usize]) -> Following {
        let (sender, last) = watch::channel(0);
        let taken = Arc::default();
        let notes = Notes { taken: Arc::clone(&taken), last: sender, calls: 0, fails };
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow("test", self.reader.clone(), cursor, notes, stop.clone()));
        Following { taken, last, stop, task }
    }
}

impl Following {
    async fn reach(&mut self, seq: u64) {
        self.last.wait_for(|last| *last >= seq).await.unwrap();
    }

    async fn stop(self) -> Vec<Entry> {
        self.stop.cancel();
        self.task.await.unwrap();
        Arc::into_inner(self.taken).unwrap().into_inner().unwrap()
    }
}

#[tokio::test]
async fn a_handler_that_fails_gets_every_entry_once_and_in_order() {
    let mut scene = Scene::new();
    scene.append(3);
    // The first batch fails once at its first call; the second batch fails twice.
    let mut following = scene.follow(0, &[1, 3, 4]);
    following.reach(3).await;
    scene.append(2);
    scene.append(4);
    following.reach(9).await;
    assert_eq!(following.stop().await, scene.written);
}

#[tokio::test]
async fn a_follower_resumes_after_its_cursor() {
    let mut scene = Scene::new();
    for batch in [3, 4, 2] {
        scene.append(batch);
    }
    // In the middle of a batch, at its end, and at the end of all.
    for cursor in [5, 7, 9] {
        let mut following = scene.follow(cursor, &[]);
        if cursor < 9 {
            following.reach(9).await;
        }
        assert_eq!(following.stop().await, scene.written[usize::try_from(cursor).unwrap()..]);
    }
}

#[tokio::test]
async fn a_follower_that_lags_reads_from_disk() {
    let mut scene = Scene::new();
    scene.reader.keep_recent(5);
    scene.writer.limit_segments(300);
    for _ in 0..60 {
        scene.append(3);
    }
    let mut following = scene.follow(0, &[7]);
    following.reach(180).await;
    scene.append(1);
    following.reach(181).await;
    assert_eq!(following.stop().await, scene.written);
}

/// A stop takes what is committed and ends, even before the follower ever ran.
#[tokio::test]
async fn a_stop_takes_what_is_committed() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        scene.append(2);
    }
    let following = scene.follow(0, &[]);
    assert_eq!(following.stop().await, scene.written);
    // A handler that will not is not waited for.
    let following = scene.follow(0, &[1, 2, 3]);
    assert_eq!(following.stop().await, []);
}
