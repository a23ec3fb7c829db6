//! One seed: a meter on a simulated disk and clock, a workload, faults, and the oracle beside it.

mod audit;
mod courier;
mod faults;
mod judge;
mod old;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use budget::Entry;
use meterd::clock::Clock;
use meterd::ledger::DataDir;
use meterd::meter::{Answer, Ask, Core, Rules, Upkeep, restore};
use pricing::Timestamp;

use crate::clocks::Clocks;
use crate::disk::SimDisk;
use crate::network::Peer;
use crate::oracle::Oracle;
use crate::prng::Prng;
use crate::tally::Tally;
use crate::translate;
use crate::words::{Act, DAY, HOUR, RunNo, SECOND, START};
use crate::workload::Workload;

/// What went wrong, for people.
pub type Fallible<T = ()> = Result<T, String>;

/// How the life of one seed is to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: u64,
}

pub struct World {
    prng: Prng,
    disk: SimDisk,
    dir: DataDir,
    clock: Clock,
    rules: Rules,
    clocks: Clocks,
    /// What the meter believes that it is.
    now: i64,
    core: Option<Core>,
    oracle: Oracle,
    workload: Workload,
    tally: Tally,
    steps: u64,
    faults: faults::Plan,
    /// Ids of events before this may be forgotten.
    forgotten_before: i64,
    segment_bytes_max: u64,
    recent_entries_max: usize,
    fresh_keys_max: usize,
    disk_is_full: bool,
    /// Each command and its answer are printed.
    trace: bool,
    peer: Peer,
    courier: Option<courier::Following>,
    delivery_entries_max: usize,
    /// When runs rest and are forgotten, and segments are packed.
    upkeep: Upkeep,
    /// When this process looks after runs next.
    look_at: Option<i64>,
    /// Runs that had a kill, for the tally.
    killed_once: BTreeSet<RunNo>,
}

/// Lives the life of one seed; what happened in it.
pub fn live(plan: Plan) -> Fallible<Tally> {
    let mut world = World::new(plan.seed)?;
    let done = world.run(plan.steps);
    let mut tally = std::mem::take(&mut world.tally);
    tally.merge(&world.disk.tally());
    tally.merge(&world.peer.tally());
    tally.add("steps", world.steps);
    tally.add("disk calls", world.disk.calls());
    tally.add("entries", world.oracle.seq);
    done.map(|()| tally).map_err(|error| format!("step {} at entry {}: {error}", world.steps, world.oracle.seq))
}

impl World {
    fn new(seed: u64) -> Fallible<Self> {
        let mut prng = Prng::new(seed);
        let disk = SimDisk::new(prng.fork());
        let dir = DataDir::on(Arc::new(disk.clone()), PathBuf::from("/data"));
        let workload = Workload::new(&mut prng);
        let faults = faults::Plan::new(&mut prng);
        let horizon = *prng.pick(&[DAY, 5 * DAY, 35 * DAY]);
        let mut some = |spans: &[i64]| Some(Duration::from_nanos(prng.pick(spans).unsigned_abs()));
        let upkeep = Upkeep {
            pack_after: some(&[HOUR, DAY]),
            forget_after: some(&[HOUR, DAY, 90 * DAY]),
            rest_after: some(&[6 * HOUR, 2 * DAY, 90 * DAY]),
            reserve_bytes: 40_000,
        };
        let mut world = Self {
            disk,
            dir,
            clock: Clock::hands(Timestamp::from_nanos(START), 1_000),
            clocks: Clocks::new(START),
            rules: Rules { queue_events_max: 65_536, dedup_horizon: Duration::from_nanos(horizon.unsigned_abs()) },
            now: START,
            core: None,
            oracle: Oracle::default(),
            workload,
            tally: Tally::default(),
            steps: 0,
            faults,
            forgotten_before: i64::MIN,
            segment_bytes_max: *prng.pick(&[2_000, 20_000, 1 << 28]),
            recent_entries_max: *prng.pick(&[1, 50, 65_536]),
            fresh_keys_max: *prng.pick(&[4, 30, 100_000]),
            disk_is_full: false,
            trace: std::env::var_os("METERD_SIM_TRACE").is_some(),
            peer: Peer::new(prng.fork()),
            courier: None,
            delivery_entries_max: *prng.pick(&[1, 7, 60]),
            upkeep,
            look_at: None,
            killed_once: BTreeSet::new(),
            prng,
        };
        world.start()?;
        Ok(world)
    }

    fn run(&mut self, steps: u64) -> Fallible {
        let opening = self.workload.opening(&mut self.prng);
        self.ask(opening)?;
        while self.steps < steps {
            let next = self.workload.tick(&mut self.prng, self.now);
            // A year off is seen within minutes; less may be believed in the end.
            if self.clocks.is_far_off() && next - self.now > SECOND {
                self.clocks.mend();
            }
            self.clocks.pass((next - self.now).max(0));
            self.look_at_clock()?;
            match self.faults.next(&mut self.prng) {
                None if self.prng.permille(self.faults.follows) => {
                    self.steps += 1;
                    self.deliver()?;
                }
                None => {
                    let acts = self.some_acts();
                    self.ask(acts)?;
                }
                Some(fault) => self.strike(fault)?,
            }
        }
        self.end()
    }

    fn some_acts(&mut self) -> Vec<Act> {
        let count = 1 + self.prng.below(6);
        let act = |_| match self.workload.next(&mut self.prng, &self.oracle, self.now) {
            // It would be too old, which is told of charges.
            Act::Settle(call) if call.time < self.forgotten_before => Act::Expire,
            act => act,
        };
        (0..count).map(act).collect()
    }

    /// Starts on what the disk holds: it must be exactly what was acknowledged, and at most the batch under way.
    fn start(&mut self) -> Fallible {
        let mut restored = restore(&self.dir).map_err(|error| format!("refuses to start: {error}"))?;
        restored.writer.limit_segments(self.segment_bytes_max);
        restored.writer.limit_room(40_000, 8_000);
        restored.writer.reader().keep_recent(self.recent_entries_max);
        restored.dedup.limit_memory(self.fresh_keys_max);
        restored.upkeep = self.upkeep;
        self.look_at = None;
        // A new process believes the wall clock that it finds.
        if self.clocks.is_far_off() {
            self.clocks.mend();
        }
        self.clock = Clock::hands(Timestamp::from_nanos(self.clocks.wall), self.clocks.boot);
        self.clocks.restart();
        self.look_at_clock()?;
        let clock = self.clock.clone();
        self.core = Some(Core::new(self.dir.clone(), restored, clock, &self.rules, Box::new(|_| {}), false));
        self.follow()
    }

    /// The meter's clock says what its hands, and their past, are worth.
    fn look_at_clock(&mut self) -> Fallible {
        self.now = self.clocks.read();
        self.clock.set(Timestamp::from_nanos(self.clocks.wall));
        self.clock.set_boot(self.clocks.boot);
        let said = self.clock.now().nanos();
        if self.clocks.is_doubted() {
            self.tally.count("looks at a clock that jumped");
        }
        if said != self.now || self.clock.health().frozen != self.clocks.is_doubted() {
            return Err(format!("the clock says {said}, expected {}", self.now));
        }
        Ok(())
    }

    fn core(&mut self) -> &mut Core {
        self.core.as_mut().expect("the meter is up")
    }

    /// Asks for everything in one batch; an error is the disk's.
    fn batch(&mut self, acts: &[Act]) -> Result<Vec<Answer>, String> {
        self.steps += acts.len() as u64;
        let asks: Vec<Ask> = acts.iter().map(|act| self.translated(act)).collect();
        self.core().batch(asks).map_err(|error| error.to_string())
    }

    fn translated(&self, act: &Act) -> Ask {
        match act {
            Act::Charge(calls) => Ask::Charges(calls.iter().map(translate::charge).collect()),
            Act::Reserve(wish) => Ask::Reserve(Box::new(translate::wish(wish))),
            Act::Settle(call) => Ask::Settle(Box::new(translate::charge(call))),
            _ => {
                let entry = |seq: u64| self.entry(seq);
                Ask::Command(Box::new(translate::command(act, entry)))
            }
        }
    }

    fn entry(&self, seq: u64) -> Entry {
        let core = self.core.as_ref().expect("the meter is up");
        core.writer().reader().entry(seq).expect("a readable ledger").expect("an entry of the past")
    }

    /// Entries after `seq` as readers see them.
    fn entries_after(&self, seq: u64) -> Fallible<Vec<Entry>> {
        let core = self.core.as_ref().expect("the meter is up");
        let mut entries = Vec::new();
        let scanned = core.writer().reader().scan(seq + 1, |entry| {
            entries.push(entry.clone());
            true
        });
        scanned.map_err(|error| format!("cannot read what was committed: {error}"))?;
        Ok(entries)
    }

    /// Asks, hears, and compares. Nothing fails here.
    fn ask(&mut self, acts: Vec<Act>) -> Fallible {
        let clock = self.now;
        let answers = self.batch(&acts)?;
        self.judge(clock, &acts, Some(&answers))?;
        self.keep_house().map_err(|(error, _)| error)?;
        self.look_around()
    }
}
