//! Runs come and go: written from memory, merged so that few have to be asked, loaded at start, dropped with their time.
//!
//! On threads beside the meter's, one for writing and one for merging, or in the call that asks for it.

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::run::{Record, Records, Run, RunWriter};
use super::{FRESH_KEYS_MAX, Floor, Table, run_path};
use crate::ledger::{DataDir, LedgerError};

/// So many runs of about one size become one.
const MERGE_RUNS: usize = 8;
/// The horizon is cut into so many parts; a run does not reach over two of them, so that forgetting is never far behind.
const PARTS: u32 = 8;
/// Runs do not grow past this.
const RUN_KEYS_MAX: u64 = 1 << 27;

type Job = JoinHandle<Result<Run, LedgerError>>;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    beside: bool,
    sealing: Work,
    merging: Work,
    removing: Option<JoinHandle<Result<(), LedgerError>>>,
}

#[derive(Debug, Default)]
enum Work {
    #[default]
    None,
    Beside(Job),
    Done(Result<Box<Run>, LedgerError>),
}

impl Work {
    fn begin(
        &mut self,
        beside: bool,
        name: &str,
        job: impl FnOnce() -> Result<Run, LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        if beside {
            let thread = std::thread::Builder::new().name(name.to_owned());
            *self = Self::Beside(thread.spawn(job).map_err(LedgerError::io("start a thread for", name))?);
        } else {
            *self = Self::Done(job().map(Box::new));
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Waits for the end of what is under way, without taking it.
    fn wait(&mut self) {
        if let Self::Beside(job) = std::mem::take(self) {
            // A thread that panicked has said so; its run is missing, and the next start makes it again.
            *self = Self::Done(job.join().unwrap_or(Err(LedgerError::Stopped)).map(Box::new));
        }
    }

    fn take(&mut self) -> Result<Option<Run>, LedgerError> {
        if matches!(self, Self::Beside(job) if job.is_finished()) {
            self.wait();
        }
        match self {
            Self::Done(_) => match std::mem::take(self) {
                Self::Done(result) => result.map(|run| Some(*run)),
                Self::None | Self::Beside(_) => Ok(None),
            },
            Self::None | Self::Beside(_) => Ok(None),
        }
    }
}

impl Keeper {
    pub(super) fn set(&mut self, beside: bool) {
        self.beside = beside;
    }

    /// Removes the files of runs that nobody asks any more: freeing a large one takes its time.
    pub(super) fn remove(&mut self, dir: &DataDir, runs: Vec<Arc<Run>>) -> Result<(), LedgerError> {
        self.removed()?;
        let dir = dir.clone();
        let job = move || runs.iter().try_for_each(|run| dir.remove(&run.path));
        if !self.beside {
            return job();
        }
        let thread = std::thread::Builder::new().name("ids-remove".to_owned());
        self.removing = Some(thread.spawn(job).map_err(LedgerError::io("start a thread for", "ids-remove"))?);
        Ok(())
    }

    fn removed(&mut self) -> Result<(), LedgerError> {
        self.removing.take().map_or(Ok(()), |job| job.join().unwrap_or(Err(LedgerError::Stopped)))
    }

    pub(super) fn seal(&mut self, dir: &DataDir, table: Arc<Table>) -> Result<(), LedgerError> {
        let dir = dir.clone();
        self.sealing.begin(self.beside, "ids", move || table.write(&dir))
    }

    pub(super) fn merge(&mut self, dir: &DataDir, inputs: Vec<Arc<Run>>) -> Result<(), LedgerError> {
        let dir = dir.clone();
        self.merging.begin(self.beside, "ids-merge", move || merge(&dir, &inputs))
    }

    pub(super) fn sealed(&mut self) -> Result<Option<Run>, LedgerError> {
        self.sealing.take()
    }

    pub(super) fn merged(&mut self) -> Result<Option<Run>, LedgerError> {
        self.merging.take()
    }

    /// Nothing is being written from memory.
    pub(super) fn is_idle(&self) -> bool {
        self.sealing.is_idle()
    }

    pub(super) fn wait_for_seal(&mut self) {
        self.sealing.wait();
    }

    pub(super) fn wait(&mut self) {
        self.sealing.wait();
        self.merging.wait();
        // A file that stays is removed at the next start.
        let _ = self.removed();
    }

    /// Which runs should become one now, if any.
    pub(super) fn due(&self, runs: &[Arc<Run>], horizon: Duration) -> Option<Range<usize>> {
        if !self.merging.is_idle() || runs.len() < 2 {
            return None;
        }
        let part = |run: &Run| {
            run.stretch.newest.nanos() / i64::try_from((horizon / PARTS).as_nanos()).unwrap_or(i64::MAX).max(1)
        };
        let newest = runs.last().map(|run| part(run))?;
        let mut begin = 0;
        while let Some(first) = runs.get(begin) {
            let end = begin + runs.iter().skip(begin).take_while(|run| part(run) == part(first)).count();
            let group = runs.get(begin..end)?;
            let found =
                if part(first) == newest { tier(group) } else { Some(0..group.len()).filter(|all| all.len() > 1) };
            let fits = |range: &Range<usize>| {
                let keys = group.get(range.clone()).unwrap_or_default().iter().map(|run| run.keys);
                keys.fold(0, u64::saturating_add) <= RUN_KEYS_MAX
            };
            if let Some(range) = found.filter(fits) {
                return Some(begin + range.start..begin + range.end);
            }
            begin = end;
        }
        None
    }
}

/// Neighbours of about one size, if there are enough of them.
fn tier(runs: &[Arc<Run>]) -> Option<Range<usize>> {
    let level = |run: &Run| (run.keys / FRESH_KEYS_MAX as u64).max(1).ilog(MERGE_RUNS as u64);
    let mut end = runs.len();
    let mut highest = 0;
    // From the newest back: a group may hold smaller ones that came between.
    while let Some(run) = end.checked_sub(1).and_then(|last| runs.get(last)) {
        highest = highest.max(level(run));
        let same = runs.get(..end)?.iter().rev().take_while(|run| level(run) <= highest).count();
        if same >= MERGE_RUNS {
            return Some(end - same..runs.len());
        }
        end -= same;
    }
    None
}

fn merge(dir: &DataDir, inputs: &[Arc<Run>]) -> Result<Run, LedgerError> {
    let mut stretches = inputs.iter().map(|run| run.stretch);
    let first = stretches.next().ok_or(LedgerError::Stopped)?;
    let stretch = stretches.fold(first, |all, next| all.and(next));
    let path = run_path(dir, &stretch);
    let keys = inputs.iter().map(|run| run.keys).fold(0, u64::saturating_add);
    let mut writer = RunWriter::create(dir, &path, keys)?;
    let mut sources = inputs.iter().map(|run| Source::open(run)).collect::<Result<Vec<_>, _>>()?;
    let mut last = None;
    loop {
        // Few sources: a walk over them is as quick as a heap. The oldest comes first.
        let smallest = sources
            .iter_mut()
            .filter(|source| source.head.is_some())
            .min_by_key(|source| source.head.map(|(key, _)| key));
        let Some(source) = smallest else { break };
        let head = source.head;
        source.advance()?;
        if let Some((key, first)) = head
            && last != Some(key)
        {
            last = Some(key);
            // The newest counts, as it does for who asks: of one entry the body of the event which superseded an estimate, and of
            // a response the call that was booked after it had been forgotten.
            let mut newer = sources.iter().rev().filter_map(|source| source.head);
            let newest = newer.find(|(other, _)| *other == key).map(|(_, other)| other);
            writer.push((key, newest.unwrap_or(first)))?;
        }
    }
    writer.finish(&path, stretch)
}

struct Source<'a> {
    records: Records<'a>,
    head: Option<Record>,
}

impl<'a> Source<'a> {
    fn open(run: &'a Run) -> Result<Self, LedgerError> {
        let mut source = Self { records: run.records(), head: None };
        source.advance()?;
        Ok(source)
    }

    fn advance(&mut self) -> Result<(), LedgerError> {
        self.head = self.records.next().transpose()?;
        Ok(())
    }
}

/// What of the index is whole and usable: where it begins, and runs that follow each other. Everything else is removed.
pub(super) fn load(dir: &DataDir) -> Result<(Floor, Vec<Arc<Run>>), LedgerError> {
    let floor = read_floor(dir)?;
    let folder = dir.index();
    let paths = match dir.disk().list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(LedgerError::io("list", &folder))?,
    };
    let mut found = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("run") => match Run::open(dir, &path).map_err(LedgerError::io("read", &path))? {
                Some(run) => found.push(run),
                None => {
                    tracing::warn!(path = %path.display(), "index file not whole, made again from the ledger");
                    dir.remove(&path)?;
                }
            },
            Some("tmp") => dir.remove(&path)?,
            _ => {}
        }
    }
    // Of those that begin together the longest: the others are what it was merged from.
    found.sort_unstable_by_key(|run| (run.stretch.first_seq, std::cmp::Reverse(run.stretch.last_seq)));
    let mut runs: Vec<Arc<Run>> = Vec::new();
    let (mut next, mut gap) = (floor.seq, false);
    for run in found {
        if run.stretch.first_seq > next && !gap {
            gap = true;
            let (from, path) = (next, run.path.display());
            tracing::warn!(from, %path, "files of the dedup index are missing before this one; all from there on is made again from the ledger");
        }
        if run.stretch.first_seq == next {
            next = run.stretch.last_seq + 1;
            runs.push(Arc::new(run));
        } else {
            dir.remove(&run.path)?;
        }
    }
    sync(dir)?;
    Ok((floor, runs))
}

/// Makes names durable: a file that was removed for being wrong must not come back.
pub(super) fn sync(dir: &DataDir) -> Result<(), LedgerError> {
    let folder = dir.index();
    dir.disk().sync_dir(&folder).map_err(LedgerError::io("fsync the directory", folder))
}

pub(super) fn write_floor(dir: &DataDir, floor: &Floor) -> Result<(), LedgerError> {
    let text = serde_json::to_vec(floor).unwrap_or_default();
    dir.write_durably(&dir.index().join("floor.json"), &text)
}

fn read_floor(dir: &DataDir) -> Result<Floor, LedgerError> {
    let path = dir.index().join("floor.json");
    match dir.read(&path) {
        // From the first entry on nothing is forgotten: what this mark kept away is known again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the dedup index does not say where it begins; it is made again from the whole ledger");
            Floor::BEGIN
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Floor::BEGIN),
        Err(error) => Err(LedgerError::io("read", path)(error)),
    }
}
