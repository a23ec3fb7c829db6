//! State: the fold of all entries. `apply` never fails and never decides; `decide` never mutates.
//!
//! Ids are dense and given in the order of the entries, so two folds of the same entries are equal to the last bit
//! (ARCHITECTURE.md, I5). What can be derived (`index`) is neither compared nor stored.

mod adjust;
mod allowance;
mod bound;
mod count;
mod cover;
mod fold;
mod forget;
mod hold;
mod index;
mod lift;
mod numbers;
mod run;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use pricing::cost::TableRef;
use pricing::usage::TokenTotals;
use pricing::{Money, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::adjust::Prices;
use self::allowance::Allowances;
use self::hold::Reservations;
use self::index::Index;
use self::run::plus;
use crate::budget::Budget;
use crate::charge::Subject;
use crate::decide::TurnLeft;
use crate::entry::{Applied, Phase};
use crate::limits::Limits;
use crate::link::OfRun;
use crate::scope::Ref;
use crate::signal::{Kill, Process};

pub(crate) use self::bound::{Bound, Who};
pub(crate) use self::run::Run;
pub use self::tree::DEPTH_MAX;

/// Everything known, folded from the ledger. Serialised (for snapshots, in a binary format) without what can be derived.
#[derive(Clone, Debug, Default)]
pub struct State {
    truth: Truth,
    index: Index,
}

/// What the entries say. Equal entries give equal truths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Truth {
    seq: u64,
    log_time: Timestamp,
    /// By number; a run that was forgotten leaves its place empty, and so does its kill.
    runs: Vec<Option<Box<Run>>>,
    kills: Vec<Option<Box<Kill>>>,
    limits: Limits,
    resources: BTreeMap<(Arc<str>, Ref), Applied>,
    /// The table in force under each name.
    pins: BTreeMap<Arc<str>, TableRef>,
    /// Charges without a price, and prices that changed.
    prices: Prices,
    /// Workers of live runs, by the run's number.
    processes: BTreeMap<u32, Process>,
    /// What is used of free allowances.
    allowances: Allowances,
    reservations: Reservations,
}

/// One run as the state remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Name.
    pub id: Ref,
    /// Whom it is for.
    pub subject: Subject,
    /// The run that started it.
    pub parent: Option<Ref>,
    /// Conversation.
    pub conversation: Option<Arc<str>>,
    /// Where it stands.
    pub phase: Phase,
    /// The document as sent, if any.
    pub document: Option<Arc<str>>,
    /// First seen (event time of its first call, else log time of its opening).
    pub started_at: Timestamp,
    /// Ended.
    pub completed_at: Option<Timestamp>,
    /// At rest since then: it is not over, and nothing has named it for long.
    pub rested_at: Option<Timestamp>,
    /// Own cost.
    pub cost: Money,
    /// Own cost and that of every run below it.
    pub subtree_cost: Money,
    /// Model calls.
    pub model_calls: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Approvals.
    pub approvals: u64,
    /// Tokens by disjoint type.
    pub tokens: Tokens,
    /// Calls without a price.
    pub unpriced_calls: u64,
    /// Calls booked after the fence.
    pub calls_after_fence: u64,
    /// Cost booked after the fence.
    pub cost_after_fence: Money,
    /// Price tables that priced its calls, in order of first use.
    pub tables: Vec<TableRef>,
    /// The kill that fenced it.
    pub kill: Option<Arc<str>>,
    /// The kill that will fence it at the end of its turn, while that lasts.
    pub winding: Option<Arc<str>>,
    /// Soft level passed, newest: budget, shown as a condition.
    pub soft_limit: Option<(Ref, Timestamp)>,
    /// Hard limit reached, newest.
    pub hard_limit: Option<(Ref, Timestamp)>,
    /// Sequence number of its newest entry.
    pub last_seq: u64,
    /// How many entries came to its sum after it had ended.
    pub revision: u64,
    /// Live reservations.
    pub holds: u32,
    /// Cost that nothing was held for.
    pub overshoot: Overshoot,
}

/// Cost that nothing was held for: by so much, and no more, can a limit be passed. Before free allowances; refunds do not
/// lower it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overshoot {
    /// Above the estimates of calls that had reserved: Σ(actual − estimate)⁺.
    pub above_estimate: Money,
    /// Booked, or corrected upwards, after what was held for it had been given back.
    pub late: Money,
    /// Of calls that had reserved nothing.
    pub unreserved: Money,
}

/// Token totals by disjoint type, so that their sum is right; signed, for differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Uncached input.
    pub input: i64,
    /// Read from a cache.
    pub cache_read: i64,
    /// Written to a cache.
    pub cache_write: i64,
    /// Output without reasoning.
    pub output: i64,
    /// Reasoning.
    pub reasoning: i64,
}

impl Overshoot {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Money {
        plus(plus(self.above_estimate, self.late), self.unreserved)
    }

    fn add(&mut self, more: &Self) {
        self.above_estimate = plus(self.above_estimate, more.above_estimate);
        self.late = plus(self.late, more.late);
        self.unreserved = plus(self.unreserved, more.unreserved);
    }
}

impl Execution {
    /// Calls of every kind.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.model_calls.saturating_add(self.tool_calls).saturating_add(self.approvals)
    }
}

impl Tokens {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> i128 {
        let parts = [self.input, self.cache_read, self.cache_write, self.output, self.reasoning];
        parts.into_iter().fold(0, |sum, part| sum.saturating_add(i128::from(part)))
    }

    /// Adds the sums of others.
    pub fn add(&mut self, more: &Self) {
        self.input = self.input.saturating_add(more.input);
        self.cache_read = self.cache_read.saturating_add(more.cache_read);
        self.cache_write = self.cache_write.saturating_add(more.cache_write);
        self.output = self.output.saturating_add(more.output);
        self.reasoning = self.reasoning.saturating_add(more.reasoning);
    }

    /// What takes the place of `before`, as a difference to it.
    #[must_use]
    pub fn difference(now: &TokenTotals, before: &TokenTotals) -> Self {
        let difference = |now: u64, before: u64| {
            let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
            signed(now).saturating_sub(signed(before))
        };
        Self {
            input: difference(now.input, before.input),
            cache_read: difference(now.cache_read, before.cache_read),
            cache_write: difference(now.cache_write, before.cache_write),
            output: difference(now.output, before.output),
            reasoning: difference(now.reasoning, before.reasoning),
        }
    }
}

impl From<TokenTotals> for Tokens {
    fn from(totals: TokenTotals) -> Self {
        Self::difference(&totals, &TokenTotals::default())
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.truth == other.truth
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.truth.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let truth = Truth::deserialize(deserializer)?;
        #[cfg(feature = "mistakes")]
        let truth = half_restored(truth);
        let index = Index::of(&truth);
        Ok(Self { truth, index })
    }
}

#[cfg(feature = "mistakes")]
fn half_restored(mut truth: Truth) -> Truth {
    if crate::mistakes::made(crate::mistakes::Mistake::FenceNotRestored) {
        truth.runs.iter_mut().flatten().for_each(|run| run.execution.kill = None);
    }
    if crate::mistakes::made(crate::mistakes::Mistake::HeldNotRestored) {
        truth.reservations = Reservations::default();
    }
    truth
}

impl State {
    /// Sequence number of the newest entry.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.truth.seq
    }

    /// Log time of the newest entry.
    #[must_use]
    pub fn log_time(&self) -> Timestamp {
        self.truth.log_time
    }

    /// One run.
    #[must_use]
    pub fn execution(&self, id: &Ref) -> Option<&Execution> {
        self.find(id).map(|(_, run)| &run.execution)
    }

    /// Every run, in the order of opening.
    pub fn executions(&self) -> impl DoubleEndedIterator<Item = &Execution> {
        self.truth.runs.iter().flatten().map(|run| &run.execution)
    }

    /// How many runs are not over.
    #[must_use]
    pub fn live(&self) -> usize {
        self.index.live.len()
    }

    /// One kill by id.
    #[must_use]
    pub fn kill(&self, id: &str) -> Option<&Kill> {
        self.truth.kills.get(self.index.kill(id)?)?.as_deref()
    }

    /// The process that registered as the worker of a run.
    #[must_use]
    pub fn process(&self, execution: &Ref) -> Option<&Process> {
        self.truth.processes.get(&self.number(execution)?)
    }

    /// Live runs whose worker is this process, in the order of opening.
    pub fn runs_of(&self, process: &Process) -> impl Iterator<Item = &Ref> {
        let same = self.truth.processes.iter().filter(move |(_, known)| known.is(process));
        same.filter_map(|(number, _)| self.run(*number)).filter(|run| run.is_live()).map(|run| &run.execution.id)
    }

    /// What is left to a run that is winding down.
    #[must_use]
    pub fn turn_left(&self, execution: &Execution) -> Option<TurnLeft> {
        let kill = self.kill(execution.winding.as_deref()?)?;
        let turn = kill.turn?;
        let spent = execution.cost.scaled().saturating_sub(kill.cost_at_decision.scaled());
        let left = turn.allowance.scaled().saturating_sub(spent).max(0);
        Some(TurnLeft { kill: kill.id.clone(), left: Money::from_scaled(left)?, until: turn.until })
    }

    /// The kill of a run whose turn is used up once the run has cost so much; not one that is closed, since that run is gone.
    pub(crate) fn turn_used_up(&self, execution: &Execution, cost: Money) -> Option<&Kill> {
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::TurnNeverUsedUp) {
            return None;
        }
        let kill = self.kill(execution.winding.as_deref()?)?;
        let spent = cost.scaled().saturating_sub(kill.cost_at_decision.scaled());
        (spent >= kill.turn?.allowance.scaled() && !kill.state.is_closed()).then_some(kill)
    }

    /// Every kill that is not closed, oldest first.
    pub fn open_kills(&self) -> impl Iterator<Item = &Kill> {
        self.index.open_kills.iter().filter_map(|number| self.truth.kills.get(*number)?.as_deref())
    }

    /// Every kill of a run that is known, oldest first.
    pub fn kills(&self) -> impl DoubleEndedIterator<Item = &Kill> {
        self.truth.kills.iter().flatten().map(|kill| &**kill)
    }

    /// Every resource in force, by kind and name.
    pub fn resources(&self) -> impl Iterator<Item = &Applied> {
        self.truth.resources.values()
    }

    /// One resource.
    #[must_use]
    pub fn resource(&self, kind: &str, id: &Ref) -> Option<&Applied> {
        self.truth.resources.get(&(Arc::from(kind), id.clone()))
    }

    /// Every budget that a resource carries, in the order of creation; those that runs carry are with their runs.
    pub fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.truth.limits.iter().map(|(_, slot)| &slot.budget)
    }

    /// Does a budget bind calls of a run that are for the run's own subject?
    #[must_use]
    pub fn binds(&self, budget: &Budget, execution: &Ref) -> bool {
        let links = &self.truth.limits.links;
        self.find(execution).is_some_and(|(_, run)| links.bind(budget, run.of_run(), &run.execution.subject))
    }

    /// The route that calls of a run take for an agent (by default the run's own): its override, else the agent's.
    #[must_use]
    pub fn route<'a>(&'a self, execution: &'a Ref, agent: Option<&str>) -> Option<&'a Ref> {
        let run = self.find(execution).map(|(_, run)| run);
        let of_run = run.map_or(OfRun { execution, inherit: true, route: None }, Run::of_run);
        let known = || run.and_then(|run| run.execution.subject.agent.clone());
        let subject = Subject { agent: agent.map(Arc::from).or_else(known), ..Subject::default() };
        self.truth.limits.links.route(of_run, &subject)
    }

    /// The budget that a run carries itself.
    #[must_use]
    pub fn own_budget(&self, execution: &Ref) -> Option<&Budget> {
        self.find(execution)?.1.own.as_ref().map(|own| &own.budget)
    }

    /// The price tables in force, by name.
    pub fn pins(&self) -> impl Iterator<Item = &TableRef> {
        self.truth.pins.values()
    }

    pub(crate) fn pin(&self, name: &str) -> Option<&TableRef> {
        self.truth.pins.get(name)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.truth.limits
    }

    pub(crate) fn number(&self, id: &Ref) -> Option<u32> {
        self.index.runs.get(id, |number| self.run(number).is_some_and(|run| run.execution.id == *id))
    }

    pub(crate) fn run(&self, number: u32) -> Option<&Run> {
        self.truth.runs.get(usize::try_from(number).ok()?)?.as_deref()
    }

    pub(crate) fn find(&self, id: &Ref) -> Option<(u32, &Run)> {
        let number = self.number(id)?;
        Some((number, self.run(number)?))
    }

    /// Live runs in the order of opening.
    pub(crate) fn live_runs(&self) -> impl Iterator<Item = (u32, &Run)> {
        self.index.live.iter().filter_map(|number| Some((*number, self.run(*number)?)))
    }

    fn run_mut(&mut self, number: u32) -> Option<&mut Run> {
        self.truth.runs.get_mut(usize::try_from(number).ok()?)?.as_deref_mut()
    }
}
