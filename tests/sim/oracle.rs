//! The oracle: what every answer and every fact must be, from a plain list of what happened. Shares no rule with the core;
//! takes from it only the names of units, windows, actions and phases.
//!
//! It is told of a command only once it is known to be durable, so it never has to take anything back.

mod charge;
pub mod counters;
mod cover;
mod estimate;
mod forget;
mod hold;
mod run;
pub mod windows;

use std::collections::{BTreeMap, BTreeSet};

use budget::entry::Phase;

use self::counters::{Bound, Bucket, Counters, Who, rearmed};
pub use self::cover::Cover;
use self::forget::Gone;
pub use self::hold::Hold;
use self::windows::Span;
use crate::words::{Act, BudgetId, Kind, RunNo, Said, Seen, Share};
use budget::Window;

/// A run.
#[derive(Clone, Debug)]
pub struct Run {
    pub who: Who,
    pub parent: Option<RunNo>,
    pub inherit: bool,
    pub phase: Phase,
    pub cost: i128,
    pub tokens: u64,
    pub model_calls: u64,
    pub tool_calls: u64,
    pub approvals: u64,
    pub unpriced: u64,
    /// When it ended, and how many entries came to its sum since.
    pub ended_at: Option<i64>,
    pub revision: u64,
    pub kill: Option<u64>,
    /// The kill that follows its last turn.
    pub winding: Option<u64>,
    pub calls_after_fence: u64,
    pub cost_after_fence: i128,
    /// The entry that opened it; log times of the newest entry that named it, of its end, and since when it rests.
    pub born: u64,
    named: i64,
    ended: Option<i64>,
    pub rested: Option<i64>,
    /// What runs below it had used that were forgotten.
    pub gone: Gone,
    /// How often budgets had changed when it was named last.
    bound_at: u64,
    own_generation: u64,
}

/// A kill by the entry that decided it.
#[derive(Clone, Debug)]
pub struct Kill {
    pub run: RunNo,
    pub sent: bool,
    pub acked: bool,
    pub confirmed: bool,
    /// The entry that fenced the run.
    pub fence: Option<u64>,
    /// What the run had cost, and what its turn may cost beyond.
    cost: i128,
    turn: Option<i128>,
    /// When the turn is over.
    until: i64,
}

/// A charge as booked, with the price that it has now.
#[derive(Clone, Debug)]
pub struct Paper {
    pub run: RunNo,
    pub who: Who,
    /// The time that picked its windows.
    pub time: i64,
    pub price: Option<i128>,
    /// It has no price; what its estimate had stands for it.
    pub open: bool,
    pub table: Option<u8>,
    /// Its run was forgotten.
    pub gone: bool,
    pub tokens: u64,
    pub kind: Kind,
    pub source: u8,
}

/// The first of an id.
#[derive(Clone, Copy, Debug)]
pub struct First {
    pub seq: u64,
    pub body: u64,
    /// The later of the event's own time and the log's.
    pub at: i64,
}

/// What must be answered, and which facts must follow, kills without their numbers.
#[derive(Debug)]
pub struct Expected {
    /// One for each call of a charge, else one.
    pub said: Vec<Said>,
    pub seen: Vec<Seen>,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub seq: u64,
    pub log_time: i64,
    pub runs: BTreeMap<RunNo, Run>,
    pub kills: BTreeMap<u64, Kill>,
    pub papers: BTreeMap<u64, Paper>,
    pub unpriced: BTreeSet<u64>,
    pub by_id: BTreeMap<u64, First>,
    pub by_response: BTreeMap<u64, First>,
    /// Earlier entries of responses that were forgotten and booked again. An index that was lost knows them again.
    pub booked_before: BTreeMap<u64, BTreeSet<u64>>,
    pub counters: Counters,
    pub holds: BTreeMap<u64, Hold>,
    /// What stands for the prices that are missing, by entry.
    pub covers: BTreeMap<u64, Cover>,
    /// Charges that are estimates, and ids of events that took the place of one.
    estimates: BTreeSet<u64>,
    pub superseding: BTreeSet<u64>,
    /// Names of runs that were forgotten.
    pub forgotten: BTreeSet<RunNo>,
    generations: BTreeMap<BudgetId, u64>,
    /// Kills decided by the command at hand: their numbers are read from the entries.
    fresh: Vec<RunNo>,
}

impl Oracle {
    /// What a command must bring about at `clock`. The kills that it decides are numbered by [`Self::learn`] afterwards.
    pub fn follow(&mut self, clock: i64, act: &Act) -> Expected {
        match act {
            Act::Charge(calls) => {
                let mut all = Expected { said: Vec::new(), seen: Vec::new() };
                for call in calls {
                    let now = self.now(clock);
                    let (said, seen) = self.charge(now, call);
                    self.advance(now, seen.len());
                    all.said.push(said);
                    all.seen.extend(seen);
                }
                all
            }
            Act::Reserve(wish) => self.reserve(clock, wish),
            Act::Settle(call) => self.settle(clock, call),
            Act::Forget { rest, before } => self.look_after_runs(clock, *rest, *before),
            _ => {
                let now = self.now(clock);
                let (said, seen) = self.command(now, act);
                for (at, seen) in (now..).zip(&seen) {
                    if let Seen::Ended { run, .. } = seen {
                        self.runs.get_mut(run).unwrap().ended_at = Some(at);
                    }
                }
                self.advance(now, seen.len());
                Expected { said: vec![said], seen }
            }
        }
    }

    /// A kill's entry, and with a turn what that may cost.
    pub fn learn(&mut self, run: RunNo, kill: u64, cost: i128, turn: Option<(i128, i64)>) -> Result<(), String> {
        let place = self.fresh.iter().position(|fresh| *fresh == run);
        self.fresh.remove(place.ok_or_else(|| format!("run {run} was not to be killed by kill-{kill}"))?);
        let fence = turn.is_none().then_some(kill);
        let until = turn.map_or(0, |(_, until)| until);
        let (sent, acked, confirmed, allowance) = (false, false, false, turn.map(|(allowance, _)| allowance));
        self.kills.insert(kill, Kill { run, sent, acked, confirmed, fence, cost, turn: allowance, until });
        let run = self.runs.get_mut(&run).ok_or("an unknown run was killed")?;
        *(if turn.is_none() { &mut run.kill } else { &mut run.winding }) = Some(kill);
        Ok(())
    }

    /// The entry that ends a turn.
    pub fn learn_fence(&mut self, kill: u64, seq: u64) -> Result<(), String> {
        let known = self.kills.get_mut(&kill).ok_or("the turn of an unknown kill")?;
        known.fence = Some(seq);
        let run = self.runs.get_mut(&known.run).ok_or("an unknown run was fenced")?;
        (run.kill, run.winding) = (Some(kill), None);
        Ok(())
    }

    /// What is left to a run of its last turn at `now`, and whether its time is over.
    pub fn turn_left(&self, run: &Run, now: i64) -> Option<(i128, bool)> {
        let kill = &self.kills[&run.winding?];
        Some(((kill.turn? - (run.cost - kill.cost)).max(0), now >= kill.until))
    }

    /// Log time strictly increases, whatever the clock does.
    pub fn now(&self, clock: i64) -> i64 {
        clock.max(self.log_time + 1)
    }

    fn advance(&mut self, now: i64, facts: usize) {
        if facts > 0 {
            self.seq += facts as u64;
            self.log_time = now + i64::try_from(facts).unwrap() - 1;
        }
    }

    fn command(&mut self, now: i64, act: &Act) -> (Said, Vec<Seen>) {
        match act {
            Act::Charge(_) | Act::Reserve(_) | Act::Settle(_) | Act::Forget { .. } => unreachable!("taken elsewhere"),
            Act::Release { id } => self.release(*id),
            Act::Extend { id, ttl_ms } => self.extend(now, *id, *ttl_ms),
            Act::Expire => self.expire(now),
            Act::Open { run, team, agent, parent, inherit, own } => {
                let who = Who { team: *team, agent: *agent };
                self.open(now, *run, who, *parent, *inherit, own.as_ref())
            }
            Act::End { run, phase } => self.end(*run, *phase),
            Act::Kill { run } => self.kill(*run),
            Act::Fence { kill } => self.end_turn(*kill),
            Act::Ack { run, kill } => self.ack(*run, *kill),
            Act::Sent { kill, taken } => self.sent(*kill, *taken),
            Act::Confirm { kill, proof } => self.confirm(*kill, *proof),
            Act::Apply { budget, spec } => self.apply(now, *budget, spec),
            Act::Remove { budget } => self.remove(now, *budget),
            Act::Price { of, price, table } => self.price(now, *of, *price, *table),
        }
    }

    /// The window and the figures of a counter that binds a run, for a call dated `time`; and does it count there?
    pub fn figures(&self, bound: &Bound, run: RunNo, time: i64, now: i64) -> (Span, Bucket, bool) {
        let key = &bound.key;
        let known = self.runs.get(&run);
        if key.window == Window::Run {
            let mut held = self.counters.held_in(key, (i64::MIN, i64::MAX));
            if bound.whole_run && key.share == Share::Whole {
                held.spent = match key.budget {
                    // What a run carries itself counts all that is below it.
                    BudgetId::Own(of) => self.tree_total(of, key.unit),
                    _ => known.map_or(0, |known| known.total(key.unit)),
                };
            }
            let changed = known.is_some_and(|known| known.bound_at != self.counters.changes);
            if changed && !matches!(key.budget, BudgetId::Own(_)) {
                let levels = &self.counters.specs[&key.budget].levels;
                (held.warned, held.reached) = rearmed(&held, levels, bound.cap);
            }
            return ((i64::MIN, i64::MAX), held, true);
        }
        let window = self.counters.window(key, time.max(now));
        (window, self.counters.held_in(key, window), (window.0..window.1).contains(&time))
    }

    /// Every counter that binds a run which makes no call.
    pub fn bound_to(&self, number: RunNo) -> Vec<Bound> {
        let Some(run) = self.runs.get(&number) else { return Vec::new() };
        self.bound(number, run.inherit, run.who, run.who)
    }

    pub fn bound(&self, number: RunNo, inherit: bool, subject: Who, call: Who) -> Vec<Bound> {
        self.counters.bound(number, &self.above(number), inherit, subject, call)
    }

    /// The runs above a run, nearest first.
    fn above(&self, number: RunNo) -> Vec<RunNo> {
        let up = |number: &RunNo| self.runs.get(number)?.parent.filter(|parent| self.runs.contains_key(parent));
        std::iter::successors(up(&number), up).collect()
    }

    pub fn is_below(&self, number: RunNo, root: RunNo) -> bool {
        number == root || self.above(number).contains(&root)
    }

    /// What a run and everything below it did.
    pub fn tree_total(&self, root: RunNo, unit: budget::Unit) -> i128 {
        self.runs
            .iter()
            .filter(|(number, _)| self.is_below(**number, root))
            .map(|(_, run)| run.total(unit) + run.gone.unit(unit))
            .sum()
    }

    /// A counter's sum at `now`, for a run if it is a run's limit.
    pub fn sum_now(&self, bound: &Bound, run: RunNo, now: i64) -> i128 {
        self.figures(bound, run, now, now).1.spent
    }

    /// Own cost and that of every run below.
    pub fn subtree(&self, of: RunNo) -> i128 {
        self.tree_total(of, budget::Unit::Usd)
    }

    fn touch(&mut self, number: RunNo) {
        self.counters.follow_if(self.runs.get(&number).map(|run| run.bound_at), number);
        if let Some(run) = self.runs.get_mut(&number) {
            run.bound_at = self.counters.changes;
        }
    }
}

impl Run {
    pub fn live(&self) -> bool {
        !matches!(self.phase, Phase::Succeeded | Phase::Failed | Phase::Cancelled)
    }

    pub fn total(&self, unit: budget::Unit) -> i128 {
        match unit {
            budget::Unit::Usd => self.cost,
            budget::Unit::Tokens => i128::from(self.tokens),
            budget::Unit::ToolCalls => i128::from(self.tool_calls),
            budget::Unit::ModelCalls => i128::from(self.model_calls),
        }
    }
}
