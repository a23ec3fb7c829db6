//! Runs, kills and budgets: opening, ending, fencing, acknowledging, applying.

use budget::entry::Phase;
use budget::signal::Proof;
use budget::{Action, Window};

use super::counters::{Who, cap_of, matches, shares};
use super::{Oracle, Run};
use crate::words::{BudgetId, Key, RunNo, Said, Seen, Share, Spec};

type Outcome = (Said, Vec<Seen>);

impl Oracle {
    pub(super) fn new_run(&self, who: Who, parent: Option<RunNo>, inherit: bool) -> Run {
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
            kill: None,
            calls_after_fence: 0,
            cost_after_fence: 0,
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
            let mut run = self.new_run(who, parent, inherit);
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
            if own.action == Action::Terminate && self.over(now, id, own, number, &before) {
                seen.push(self.fence(number, before.cost, false));
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
        if let Some(kill) = run.kill
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
            Some(run) => {
                let cost = run.cost;
                (Said::Fenced { run: number }, vec![self.fence(number, cost, true)])
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
                known.sent |= taken && !known.confirmed;
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
        self.counters.put(id, Some(spec.clone()), now);
        self.hold_again(|_, _| true);
        let mut seen = vec![Seen::Applied { budget: id, generation }];
        if spec.action == Action::Terminate {
            let live: Vec<(RunNo, Run)> = self
                .runs
                .iter()
                .filter(|(_, run)| run.live() && run.kill.is_none())
                .map(|(n, run)| (*n, run.clone()))
                .collect();
            for (number, run) in live.into_iter().filter(|(_, run)| matches(spec, run.who)) {
                if self.over(now, id, spec, number, &run) {
                    seen.push(self.fence(number, run.cost, false));
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
        self.counters.put(id, None, now);
        self.hold_again(|_, _| true);
        (Said::Done, vec![Seen::Removed { budget: id }])
    }

    pub fn generation(&self, id: BudgetId) -> u64 {
        self.generations.get(&id).copied().unwrap_or(0)
    }

    /// A run is fenced from here on; the number of its kill is learnt from the entry.
    pub(super) fn fence(&mut self, run: RunNo, cost: i128, by_operator: bool) -> Seen {
        self.fresh.push(run);
        Seen::Killed { run, cost, by_operator }
    }

    pub(super) fn is_fenced(&self, run: RunNo) -> bool {
        self.fresh.contains(&run) || self.runs.get(&run).is_some_and(|run| run.kill.is_some())
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
