//! Watched folders: notify → wait until it is quiet → compare content → tell the caller, who reads, checks and swaps.
//!
//! Content decides, never a file's time: Kubernetes swaps a symbolic link, editors rename, some file systems lie. A folder
//! with an error gives problems and no snapshot, so a bad file never replaces a good one (invariant I12).

mod compiled;
mod folder;
mod given;
mod load;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

pub use self::compiled::Cache;
pub use self::folder::{EXTENSIONS, FILE_BYTES_MAX, FILES_MAX, Loaded, load_dir, load_file};
pub use self::given::Given;
pub use self::load::{
    Placed, load_prices, load_prices_and, load_prices_with, load_resources, load_resources_in, prices_and, prices_from,
    resources_from, resources_in,
};
pub use crate::config::FileProblem;

/// How long a folder must be quiet before it is read: editors and Kubernetes change it in several steps.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// A folder that is never quiet is read this often all the same.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Content is compared this often without any event: links out of the folder and lost events are seen that way.
const RESCAN: Duration = Duration::from_secs(30);

/// A folder that cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no watcher.
    #[error("cannot watch folders: {0}")]
    NoWatcher(#[source] notify::Error),
    /// This folder cannot be watched.
    #[error("cannot watch {}: {source}", path.display())]
    Unwatchable {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the thread that watches folders: {0}")]
    NoThread(#[source] std::io::Error),
}

/// Ends the watching when dropped, after a call that is under way.
#[derive(Debug)]
pub struct WatchGuard {
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel wakes the thread as well, and a thread that is gone is what is wanted.
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Calls `on_change` from a thread of its own, each time that the content of `dirs` has changed and then been quiet for
/// `debounce`. Changes after this returns are not missed: start watching first, then read the folders.
pub fn spawn(
    dirs: Vec<PathBuf>,
    debounce: Duration,
    on_change: impl FnMut() + Send + 'static,
) -> Result<WatchGuard, WatchError> {
    watched(Watched::Folders(dirs), debounce, on_change)
}

/// The same for single files, whatever else is in their folders. `on_change` may change the list.
pub fn spawn_files(
    files: Arc<Mutex<Vec<PathBuf>>>,
    debounce: Duration,
    on_change: impl FnMut() + Send + 'static,
) -> Result<WatchGuard, WatchError> {
    watched(Watched::Files(files), debounce, on_change)
}

/// What is watched.
enum Watched {
    /// Every document of these folders.
    Folders(Vec<PathBuf>),
    /// These files.
    Files(Arc<Mutex<Vec<PathBuf>>>),
}

impl Watched {
    fn dirs(&self) -> Vec<PathBuf> {
        match self {
            Self::Folders(dirs) => dirs.clone(),
            Self::Files(files) => {
                let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                let parent = |file: &PathBuf| match file.parent() {
                    Some(parent) if parent != Path::new("") => parent.to_owned(),
                    _ => PathBuf::from("."),
                };
                let mut dirs: Vec<PathBuf> = files.iter().map(parent).collect();
                dirs.sort();
                dirs.dedup();
                dirs
            }
        }
    }

    fn digest(&self) -> [u8; 32] {
        match self {
            Self::Folders(dirs) => folder::digest_of(dirs),
            Self::Files(files) => folder::digest_of_files(&files.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

fn watched(
    watched: Watched,
    debounce: Duration,
    on_change: impl FnMut() + Send + 'static,
) -> Result<WatchGuard, WatchError> {
    // Sixteen wakes are as good as a million: what does not fit is already implied.
    let (wake, woken) = sync_channel::<()>(16);
    let events = wake.clone();
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading a folder causes access events; an error may mean lost events, so it counts as a change.
        let relevant = event.map_or(true, |event| !event.kind.is_access());
        if relevant {
            let _ = events.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell).map_err(WatchError::NoWatcher)?;
    for dir in watched.dirs() {
        watch(&mut watcher, &dir).map_err(|source| WatchError::Unwatchable { path: dir.clone(), source })?;
    }
    let seen = watched.digest();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = Watching { watched, debounce, watcher, woken, stop: stop.clone(), seen, on_change };
    let thread = std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || watching.run())
        .map_err(WatchError::NoThread)?;
    Ok(WatchGuard { wake, stop, thread: Some(thread) })
}

fn watch(watcher: &mut RecommendedWatcher, dir: &Path) -> notify::Result<()> {
    watcher.watch(dir, RecursiveMode::NonRecursive)
}

struct Watching<F> {
    watched: Watched,
    debounce: Duration,
    watcher: RecommendedWatcher,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
    seen: [u8; 32],
    on_change: F,
}

impl<F: FnMut()> Watching<F> {
    fn run(mut self) {
        loop {
            match self.woken.recv_timeout(RESCAN) {
                Ok(()) => self.wait_until_quiet(),
                // A folder that was removed and made again has lost its watch; watching twice is harmless.
                Err(RecvTimeoutError::Timeout) => self.watch_again(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let now = self.watched.digest();
            if now != self.seen {
                (self.on_change)();
                // The list of files may be another now; what it holds was just read.
                self.seen = if matches!(self.watched, Watched::Files(_)) { self.watched.digest() } else { now };
                self.watch_again();
            }
        }
    }

    fn watch_again(&mut self) {
        for dir in self.watched.dirs() {
            let _ = watch(&mut self.watcher, &dir);
        }
    }

    fn wait_until_quiet(&self) {
        let start = Instant::now();
        while start.elapsed() < BUSY_MAX && !self.stop.load(Ordering::Acquire) {
            if self.woken.recv_timeout(self.debounce).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
