//! Counters: sums in buckets, what was reported about them, and what binds a call. Written from the rules, not from the core.
//!
//! Nothing is ever forgotten here: a sum is looked up by window, however old.

use std::collections::BTreeMap;

use budget::{Action, Unit, Window};

use super::windows::{Span, bucket, span};
use crate::words::{BudgetId, Key, RunNo, Share, Spec};

/// Sums of one bucket and what was reported about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    pub spent: i128,
    /// The highest soft level reported, in parts per million.
    pub warned: u32,
    pub reached: bool,
}

pub type Buckets = BTreeMap<i64, Bucket>;

/// A counter that binds a call.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub key: Key,
    pub cap: i128,
    /// A limit of a run that counts everything the run did.
    pub whole_run: bool,
}

/// Whom a call, or a run, is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    pub team: Option<u8>,
    pub agent: Option<u8>,
}

impl Who {
    pub fn filled_from(self, other: Self) -> Self {
        Self { team: self.team.or(other.team), agent: self.agent.or(other.agent) }
    }
}

pub fn matches(spec: &Spec, who: Who) -> bool {
    (spec.team.is_none() || spec.team == who.team) && (spec.agent.is_none() || spec.agent == who.agent)
}

/// The shares of a limit that count calls of an agent, with what each may use, rounded down.
pub fn shares(spec: &Spec, agent: Option<u8>, limit: i128) -> Vec<(Share, i128)> {
    let mut all = vec![(Share::Whole, limit)];
    if spec.shares {
        all.push(match agent {
            Some(0) => (Share::Agent(0), limit * 5 / 10),
            Some(1) => (Share::Agent(1), limit * 3 / 10),
            _ => (Share::Rest, limit * 2 / 10),
        });
    }
    all
}

/// The first whole amount at which so many millionths of `cap` are used.
pub fn level_from(level: u32, cap: i128) -> i128 {
    let product = cap * i128::from(level);
    product / 1_000_000 + i128::from(product % 1_000_000 != 0)
}

/// The limits and every counter.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub specs: BTreeMap<BudgetId, Spec>,
    counters: BTreeMap<Key, Buckets>,
    /// Rises with each change of a budget that is not a run's own.
    pub changes: u64,
}

impl Counters {
    /// The counters that bind a call of `call` in `run`, which is for `subject` itself; those of the budgets that the runs
    /// above it carry are among them.
    pub fn bound(&self, run: RunNo, above: &[RunNo], inherit: bool, subject: Who, call: Who) -> Vec<Bound> {
        let mut all = Vec::new();
        for (id, spec) in &self.specs {
            let own = match id {
                BudgetId::Own(of) if *of == run || above.contains(of) => Some(*of),
                BudgetId::Own(_) => continue,
                _ => None,
            };
            let for_run = own.is_some() || matches(spec, subject);
            let for_call = own.is_some() || matches(spec, call);
            let inherited = inherit || !matches!(id, BudgetId::Agent(_));
            for (unit, window, limit) in &spec.limits {
                let per_run = *window == Window::Run;
                if !(if per_run { inherited && (for_run || for_call) } else { for_call }) {
                    continue;
                }
                for (share, cap) in shares(spec, call.agent, *limit) {
                    let key = Key {
                        budget: *id,
                        unit: *unit,
                        window: *window,
                        share,
                        run: per_run.then_some(own.unwrap_or(run)),
                    };
                    all.push(Bound { key, cap, whole_run: per_run && for_run });
                }
            }
        }
        all
    }

    pub fn zone(&self, key: &Key) -> i64 {
        self.specs.get(&key.budget).map_or(0, |spec| spec.zone_hours)
    }

    pub fn terminates(&self, key: &Key) -> bool {
        self.specs.get(&key.budget).is_some_and(|spec| spec.action == Action::Terminate)
    }

    /// What a counter holds over a window.
    pub fn held_in(&self, key: &Key, (start, end): Span) -> Bucket {
        let mut all = Bucket::default();
        for (_, one) in self.counters.get(key).into_iter().flat_map(|buckets| buckets.range(start..end)) {
            all.spent += one.spent;
            all.warned = all.warned.max(one.warned);
            all.reached |= one.reached;
        }
        all
    }

    pub fn window(&self, key: &Key, at: i64) -> Span {
        span(key.window, self.zone(key), at)
    }

    pub fn add(&mut self, key: Key, at: i64, delta: i128) {
        let start = bucket(key.window, self.zone(&key), at);
        self.counters.entry(key).or_default().entry(start).or_default().spent += delta;
    }

    /// The sum of a run's limit is what the run did, also where the limit came later.
    pub fn set(&mut self, key: Key, spent: i128) {
        self.counters.entry(key).or_default().entry(0).or_default().spent = spent;
    }

    /// Notes a report in the newest bucket of its window.
    pub fn note(&mut self, key: Key, window: Span, note: impl FnOnce(&mut Bucket)) {
        let newest = if key.window == Window::Run { 0 } else { window.1 - 1 };
        let start = bucket(key.window, self.zone(&key), newest);
        note(self.counters.entry(key).or_default().entry(start).or_default());
    }

    /// A budget comes, changes or goes. Counters of limits that are no longer there are forgotten; those that stay keep
    /// their sums, and what lies above them now will be reported again.
    pub fn put(&mut self, id: BudgetId, spec: Option<Spec>, now: i64) {
        self.counters
            .retain(|key, _| key.budget != id || spec.as_ref().is_some_and(|spec| cap_of(spec, key).is_some()));
        match spec {
            Some(spec) => self.specs.insert(id, spec),
            None => self.specs.remove(&id),
        };
        let own = matches!(id, BudgetId::Own(_));
        self.changes += u64::from(!own);
        // Limits of a run follow when the run is named next, but for its own, which are changed with it.
        let keys: Vec<Key> = self.counters.keys().filter(|key| key.budget == id).copied().collect();
        keys.into_iter().filter(|key| own || key.window != Window::Run).for_each(|key| self.rearm(key, now));
    }

    /// A run is gone, and what counted it alone.
    pub fn forget_run(&mut self, run: RunNo) {
        self.counters.retain(|key, _| key.run != Some(run));
    }

    /// A run is named: the counters of its limits follow the budgets as they are.
    pub fn follow(&mut self, run: RunNo) {
        let keys: Vec<Key> = self.counters.keys().filter(|key| key.run == Some(run)).copied().collect();
        keys.into_iter().filter(|key| !matches!(key.budget, BudgetId::Own(_))).for_each(|key| self.rearm(key, 0));
    }

    fn rearm(&mut self, key: Key, now: i64) {
        let Some(spec) = self.specs.get(&key.budget) else { return };
        let Some(cap) = cap_of(spec, &key) else { return };
        let levels = spec.levels.clone();
        let rolling = (key.window == Window::Rolling24h).then(|| self.held_in(&key, self.window(&key, now)));
        for one in self.counters.entry(key).or_default().values_mut() {
            // The hours of a rolling day are judged together.
            let (warned, reached) = rearmed(rolling.as_ref().unwrap_or(one), &levels, cap);
            one.warned = one.warned.min(warned);
            one.reached &= reached;
        }
    }
}

/// What still counts as reported under a changed cap.
pub fn rearmed(held: &Bucket, levels: &[u32], cap: i128) -> (u32, bool) {
    let still = levels.iter().filter(|level| **level <= held.warned && level_from(**level, cap) <= held.spent);
    (still.max().copied().unwrap_or(0), held.reached && held.spent >= cap)
}

/// What a counter may use; `None` where the budget has no such limit.
pub fn cap_of(spec: &Spec, key: &Key) -> Option<i128> {
    let (.., limit) = spec.limits.iter().find(|(unit, window, _)| (*unit, *window) == (key.unit, key.window))?;
    match (key.share, spec.shares) {
        (Share::Whole, _) => Some(*limit),
        (_, false) => None,
        (Share::Agent(0), true) => Some(*limit * 5 / 10),
        (Share::Agent(1), true) => Some(*limit * 3 / 10),
        (Share::Rest, true) => Some(*limit * 2 / 10),
        (Share::Agent(_), true) => None,
    }
}

/// What a call adds to a counter of each unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    pub cost: i128,
    pub tokens: u64,
    /// Of an estimate that no longer counts.
    pub fewer: u64,
    pub tool_calls: u64,
    pub fewer_tool_calls: u64,
    pub model_calls: u64,
}

impl Moved {
    pub fn unit(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.cost,
            Unit::Tokens => i128::from(self.tokens) - i128::from(self.fewer),
            Unit::ToolCalls => i128::from(self.tool_calls) - i128::from(self.fewer_tool_calls),
            Unit::ModelCalls => i128::from(self.model_calls),
        }
    }
}

impl Counters {
    /// Lets a run's counters follow, if budgets have changed since it was named last.
    pub fn follow_if(&mut self, bound_at: Option<u64>, run: RunNo) {
        if bound_at.is_some_and(|bound_at| bound_at != self.changes) {
            self.follow(run);
        }
    }
}
