//! Laws of what estimates do not cover, against an oracle that keeps plain lists: the overshoot that is reported is exactly
//! Σ(actual − estimate)⁺ + late + unreserved, a limit of whatever window is passed by no more than what of that is in its window, what is held for calls without a price is
//! given back exactly once, an estimate is superseded once, and a state that was restored decides as the live one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "support/world.rs"]
mod world;

use budget::adjust::Superseded;
use budget::reservation::{Estimate, Found, Reserve, Standing};
use budget::{
    Action, AdjustReason, Budget, Charge, Claim, Command, Denial, Fact, Limit, Policy, Ref, Scope, Source, Subject,
    Unit, Verdict, Window, allowance, decide,
};
use pricing::{Money, Timestamp, UsageKey};
use proptest::prelude::*;
use world::{World, applied, model, set, wish};

const CENT: i128 = 10_000_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;
/// Each limit in cents: all of them bind, now this one first and now that.
const LIMITS: [(Window, i128); 6] = [
    (Window::Run, 100),
    (Window::Hour, 80),
    (Window::Day, 110),
    (Window::Rolling24h, 120),
    (Window::Week, 150),
    (Window::Month, 170),
];
/// When it begins, and the months from there on in days.
const START: &str = "2026-11-01T00:00:00Z";
const MONTHS: [i64; 12] = [30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31];
const CEILING: i128 = 15;
const RUNS: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        run: u8,
        cents: u8,
    },
    /// Settles with so many percent of the estimate, or without a price.
    Settle {
        which: prop::sample::Index,
        percent: Option<u16>,
        last: bool,
    },
    Charge {
        run: u8,
        cents: Option<u8>,
        estimated: bool,
    },
    /// What some call really was, if it was an estimate.
    Know {
        which: prop::sample::Index,
        cents: u8,
        tokens: u8,
    },
    /// The price of some call that has none, or a correction of one that has.
    Price {
        which: prop::sample::Index,
        cents: u8,
        table: u8,
    },
    Release(prop::sample::Index),
    Wait {
        minutes: i64,
    },
    /// Other amounts, which moves no hold, and back again.
    Edit {
        more: bool,
    },
}

/// A reservation as the oracle knows it: what it holds, and the calls of it that have no price.
struct Hold {
    run: u8,
    asked: i128,
    held: i128,
    /// When it was granted: its windows.
    at: i64,
    until: i64,
    standing: Standing,
    open: u32,
}

/// What stands for a missing price.
#[derive(Clone, Copy)]
enum Cover {
    Hold(usize),
    Ceiling(i128),
    Nothing,
}

struct Paper {
    run: u8,
    /// The time that picked its windows.
    at: i64,
    seq: u64,
    logged: Timestamp,
    charge: Charge,
    price: Option<i128>,
    table: Option<u8>,
    cover: Cover,
    tokens: u64,
    estimated: bool,
    /// Its reservation was over.
    late: bool,
}

/// Cents above estimates, late, unreserved.
type Parts = (i128, i128, i128);

#[derive(Default)]
struct Oracle {
    holds: Vec<Hold>,
    papers: Vec<Paper>,
    /// Run, time of its windows, cents.
    spent: Vec<(u8, i64, i128)>,
    over: Vec<(u8, i64, Parts)>,
}

/// Sums of one counter, in cents.
#[derive(Default)]
struct Figures {
    spent: i128,
    held: i128,
    over: i128,
    /// Part of what is held: for calls without a price that had reserved nothing.
    ceilings: i128,
}

/// The window that holds `now`, by counting; nothing of it is shared with the core.
fn span(window: Window, now: i64) -> (i64, i64) {
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let whole = |size: i64, from: i64| {
        let start = now - (now - from).rem_euclid(size);
        (start, start + size)
    };
    match window {
        Window::Run => (i64::MIN, i64::MAX),
        Window::Hour => whole(HOUR, 0),
        Window::Day => whole(DAY, 0),
        // The epoch was a Thursday; weeks begin on Mondays.
        Window::Week => whole(7 * DAY, 4 * DAY),
        Window::Rolling24h => (whole(HOUR, 0).0 - 23 * HOUR, whole(HOUR, 0).1),
        Window::Month => {
            let mut start = START.parse::<Timestamp>().unwrap().nanos();
            let lengths = MONTHS.iter().map(|days| days * DAY);
            for length in lengths {
                if now < start + length {
                    return (start, start + length);
                }
                start += length;
            }
            panic!("a year is enough")
        }
    }
}

impl Oracle {
    /// What a counter that counts this run must say at `now`.
    fn figures(&self, run: u8, window: Window, now: i64) -> Figures {
        let (start, end) = span(window, now);
        let counts = |of: u8, at: i64| if window == Window::Run { of == run } else { (start..end).contains(&at) };
        let mut figures = Figures::default();
        for (of, at, cents) in &self.spent {
            figures.spent += if counts(*of, *at) { *cents } else { 0 };
        }
        for (of, at, (above, late, unreserved)) in &self.over {
            figures.over += if counts(*of, *at) { above + late + unreserved } else { 0 };
        }
        for hold in self.holds.iter().filter(|hold| counts(hold.run, hold.at)) {
            figures.held += if hold.standing == Standing::Held || hold.open > 0 { hold.held } else { 0 };
        }
        for paper in self.papers.iter().filter(|paper| paper.price.is_none() && counts(paper.run, paper.at)) {
            figures.ceilings += if let Cover::Ceiling(cents) = paper.cover { cents } else { 0 };
        }
        figures.held += figures.ceilings;
        figures
    }

    /// Above estimates, late, unreserved: of one run since it began.
    fn parts(&self, run: u8) -> Parts {
        let of = self.over.iter().filter(|(of, ..)| *of == run);
        of.fold((0, 0, 0), |sum, (_, _, parts)| (sum.0 + parts.0, sum.1 + parts.1, sum.2 + parts.2))
    }

    /// A paper costs so much now: what stood for its price is given back, what was not held for is overshoot.
    fn correct(&mut self, which: usize, cents: i128) -> Option<i128> {
        let Paper { run, at, price, cover, late, .. } = self.papers[which];
        let delta = cents - price.unwrap_or(0);
        let parts = match (price, cover) {
            (None, Cover::Hold(hold)) => {
                let hold = &mut self.holds[hold];
                let above = (cents - hold.held).max(0);
                hold.held -= hold.held.min(cents);
                hold.open -= 1;
                (above, 0, 0)
            }
            (None, Cover::Ceiling(_)) if late => (0, cents, 0),
            (None, Cover::Ceiling(_)) => (0, 0, cents),
            _ => (0, delta.max(0), 0),
        };
        self.over.push((run, at, parts));
        self.spent.push((run, at, delta));
        Some(cents)
    }
}

struct Life {
    world: World,
    oracle: Oracle,
    more: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let percent = prop_oneof![3 => (0..=100_u16).prop_map(Some), 1 => (100..300_u16).prop_map(Some), 1 => Just(None)];
    let cents = prop::option::weighted(0.6, 0..30_u8);
    let step = prop_oneof![
        8 => (0..RUNS, 1..60_u8).prop_map(|(run, cents)| Step::Reserve { run, cents }),
        8 => (index(), percent, any::<bool>()).prop_map(|(which, percent, last)| Step::Settle { which, percent, last }),
        3 => (0..RUNS, cents, any::<bool>())
            .prop_map(|(run, cents, estimated)| Step::Charge { run, cents, estimated }),
        3 => (index(), 0..60_u8, any::<u8>()).prop_map(|(which, cents, tokens)| Step::Know { which, cents, tokens }),
        6 => (index(), 0..60_u8, 0..3_u8).prop_map(|(which, cents, table)| Step::Price { which, cents, table }),
        2 => index().prop_map(Step::Release),
        2 => prop_oneof![6 => 1..9_i64, 2 => 20..90_i64, 1 => 300..4_000_i64]
            .prop_map(|minutes| Step::Wait { minutes }),
        1 => any::<bool>().prop_map(|more| Step::Edit { more }),
    ];
    prop::collection::vec(step, 1..80)
}

fn cap(more: bool) -> Budget {
    let extra = if more { 50 } else { 0 };
    let limit = |window, cents: i128| Limit { unit: Unit::Usd, window, amount: (cents + extra) * CENT };
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", "cap"),
        generation: 0,
        scope: Scope::default(),
        limits: LIMITS.iter().map(|(window, cents)| limit(*window, *cents)).collect(),
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy { estimate_ceiling: Money::from_scaled(CEILING * CENT), ..Policy::default() },
    }
}

fn run_ref(run: u8) -> Ref {
    Ref::new("ns", &format!("r{run}"))
}

fn money(cents: i128) -> Money {
    Money::from_scaled(cents * CENT).unwrap()
}

fn reserve(id: usize, run: u8, cents: i128) -> Reserve {
    Reserve {
        id: format!("res-{id}").into(),
        body: id as u64,
        execution: run_ref(run),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd: Some(money(cents)), model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: 600_000,
    }
}

impl Life {
    fn step(&mut self, step: &Step) {
        while self.world.run(Command::Expire).0 == Verdict::Done {}
        let now = self.world.now.max(self.world.state.log_time()).nanos();
        for hold in self.oracle.holds.iter_mut().filter(|hold| hold.standing == Standing::Held && hold.until <= now) {
            hold.standing = Standing::Expired;
        }
        let (holds, papers) = (self.oracle.holds.len(), self.oracle.papers.len());
        match step {
            Step::Reserve { run, cents } => self.reserve(*run, i128::from(*cents)),
            Step::Settle { which, percent, last } if holds > 0 => self.settle(which.index(holds), *percent, *last),
            Step::Charge { run, cents, estimated } => self.book(*run, cents.map(i128::from), None, *estimated),
            Step::Know { which, cents, tokens } if papers > 0 => {
                self.know(which.index(papers), i128::from(*cents), u64::from(*tokens));
            }
            Step::Price { which, cents, table } if papers > 0 => {
                self.price(which.index(papers), i128::from(*cents), *table)
            }
            Step::Release(which) if holds > 0 => {
                let which = which.index(holds);
                self.world.run(Command::Release { reservation: format!("res-{which}").into() });
                let hold = &mut self.oracle.holds[which];
                if hold.standing == Standing::Held {
                    hold.standing = Standing::Released;
                }
            }
            Step::Wait { minutes } => self.world.now = self.world.now.saturating_add(minutes * MINUTE),
            Step::Edit { more } => {
                self.more |= more;
                self.world.run(Command::Apply(applied("Budget", cap(*more))));
            }
            _ => {}
        }
        self.check();
    }

    fn reserve(&mut self, run: u8, cents: i128) {
        let id = self.oracle.holds.len();
        let now = self.now();
        let (verdict, _) = self.world.run(Command::Reserve(Box::new(reserve(id, run, cents))));
        let found = self.world.state.reservation(&format!("res-{id}")).unwrap();
        let standing = match verdict {
            Verdict::Granted { .. } => Standing::Held,
            Verdict::Refused { denial, .. } => {
                let Denial::Limit(at) = *denial else { panic!("{denial:?}") };
                let Figures { spent, held, .. } = self.oracle.figures(run, at.window, now);
                assert!((spent + held + cents) * CENT > at.limit, "{at:?} had room for {cents}");
                Standing::Denied
            }
            other => panic!("{other:?}"),
        };
        let (at, until) = (found.reserved_at.nanos(), found.until.nanos());
        let held = if standing == Standing::Held { cents } else { 0 };
        self.oracle.holds.push(Hold { run, asked: cents, held, at, until, standing, open: 0 });
    }

    fn settle(&mut self, which: usize, percent: Option<u16>, last: bool) {
        let Hold { run, asked, standing, .. } = self.oracle.holds[which];
        let cents = percent.map(|percent| asked * i128::from(percent) / 100);
        if standing != Standing::Denied {
            self.book(run, cents, Some((which, last)), last);
        }
    }

    fn book(&mut self, run: u8, cents: Option<i128>, claim: Option<(usize, bool)>, estimated: bool) {
        let mut charge = self.world.call(run_ref(run), Subject::default(), model(), cents.map(money));
        charge.estimated = estimated;
        set(&mut charge.usage, UsageKey::InputTokens, 7);
        charge.claim = claim.map(|(which, last)| Claim {
            reservation: format!("res-{which}").into(),
            last,
            found: Found::Nothing,
        });
        let (verdict, _) = self.world.run(Command::Charge(Box::new(charge)));
        assert!(matches!(verdict, Verdict::Booked { .. }));
        let entry = self.world.entries.iter().rev().find(|entry| matches!(entry.fact, Fact::Charged(_))).unwrap();
        let Fact::Charged(charge) = entry.fact.clone() else { unreachable!() };
        let charge = *charge;
        let oracle = &mut self.oracle;
        let live = claim.filter(|(which, _)| oracle.holds[*which].standing == Standing::Held);
        let paid = cents.unwrap_or(0);
        let at = live.map_or(charge.time.nanos(), |(which, _)| oracle.holds[which].at);
        let parts = match (live, claim) {
            (Some((which, _)), _) => ((paid - oracle.holds[which].held).max(0), 0, 0),
            (None, Some(_)) => (0, paid, 0),
            (None, None) => (0, 0, paid),
        };
        oracle.over.push((run, at, parts));
        oracle.spent.push((run, at, paid));
        let mut cover = Cover::Nothing;
        if cents.is_none() {
            cover = match live {
                Some((which, _)) if oracle.holds[which].held > 0 => Cover::Hold(which),
                _ => Cover::Ceiling(CEILING),
            };
        }
        if let Some((which, last)) = live {
            let hold = &mut oracle.holds[which];
            hold.held -= hold.held.min(paid);
            hold.open += u32::from(matches!(cover, Cover::Hold(_)));
            if last {
                hold.standing = Standing::Settled;
            }
        }
        let table = cents.map(|_| 0);
        let (seq, logged, price) = (entry.seq, entry.at, cents);
        let late = live.is_none() && claim.is_some();
        oracle.papers.push(Paper { run, at, seq, logged, charge, price, table, cover, tokens: 7, estimated, late });
    }

    fn price(&mut self, which: usize, cents: i128, table: u8) {
        let paper = &self.oracle.papers[which];
        let wish = wish(paper.seq, paper.logged, paper.charge.clone(), money(cents), &format!("0{table}"), false);
        let again = wish.clone();
        let (verdict, _) = self.world.run(Command::Adjust(Box::new(wish)));
        assert_eq!(self.world.run(Command::Adjust(Box::new(again))).0, Verdict::Unchanged, "once");
        if paper.price == Some(cents) || paper.table == Some(table) {
            assert_eq!(verdict, Verdict::Unchanged);
            return;
        }
        let price = self.oracle.correct(which, cents);
        let paper = &mut self.oracle.papers[which];
        (paper.price, paper.table) = (price, Some(table));
    }

    /// The call itself, in the place of its estimate: once.
    fn know(&mut self, which: usize, cents: i128, tokens: u64) {
        let paper = &self.oracle.papers[which];
        let mut event = paper.charge.clone();
        set(&mut event.usage, UsageKey::InputTokens, tokens);
        let known = Superseded::of(&paper.charge, &event);
        let mut wish = wish(paper.seq, paper.logged, paper.charge.clone(), money(cents), "0f", false);
        wish.reason = AdjustReason::Superseded(known.into());
        let again = wish.clone();
        let (verdict, _) = self.world.run(Command::Adjust(Box::new(wish)));
        assert_eq!(self.world.run(Command::Adjust(Box::new(again))).0, Verdict::Unchanged, "superseded twice");
        assert_eq!(matches!(verdict, Verdict::Booked { .. }), paper.estimated);
        if !paper.estimated {
            return;
        }
        let price = self.oracle.correct(which, cents);
        let paper = &mut self.oracle.papers[which];
        (paper.price, paper.tokens, paper.estimated, paper.table) = (price, tokens, false, Some(15));
    }

    /// The time that decisions are made at.
    fn now(&self) -> i64 {
        self.world.now.max(self.world.state.log_time()).nanos()
    }

    /// Figures are the oracle's, and what is above a limit is overshoot of its own window.
    fn check(&self) {
        let Self { world, oracle, more } = self;
        let most = |window| {
            let (_, cents) = LIMITS.iter().find(|(of, _)| *of == window).unwrap();
            (cents + if *more { 50 } else { 0 }) * CENT
        };
        for run in 0..RUNS {
            let Some(execution) = world.state.execution(&run_ref(run)) else { continue };
            let mine = oracle.papers.iter().filter(|paper| paper.run == run);
            assert_eq!(execution.tokens.total(), mine.map(|paper| i128::from(paper.tokens)).sum::<i128>());
            let over = execution.overshoot;
            let (above, late, unreserved) = oracle.parts(run);
            let found = (over.above_estimate, over.late, over.unreserved);
            assert_eq!(found, (money(above), money(late), money(unreserved)), "overshoot of r{run}");
            let counters = allowance(&world.state, world.now, &run_ref(run)).unwrap().counters;
            assert_eq!(counters.len(), LIMITS.len());
            for at in counters {
                let Figures { spent, held, over, ceilings } = oracle.figures(run, at.window, self.now());
                assert_eq!((at.spent, at.held), (spent * CENT, held * CENT), "{at:?}");
                // Ceilings of calls that had reserved nothing are held beside what was granted.
                let most = most(at.window) + (over + ceilings) * CENT;
                assert!(at.spent + at.held <= most, "passed by more: {at:?}");
            }
        }
        let all = (0..RUNS).map(|run| oracle.parts(run)).map(|(above, late, unreserved)| above + late + unreserved);
        let of_budget = world.state.overshoot_of_budget(Source::Budget, &Ref::new("ns", "cap"));
        assert_eq!(of_budget, Some(money(all.sum())));
    }

    /// A state that went through bytes answers every question as the live one.
    fn check_decisions(&self) {
        let bytes = postcard::to_stdvec(&self.world.state).unwrap();
        let restored = postcard::from_bytes(&bytes).unwrap();
        let probes = (0..RUNS).flat_map(|run| {
            let wishes = [1_u8, 20, 60].map(|cents| reserve(9_000 + usize::from(cents), run, i128::from(cents)));
            wishes.map(|wish| Command::Reserve(Box::new(wish)))
        });
        for probe in probes {
            let (mut live, mut again) = (Vec::new(), Vec::new());
            let one = decide(&self.world.state, self.world.now, probe.clone(), &mut live);
            let other = decide(&restored, self.world.now, probe, &mut again);
            assert_eq!((one, live), (other, again));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_limit_is_passed_by_no_more_than_the_overshoot(steps in steps()) {
        let world = World { now: START.parse::<Timestamp>().unwrap(), ..World::default() };
        let mut life = Life { world, oracle: Oracle::default(), more: false };
        life.world.run(Command::Apply(applied("Budget", cap(false))));
        steps.iter().for_each(|step| life.step(step));
        life.world.check_replay();
        life.check_decisions();
    }
}
