//! The meter's core: commands in, one durable batch, answers out. No thread, no queue, no waiting: whoever calls it decides
//! when. The daemon's thread drives it, and so can a simulation, with a clock and a disk of its own.

mod reserve;
mod supersede;

use std::collections::VecDeque;
use std::time::Duration;

use budget::decide::{FOLLOWING_MAX, unfollowed};
#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};
use budget::{Charge, Command, Entry, Fact, Ref, Reserve, State, Verdict, decide};
use pricing::Timestamp;

pub use self::reserve::{Held, Settled};
use super::room;
use super::snapshot::{self, Saver};
use super::upkeep::Packer;
use super::{Booked, Commit, Dedup, OnCommit, Restored, Rules};
use crate::clock::Clock;
use crate::ledger::{DataDir, LedgerError, Writer};
use crate::meter::dedup::{Look, Seen};

/// Files of the index that are made again for one question, at most.
const MENDED_AT_ONCE_MAX: usize = 64;
/// Between two looks for runs that may rest or be forgotten.
const LOOK_MIN: Duration = Duration::from_secs(60);
const LOOK_MAX: Duration = Duration::from_secs(3_600);

/// What is asked of the meter at once.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To book priced charges.
    Charges(Vec<Charge>),
    /// To carry out a command.
    Command(Box<Command>),
    /// To hold an amount.
    Reserve(Box<Reserve>),
    /// To book a charge on the run of the reservation that it names.
    Settle(Box<Charge>),
}

/// What became of an [`Ask`], in its shape. Valid once the batch is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One for each charge, in order.
    Charges(Vec<Booked>),
    /// Of a command.
    Command(Verdict),
    /// Of a reservation.
    Reserve(Held),
    /// Of a settling charge; `None` when nobody knows the reservation.
    Settle(Option<Settled>),
    /// The disk has room only for what ends or settles something; nothing of it was decided.
    NoRoom,
}

/// Everything that decides and writes, without a thread of its own.
pub struct Core {
    dir: DataDir,
    /// Before the writer, which holds the directory's lock: a snapshot under way ends while the directory is still ours.
    saver: Saver,
    packer: Packer,
    forget_after: Option<Duration>,
    rest_after: Option<Duration>,
    /// When to look next for runs that may rest or be forgotten.
    look_at: Option<Timestamp>,
    writer: Writer,
    state: State,
    dedup: Dedup,
    /// The index could not be read, or the disk not be asked: nothing more can be decided.
    broken: Option<LedgerError>,
    /// After the first error: the state may be ahead of the disk, so nothing is acknowledged or written any more.
    stopped: bool,
    clock: Clock,
    since_snapshot: u64,
    on_commit: OnCommit,
    entries: Vec<Entry>,
    /// Room for the facts of one command.
    facts: Vec<Fact>,
    /// Bytes that the batch may take, about.
    wanted: u64,
    /// The disk had no room for new work when it was last asked for.
    scarce: bool,
    /// Runs below which slices have yet to follow.
    following: VecDeque<Ref>,
}

impl Core {
    /// A core on a recovered ledger. `beside`: snapshots are written on a thread beside the caller's; without it everything
    /// happens in the call that asks for it, so that equal calls have equal effects on the disk, in equal order.
    #[must_use]
    pub fn new(
        dir: DataDir,
        restored: Restored,
        clock: Clock,
        rules: &Rules,
        on_commit: OnCommit,
        beside: bool,
    ) -> Self {
        let mut dedup = restored.dedup;
        dedup.set(rules.dedup_horizon, beside);
        let mut writer = restored.writer;
        writer.reserve(restored.upkeep.reserve_bytes);
        // A stop may have come before all slices had followed.
        let following = unfollowed(&restored.state).into();
        Self {
            dir,
            saver: Saver::new(beside),
            forget_after: restored.upkeep.forget_after,
            rest_after: restored.upkeep.rest_after,
            look_at: None,
            packer: Packer::new(restored.upkeep.pack_after, beside),
            writer,
            state: restored.state,
            dedup,
            broken: None,
            stopped: false,
            clock,
            since_snapshot: restored.replayed,
            on_commit,
            entries: Vec::new(),
            facts: Vec::new(),
            wanted: 0,
            scarce: false,
            following,
        }
    }

    /// Decides one thing. The answer holds once [`Core::commit`] has returned without an error; it must not be told before.
    pub fn decide(&mut self, ask: Ask) -> Answer {
        if !self.has_room_for(&ask) {
            return Answer::NoRoom;
        }
        match ask {
            Ask::Charges(charges) => {
                let looks = self.dedup.look(&charges);
                let booked = charges.into_iter().zip(looks).map(|(charge, look)| self.charge(charge, look));
                Answer::Charges(booked.collect())
            }
            Ask::Command(command) => Answer::Command(self.command(*command)),
            Ask::Reserve(wish) => Answer::Reserve(self.reserve(wish)),
            Ask::Settle(charge) => Answer::Settle(self.settle(*charge)),
        }
    }

    /// Makes everything that was decided since the last commit durable, as one batch.
    ///
    /// After an error nothing of the batch may be acknowledged, and this core must not be used any more: what the disk
    /// holds is only known by [`super::restore`].
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        self.still_up()?;
        if let Some(error) = self.broken.take() {
            tracing::error!(%error, "nothing of this batch is acknowledged, intake stops");
            return Err(self.stop(error));
        }
        let room = Vec::with_capacity(self.entries.len());
        let entries = std::mem::replace(&mut self.entries, room);
        self.wanted = 0;
        if entries.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "mistakes")]
        if made(Mistake::IndexAheadOfLedger) {
            self.dedup.limit_memory(1);
            self.dedup.spill()?;
        }
        #[cfg(feature = "mistakes")]
        let entries = self.without_last_kill(entries);
        self.since_snapshot += entries.len() as u64;
        let result = self.writer.append(entries);
        let fsync = *result.as_ref().unwrap_or(&Duration::ZERO);
        (self.on_commit)(Commit { fsync, ledger_bytes: self.writer.bytes(), failed: result.is_err() });
        match &result {
            Err(error) if error.is_disk_full() => tracing::error!(
                %error,
                "the disk is full: nothing of this batch is acknowledged, intake stops; make room and start again"
            ),
            Err(error) => {
                tracing::error!(%error, "ledger write failed: nothing of this batch is acknowledged, intake stops");
            }
            Ok(_) => {}
        }
        result.map(drop).map_err(|error| self.stop(error))
    }

    /// Decides everything and commits it as one batch.
    pub fn batch(&mut self, asks: Vec<Ask>) -> Result<Vec<Answer>, LedgerError> {
        let answers = asks.into_iter().map(|ask| self.decide(ask)).collect();
        self.commit()?;
        Ok(answers)
    }

    /// What is due after a commit and need not be waited for: a snapshot now and then, ids to disk, old ids forgotten.
    pub fn keep_house(&mut self) -> Result<(), LedgerError> {
        self.still_up()?;
        let now = self.clock.now();
        self.index(|dedup| dedup.keep(now)).map_err(|error| self.stop(error))?;
        self.forget_runs(now)?;
        self.follow_slices()?;
        self.packer.look(&self.dir, &self.writer.reader(), now, self.dedup.floor());
        if self.since_snapshot >= snapshot::EVERY_ENTRIES { self.snapshot() } else { Ok(()) }
    }

    /// Is there more to keep in order, also when nobody asks for anything?
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.following.is_empty()
    }

    /// One page of the slices that follow a changed budget, as a batch of its own.
    fn follow_slices(&mut self) -> Result<(), LedgerError> {
        let Some(execution) = self.following.front().cloned() else { return Ok(()) };
        if self.command(Command::Follow { execution }) == Verdict::Done {
            return self.commit();
        }
        self.following.pop_front();
        Ok(())
    }

    fn still_up(&self) -> Result<(), LedgerError> {
        #[cfg(feature = "mistakes")]
        if made(Mistake::GoOnAfterFailure) {
            return Ok(());
        }
        if self.stopped { Err(LedgerError::Stopped) } else { Ok(()) }
    }

    /// The end of this core; a restart goes on from what the disk holds.
    fn stop(&mut self, error: LedgerError) -> LedgerError {
        self.stopped = true;
        error
    }

    /// Asks the index. What is damaged of it is made again from the ledger before it is asked once more.
    fn index<T>(&mut self, mut ask: impl FnMut(&mut Dedup) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        for _ in 0..MENDED_AT_ONCE_MAX {
            match ask(&mut self.dedup) {
                Err(LedgerError::Index { path, offset }) => self.dedup.mend(&path, offset, &self.writer.reader())?,
                result => return result,
            }
        }
        // Damaged as often as it is written: the disk keeps nothing.
        ask(&mut self.dedup)
    }

    /// Now and then, runs that nothing has named for long are put to rest, and those that ended, or rested, long ago leave the
    /// state: entries say which.
    fn forget_runs(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        if self.look_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let ago = |after: Duration| {
            let nanos = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
            #[cfg(feature = "mistakes")]
            let nanos = if made(Mistake::ForgottenEarly) { nanos / 2 } else { nanos };
            now.saturating_add(nanos.saturating_neg())
        };
        let mut more = false;
        if let Some(before) = self.rest_after.map(ago) {
            more |= self.command(Command::Rest { before }) == Verdict::Done;
        }
        if let Some(before) = self.forget_after.map(ago) {
            more |= self.command(Command::Forget { before }) == Verdict::Done;
        }
        // A look goes over every run, so one that found nothing is not the next batch's business again.
        let least = self.rest_after.into_iter().chain(self.forget_after).min().unwrap_or(LOOK_MAX);
        let wait = if more { LOOK_MIN } else { (least / 64).clamp(LOOK_MIN, LOOK_MAX) };
        self.look_at = Some(now.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)));
        self.commit()
    }

    /// Begins a snapshot.
    pub fn snapshot(&mut self) -> Result<(), LedgerError> {
        self.still_up()?;
        if self.saver.save(&self.dir, &self.state) {
            self.since_snapshot = 0;
            self.index(Dedup::flush).map_err(|error| self.stop(error))?;
        }
        Ok(())
    }

    /// A last snapshot, at a clean end.
    pub fn close(&mut self) -> Result<(), LedgerError> {
        self.packer.wait();
        self.saver.wait();
        if self.since_snapshot > 0 {
            self.snapshot()?;
            self.saver.wait();
        }
        self.index(Dedup::wait)
    }

    /// Is there room for new work on the disk, as far as it was asked for?
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.scarce
    }

    /// The state as decided; durable up to the last commit.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The log's writer, for what readers of it must know.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// New work is only taken while the reserve behind it stays whole.
    fn has_room_for(&mut self, ask: &Ask) -> bool {
        self.wanted = self.wanted.saturating_add(room::wanted(ask));
        if room::may_use_reserve(ask) {
            return true;
        }
        let scarce = match self.writer.make_room(self.wanted) {
            Ok(room) => !room,
            Err(error) => {
                self.broken.get_or_insert(error);
                false
            }
        };
        if scarce && !self.scarce {
            tracing::error!(
                "the disk is full: new work is refused until there is room; runs can still be settled and ended"
            );
        } else if !scarce && self.scarce {
            tracing::info!("the disk has room again: new work is taken");
        }
        self.scarce = scarce;
        !scarce
    }

    fn charge(&mut self, charge: Charge, look: Look) -> Booked {
        match self.index(|dedup| dedup.seen(&charge, look)) {
            #[cfg(feature = "mistakes")]
            Ok(Some(Seen::Same(_))) if made(Mistake::DuplicateAnsweredAnew) => {
                return Booked::Duplicate { seq: self.state.seq() };
            }
            #[cfg(feature = "mistakes")]
            Ok(Some(Seen::Other(seq))) if made(Mistake::ConflictAsDuplicate) => return Booked::Duplicate { seq },
            Ok(Some(Seen::Same(seq))) => return self.supersede(seq, &charge).unwrap_or(Booked::Duplicate { seq }),
            Ok(Some(Seen::Other(seq))) => return self.supersede(seq, &charge).unwrap_or(Booked::Conflict { seq }),
            Ok(Some(Seen::Known(seq))) => return Booked::Duplicate { seq },
            // Who has a dead letter booked answers for it: the letters are told apart where they are kept.
            Ok(Some(Seen::Forgotten)) if charge.late => {}
            Ok(Some(Seen::Forgotten)) => return Booked::TooOld,
            Ok(None) => {
                if let Some(seq) = self.same_call(&charge) {
                    return self.supersede(seq, &charge).unwrap_or(Booked::Duplicate { seq });
                }
            }
            Err(error) => {
                // Never told: the commit fails.
                self.broken.get_or_insert(error);
                return Booked::TooOld;
            }
        }
        match self.command(Command::Charge(Box::new(charge))) {
            Verdict::Booked { fenced, .. } => {
                let booked = self.entries.iter().rev().find(|entry| matches!(entry.fact, Fact::Charged(_)));
                Booked::Accepted { seq: booked.map_or(0, |entry| entry.seq), fenced }
            }
            _ => Booked::OutOfRange,
        }
    }

    fn command(&mut self, command: Command) -> Verdict {
        let now = self.clock.now();
        let mut facts = std::mem::take(&mut self.facts);
        let opens = if let Command::Open(opened) = &command { Some(opened.execution.clone()) } else { None };
        let verdict = decide(&self.state, self.log_time(now), command, &mut facts);
        let many = facts.len() > FOLLOWING_MAX;
        self.following.extend(opens.filter(|_| many));
        for fact in facts.drain(..) {
            let entry = Entry { seq: self.state.seq() + 1, at: self.log_time(now), fact };
            self.state.apply(&entry);
            self.dedup.apply(&entry);
            self.entries.push(entry);
        }
        self.facts = facts;
        verdict
    }

    /// Log time strictly increases, whatever the wall clock does.
    fn log_time(&self, now: Timestamp) -> Timestamp {
        #[cfg(feature = "mistakes")]
        if made(Mistake::LogTimeGoesBack) {
            return now;
        }
        now.max(self.state.log_time().saturating_add(1))
    }

    /// What the mistake leaves of a batch.
    #[cfg(feature = "mistakes")]
    fn without_last_kill(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let late = made(Mistake::KillInALaterBatch) && entries.len() > 1;
        self.entries.extend(entries.pop_if(|last| late && matches!(last.fact, Fact::Killed { .. })));
        entries
    }
}
