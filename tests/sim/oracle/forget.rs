//! Runs that leave: what ended or rested long ago and has nothing open goes, the leaves of a tree first, and a run of its name
//! that comes later is another one. What it cost stays where it counted.

use super::{Expected, Oracle, Run};
use crate::words::{BudgetId, RunNo, Seen};
use budget::Unit;

const UNITS: [Unit; 4] = [Unit::Usd, Unit::Tokens, Unit::ToolCalls, Unit::ModelCalls];

/// What runs that are gone had used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone([i128; UNITS.len()]);

impl Gone {
    pub fn unit(&self, unit: Unit) -> i128 {
        UNITS.iter().zip(self.0).find(|(one, _)| **one == unit).map_or(0, |(_, sum)| sum)
    }
}

impl Oracle {
    /// Two commands of the meter's own, each in an instant of its own.
    pub(super) fn look_after_runs(&mut self, clock: i64, rest: i64, before: i64) -> Expected {
        let mut seen = Vec::new();
        let idle = |run: &Run| run.live() && run.rested.is_none() && run.named < rest;
        let runs = self.quiet(idle);
        if !runs.is_empty() {
            let now = self.now(clock);
            runs.iter().for_each(|run| self.runs.get_mut(run).unwrap().rested = Some(now));
            seen.push(Seen::Rested { runs });
            self.advance(now, 1);
        }
        let old = |run: &Run| if run.live() { run.rested } else { run.ended }.is_some_and(|at| at < before);
        let mut runs = self.quiet(old);
        let parents: Vec<RunNo> = self.runs.values().filter_map(|run| run.parent).collect();
        runs.retain(|run| !parents.contains(run));
        if !runs.is_empty() {
            let now = self.now(clock);
            runs.iter().for_each(|run| self.forget(*run));
            seen.push(Seen::Forgotten { runs });
            self.advance(now, 1);
        }
        Expected { said: Vec::new(), seen }
    }

    /// An entry of `at` names a run, wakes it, or ends it.
    pub fn note(&mut self, seen: &Seen, at: i64) {
        let number = match seen {
            Seen::Opened { run }
            | Seen::Ended { run, .. }
            | Seen::Charged { run, .. }
            | Seen::Warned { run, .. }
            | Seen::Reached { run, .. }
            | Seen::Killed { run, .. }
            | Seen::WindDown { run, .. }
            | Seen::Reserved { run, .. } => *run,
            Seen::Fenced { kill, .. } => self.kills[kill].run,
            Seen::Adjusted { of, .. } => self.papers[of].run,
            Seen::Resolved { id, .. } => self.holds[id].run,
            _ => return,
        };
        let run = self.runs.get_mut(&number).unwrap();
        (run.named, run.rested) = (at, None);
        if matches!(seen, Seen::Ended { .. }) {
            run.ended = Some(at);
        }
    }

    /// Runs of a kind that have nothing open, in the order of their first entries.
    fn quiet(&self, kind: impl Fn(&Run) -> bool) -> Vec<RunNo> {
        let open = |number: RunNo, run: &Run| {
            let kill = run.kill.or(run.winding).and_then(|kill| self.kills.get(&kill));
            let held = self.holds.values().any(|hold| hold.run == number && hold.counts());
            kill.is_some_and(|kill| !kill.confirmed) || run.unpriced > 0 || held
        };
        let quiet = self.runs.iter().filter(|(number, run)| kind(run) && !open(**number, run));
        let mut runs: Vec<(u64, RunNo)> = quiet.map(|(number, run)| (run.born, *number)).collect();
        runs.sort_unstable();
        runs.into_iter().map(|(_, number)| number).collect()
    }

    fn forget(&mut self, number: RunNo) {
        let totals = UNITS.map(|unit| self.tree_total(number, unit));
        let run = self.runs.remove(&number).unwrap();
        if let Some(above) = run.parent.and_then(|parent| self.runs.get_mut(&parent)) {
            above.gone.0.iter_mut().zip(totals).for_each(|(sum, more)| *sum += more);
        }
        for kill in run.kill.iter().chain(&run.winding) {
            self.kills.remove(kill);
        }
        self.counters.forget_run(number);
        self.counters.specs.remove(&BudgetId::Own(number));
        self.holds.values_mut().filter(|hold| hold.run == number).for_each(|hold| hold.gone = true);
        self.papers.values_mut().filter(|paper| paper.run == number).for_each(|paper| paper.gone = true);
        self.forgotten.insert(number);
    }
}
