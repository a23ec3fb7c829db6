//! What clients, agents, operators and followers do: drawn from a seed, with an eye on what the oracle knows, so that limits
//! are met exactly, windows are entered at their first instant, and ids come back.
//!
//! Each seed has weights of its own: some storm duplicates, some edit budgets all the time, some kill.

use budget::entry::Phase;
use budget::policy::OnUnpriced;
use budget::signal::Proof;
use budget::{Action, Unit, Window};

use crate::oracle::Oracle;
use crate::oracle::counters::{Who, matches};
use crate::prng::Prng;
use crate::words::{
    Act, BudgetId, Call, DAY, HOUR, Held, Kind, MICRO_USD, MINUTE, NEW_YORK, RunNo, SECOND, Spec, Wish,
};

/// Runs that are in use at a time.
const RUNS_AT_ONCE: u64 = 6;
/// Calls that are sent again come from so many last ones.
const RESENT_FROM: usize = 200;

pub struct Workload {
    weights: [u64; 11],
    /// Turns and plans of every budget.
    kills: (Option<(i128, u64)>, bool),
    duplicates: u64,
    conflicts: u64,
    unpriced: u64,
    exact: u64,
    late: u64,
    estimated: u64,
    calls_max: u64,
    /// Grows, so that new runs come into use.
    base: u64,
    next_id: u64,
    next_hold: u64,
    sent: Vec<Call>,
}

impl Workload {
    pub fn new(prng: &mut Prng) -> Self {
        let mut heavy = |weight: u64| if prng.permille(250) { weight * 6 } else { weight };
        // charge, open, end, kill, answer a kill, apply, remove, price, nothing known, reserve, end a reservation
        let weights = [
            heavy(120),
            heavy(6),
            heavy(3),
            heavy(2),
            heavy(10),
            heavy(6),
            heavy(1),
            heavy(8),
            heavy(1),
            heavy(25),
            heavy(8),
        ];
        Self {
            weights,
            kills: {
                let allowance = i128::from(prng.below(800_000)) * MICRO_USD;
                let turn = (allowance, *prng.pick(&[1, 30_000, 3_600_000]));
                (prng.permille(400).then_some(turn), prng.permille(300))
            },
            duplicates: *prng.pick(&[20, 80, 80, 500]),
            conflicts: *prng.pick(&[5, 20, 100]),
            unpriced: *prng.pick(&[20, 100, 300]),
            exact: *prng.pick(&[50, 200, 400]),
            late: *prng.pick(&[20, 100, 300]),
            estimated: *prng.pick(&[0, 100, 300]),
            calls_max: *prng.pick(&[1, 3, 6]),
            base: 0,
            next_id: 0,
            next_hold: 0,
            sent: Vec::new(),
        }
    }

    /// What is asked first: a few budgets.
    pub fn opening(&mut self, prng: &mut Prng) -> Vec<Act> {
        let mut acts: Vec<Act> = (0..4).map(|number| self.budget(prng, BudgetId::Named(number))).collect();
        acts.push(self.budget(prng, BudgetId::Agent(1)));
        acts
    }

    /// The next command.
    pub fn next(&mut self, prng: &mut Prng, oracle: &Oracle, now: i64) -> Act {
        match prng.weighted(&self.weights) {
            0 => self.charge(prng, oracle, now),
            1 => self.open(prng, oracle),
            2 => {
                let phase = *prng.pick(&[Phase::Succeeded, Phase::Failed, Phase::Cancelled]);
                Act::End { run: self.run(prng), phase }
            }
            3 => Act::Kill { run: self.run(prng) },
            4 => self.answer_kill(prng, oracle),
            5 => {
                let id = self.some_budget(prng);
                self.budget(prng, id)
            }
            6 => Act::Remove { budget: self.some_budget(prng) },
            7 => self.price(prng, oracle),
            9 => self.reserve(prng),
            10 => self.resolve(prng, oracle, now),
            _ => self.unknown(prng),
        }
    }

    fn run(&mut self, prng: &mut Prng) -> RunNo {
        if prng.permille(15) {
            self.base += 1;
        }
        RunNo::try_from(self.base + prng.below(RUNS_AT_ONCE)).unwrap()
    }

    fn some_budget(&self, prng: &mut Prng) -> BudgetId {
        if prng.permille(150) { BudgetId::Agent(1) } else { BudgetId::Named(u8::try_from(prng.below(4)).unwrap()) }
    }

    fn budget(&mut self, prng: &mut Prng, id: BudgetId) -> Act {
        Act::Apply { budget: id, spec: self.spec(prng, id) }
    }

    fn spec(&self, prng: &mut Prng, id: BudgetId) -> Spec {
        let (turn, plan) = self.kills;
        Spec { turn, plan, ..spec(prng, id) }
    }

    fn open(&mut self, prng: &mut Prng, oracle: &Oracle) -> Act {
        let run = self.run(prng);
        // A parent is an older run that is known: no circle, no orphan.
        let parent = prng.permille(400).then(|| run.saturating_sub(1 + RunNo::try_from(prng.below(3)).unwrap()));
        let parent =
            parent.filter(|parent| *parent < run && oracle.runs.contains_key(parent) && depth(oracle, *parent) < 20);
        let own = prng.permille(400).then(|| self.spec(prng, BudgetId::Own(run)));
        Act::Open { run, team: team(prng), agent: agent(prng), parent, inherit: prng.permille(800), own }
    }

    fn charge(&mut self, prng: &mut Prng, oracle: &Oracle, now: i64) -> Act {
        let count = 1 + prng.below(self.calls_max);
        Act::Charge((0..count).map(|_| self.call(prng, oracle, now)).collect())
    }

    fn call(&mut self, prng: &mut Prng, oracle: &Oracle, now: i64) -> Call {
        if !self.sent.is_empty() && prng.permille(self.duplicates) {
            let from = self.sent.len().saturating_sub(RESENT_FROM);
            let mut call = self.sent[from + prng.index(self.sent.len() - from)].clone();
            if call.estimated && prng.permille(500) {
                // What the call really was, in its own words.
                (call.estimated, call.body) = (false, prng.word() & !7);
                call.tokens = prng.below(300);
                if let Kind::Tool(calls) = &mut call.kind {
                    *calls = 1 + prng.below(3);
                }
                call.price = (!prng.permille(self.unpriced)).then(|| i128::from(prng.below(2_000_000)) * MICRO_USD);
                if call.response.is_some() && prng.permille(300) {
                    self.next_id += 1;
                    (call.id, call.source, call.time) = (self.next_id, 1 - call.source, self.time(prng, now));
                }
                self.sent.push(call.clone());
                return call;
            }
            if prng.permille(self.conflicts) {
                call.body ^= 1 + prng.below(7);
                call.price = call.price.map(|price| price + MICRO_USD);
            }
            return call;
        }
        self.next_id += 1;
        let run = self.run(prng);
        let kind = match prng.below(10) {
            0..=5 => Kind::Model,
            6..=8 => Kind::Tool(1 + prng.below(3)),
            _ => Kind::Approval,
        };
        let (team, agent) = (team(prng), agent(prng));
        let mut call = Call {
            id: self.next_id,
            body: prng.word() & !7,
            response: (kind == Kind::Model && prng.permille(300)).then(|| 1 + prng.below(self.next_id * 2)),
            run,
            team,
            agent,
            parent: None,
            kind,
            tokens: prng.below(300),
            price: (!prng.permille(self.unpriced)).then(|| i128::from(prng.below(2_000_000)) * MICRO_USD),
            time: self.time(prng, now),
            claim: None,
            ceiling: prng.permille(300).then(|| i128::from(prng.below(1_000_000)) * MICRO_USD),
            source: u8::from(prng.permille(300)),
            estimated: prng.permille(self.estimated),
        };
        if self.next_hold > 0 && prng.permille(300) {
            let id = self.some_hold(prng);
            // Mostly of the run that it was reserved for; else it is of no use.
            if let Some(hold) = oracle.holds.get(&id).filter(|_| prng.permille(900)) {
                call.run = hold.run;
            }
            call.claim = Some((id, prng.permille(700)));
        }
        if call.price.is_some() && prng.permille(self.exact) {
            call.price = exactly(prng, oracle, &call, now).or(call.price);
        }
        self.sent.push(call.clone());
        call
    }

    /// When a call says that it happened: now, a little ahead, late, or at an edge.
    fn time(&self, prng: &mut Prng, now: i64) -> i64 {
        if !prng.permille(self.late) {
            return now;
        }
        match prng.below(5) {
            0 => now + prng.within(0, 5 * MINUTE),
            1 => now - prng.within(0, 3 * HOUR),
            2 => now - prng.within(0, 3 * DAY),
            3 => now.div_euclid(HOUR) * HOUR - prng.within(0, 1),
            _ => now.div_euclid(DAY) * DAY - prng.within(0, 1),
        }
    }

    fn some_hold(&self, prng: &mut Prng) -> u64 {
        self.next_hold - prng.below(self.next_hold.min(8))
    }

    /// A wish to hold an amount; some come again, with the same body or another.
    fn reserve(&mut self, prng: &mut Prng) -> Act {
        let again = self.next_hold > 0 && prng.permille(150);
        if !again {
            self.next_hold += 1;
        }
        let id = if again { self.some_hold(prng) } else { self.next_hold };
        let held = Held {
            usd: i128::from(prng.below(1_500_000)) * MICRO_USD,
            tokens: prng.below(200),
            tool_calls: u32::try_from(prng.below(2)).unwrap(),
            model_calls: u32::try_from(prng.below(2)).unwrap(),
        };
        let body = if again && prng.permille(300) { id + 1 } else { id };
        let ttl_ms = *prng.pick(&[1_000, 60_000, 600_000, 7_200_000, 86_400_000]);
        Act::Reserve(Wish { id, body, run: self.run(prng), team: team(prng), agent: agent(prng), held, ttl_ms })
    }

    fn resolve(&mut self, prng: &mut Prng, oracle: &Oracle, now: i64) -> Act {
        let id = if self.next_hold == 0 { 1 } else { self.some_hold(prng) };
        match prng.below(6) {
            4 | 5 => {
                let (from, last) = (self.sent.len(), prng.permille(700));
                let mut call = self.call(prng, oracle, now);
                // It is told of this way once, and with an id of its own.
                self.sent.truncate(from);
                self.next_id += 1;
                (call.id, call.response, call.time, call.claim) = (self.next_id, None, now, Some((id, last)));
                Act::Settle(call)
            }
            0 => Act::Release { id },
            1 => Act::Extend { id, ttl_ms: 1_000 + prng.below(3_600_000) },
            2 => Act::Release { id: 1_000_000 + id },
            _ => Act::Expire,
        }
    }

    fn answer_kill(&mut self, prng: &mut Prng, oracle: &Oracle) -> Act {
        let Some((kill, known)) = oracle.kills.iter().nth_back(prng.index(oracle.kills.len().min(8))) else {
            return Act::Kill { run: self.run(prng) };
        };
        let kill = *kill;
        match prng.below(8) {
            6 | 7 => Act::Fence { kill },
            0 => Act::Sent { kill, taken: true },
            1 => Act::Sent { kill, taken: false },
            2 | 3 => Act::Ack { run: if prng.permille(100) { known.run + 1 } else { known.run }, kill },
            4 => Act::Confirm { kill, proof: Proof::ProcessGone },
            _ => Act::Confirm { kill, proof: Proof::PhaseTerminal },
        }
    }

    /// A price for a charge that has none, or another one for a charge that has.
    fn price(&mut self, prng: &mut Prng, oracle: &Oracle) -> Act {
        let from = if prng.permille(700) && !oracle.unpriced.is_empty() {
            oracle.unpriced.iter().nth(prng.index(oracle.unpriced.len()))
        } else {
            oracle.papers.keys().nth_back(prng.index(oracle.papers.len().min(50)))
        };
        match from {
            Some(of) => Act::Price {
                of: *of,
                price: i128::from(prng.below(2_000_000)) * MICRO_USD,
                table: u8::try_from(1 + prng.below(3)).unwrap(),
            },
            None => Act::Kill { run: self.run(prng) },
        }
    }

    /// Commands that name what nobody knows.
    fn unknown(&mut self, prng: &mut Prng) -> Act {
        let (run, kill) = (50_000, 1_000_000_000 + prng.below(9));
        match prng.below(5) {
            0 => Act::End { run, phase: Phase::Failed },
            1 => Act::Kill { run },
            2 => Act::Ack { run, kill },
            3 => Act::Sent { kill, taken: true },
            _ => Act::Confirm { kill, proof: Proof::ProcessGone },
        }
    }

    /// How far the clock goes on before the next commands, and where to.
    pub fn tick(&self, prng: &mut Prng, now: i64) -> i64 {
        let edge = |size: i64| (now.div_euclid(size) + 1) * size;
        match prng.below(20) {
            0..=9 => now,
            10..=14 => now + prng.within(1, SECOND),
            15 | 16 => now + prng.within(SECOND, 30 * MINUTE),
            17 if prng.permille(200) => now + prng.within(DAY, 3 * DAY),
            17 => now + prng.within(HOUR, 10 * HOUR),
            18 => edge(HOUR) + prng.within(-1, 1),
            _ => edge(DAY) + prng.within(-1, 1),
        }
    }
}

fn depth(oracle: &Oracle, run: RunNo) -> u32 {
    oracle.runs.get(&run).and_then(|run| run.parent).map_or(0, |parent| 1 + depth(oracle, parent))
}

fn team(prng: &mut Prng) -> Option<u8> {
    prng.permille(600).then(|| u8::try_from(prng.below(2)).unwrap())
}

fn agent(prng: &mut Prng) -> Option<u8> {
    prng.permille(600).then(|| u8::try_from(prng.below(4)).unwrap())
}

/// A price that makes a limit exactly full, or one step short of it.
fn exactly(prng: &mut Prng, oracle: &Oracle, call: &Call, now: i64) -> Option<i128> {
    let now = oracle.now(now);
    let run = oracle.runs.get(&call.run);
    let said = Who { team: call.team, agent: call.agent };
    let (call_who, subject) = run.map_or((said, said), |run| (said.filled_from(run.who), run.who.filled_from(said)));
    let bound = oracle.bound(call.run, run.is_none_or(|run| run.inherit), subject, call_who);
    let usd: Vec<_> = bound.iter().filter(|bound| bound.key.unit == Unit::Usd).collect();
    if usd.is_empty() {
        return None;
    }
    let one = prng.pick(&usd);
    let left = one.cap - oracle.sum_now(one, call.run, now) + i128::from(prng.within(-1, 1));
    (0..1_000_000_000 * MICRO_USD).contains(&left).then_some(left)
}

/// A budget's limits; its scope and zone follow from its number.
pub fn spec(prng: &mut Prng, id: BudgetId) -> Spec {
    let (team, agent, zone_hours) = match id {
        BudgetId::Named(0) => (None, None, 0),
        BudgetId::Named(1) => (Some(0), None, 3),
        BudgetId::Named(2) => (None, Some(1), 0),
        BudgetId::Named(_) => (Some(1), Some(0), NEW_YORK),
        BudgetId::Agent(agent) => (None, Some(agent), 0),
        BudgetId::Own(_) => (None, None, 0),
    };
    debug_assert!(matches(&Spec { team, agent, ..empty() }, Who { team, agent }));
    let windows: &[Window] = if matches!(id, BudgetId::Own(_)) {
        &[Window::Run]
    } else {
        &[Window::Run, Window::Run, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Rolling24h]
    };
    let mut limits: Vec<(Unit, Window, i128)> = Vec::new();
    for _ in 0..=prng.below(3) {
        let unit = *prng.pick(&[Unit::Usd, Unit::Usd, Unit::Tokens, Unit::ToolCalls, Unit::ModelCalls]);
        let window = *prng.pick(windows);
        let scale = match unit {
            Unit::Usd => 500_000 * MICRO_USD,
            Unit::Tokens => 100,
            _ => 1,
        };
        let more = if window == Window::Run { 12 } else { 60 } * if prng.permille(400) { 20 } else { 1 };
        if limits.iter().all(|(other, at, _)| (*other, *at) != (unit, window)) {
            limits.push((unit, window, i128::from(prng.below(more)) * scale));
        }
    }
    let levels = [300_000, 500_000, 800_000, 1_000_000].into_iter().filter(|_| prng.permille(400)).collect();
    let action = *prng.pick(&[Action::Alert, Action::Deny, Action::Terminate]);
    let shares = !matches!(id, BudgetId::Own(_)) && prng.permille(300);
    let unpriced = *prng.pick(&[OnUnpriced::Hold, OnUnpriced::Hold, OnUnpriced::Allow, OnUnpriced::Deny]);
    let ceiling = prng.permille(500).then(|| i128::from(prng.below(1_500_000)) * MICRO_USD);
    Spec { team, agent, limits, levels, action, shares, zone_hours, unpriced, ceiling, turn: None, plan: false }
}

fn empty() -> Spec {
    Spec {
        team: None,
        agent: None,
        limits: Vec::new(),
        levels: Vec::new(),
        action: Action::Alert,
        shares: false,
        zone_hours: 0,
        unpriced: OnUnpriced::Hold,
        ceiling: None,
        turn: None,
        plan: false,
    }
}
