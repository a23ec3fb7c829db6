//! Charges and prices that arrive later: seen before? which counters move, who is told, who is stopped.

use budget::Window;

use super::counters::{Bound, Moved, Who, level_from, matches};
use super::{First, Oracle, Paper};
use crate::words::{BudgetId, Call, HOUR, Key, Kind, RunNo, Said, Seen, Share};

/// A call dated further ahead of the log than this counts as dated so far ahead.
const AHEAD_MAX: i64 = HOUR;

/// A call, or the difference to one, as it moves the counters.
struct Booking {
    run: RunNo,
    /// Whom the call is for, and whom the run is for once the call is booked.
    call: Who,
    subject: Who,
    time: i64,
    now: i64,
    moved: Moved,
    /// A difference triggers only what it moves itself.
    adjusts: bool,
}

impl Oracle {
    pub(super) fn charge(&mut self, now: i64, call: &Call) -> (Said, Vec<Seen>) {
        if let Some(known) = self.known_call(now, call) {
            return known;
        }
        let mut seen = Vec::new();
        let said = Who { team: call.team, agent: call.agent };
        let new = !self.runs.contains_key(&call.run);
        if new {
            seen.push(Seen::Opened { run: call.run });
            let run = self.new_run(now, said, call.parent, true);
            self.runs.insert(call.run, run);
        }
        let seq = self.seq + seen.len() as u64 + 1;
        let run = self.runs.get(&call.run).unwrap();
        let who = said.filled_from(run.who);
        let subject = run.who.filled_from(said);
        let claimed = call.claim.and_then(|(id, _)| self.claimed_at(id, call.run));
        let time = claimed.unwrap_or(call.time).min(now + AHEAD_MAX);
        let moved = Moved {
            cost: call.price.unwrap_or(0),
            tokens: call.tokens,
            fewer: 0,
            fewer_tool_calls: 0,
            tool_calls: if let Kind::Tool(calls) = call.kind { calls } else { 0 },
            model_calls: u64::from(call.kind == Kind::Model),
        };
        let held = self.ceiling_of(call, subject, who);
        let (team, agent, price) = (who.team, who.agent, call.price);
        seen.push(Seen::Charged { id: call.id, run: call.run, team, agent, price, held });
        let booking = Booking { run: call.run, call: who, subject, time, now, moved, adjusts: false };
        let mut fenced = run.kill.is_some();
        let stopped = self.book(&booking, &mut seen);
        fenced |= stopped;
        self.learn_subject(call.run, subject);
        self.note_call(call);
        self.cover(seq, call, who, time, held);
        if let (Some((id, last)), Some(_)) = (call.claim, claimed) {
            self.take_off(seq, id, &moved, last);
        } else if let Some((id, true)) = call.claim {
            self.settled_late(seq, id, call.run);
        }
        if call.estimated {
            self.estimates.insert(seq);
        }
        let (table, source) = (price.map(|_| 0), call.source);
        let (open, tokens, kind) = (price.is_none(), call.tokens, call.kind);
        let paper = Paper { run: call.run, who, time, price, open, table, gone: false, tokens, kind, source };
        self.papers.insert(seq, paper);
        if call.price.is_none() {
            self.unpriced.insert(seq);
        }
        // The charge's own log time: the opening came one instant before it.
        let at = (now + i64::from(new)).max(call.time);
        let first = First { seq, body: call.body, at };
        self.by_id.insert(call.id, first);
        if let Some(response) = call.response {
            self.by_response.entry(response).or_insert(first);
        }
        (Said::Accepted { seq, fenced }, seen)
    }

    pub(super) fn price(&mut self, now: i64, of: u64, price: i128, table: u8) -> (Said, Vec<Seen>) {
        let paper = self.papers[&of].clone();
        if paper.gone {
            return (Said::UnknownRun, Vec::new());
        }
        if !paper.open && (paper.price == Some(price) || paper.table == Some(table)) {
            return (Said::Unchanged, Vec::new());
        }
        let moved = Moved { cost: price - paper.price.unwrap_or(0), ..Moved::default() };
        let (fenced, seen) = self.correct(now, of, Some(price), moved, None);
        self.papers.get_mut(&of).unwrap().table = Some(table);
        (Said::Priced { price, fenced }, seen)
    }

    /// Books the difference to a charge, which costs `price` now; is its run fenced? `by`: the call that supersedes it.
    pub(super) fn correct(
        &mut self,
        now: i64,
        of: u64,
        price: Option<i128>,
        moved: Moved,
        by: Option<&Call>,
    ) -> (bool, Vec<Seen>) {
        let paper = self.papers[&of].clone();
        let delta = moved.cost;
        let opens = !paper.open && price.is_none();
        let held = by.filter(|_| opens).and_then(|call| self.ceiling_beside(call, &paper));
        let mut seen = vec![Seen::Adjusted { of, delta, supersedes: by.is_some(), held }];
        let run = &self.runs[&paper.run];
        let booking =
            Booking { run: paper.run, call: paper.who, subject: run.who, time: paper.time, now, moved, adjusts: true };
        let fenced = run.kill.is_some();
        let fence = run.kill.and_then(|kill| self.kills[&kill].fence);
        let after_fence = fence.is_some_and(|fence| of > fence);
        let stopped = self.book(&booking, &mut seen);
        let run = self.runs.get_mut(&paper.run).unwrap();
        run.revision += u64::from(!run.live());
        run.cost += delta;
        run.tokens = run.tokens + moved.tokens - moved.fewer;
        if after_fence {
            run.cost_after_fence += delta;
        }
        run.tool_calls = run.tool_calls + moved.tool_calls - moved.fewer_tool_calls;
        run.unpriced = run.unpriced + u64::from(opens) - u64::from(paper.open && price.is_some());
        if paper.open && price.is_some() {
            self.uncover(of, delta);
            self.unpriced.remove(&of);
        } else if opens {
            self.cover_beside(of, &paper, held);
            self.unpriced.insert(of);
        }
        let paper = self.papers.get_mut(&of).unwrap();
        (paper.price, paper.open) = (price.or(paper.price), price.is_none());
        (fenced || stopped, seen)
    }

    /// The run's own totals.
    fn note_call(&mut self, call: &Call) {
        let run = self.runs.get_mut(&call.run).unwrap();
        run.parent = run.parent.or(call.parent);
        if run.phase == budget::entry::Phase::Pending {
            run.phase = budget::entry::Phase::Running;
        }
        run.revision += u64::from(!run.live());
        run.cost += call.price.unwrap_or(0);
        run.tokens += call.tokens;
        match call.kind {
            Kind::Model => run.model_calls += 1,
            Kind::Tool(calls) => run.tool_calls += calls,
            Kind::Approval => run.approvals += 1,
        }
        run.unpriced += u64::from(call.price.is_none());
        if run.kill.is_some() {
            run.calls_after_fence += 1;
            run.cost_after_fence += call.price.unwrap_or(0);
        }
    }

    /// Moves every counter that binds, tells what must be told, and says whether the run itself is stopped by it.
    fn book(&mut self, booking: &Booking, seen: &mut Vec<Seen>) -> bool {
        let Booking { run: number, now, time, .. } = *booking;
        let run = self.runs[&number].clone();
        let bound = self.bound(number, run.inherit, booking.subject, booking.call);
        let mut stops: Option<BudgetId> = None;
        let (mut exhausted, mut trees): (Vec<Key>, Vec<RunNo>) = Default::default();
        let mut notes = Vec::new();
        for one in &bound {
            let (window, held, counts) = self.figures(one, number, time, now);
            let delta = booking.moved.unit(one.key.unit);
            let spent = held.spent + if counts { delta } else { 0 };
            let used_up = |spent: i128| spent >= one.cap && spent > 0;
            if counts && delta > 0 {
                let spec = &self.counters.specs[&one.key.budget];
                for level in spec.levels.iter().filter(|level| **level > held.warned) {
                    if spent >= level_from(*level, one.cap) {
                        seen.push(Seen::Warned { run: number, key: one.key, level: *level, spent, limit: one.cap });
                        notes.push((one.key, window, Some(*level)));
                    }
                }
                if used_up(spent) && !held.reached {
                    seen.push(Seen::Reached { run: number, key: one.key, spent, limit: one.cap });
                    notes.push((one.key, window, None));
                    if one.key.window != Window::Run && self.counters.terminates(&one.key) {
                        exhausted.push(one.key);
                    }
                }
            }
            if self.counters.terminates(&one.key) {
                // A call is stopped by whatever stands above its limit, a difference only by what it moves itself.
                let triggers = used_up(spent) && (!booking.adjusts || (counts && delta > 0));
                if triggers {
                    stops.get_or_insert(one.key.budget);
                }
                if let (BudgetId::Own(root), true) = (one.key.budget, triggers) {
                    trees.push(root);
                }
                if !booking.adjusts && time > now && used_up(self.figures(one, number, now, now).1.spent) {
                    stops.get_or_insert(one.key.budget);
                }
            }
        }
        let cost = run.cost + booking.moved.cost;
        let turn = run.winding.map(|kill| (kill, &self.kills[&kill]));
        let used_up = turn
            .filter(|(_, kill)| !kill.confirmed && kill.turn.is_some_and(|allowance| cost - kill.cost >= allowance))
            .map(|(kill, _)| kill);
        let mut stopped = false;
        if let Some(kill) = used_up {
            seen.push(Seen::Fenced { kill, cost });
            stopped = true;
        } else if let Some(by) = stops.filter(|_| run.live() && !self.is_killed(number)) {
            let by = self.counters.specs[&by].clone();
            seen.extend(self.decided(now, number, cost, &by));
            stopped = by.turn.is_none();
        }
        self.stop_sharers(now, number, &exhausted, seen);
        self.stop_trees(now, number, &trees, seen);
        self.move_all(booking, &bound);
        for (key, window, level) in notes {
            self.counters.note(key, window, |bucket| match level {
                Some(level) => bucket.warned = bucket.warned.max(level),
                None => bucket.reached = true,
            });
        }
        stopped
    }

    /// A shared limit is used up: every live run that it binds stops.
    fn stop_sharers(&mut self, now: i64, but: RunNo, exhausted: &[Key], seen: &mut Vec<Seen>) {
        for key in exhausted {
            let spec = self.counters.specs[&key.budget].clone();
            let binds = |who: Who| {
                matches(&spec, who)
                    && match key.share {
                        Share::Whole => true,
                        Share::Agent(agent) => who.agent == Some(agent),
                        Share::Rest => !matches!(who.agent, Some(0 | 1)),
                    }
            };
            let sharers: Vec<(RunNo, i128)> = self
                .runs
                .iter()
                .filter(|(n, run)| **n != but && run.live() && binds(run.who))
                .map(|(n, run)| (*n, run.cost))
                .collect();
            for (number, cost) in sharers {
                let own = matches!(key.budget, BudgetId::Own(_));
                if !own && !self.is_killed(number) {
                    seen.extend(self.decided(now, number, cost, &spec));
                }
            }
        }
    }

    /// What a run carries itself is used up: it ends with everything below it.
    fn stop_trees(&mut self, now: i64, but: RunNo, roots: &[RunNo], seen: &mut Vec<Seen>) {
        for root in roots {
            let live = self.runs.iter().filter(|(number, run)| **number != but && run.live());
            let below: Vec<(RunNo, i128)> = live
                .filter(|(number, _)| self.is_below(**number, *root))
                .map(|(number, run)| (*number, run.cost))
                .collect();
            for (number, cost) in below {
                if !self.is_killed(number) {
                    let spec = self.counters.specs[&BudgetId::Own(*root)].clone();
                    seen.extend(self.decided(now, number, cost, &spec));
                }
            }
        }
    }

    fn move_all(&mut self, booking: &Booking, bound: &[Bound]) {
        self.touch(booking.run);
        let run = self.runs[&booking.run].clone();
        for one in bound {
            let delta = booking.moved.unit(one.key.unit);
            if one.whole_run && one.key.share == Share::Whole {
                let before = match one.key.budget {
                    BudgetId::Own(of) => self.tree_total(of, one.key.unit),
                    _ => run.total(one.key.unit),
                };
                self.counters.set(one.key, before + delta);
            } else {
                self.counters.add(one.key, booking.time, delta);
            }
        }
    }
}
