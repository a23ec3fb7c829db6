//! Runs, kills and budgets: opening, ending, fencing, acknowledging, applying.

use std::collections::BTreeSet;

use budget::entry::Phase;
use budget::signal::Proof;
use budget::{Action, Window};

use super::counters::{Who, cap_of, matches, shares};
use super::{Gone, Oracle, Run};
use crate::words::{BudgetId, Key, RunNo, Said, Seen, Share, Spec};

type Outcome = (Said, Vec<Seen>);

impl Oracle {
    pub(super) fn new_run(&self, now: i64, who: Who, parent: Option<RunNo>, inherit: bool) -> Run {
        Run {
            who,
            parent,
            inherit,
            phase: Phase::Pending,
            cost: 0,
            tokens: 0,
            model_calls: 0,
            tool_calls: 0,
            approvals: 0,
            unpriced: 0,
            ended_at: None,
            revision: 0,
            kill: None,
            winding: None,
            calls_after_fence: 0,
            cost_after_fence: 0,
            born: self.seq + 1,
            named: now,
            ended: None,
            rested: None,
            gone: Gone::default(),
            bound_at: self.counters.changes,
            own_generation: 0,
        }
    }

    pub(super) fn open(
        &mut self,
        now: i64,
        number: RunNo,
        who: Who,
        parent: Option<RunNo>,
        inherit: bool,
        own: Option<&Spec>,
    ) -> Outcome {
        let id = BudgetId::Own(number);
        let Some(run) = self.runs.get(&number) else {
            let mut run = self.new_run(now, who, parent, inherit);
            run.own_generation = u64::from(own.is_some());
            self.runs.insert(number, run);
            if let Some(own) = own {
                self.counters.put(id, Some(own.clone()), now);
            }
            return (Said::Done, vec![Seen::Opened { run: number }]);
        };
        if !run.live() {
            return (Said::AlreadyEnded(run.phase), Vec::new());
        }
        let filled = who.filled_from(run.who);
        let own = own.filter(|own| self.counters.specs.get(&id) != Some(own));
        let linked = parent.is_some() && run.parent.is_none();
        if own.is_none() && !linked && filled == run.who && inherit == run.inherit {
            return (Said::Unchanged, Vec::new());
        }
        let mut seen = vec![Seen::Opened { run: number }];
        let run = self.runs.get_mut(&number).unwrap();
        if let (Some(own), true) = (own, run.kill.is_none()) {
            // Judged with the budget as it will be and the run as it was.
            let before = run.clone();
            self.counters.put(id, Some(own.clone()), now);
            if own.action == Action::Terminate && before.winding.is_none() && self.over(now, id, own, number, &before) {
                seen.extend(self.decided(now, number, before.cost, own));
            }
        } else if let Some(own) = own {
            self.counters.put(id, Some(own.clone()), now);
        }
        let run = self.runs.get_mut(&number).unwrap();
        run.who = filled;
        run.inherit = inherit;
        run.own_generation += u64::from(own.is_some());
        run.parent = run.parent.or(parent);
        self.hold_again(|oracle, run| oracle.is_below(run, number));
        self.touch(number);
        (Said::Done, seen)
    }

    pub(super) fn end(&mut self, number: RunNo, phase: Phase) -> Outcome {
        let Some(run) = self.runs.get_mut(&number) else { return (Said::UnknownRun, Vec::new()) };
        if !run.live() {
            let said = if run.phase == phase { Said::Unchanged } else { Said::AlreadyEnded(run.phase) };
            return (said, Vec::new());
        }
        run.phase = phase;
        let mut seen = vec![Seen::Ended { run: number, phase }];
        if let Some(kill) = run.kill.or(run.winding)
            && let Some(open) = self.kills.get_mut(&kill).filter(|kill| !kill.confirmed)
        {
            open.confirmed = true;
            seen.push(Seen::Confirmed { kill, proof: Proof::PhaseTerminal });
        }
        (Said::Done, seen)
    }

    pub(super) fn kill(&mut self, number: RunNo) -> Outcome {
        match self.runs.get(&number) {
            None => (Said::UnknownRun, Vec::new()),
            Some(run) if run.kill.is_some() => (Said::Fenced { run: number }, Vec::new()),
            Some(run) if !run.live() => (Said::AlreadyEnded(run.phase), Vec::new()),
            // An operator waits for no turn.
            Some(run) if run.winding.is_some() => {
                let (kill, cost) = (run.winding.unwrap(), run.cost);
                (Said::Fenced { run: number }, vec![Seen::Fenced { kill, cost }])
            }
            Some(run) => {
                let cost = run.cost;
                (Said::Fenced { run: number }, vec![self.fence(number, cost)])
            }
        }
    }

    pub(super) fn ack(&mut self, run: RunNo, kill: u64) -> Outcome {
        match self.kills.get_mut(&kill) {
            Some(known) if known.run == run && known.acked => (Said::Unchanged, Vec::new()),
            Some(known) if known.run == run => {
                known.acked = true;
                (Said::Done, vec![Seen::Acked { kill }])
            }
            _ => (Said::UnknownKill, Vec::new()),
        }
    }

    pub(super) fn sent(&mut self, kill: u64, taken: bool) -> Outcome {
        match self.kills.get_mut(&kill) {
            None => (Said::UnknownKill, Vec::new()),
            Some(known) => {
                known.sent |= taken && !known.confirmed && known.fence.is_some();
                (Said::Done, vec![Seen::Sent { kill, taken }])
            }
        }
    }

    pub(super) fn confirm(&mut self, kill: u64, proof: Proof) -> Outcome {
        match self.kills.get_mut(&kill) {
            None => (Said::UnknownKill, Vec::new()),
            Some(known) if known.confirmed => (Said::Unchanged, Vec::new()),
            Some(known) => {
                known.confirmed = true;
                let mut seen = vec![Seen::Confirmed { kill, proof }];
                let (number, run) = (known.run, self.runs.get_mut(&known.run).unwrap());
                if run.live() && proof == Proof::ProcessGone {
                    run.phase = Phase::Cancelled;
                    seen.push(Seen::Ended { run: number, phase: Phase::Cancelled });
                }
                (Said::Done, seen)
            }
        }
    }

    pub(super) fn apply(&mut self, now: i64, id: BudgetId, spec: &Spec) -> Outcome {
        if self.counters.specs.get(&id) == Some(spec) {
            return (Said::Unchanged, Vec::new());
        }
        let generation = self.generations.get(&id).copied().unwrap_or(0) + 1;
        self.generations.insert(id, generation);
        let before = self.concerned(id);
        let same = self.counters.specs.get(&id).is_some_and(|old| same_shape(old, spec));
        self.counters.put(id, Some(spec.clone()), now);
        let after = self.concerned(id);
        if !same {
            self.hold_again(|_, run| before.contains(&run) || after.contains(&run));
        }
        let mut seen = vec![Seen::Applied { budget: id, generation }];
        if spec.action == Action::Terminate {
            let live: Vec<(RunNo, Run)> = self
                .runs
                .iter()
                .filter(|(_, run)| run.live() && run.kill.is_none() && run.winding.is_none())
                .map(|(n, run)| (*n, run.clone()))
                .collect();
            for (number, run) in live.into_iter().filter(|(_, run)| matches(spec, run.who)) {
                if self.over(now, id, spec, number, &run) {
                    seen.extend(self.decided(now, number, run.cost, spec));
                }
            }
        }
        (Said::Done, seen)
    }

    pub(super) fn remove(&mut self, now: i64, id: BudgetId) -> Outcome {
        if !self.counters.specs.contains_key(&id) {
            return (Said::Unchanged, Vec::new());
        }
        self.generations.remove(&id);
        let before = self.concerned(id);
        self.counters.put(id, None, now);
        self.hold_again(|_, run| before.contains(&run));
        (Said::Done, vec![Seen::Removed { budget: id }])
    }

    /// Runs with holds that a budget binds, for the run or for the call.
    fn concerned(&self, id: BudgetId) -> BTreeSet<RunNo> {
        let Some(spec) = self.counters.specs.get(&id) else { return BTreeSet::new() };
        let binds = |(run, call): &(RunNo, Option<Who>)| {
            matches(spec, self.runs[run].who) || call.is_some_and(|call| matches(spec, call))
        };
        self.holding_runs().filter(binds).map(|(run, _)| run).collect()
    }

    pub fn generation(&self, id: BudgetId) -> u64 {
        self.generations.get(&id).copied().unwrap_or(0)
    }

    /// An operator fences a run from here on; the number of its kill is learnt from the entry.
    fn fence(&mut self, run: RunNo, cost: i128) -> Seen {
        self.fresh.push(run);
        Seen::Killed { run, cost, by_operator: true }
    }

    /// A budget kills a run: at once, or after a last turn, and by a plan if it has one.
    pub(super) fn decided(&mut self, now: i64, run: RunNo, cost: i128, by: &Spec) -> Vec<Seen> {
        self.fresh.push(run);
        let mut seen = vec![match by.turn {
            None => Seen::Killed { run, cost, by_operator: false },
            Some((allowance, grace_ms)) => {
                let until = now + grace_ms.cast_signed() * 1_000_000;
                Seen::WindDown { run, cost, allowance, until }
            }
        }];
        seen.extend(by.plan.then_some(Seen::Planned));
        seen
    }

    pub(super) fn end_turn(&mut self, kill: u64) -> Outcome {
        match self.kills.get(&kill) {
            None => (Said::UnknownKill, Vec::new()),
            Some(known) if known.fence.is_some() || known.confirmed => (Said::Unchanged, Vec::new()),
            Some(known) => (Said::Done, vec![Seen::Fenced { kill, cost: self.runs[&known.run].cost }]),
        }
    }

    /// Has a run a kill already?
    pub(super) fn is_killed(&self, run: RunNo) -> bool {
        let killed = |run: &Run| run.kill.is_some() || run.winding.is_some();
        self.fresh.contains(&run) || self.runs.get(&run).is_some_and(killed)
    }

    /// Is a limit of this budget used up for a run?
    fn over(&self, now: i64, id: BudgetId, spec: &Spec, number: RunNo, run: &Run) -> bool {
        spec.limits.iter().any(|(unit, window, limit)| {
            let per_run = *window == Window::Run;
            if per_run && matches!(id, BudgetId::Agent(_)) && !run.inherit {
                return false;
            }
            shares(spec, run.who.agent, *limit).into_iter().any(|(share, _)| {
                let key = Key { budget: id, unit: *unit, window: *window, share, run: per_run.then_some(number) };
                let spent = if let BudgetId::Own(of) = id {
                    self.tree_total(of, *unit)
                } else if per_run && share == Share::Whole {
                    run.total(*unit)
                } else {
                    self.counters.held_in(&key, self.counters.window(&key, now)).spent
                };
                cap_of(spec, &key).is_some_and(|cap| spent >= cap && spent > 0)
            })
        })
    }
}

/// The same counters for the same calls: only amounts, levels or the action differ.
fn same_shape(old: &Spec, new: &Spec) -> bool {
    let kinds = |spec: &Spec| spec.limits.iter().map(|(unit, window, _)| (*unit, *window)).collect::<BTreeSet<_>>();
    kinds(old) == kinds(new) && old.shares == new.shares && old.unpriced == new.unpriced
}
