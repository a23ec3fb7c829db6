//! The simulation's own words: small numbers where the real thing has names, so that the oracle stays plain.

use budget::entry::Phase;
use budget::policy::OnUnpriced;
use budget::reservation::Standing;
use budget::signal::Proof;
use budget::{Action, Unit, Window};

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// The last Tuesday of October 2026, a few days before the clocks of New York change.
pub const START: i64 = 1_793_100_000 * SECOND;
/// Instead of hours east of Greenwich: the clocks of New York.
pub const NEW_YORK: i64 = 1_000;
/// 10⁻⁶ USD in the ledger's scale.
pub const MICRO_USD: i128 = 1_000_000_000_000;

pub type RunNo = u16;

/// Whose limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetId {
    /// A joch Budget `b0` …
    Named(u8),
    /// The limits of agent `a0` …
    Agent(u8),
    /// A run's own.
    Own(RunNo),
}

/// A budget as the workload made it. Scope and zone follow from its number and never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub team: Option<u8>,
    pub agent: Option<u8>,
    pub limits: Vec<(Unit, Window, i128)>,
    /// Soft levels in parts per million, ascending.
    pub levels: Vec<u32>,
    pub action: Action,
    /// Agent 0 has 50 %, agent 1 has 30 %, the others 20 %.
    pub shares: bool,
    pub zone_hours: i64,
    /// What becomes of calls without a price, and what is held for one.
    pub unpriced: OnUnpriced,
    pub ceiling: Option<i128>,
    /// The last turn before a kill: what it may cost, and for how many milliseconds. The same in all budgets of a seed.
    pub turn: Option<(i128, u64)>,
    /// Its kills go by a plan of their own.
    pub plan: bool,
}

impl Spec {
    /// Does it kill, after a last turn that may pass its limits?
    pub fn grants_a_turn(&self) -> bool {
        self.action == Action::Terminate && self.turn.is_some()
    }
}

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Tool(u64),
    Approval,
}

/// One call as a client sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: u64,
    /// The same id with another body is a conflict.
    pub body: u64,
    pub response: Option<u64>,
    pub run: RunNo,
    pub team: Option<u8>,
    pub agent: Option<u8>,
    pub parent: Option<RunNo>,
    pub kind: Kind,
    pub tokens: u64,
    pub price: Option<i128>,
    pub time: i64,
    /// The reservation that it settles; and is it the last of it?
    pub claim: Option<(u64, bool)>,
    /// Held while it has no price, where no budget says how much.
    pub ceiling: Option<i128>,
    /// Who tells of it, and whether that is only an estimate.
    pub source: u8,
    pub estimated: bool,
}

/// Amounts to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub usd: i128,
    pub tokens: u64,
    pub tool_calls: u32,
    pub model_calls: u32,
}

/// A reservation as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub id: u64,
    pub body: u64,
    pub run: RunNo,
    pub team: Option<u8>,
    pub agent: Option<u8>,
    pub held: Held,
    pub ttl_ms: u64,
}

/// What a client, an operator, a follower or the daemon itself asks of the meter.
#[derive(Clone, Debug)]
pub enum Act {
    Charge(Vec<Call>),
    Open {
        run: RunNo,
        team: Option<u8>,
        agent: Option<u8>,
        parent: Option<RunNo>,
        inherit: bool,
        own: Option<Spec>,
    },
    End {
        run: RunNo,
        phase: Phase,
    },
    Kill {
        run: RunNo,
    },
    /// The turn of a kill is over.
    Fence {
        kill: u64,
    },
    Ack {
        run: RunNo,
        kill: u64,
    },
    Sent {
        kill: u64,
        taken: bool,
    },
    Confirm {
        kill: u64,
        proof: Proof,
    },
    Apply {
        budget: BudgetId,
        spec: Spec,
    },
    Remove {
        budget: BudgetId,
    },
    Reserve(Wish),
    /// A charge on the run of the reservation that it names.
    Settle(Call),
    Release {
        id: u64,
    },
    Extend {
        id: u64,
        ttl_ms: u64,
    },
    Expire,
    /// The meter looks by itself which runs are to rest, and which are to be forgotten, that were named, or over, before then.
    Forget {
        rest: i64,
        before: i64,
    },
    /// A price for the charge of that entry, from the table of that number.
    Price {
        of: u64,
        price: i128,
        table: u8,
    },
}

/// A counter: whose, of what, over what, which share, and for a limit of a run, which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub budget: BudgetId,
    pub unit: Unit,
    pub window: Window,
    pub share: Share,
    pub run: Option<RunNo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    Whole,
    Agent(u8),
    Rest,
}

/// A fact in the simulation's words. Kills are told apart by their run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    Applied { budget: BudgetId, generation: u64 },
    Removed { budget: BudgetId },
    Opened { run: RunNo },
    Ended { run: RunNo, phase: Phase },
    Charged { id: u64, run: RunNo, team: Option<u8>, agent: Option<u8>, price: Option<i128>, held: Option<i128> },
    Adjusted { of: u64, delta: i128, supersedes: bool, held: Option<i128> },
    Warned { run: RunNo, key: Key, level: u32, spent: i128, limit: i128 },
    Reached { run: RunNo, key: Key, spent: i128, limit: i128 },
    Killed { run: RunNo, cost: i128, by_operator: bool },
    WindDown { run: RunNo, cost: i128, allowance: i128, until: i64 },
    Fenced { kill: u64, cost: i128 },
    Planned,
    Sent { kill: u64, taken: bool },
    Acked { kill: u64 },
    Confirmed { kill: u64, proof: Proof },
    Reserved { id: u64, run: RunNo, held: Held, denied: bool },
    Resolved { id: u64, standing: Standing },
    Extended { id: u64, until: i64 },
    Rested { runs: Vec<RunNo> },
    Forgotten { runs: Vec<RunNo> },
}

/// An answer in the simulation's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Accepted {
        seq: u64,
        fenced: bool,
    },
    Duplicate {
        seq: u64,
    },
    Conflict {
        seq: u64,
    },
    Done,
    Unchanged,
    /// Another price is booked.
    Priced {
        price: i128,
        fenced: bool,
    },
    /// The run is fenced, now or before.
    Fenced {
        run: RunNo,
    },
    /// A reservation holds, or held until then.
    Granted {
        until: i64,
        standing: Standing,
    },
    Refused,
    ReservationConflict,
    UnknownReservation,
    AlreadyResolved(Standing),
    UnknownRun,
    UnknownKill,
    AlreadyEnded(Phase),
}
