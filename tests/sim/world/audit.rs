//! What must hold whenever one looks: sums, fences, denials, the kill outbox; and the whole ledger, entry by entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use budget::decide::Denial;
use budget::policy::OnUnpriced;
use budget::reservation::Standing;
use budget::signal::CounterAt;
use budget::state::Execution;
use budget::{Action, Fact, State, allowance};
use meterd::resource::{SETTLE_GRACE, execution_document};
use pricing::Timestamp;

use super::{Fallible, World};
use crate::oracle::counters::Bound;
use crate::oracle::{Hold, Run};
use crate::translate::{held, key, kill_of, reservation_of, run_of, run_ref};
use crate::words::{Held, Key, RunNo};

fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Fallible {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

impl World {
    /// A quick look after a batch: shared counters and one run.
    pub(super) fn look_around(&mut self) -> Fallible {
        if self.oracle.runs.is_empty() || self.prng.permille(600) {
            return Ok(());
        }
        let place = self.prng.index(self.oracle.runs.len());
        let run = *self.oracle.runs.keys().nth(place).unwrap();
        self.check_counters()?;
        self.check_run(run)
    }

    /// Everything; the whole ledger is read again now and then, and at the end.
    pub(super) fn audit(&mut self, whole_ledger: bool) -> Fallible {
        self.tally.count("audits");
        self.check_counters()?;
        let runs: Vec<RunNo> = self.oracle.runs.keys().copied().collect();
        let found: BTreeSet<RunNo> = self.state().executions().map(|run| run_of(&run.id)).collect();
        same("runs", found, runs.iter().copied().collect())?;
        runs.into_iter().try_for_each(|run| self.check_run(run))?;
        self.check_kills()?;
        self.check_holds()?;
        let unpriced: Vec<u64> = self.state().quarantine(0).map(|(seq, _)| seq).collect();
        same("charges without a price", unpriced, self.oracle.unpriced.iter().copied().collect())?;
        same("newest entry", self.state().seq(), self.oracle.seq)?;
        if whole_ledger || self.prng.permille(200) { self.check_ledger() } else { Ok(()) }
    }

    fn state(&self) -> &State {
        self.core.as_ref().expect("the meter is up").state()
    }

    fn now_of_log(&self) -> Timestamp {
        Timestamp::from_nanos(self.oracle.now(self.now))
    }

    /// spent = Σ for every shared counter, in the window that runs.
    fn check_counters(&self) -> Fallible {
        let now = self.now_of_log();
        for at in self.state().counters(now) {
            let key = key(&at, 0);
            let window = self.oracle.counters.window(&key, now.nanos());
            let span = (at.span.start.nanos(), at.span.end.map_or(i64::MAX, Timestamp::nanos));
            same("window", span, window)?;
            same("generation", at.generation, self.oracle.generation(key.budget))?;
            let held = self.oracle.counters.held_in(&key, window);
            if at.spent != held.spent {
                return Err(format!("counter says {}, its charges {}: {at:?}", at.spent, held.spent));
            }
            let expected = self.oracle.held_on(&key, now.nanos());
            if at.held != expected {
                return Err(format!("counter holds {}, expected {expected}: {at:?}", at.held));
            }
        }
        Ok(())
    }

    fn check_run(&self, number: RunNo) -> Fallible {
        let run = &self.oracle.runs[&number];
        let found = self.state().execution(&run_ref(number)).ok_or_else(|| format!("run {number} is not known"))?;
        self.check_figures(number, run, found).map_err(|error| format!("run {number}: {error}"))?;
        self.check_allowance(number, run).map_err(|error| format!("run {number}: {error}"))
    }

    fn check_figures(&self, number: RunNo, run: &Run, found: &Execution) -> Fallible {
        same("phase", found.phase, run.phase)?;
        same("cost", found.cost.scaled(), run.cost)?;
        same("subtree cost", found.subtree_cost.scaled(), self.oracle.subtree(number))?;
        let calls = (found.model_calls, found.tool_calls, found.approvals);
        same("calls", calls, (run.model_calls, run.tool_calls, run.approvals))?;
        same("tokens", found.tokens.total(), i128::from(run.tokens))?;
        same("calls without a price", found.unpriced_calls, run.unpriced)?;
        same("revision", found.revision, run.revision)?;
        self.check_final(number, run, found)?;
        same("kill", found.kill.as_deref().map(kill_of), run.kill)?;
        same("parent", found.parent.as_ref().map(run_of), run.parent)?;
        let after = (found.calls_after_fence, found.cost_after_fence.scaled());
        same("after the fence", after, (run.calls_after_fence, run.cost_after_fence))
    }

    /// The cost is final once the run is over, nothing of it is reserved or without a price, and the settle grace has passed.
    fn check_final(&self, number: RunNo, run: &Run, found: &Execution) -> Fallible {
        let now = self.now_of_log();
        let document = execution_document(found, now).to_json();
        let says = document.contains(r#""type":"CostFinal","status":"True""#);
        let open = self.oracle.holds.values().any(|hold| hold.run == number && hold.standing == Standing::Held);
        let grace = i64::try_from(SETTLE_GRACE.as_nanos()).unwrap();
        let over = run.ended_at.is_some_and(|ended| now.nanos() >= ended + grace);
        same("the cost is final", says, over && !open && run.unpriced == 0)
    }

    /// A fence denies, a denial names a counter without headroom, and every counter that binds says its sum.
    fn check_allowance(&self, number: RunNo, run: &Run) -> Fallible {
        let now = self.now_of_log();
        let allowance = allowance(self.state(), now, &run_ref(number)).ok_or("no allowance")?;
        let bound = self.oracle.bound_to(number);
        let sum = |bound| self.oracle.sum_now(bound, number, now.nanos());
        let held = |bound: &Bound| self.oracle.held_on(&bound.key, now.nanos());
        let expected: BTreeMap<_, _> =
            bound.iter().map(|bound| (bound.key, (bound.cap, sum(bound), held(bound)))).collect();
        let found: BTreeMap<_, _> =
            allowance.counters.iter().map(|at| (key(at, number), (at.limit, at.spent, at.held))).collect();
        same("counters that bind", found, expected)?;
        let full = |at: &CounterAt| at.spent + at.held >= at.limit;
        let turn = run.winding.filter(|_| run.kill.is_none() && run.live());
        let left = self.oracle.turn_left(run, now.nanos()).filter(|_| turn.is_some());
        if let (Some(kill), Some((0, _) | (_, true))) = (turn, left) {
            let by = if let Some(Denial::Fenced(by)) = &allowance.denial { Some(kill_of(by)) } else { None };
            return same("denial once a turn is over", by, Some(kill));
        }
        // In the last turn its allowance is the limit that counts, for the budgets that grant one.
        let spec = |key: Key| &self.oracle.counters.specs[&key.budget];
        let counts = |key: Key| left.is_none() || !spec(key).grants_a_turn();
        let denies = |at: &CounterAt| counts(key(at, number)) && spec(key(at, number)).action >= Action::Deny;
        let strict = |bound: &Bound| counts(bound.key) && spec(bound.key).unpriced == OnUnpriced::Deny;
        let unpriced = run.unpriced > 0 && bound.iter().any(strict);
        match (run.kill, run.live(), &allowance.denial) {
            (Some(kill), _, Some(Denial::Fenced(by))) if kill_of(by) == kill => Ok(()),
            (None, false, Some(Denial::Ended(phase))) if *phase == run.phase => Ok(()),
            (None, true, Some(Denial::Limit(at))) if full(at) && denies(at) => Ok(()),
            (None, true, Some(Denial::Unpriced(_))) if unpriced => Ok(()),
            (None, true, None) if !unpriced && !allowance.counters.iter().any(|at| full(at) && denies(at)) => Ok(()),
            (kill, live, denial) => Err(format!("denial {denial:?} with kill {kill:?}, live: {live}")),
        }
    }

    fn check_kills(&self) -> Fallible {
        let state = self.state();
        let ids: Vec<u64> = state.kills().map(|kill| kill_of(&kill.id)).collect();
        same("kill outbox", ids, self.oracle.kills.keys().copied().collect())?;
        for kill in state.kills() {
            let known = &self.oracle.kills[&kill_of(&kill.id)];
            same("killed run", run_of(&kill.execution), known.run)?;
            same("kill is acknowledged", kill.acked_at.is_some(), known.acked)?;
            same("kill was sent", kill.sent_at.is_some(), known.sent)?;
            same("kill is closed", kill.confirmed_at.is_some(), known.confirmed)?;
            same("kill's state is closed", kill.state.is_closed(), known.confirmed)?;
        }
        Ok(())
    }

    /// Each reservation stands where the oracle says, and holds what is left of it.
    fn check_holds(&self) -> Fallible {
        let left = |hold: &Hold| match hold.standing {
            Standing::Held => hold.held,
            _ if hold.unpriced > 0 => Held { usd: hold.held.usd, ..Held::default() },
            _ => Held::default(),
        };
        let stands = |hold: &Hold| (hold.standing, left(hold));
        let expected: BTreeMap<u64, _> = self.oracle.holds.iter().map(|(id, hold)| (*id, stands(hold))).collect();
        let found: BTreeMap<u64, _> =
            self.state().reservations().map(|one| (reservation_of(&one.id), (one.standing, held(&one.held)))).collect();
        same("reservations", found, expected)
    }

    /// Every acknowledged id is there exactly once, in the order of the log; a fold of the whole log is the live state.
    fn check_ledger(&self) -> Fallible {
        let entries = self.entries_after(0)?;
        same("entries", entries.len() as u64, self.oracle.seq)?;
        let mut folded = State::default();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for (seq, entry) in (1..).zip(&entries) {
            same("sequence", entry.seq, seq)?;
            folded.apply(entry);
            if let Fact::Charged(charge) = &entry.fact {
                *times.entry(charge.event_id[1..].parse().unwrap()).or_default() += 1;
            }
        }
        if let Some((id, times)) = times.iter().find(|(_, times)| **times != 1) {
            return Err(format!("event {id} is booked {times} times"));
        }
        let own = self.oracle.by_id.keys().filter(|id| !self.oracle.superseding.contains(id));
        same("booked ids", times.into_keys().collect::<Vec<_>>(), own.copied().collect())?;
        if folded == *self.state() { Ok(()) } else { Err("the state is not the fold of the ledger".to_owned()) }
    }
}
