//! Compares what was answered and written with what the oracle says, command by command.

use budget::decide::Denial;
use budget::reservation::Standing;
use budget::signal::Cause;
use budget::{AdjustReason, Entry, Fact, Verdict};
use meterd::meter::{Answer, Booked};

use super::{Fallible, World};
use crate::translate::{kill_of, run_of, seen};
use crate::words::{Act, Said, Seen};

impl World {
    /// The batch is durable: its entries, and its answers if they were told, are as the oracle says.
    pub(super) fn judge(&mut self, clock: i64, acts: &[Act], answers: Option<&[Answer]>) -> Fallible {
        let entries = self.entries_after(self.oracle.seq)?;
        let mut rest = entries.as_slice();
        for (number, act) in acts.iter().enumerate() {
            let answer = answers.map(|answers| &answers[number]);
            if answer == Some(&Answer::NoRoom) {
                self.check_no_room(act)?;
                continue;
            }
            for (act, answer) in one_by_one(act, answer)? {
                if self.is_forgotten(&act, answer.as_ref(), rest)? {
                    self.tally.count("answer: too old");
                    continue;
                }
                rest = self
                    .judge_one(clock, &act, answer.as_ref(), rest)
                    .map_err(|error| format!("{error}\nof {act:?}"))?;
            }
        }
        match rest {
            [] => Ok(()),
            [more, ..] => Err(format!("an entry that nobody asked for: {more:?}\nafter {acts:?}")),
        }
    }

    /// Only a full disk refuses, and only new work: what ends or settles something has room set aside.
    fn check_no_room(&mut self, act: &Act) -> Fallible {
        let new =
            matches!(act, Act::Charge(_) | Act::Open { .. } | Act::Apply { .. } | Act::Price { .. } | Act::Reserve(_));
        if !self.disk_is_full || !new {
            return Err(format!("no room for {act:?}, with a full disk: {}", self.disk_is_full));
        }
        self.tally.count("answer: no room");
        Ok(())
    }

    fn judge_one<'a>(
        &mut self,
        clock: i64,
        act: &Act,
        answer: Option<&Answer>,
        entries: &'a [Entry],
    ) -> Fallible<&'a [Entry]> {
        if self.trace {
            eprintln!("at {clock}, entry {}: {act:?}\n    {answer:?}", self.oracle.seq + 1);
        }
        let (first, before) = (self.oracle.seq + 1, self.oracle.log_time);
        let mut expected = self.oracle.follow(clock, act);
        let (own, rest) = entries.split_at(expected.seen.len().min(entries.len()));
        let mut found: Vec<Seen> = own.iter().map(|entry| seen(&entry.fact)).collect();
        found.sort();
        expected.seen.sort();
        if found != expected.seen {
            let only = |these: &[Seen], those: &[Seen]| {
                these.iter().filter(|one| !those.contains(one)).map(|one| format!("\n    {one:?}")).collect::<String>()
            };
            return Err(format!(
                "other entries than expected\n  missing:{}\n  found instead:{}\n  then: {:?}",
                only(&expected.seen, &found),
                only(&found, &expected.seen),
                rest.first().map(|entry| &entry.fact)
            ));
        }
        self.check_order(clock, first, before, own)?;
        for entry in own {
            let word = seen(&entry.fact);
            self.count_fact(&word);
            self.oracle.note(&word, entry.at.nanos());
        }
        if let Some(answer) = answer {
            self.answer(act, answer, &expected.said)?;
        }
        self.count_answers(&expected.said);
        Ok(rest)
    }

    /// Sequence numbers have no gap, log time only rises, kills are named after their entries and have a cause.
    fn check_order(&mut self, clock: i64, first: u64, before: i64, entries: &[Entry]) -> Fallible {
        let mut at = before;
        for (seq, entry) in (first..).zip(entries) {
            if entry.seq != seq {
                return Err(format!("entry {} where {seq} must be", entry.seq));
            }
            if entry.at.nanos() <= at || entry.at.nanos() < clock {
                return Err(format!("log time goes back: entry {seq} at {}", entry.at));
            }
            at = entry.at.nanos();
            let (kill, execution, cause, cost, turn) = match &entry.fact {
                Fact::Killed { kill, execution, cause, cost } => (kill, execution, cause, cost, None),
                Fact::WindDown { kill, execution, cause, cost, turn } => {
                    (kill, execution, cause, cost, Some((turn.allowance.scaled(), turn.until.nanos())))
                }
                Fact::Fenced { kill, .. } => {
                    self.oracle.learn_fence(kill_of(kill), seq)?;
                    continue;
                }
                _ => continue,
            };
            if kill_of(kill) != seq {
                return Err(format!("{kill} is decided by entry {seq}"));
            }
            self.oracle.learn(run_of(execution), seq, cost.scaled(), turn)?;
            if let Cause::Budget(counter) = cause
                && (counter.spent < counter.limit || counter.spent == 0)
            {
                return Err(format!("{kill} names a counter that has headroom: {counter:?}"));
            }
        }
        let expected = self.oracle.log_time;
        if at == expected { Ok(()) } else { Err(format!("log time is {at}, expected {expected}")) }
    }

    fn answer(&mut self, act: &Act, answer: &Answer, expected: &[Said]) -> Fallible {
        let said: Vec<Said> = match answer {
            Answer::Charges(booked) => booked.iter().filter_map(booked_said).collect(),
            Answer::Command(verdict) => vec![self.verdict_said(act, verdict)?],
            Answer::Reserve(held) => vec![self.verdict_said(act, &held.verdict)?],
            Answer::Settle(None) => vec![Said::UnknownReservation],
            Answer::Settle(Some(settled)) => booked_said(&settled.booked).into_iter().collect(),
            Answer::NoRoom => return Err("no room, in the middle of a request".to_owned()),
        };
        if said == expected { Ok(()) } else { Err(format!("answered {said:?}, expected {expected:?}")) }
    }

    fn verdict_said(&self, act: &Act, verdict: &Verdict) -> Fallible<Said> {
        Ok(match verdict {
            Verdict::Done => Said::Done,
            Verdict::Unchanged => Said::Unchanged,
            Verdict::Booked { cost: Some(cost), fenced } => Said::Priced { price: cost.scaled(), fenced: *fenced },
            Verdict::Killed { kill } => {
                let Act::Kill { run } = act else { return Err(format!("answered {verdict:?}")) };
                let known = self.oracle.runs.get(run).and_then(|run| run.kill);
                if known != Some(kill_of(kill)) {
                    return Err(format!("answered {kill}, but run {run} is fenced by {known:?}"));
                }
                Said::Fenced { run: *run }
            }
            Verdict::Granted { expires_at, standing, .. } => {
                // Of a resolved one it is the moment of that.
                let until = if *standing == Standing::Held { expires_at.nanos() } else { 0 };
                Said::Granted { until, standing: *standing }
            }
            Verdict::Refused { denial, again, .. } => {
                if let (Denial::Limit(at), Act::Reserve(wish), false) = (&**denial, act, *again)
                    && at.spent + at.held + wish.held.unit(at.unit).max(1) <= at.limit
                {
                    return Err(format!("refused by a counter that has headroom: {at:?}"));
                }
                Said::Refused
            }
            Verdict::ReservationConflict => Said::ReservationConflict,
            Verdict::UnknownReservation => Said::UnknownReservation,
            Verdict::AlreadyResolved(standing) => Said::AlreadyResolved(*standing),
            Verdict::UnknownExecution => Said::UnknownRun,
            Verdict::UnknownKill => Said::UnknownKill,
            Verdict::AlreadyEnded(phase) => Said::AlreadyEnded(*phase),
            other => return Err(format!("answered {other:?}")),
        })
    }

    /// Is this a call that is refused because ids of its time may be forgotten? Then nothing more is said of it. An id that is
    /// in the ledger is never booked again, however old; a response of so long ago may be.
    fn is_forgotten(&mut self, act: &Act, answer: Option<&Answer>, entries: &[Entry]) -> Fallible<bool> {
        let Act::Charge(calls) = act else { return Ok(false) };
        let [call] = calls.as_slice() else { return Ok(false) };
        let before = self.forgotten_before;
        let booked = entries.iter().take(2).any(|entry| is_charge_of(entry, call.id));
        // A response that is forgotten is no reason any more: the call is new, or its reservation tells what it is.
        let other = |first: u64| match answer {
            Some(Answer::Charges(answers)) => {
                answers.iter().any(|answer| matches!(answer, Booked::Duplicate { seq } if *seq != first))
            }
            _ => false,
        };
        if let Some(response) = call.response
            && !self.oracle.by_id.contains_key(&call.id)
            && let Some(first) = self.oracle.by_response.get(&response)
            && first.at < before
            && (booked || other(first.seq))
        {
            self.oracle.booked_before.entry(response).or_default().insert(first.seq);
            self.oracle.by_response.remove(&response);
        }
        let known_again = call.response.and_then(|response| self.oracle.booked_before.get(&response));
        let refused = match answer {
            Some(Answer::Charges(answers))
                if let [Booked::Duplicate { seq }] = &answers[..]
                    && known_again.is_some_and(|before| before.contains(seq)) =>
            {
                return Ok(true);
            }
            None if known_again.is_some() && entries.is_empty() => return Ok(true),
            Some(Answer::Charges(answers)) => answers.iter().all(|answer| match answer {
                Booked::TooOld => true,
                // Its own id is forgotten or was never known, and its response was told of since: it moves nothing.
                Booked::Duplicate { seq } => {
                    let first = call.response.and_then(|response| self.oracle.by_response.get(&response));
                    let own = self.oracle.by_id.get(&call.id);
                    call.time < before
                        && own.is_none_or(|own| own.at < before && (own.seq != *seq || own.body != call.body))
                        && first.is_some_and(|first| first.seq == *seq)
                }
                _ => false,
            }),
            _ => {
                let superseded = entries.first().is_some_and(|entry| is_call_of(entry, call.id));
                let known = self.oracle.by_id.get(&call.id).is_some_and(|own| own.at >= before);
                call.time < before && !booked && !superseded && !known
            }
        };
        if refused && call.time >= before {
            return Err(format!("refused as too old although its time is remembered: {call:?}"));
        }
        Ok(refused)
    }

    fn count_fact(&mut self, word: &Seen) {
        match word {
            Seen::Rested { runs } => self.tally.add("runs put to rest", runs.len() as u64),
            Seen::Forgotten { runs } => {
                let killed = runs.iter().filter(|run| self.killed_once.contains(run)).count();
                self.tally.add("runs forgotten", runs.len() as u64);
                self.tally.add("runs forgotten with their kill", killed as u64);
            }
            Seen::Killed { run, .. } => drop(self.killed_once.insert(*run)),
            Seen::Opened { run } if self.oracle.forgotten.remove(run) => {
                self.killed_once.remove(run);
                self.tally.count("forgotten names that came back");
            }
            _ => {}
        }
    }

    fn count_answers(&mut self, said: &[Said]) {
        for said in said {
            self.tally.count(match said {
                Said::Accepted { fenced: false, .. } => "answer: accepted",
                Said::Accepted { .. } => "answer: accepted, fenced",
                Said::Duplicate { .. } => "answer: duplicate",
                Said::Conflict { .. } => "answer: conflict",
                Said::Priced { .. } => "answer: priced",
                Said::Fenced { .. } => "answer: fenced",
                Said::Granted { .. } => "answer: granted",
                Said::Refused => "answer: reservation refused",
                Said::Done => "answer: done",
                Said::Unchanged => "answer: unchanged",
                _ => "answer: refused",
            });
        }
    }
}

/// A request of several calls is that many commands, each with its answer.
fn one_by_one(act: &Act, answer: Option<&Answer>) -> Fallible<Vec<(Act, Option<Answer>)>> {
    let Act::Charge(calls) = act else { return Ok(vec![(act.clone(), answer.cloned())]) };
    let answers: Vec<Option<Answer>> = match answer {
        None => vec![None; calls.len()],
        Some(Answer::Charges(booked)) => booked.iter().map(|one| Some(Answer::Charges(vec![one.clone()]))).collect(),
        Some(other) => return Err(format!("charges were answered with {other:?}")),
    };
    if answers.len() != calls.len() {
        return Err(format!("{} calls, {} answers", calls.len(), answers.len()));
    }
    Ok(calls.iter().map(|call| Act::Charge(vec![call.clone()])).zip(answers).collect())
}

fn is_charge_of(entry: &Entry, id: u64) -> bool {
    matches!(&entry.fact, Fact::Charged(charge) if charge.event_id[1..].parse() == Ok(id))
}

fn is_call_of(entry: &Entry, id: u64) -> bool {
    let Fact::Adjusted(adjustment) = &entry.fact else { return false };
    matches!(&adjustment.reason, AdjustReason::Superseded(known) if known.event_id[1..].parse() == Ok(id))
}

fn booked_said(booked: &Booked) -> Option<Said> {
    match booked {
        Booked::Accepted { seq, fenced } => Some(Said::Accepted { seq: *seq, fenced: *fenced }),
        Booked::Duplicate { seq } => Some(Said::Duplicate { seq: *seq }),
        Booked::Conflict { seq } => Some(Said::Conflict { seq: *seq }),
        Booked::TooOld | Booked::OutOfRange => None,
    }
}
