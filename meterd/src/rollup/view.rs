//! The roll-ups as a follower: folds entries as they become durable, keeps its cursor beside the ledger, answers questions.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use budget::{Entry, Ref};
use tokio::sync::watch;

use super::answer::{Answer, Groups};
use super::cube::Cube;
use super::scan::lines;
use super::{Focus, Question, quarter_of, scan};
use crate::follow::{Again, Handler};
use crate::ledger::{DataDir, LedgerError, Reader};

/// The cursor is written after so many entries, and at a clean stop.
const SAVE_EVERY_ENTRIES: u64 = 1_000_000;
/// Cells by quarter-hour, subject and what was called; and those that tell runs apart as well. Some 130 bytes each.
const CELLS_MAX: usize = 1_000_000;
const RUN_CELLS_MAX: usize = 1_000_000;
/// Layout of the files.
const VERSION: u8 = 1;
/// A question waits at most so long for the view to catch up.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(30);

/// The two cubes: one for most questions, one that tells runs apart.
#[derive(Debug)]
struct Cubes {
    all: Cube,
    runs: Cube,
}

/// The roll-ups, shared between the follower and those who ask; cheap to clone.
#[derive(Clone)]
pub struct RollupView {
    cubes: Arc<RwLock<Cubes>>,
    reached: Arc<watch::Sender<u64>>,
    reader: Reader,
    dir: DataDir,
}

/// Folds entries into a [`RollupView`]; run it with [`crate::follow::follow`].
pub struct RollupFollower {
    view: RollupView,
    saved: u64,
}

/// Roll-ups of a data directory that is read in place.
#[derive(Debug)]
pub struct AtRest {
    dir: DataDir,
    reader: Reader,
}

impl RollupView {
    /// Resumes from the cursor beside the ledger; the follower folds what came after it. A cursor that cannot be read, or is
    /// ahead of the ledger, is set aside: the ledger can always rebuild it.
    #[must_use]
    pub fn open(dir: &DataDir, reader: &Reader) -> Self {
        let all = load(dir, reader, false);
        let runs = load(dir, reader, true);
        let reached = Arc::new(watch::Sender::new(all.seq().min(runs.seq())));
        Self { cubes: Arc::new(RwLock::new(Cubes { all, runs })), reached, reader: reader.clone(), dir: dir.clone() }
    }

    /// Where [`RollupView::follower`] goes on.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        *self.reached.borrow()
    }

    /// The follower of this view.
    #[must_use]
    pub fn follower(&self) -> RollupFollower {
        RollupFollower { view: self.clone(), saved: self.cursor() }
    }

    /// Do the roll-ups reach back far enough, or would the ledger have to be read?
    #[must_use]
    pub fn reaches(&self, question: &Question) -> bool {
        let cubes = self.cubes.read().unwrap_or_else(PoisonError::into_inner);
        if question.needs_runs() { cubes.runs.reaches(question) } else { cubes.all.reaches(question) }
    }

    /// The answer, with everything that was committed before the question came.
    pub async fn ask(
        &self,
        question: Question,
        parent: impl Fn(&Ref) -> Option<Ref> + Send + 'static,
    ) -> Result<Answer, LedgerError> {
        let committed = self.reader.committed();
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|reached| *reached >= committed);
        if tokio::time::timeout(FRESH_WAIT_MAX, wait).await.is_err() {
            tracing::warn!(committed, "the roll-ups are behind the ledger");
        }
        drop(reached);
        let view = self.clone();
        // Reading a million cells, or the ledger, takes longer than a task may hold its thread.
        let work = tokio::task::spawn_blocking(move || view.answer(&question, parent));
        work.await.unwrap_or(Err(LedgerError::Stopped))
    }

    fn answer(&self, question: &Question, parent: impl Fn(&Ref) -> Option<Ref>) -> Result<Answer, LedgerError> {
        let mut groups = Groups::new(question);
        let held = {
            let cubes = self.cubes.read().unwrap_or_else(PoisonError::into_inner);
            let cube = if question.needs_runs() { &cubes.runs } else { &cubes.all };
            let held = cube.reaches(question);
            if held {
                cube.fill(question, &mut groups);
            }
            held
        };
        if !held {
            scan(&self.reader, question, &mut groups)?;
        }
        Ok(groups.answer("ledger", parent))
    }

    /// FOCUS rows of the question's span, with everything that was committed before it came.
    pub async fn focus(&self, question: Question) -> Result<Focus, LedgerError> {
        let committed = self.reader.committed();
        let mut reached = self.reached.subscribe();
        // Late figures are better than none.
        let _ = tokio::time::timeout(FRESH_WAIT_MAX, reached.wait_for(|reached| *reached >= committed)).await;
        drop(reached);
        let view = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let cubes = view.cubes.read().unwrap_or_else(PoisonError::into_inner);
            if cubes.all.reaches(&question) {
                return Ok(focus_of(&cubes.all, &question));
            }
            drop(cubes);
            focus_from(&view.reader, &question)
        });
        work.await.unwrap_or(Err(LedgerError::Stopped))
    }

    /// Writes the cursor and everything folded so far.
    pub fn save(&self) -> Result<(), LedgerError> {
        for runs in [false, true] {
            let path = file(&self.dir, runs);
            let bytes = {
                let cubes = self.cubes.read().unwrap_or_else(PoisonError::into_inner);
                postcard::to_stdvec(&(VERSION, if runs { &cubes.runs } else { &cubes.all }))
            };
            let bytes = bytes.map_err(|error| LedgerError::Io {
                doing: "encode the roll-ups for",
                path: path.clone(),
                source: std::io::Error::other(error.to_string()),
            })?;
            self.dir.write_durably(&path, &bytes)?;
        }
        Ok(())
    }
}

impl Handler for RollupFollower {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        {
            let mut cubes = self.view.cubes.write().unwrap_or_else(PoisonError::into_inner);
            let Cubes { all, runs } = &mut *cubes;
            for entry in entries {
                all.apply(entry);
                runs.apply(entry);
            }
        }
        let seq = entries.last().map_or(0, |entry| entry.seq);
        self.view.reached.send_replace(seq);
        if seq >= self.saved + SAVE_EVERY_ENTRIES {
            // Losing it only makes the next start replay more.
            match self.view.save() {
                Ok(()) => self.saved = seq,
                Err(error) => tracing::warn!(%error, "the roll-ups were not saved"),
            }
        }
        Ok(())
    }
}

impl AtRest {
    /// Opens a data directory for reading only.
    pub fn open(dir: &DataDir) -> Result<Self, LedgerError> {
        Ok(Self { dir: dir.clone(), reader: Reader::at_rest(dir)? })
    }

    /// FOCUS rows as of the newest durable entry.
    pub fn focus(&self, question: &Question) -> Result<Focus, LedgerError> {
        let cube = self.cube(false)?;
        if cube.reaches(question) { Ok(focus_of(&cube, question)) } else { focus_from(&self.reader, question) }
    }

    fn cube(&self, runs: bool) -> Result<Cube, LedgerError> {
        let mut cube = load(&self.dir, &self.reader, runs);
        if self.reader.committed() > cube.seq() {
            self.reader.scan(cube.seq() + 1, |entry| {
                cube.apply(entry);
                true
            })?;
        }
        Ok(cube)
    }

    /// The answer as of the newest durable entry.
    pub fn ask(&self, question: &Question, parent: impl Fn(&Ref) -> Option<Ref>) -> Result<Answer, LedgerError> {
        let cube = self.cube(question.needs_runs())?;
        let mut groups = Groups::new(question);
        if cube.reaches(question) {
            cube.fill(question, &mut groups);
        } else {
            scan(&self.reader, question, &mut groups)?;
        }
        Ok(groups.answer("ledger", parent))
    }
}

fn focus_of(cube: &Cube, question: &Question) -> Focus {
    let mut focus = Focus::default();
    cube.details(question, |quarter, namespace, subject, called, sums| {
        focus.add(quarter, namespace, subject, called, sums)
    });
    focus
}

fn focus_from(reader: &Reader, question: &Question) -> Result<Focus, LedgerError> {
    let mut focus = Focus::default();
    lines(reader, question, |line| {
        focus.add(quarter_of(line.at), &line.execution.namespace, line.subject, line.called, &line.sums);
    })?;
    Ok(focus)
}

fn file(dir: &DataDir, runs: bool) -> PathBuf {
    dir.followers().join(if runs { "rollups-runs" } else { "rollups" })
}

fn load(dir: &DataDir, reader: &Reader, runs: bool) -> Cube {
    let cells_max = if runs { RUN_CELLS_MAX } else { CELLS_MAX };
    let saved = dir.read(&file(dir, runs)).ok().and_then(|bytes| {
        let (version, cube) = postcard::from_bytes::<(u8, Cube)>(&bytes).ok()?;
        (version == VERSION).then_some(cube)
    });
    match saved.filter(|saved| saved.seq() <= reader.committed()) {
        Some(saved) => saved.indexed(cells_max),
        None => Cube::new(runs, cells_max),
    }
}
