//! Clients of `bench ledger`: decoded events, as fast as they are acknowledged or at a set rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use budget::Charge;
use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, PriceBook, Quantity, Timestamp, Usage, UsageKey};
use tokio::task::JoinSet;

use super::quantile;
use crate::clock::Clock;
use crate::event::UsageEvent;
use crate::event::charge::charge;
use crate::meter::{Booked, Handle};

/// Events that a paced client sends at once.
const PACED_BATCH: u64 = 64;
/// Agents, each with an eighth of them a team.
const AGENTS: u64 = 64;

/// What is sent: model calls of a fleet, each priced from the built-in tables.
pub(super) struct Load {
    book: PriceBook,
    executions: Vec<Arc<str>>,
    agents: Vec<(Arc<str>, Arc<str>)>,
}

/// From sending to acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(super) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
        self.0.sort_unstable();
    }

    pub(super) fn quantile(&self, percent: usize) -> Duration {
        quantile(&self.0, percent)
    }
}

/// What a paced load found.
pub(super) struct Paced {
    pub(super) rate: f64,
    pub(super) latencies: Latencies,
}

impl Load {
    pub(super) fn new(book: PriceBook, executions: u64) -> Self {
        let executions = (0..executions.max(1)).map(|number| format!("exec-20261125-{number:06}").into()).collect();
        let agent = |number: u64| (format!("agent-{number}").into(), format!("team-{}", number / 8).into());
        Self { book, executions, agents: (0..AGENTS).map(agent).collect() }
    }

    /// Sends events `first..first + events`, each client its next batch when the last one is acknowledged.
    pub(super) async fn full(
        self: &Arc<Self>,
        handle: &Handle,
        first: u64,
        events: u64,
        clients: usize,
        batch: usize,
    ) -> anyhow::Result<Latencies> {
        let mut tasks = JoinSet::new();
        let share = events.div_ceil(clients as u64);
        for client in 0..clients as u64 {
            let (load, handle) = (Arc::clone(self), handle.clone());
            let (begin, end) = (first + (client * share).min(events), first + ((client + 1) * share).min(events));
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut next = begin;
                while next < end {
                    let until = end.min(next + batch.max(1) as u64);
                    latencies.push(load.send(&handle, next, until).await?);
                    next = until;
                }
                anyhow::Ok(latencies)
            });
        }
        joined(tasks).await
    }

    /// Sends so many events at a steady rate, whatever the acknowledgements do.
    pub(super) async fn paced(
        self: &Arc<Self>,
        handle: &Handle,
        first: u64,
        events: u64,
        clients: usize,
        rate: f64,
    ) -> anyhow::Result<Paced> {
        let mut tasks = JoinSet::new();
        let begin = Instant::now();
        let between = Duration::from_secs_f64(PACED_BATCH as f64 / rate.max(1.0));
        let batches = events.div_ceil(PACED_BATCH);
        for client in 0..clients as u64 {
            let (load, handle) = (Arc::clone(self), handle.clone());
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                for number in (client..batches).step_by(clients.max(1)) {
                    let due = begin + between.mul_f64(number as f64);
                    tokio::time::sleep_until(due.into()).await;
                    let next = first + number * PACED_BATCH;
                    latencies.push(load.send(&handle, next, (next + PACED_BATCH).min(first + events)).await?);
                }
                anyhow::Ok(latencies)
            });
        }
        let latencies = joined(tasks).await?;
        Ok(Paced { rate: events as f64 / begin.elapsed().as_secs_f64(), latencies })
    }

    /// Prices and books events `from..to` together; how long the acknowledgement took from the first attempt.
    async fn send(&self, handle: &Handle, from: u64, to: u64) -> anyhow::Result<Duration> {
        let now = Clock::wall().now();
        let charges: Vec<Charge> = (from..to).map(|number| self.charge(number, now)).collect();
        let begin = Instant::now();
        let booked = handle.book(charges).await.context("the ledger refused")?;
        anyhow::ensure!(
            booked.iter().all(|booked| matches!(booked, Booked::Accepted { .. })),
            "not accepted: {booked:?}"
        );
        Ok(begin.elapsed())
    }

    fn charge(&self, number: u64, now: Timestamp) -> Charge {
        let pick = |from: &[Arc<str>]| from.get(usize::try_from(number).unwrap_or(0) % from.len().max(1)).cloned();
        let execution = pick(&self.executions).unwrap_or_default();
        // A run has one agent.
        let agent = usize::try_from(number % self.executions.len() as u64).unwrap_or(0) % self.agents.len().max(1);
        let (agent, team) = self.agents.get(agent).cloned().unwrap_or_default();
        let event = UsageEvent {
            id: format!("01JC{number:022}").into(),
            source: Arc::clone(&agent),
            time: now,
            namespace: "support-platform".into(),
            execution,
            parent_execution: None,
            agent: Some(agent),
            team: Some(team),
            environment: Some("prod".into()),
            conversation: None,
            labels: Vec::new(),
            called: Called::Model {
                provider: "anthropic".into(),
                model: "claude-haiku-4-5".into(),
                request_model: None,
                response_id: Some(format!("msg_{number:024}").into()),
            },
            usage: usage(number),
            attrs: Attrs::new(),
            outcome: CallOutcome::Ok,
            estimated: false,
            reservation: None,
            settles: false,
            reported_cost: None,
        };
        charge(&self.book, event, "local", "api")
    }
}

fn usage(number: u64) -> Option<Usage> {
    let mut usage = Usage::new();
    let counts = [
        (UsageKey::InputTokens, 1_000 + number % 4_000),
        (UsageKey::CacheReadTokens, number % 900),
        (UsageKey::OutputTokens, 100 + number % 1_500),
    ];
    for (key, count) in counts {
        usage.set(key, Quantity::from_u64(count)?).ok()?;
    }
    Some(usage)
}

async fn joined(mut tasks: JoinSet<anyhow::Result<Vec<Duration>>>) -> anyhow::Result<Latencies> {
    let mut all = Latencies::default();
    while let Some(latencies) = tasks.join_next().await {
        all.0.extend(latencies.context("a client has panicked")??);
    }
    all.0.sort_unstable();
    Ok(all)
}
