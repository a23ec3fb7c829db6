//! What the counters should say, computed anew from a plain list of charges. Shares no code with the core: windows
//! are integer divisions in zones without clock changes, sums are sums.

use std::collections::{BTreeMap, BTreeSet};

use budget::{Action, Unit, Window};

pub const HOUR: i64 = 3_600_000_000_000;

/// A budget as the test made it.
#[derive(Clone, Debug)]
pub struct Spec {
    pub team: Option<u8>,
    pub agent: Option<u8>,
    pub limits: Vec<(Unit, Window, i128)>,
    pub levels: Vec<u32>,
    pub action: Action,
    /// Agent 0 has 50 %, agent 1 has 30 %, the others 20 %.
    pub shares: bool,
    pub offset_hours: i64,
}

/// A call as booked: times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Call {
    pub run: usize,
    pub team: Option<u8>,
    pub agent: Option<u8>,
    pub logged: i64,
    pub time: i64,
    pub moved: BTreeMap<Unit, i128>,
}

/// One counter: budget, unit, window, share (`a0`, `a1`, `*`, or all), run for per-run limits.
pub type Key = (usize, Unit, Window, &'static str, Option<usize>);

#[derive(Default)]
pub struct Oracle {
    pub budgets: BTreeMap<usize, Spec>,
    pub runs: BTreeMap<usize, (Option<u8>, Option<u8>)>,
    pub booked: BTreeMap<Key, Vec<(i64, i128)>>,
    totals: BTreeMap<(usize, Unit), i128>,
    /// What was reported: counter, level (0 = the hard limit), last instant of the window.
    marks: BTreeSet<(Key, u32, i64)>,
}

/// What a call should set off.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub warned: BTreeSet<(Key, u32)>,
    pub reached: BTreeSet<Key>,
    pub used_up: bool,
}

pub fn span(window: Window, offset_hours: i64, at: i64) -> (i64, i64) {
    let size = match window {
        Window::Hour | Window::Rolling24h => HOUR,
        Window::Day => 24 * HOUR,
        Window::Run => return (i64::MIN, i64::MAX),
        Window::Week | Window::Month => panic!("not in the oracle"),
    };
    let start = (at + offset_hours * HOUR).div_euclid(size) * size - offset_hours * HOUR;
    if window == Window::Rolling24h { (start - 23 * HOUR, start + HOUR) } else { (start, start + size) }
}

/// The shares of a budget that count calls of an agent, and their caps.
pub fn shares(spec: &Spec, agent: Option<u8>, limit: i128) -> Vec<(&'static str, i128)> {
    let mut all = vec![("", limit)];
    if spec.shares {
        all.push(match agent {
            Some(0) => ("a0", limit / 2),
            Some(1) => ("a1", limit * 3 / 10),
            _ => ("*", limit / 5),
        });
    }
    all
}

fn matches(spec: &Spec, team: Option<u8>, agent: Option<u8>) -> bool {
    (spec.team.is_none() || spec.team == team) && (spec.agent.is_none() || spec.agent == agent)
}

impl Oracle {
    /// The sum of a counter over a window.
    pub fn sum(&self, key: &Key, (start, end): (i64, i64)) -> i128 {
        let list = self.booked.get(key).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter(|(time, _)| (start..end).contains(time)).map(|(_, delta)| delta).sum()
    }

    /// The sum of a counter in the window that runs at `now`.
    pub fn now(&self, key: &Key, now: i64) -> i128 {
        if let (_, unit, Window::Run, "", Some(run)) = key
            && self.bound(key.0, *run)
        {
            return self.totals.get(&(*run, *unit)).copied().unwrap_or(0);
        }
        self.sum(key, span(key.2, self.budgets[&key.0].offset_hours, now))
    }

    /// Does a budget bind the run itself?
    pub fn bound(&self, budget: usize, run: usize) -> bool {
        let (team, agent) = self.runs[&run];
        matches(&self.budgets[&budget], team, agent)
    }

    /// A budget comes, changes or goes: counters of limits that are no longer there are forgotten.
    pub fn put(&mut self, budget: usize, spec: Option<Spec>) {
        self.booked.retain(|key, _| {
            let kept = |spec: &Spec| {
                spec.limits.iter().any(|(unit, window, _)| (*unit, *window) == (key.1, key.2))
                    && (key.3.is_empty() || spec.shares)
            };
            key.0 != budget || spec.as_ref().is_some_and(kept)
        });
        match spec {
            Some(spec) => self.budgets.insert(budget, spec),
            None => self.budgets.remove(&budget),
        };
    }

    /// Books the difference to a call, as the call was booked: its team and agent are final, its time is in its windows.
    pub fn adjust(&mut self, call: Call) -> Expected {
        for (unit, delta) in &call.moved {
            *self.totals.entry((call.run, *unit)).or_default() += delta;
        }
        self.book(&call, call.time, true)
    }

    /// Books a call, filling in its team and agent, and says what it should set off.
    pub fn charge(&mut self, call: &mut Call) -> Expected {
        let run = self.runs.entry(call.run).or_default();
        run.0 = run.0.or(call.team);
        run.1 = run.1.or(call.agent);
        call.team = call.team.or(run.0);
        call.agent = call.agent.or(run.1);
        for (unit, delta) in &call.moved {
            *self.totals.entry((call.run, *unit)).or_default() += delta;
        }
        self.book(call, call.time.min(call.logged + HOUR), false)
    }

    fn book(&mut self, call: &Call, time: i64, adjusts: bool) -> Expected {
        let mut expected = Expected::default();
        for (budget, spec) in self.budgets.clone() {
            let for_call = matches(&spec, call.team, call.agent);
            for (unit, window, limit) in &spec.limits {
                let per_run = *window == Window::Run;
                if !(for_call || per_run && self.bound(budget, call.run)) {
                    continue;
                }
                for (share, cap) in shares(&spec, call.agent, *limit) {
                    let key = (budget, *unit, *window, share, per_run.then_some(call.run));
                    let delta = call.moved.get(unit).copied().unwrap_or(0);
                    self.booked.entry(key).or_default().push((time, delta));
                    self.judge(&spec, key, cap, delta, time, call.logged, adjusts, &mut expected);
                }
            }
        }
        expected
    }

    #[expect(clippy::too_many_arguments, reason = "one counter, one call")]
    fn judge(
        &mut self,
        spec: &Spec,
        key: Key,
        cap: i128,
        delta: i128,
        time: i64,
        now: i64,
        adjusts: bool,
        expected: &mut Expected,
    ) {
        let window = span(key.2, spec.offset_hours, time.max(now));
        let whole = self.now(&key, now);
        let sum = if key.2 == Window::Run { whole } else { self.sum(&key, window) };
        let on_time = (window.0..window.1).contains(&time);
        if on_time && delta > 0 {
            for level in &spec.levels {
                // sum ÷ cap ≥ level ÷ 100, without a fraction.
                if sum * 100 >= cap * i128::from(*level) && self.mark(key, *level, window) {
                    expected.warned.insert((key, *level));
                }
            }
            if sum >= cap && self.mark(key, u32::MAX, window) {
                expected.reached.insert(key);
            }
        }
        let used_up = |sum: i128| sum >= cap && sum > 0;
        // A call is stopped by whatever stands above its limit, a difference only by what it moves itself.
        let stops = if adjusts { on_time && delta > 0 && used_up(sum) } else { used_up(sum) || used_up(whole) };
        expected.used_up |= spec.action == Action::Terminate && stops;
    }

    /// Notes a report; false when it, or a higher level, was reported in this window.
    fn mark(&mut self, key: Key, level: u32, (start, end): (i64, i64)) -> bool {
        let known = self.marks.iter().any(|(other, seen, at)| {
            let covers = if level == u32::MAX { *seen == level } else { *seen >= level && *seen != u32::MAX };
            *other == key && covers && (start..end).contains(at)
        });
        if !known {
            self.marks.insert((key, level, end - 1));
        }
        !known
    }
}
