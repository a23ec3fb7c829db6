//! `meterd bench decide`: the budget core alone, on one core of this machine: how fast it decides on reservations while very many
//! runs are live, and what each of them takes of memory. No disk, no network, no second thread.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use budget::entry::{Applied, Opened, Origin};
use budget::reservation::Estimate;
use budget::{Command, Entry, Fact, Link, Ref, Reserve, State, Subject, Verdict, allowance, decide};
use clap::Args;
use pricing::{Money, Timestamp};
use serde_json::{Value, json};

use super::Report;
use super::clocks::{Stretch, resident_bytes};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::clock::Clock;
use crate::event::charge::{Stated, reported};
use crate::resource::{self, Resource};

/// Eight limits: four that count each run, four that all runs share.
const BUDGET: &str = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: bench, namespace: bench }\nspec:\n  \
    limits: { perRunUsd: 1000000, tokenLimitPerRun: 1000000000, toolCallLimitPerRun: 1000000, modelCallLimitPerRun: 1000000,\n    \
    hourlyUsd: 1000000000, dailyUsd: 1000000000, monthlyUsd: 1000000000, tokenLimitDaily: 1000000000000000 }\n  \
    enforcement: { onHardLimit: deny }\n";
const COUNTERS: usize = 8;
/// Commands made before the clock starts, and decided while it runs.
const AT_ONCE: u64 = 4_096;
/// Agents that the runs belong to.
const AGENTS: u64 = 64;
const HOUR_MS: u64 = 3_600_000;

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchDecide {
    /// Live runs, each of one call, bound by eight counters, and with one live reservation
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    executions: u64,
    /// Decisions on reservations of runs picked all over
    #[arg(long, default_value_t = 4_000_000, value_name = "N")]
    decisions: u64,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A state and the time that it is.
struct Core {
    state: State,
    now: Timestamp,
    runs: u64,
    agents: Vec<Arc<str>>,
}

impl BenchDecide {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let runs = self.executions.max(1);
        let mut core = Core::new(Clock::wall().now(), runs)?;
        let empty = resident();
        core.open_all();
        core.charge_all();
        let opened = resident();
        let made = Stretch::start();
        core.reserve_all()?;
        let applied = made.core();
        let held = resident();
        core.check()?;
        let took = core.decide(self.decisions.max(1))?;
        let each = |from: u64, to: u64| json!(to.saturating_sub(from) / runs);
        let (figures, settings) = (
            vec![
                ("decisions_per_second", per_second(self.decisions.max(1), took)),
                ("ns_per_decision", json!((took.as_secs_f64() * 1e9 / self.decisions.max(1) as f64).round())),
                ("reserved_and_folded_per_second", per_second(runs, applied)),
                ("bytes_per_live_reservation", each(opened, held)),
                ("bytes_per_live_execution", each(empty, opened)),
                ("resident_mb", json!(held >> 20)),
            ],
            vec![
                ("executions", json!(runs)),
                ("counters", json!(COUNTERS)),
                ("decisions", json!(self.decisions.max(1))),
                ("threads", json!(1)),
            ],
        );
        Report { bench: "decide", figures, settings }.print(self.output)
    }
}

fn resident() -> u64 {
    resident_bytes().unwrap_or(0)
}

fn per_second(times: u64, took: Duration) -> Value {
    json!((times as f64 / took.as_secs_f64()).round())
}

impl Core {
    /// The budget in force, and nobody there.
    fn new(now: Timestamp, runs: u64) -> anyhow::Result<Self> {
        let Ok((resources, _)) = resource::read(BUDGET) else { bail!("the benchmark's budget cannot be read") };
        let agents = (0..AGENTS).map(|number| Arc::from(format!("agent-{number}"))).collect();
        let mut core = Self { state: State::default(), now, runs, agents };
        for resource in &resources {
            let Resource::Budget { meta, .. } = resource else { continue };
            core.fold(Fact::Applied(Applied {
                kind: Arc::clone(&meta.kind),
                id: meta.id.clone(),
                generation: 1,
                origin: Origin::Api,
                document: Arc::clone(&meta.document),
                budgets: resource.budgets(),
                link: Link::default(),
            }));
        }
        Ok(core)
    }

    fn fold(&mut self, fact: Fact) {
        let entry = Entry { seq: self.state.seq() + 1, at: self.now, fact };
        self.state.apply(&entry);
    }

    fn subject(&self, run: u64) -> Subject {
        let agent = usize::try_from(run % AGENTS).ok().and_then(|at| self.agents.get(at)).cloned();
        Subject { agent, ..Subject::default() }
    }

    fn open_all(&mut self) {
        for run in 0..self.runs {
            self.fold(Fact::Opened(Box::new(Opened {
                execution: execution(run),
                subject: self.subject(run),
                parent: None,
                conversation: None,
                inherit_from_agent: true,
                budget: None,
                route: None,
                document: None,
            })));
        }
    }

    /// One call for each run, so that all its counters are there.
    fn charge_all(&mut self) {
        for run in 0..self.runs {
            let cost = Money::from_scaled(1_000_000_000_000_000).unwrap_or_default();
            let stated = Stated { id: None, cost, last: true, provider: None, model: None, tool: None };
            let mut charge = reported(&"none".into(), &stated, self.now, "bench");
            (charge.execution, charge.subject, charge.claim) = (execution(run), self.subject(run), None);
            charge.key = u128::from(run);
            self.fold(Fact::Charged(Box::new(charge)));
        }
    }

    fn wish(&self, id: String, run: u64) -> Command {
        Command::Reserve(Box::new(Reserve {
            id: id.into(),
            body: run,
            execution: execution(run),
            subject: self.subject(run),
            parent: None,
            estimate: Estimate {
                usd: Money::from_scaled(2_000_000_000_000_000),
                tokens: 4_000,
                tool_calls: 1,
                model_calls: 1,
                unpriced: false,
            },
            ceiling: None,
            ttl_ms: HOUR_MS,
        }))
    }

    /// One live reservation for each run, decided and folded.
    fn reserve_all(&mut self) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        for run in 0..self.runs {
            let verdict = decide(&self.state, self.now, self.wish(format!("res-{run:016x}"), run), &mut facts);
            granted(&verdict)?;
            for fact in facts.drain(..) {
                self.fold(fact);
            }
        }
        Ok(())
    }

    /// Every reservation is live, and a run is bound by as many counters as the answer says.
    fn check(&self) -> anyhow::Result<()> {
        let bound = allowance(&self.state, self.now, &execution(0)).map_or(0, |allowance| allowance.counters.len());
        if bound != COUNTERS || self.state.held_reservations() != self.runs {
            bail!("a run is bound by {bound} counters, {} reservations are live", self.state.held_reservations());
        }
        Ok(())
    }

    /// Decides, and folds nothing: the time of the decisions alone.
    fn decide(&self, decisions: u64) -> anyhow::Result<Duration> {
        let (mut took, mut done) = (Duration::ZERO, 0);
        let mut facts = Vec::with_capacity(2);
        while done < decisions {
            let count = AT_ONCE.min(decisions - done);
            let wishes: Vec<Command> = (done..done + count)
                .map(|number| self.wish(format!("new-{number:016x}"), scattered(number, self.runs)))
                .collect();
            let clock = Stretch::start();
            for wish in wishes {
                granted(&decide(&self.state, self.now, wish, &mut facts))?;
                facts.clear();
            }
            took += clock.core();
            done += count;
        }
        Ok(took)
    }
}

fn execution(run: u64) -> Ref {
    Ref::new("bench", &format!("exec-20261125-{run:07}"))
}

fn granted(verdict: &Verdict) -> anyhow::Result<()> {
    if matches!(verdict, Verdict::Granted { .. }) {
        return Ok(());
    }
    bail!("a reservation was not granted: {verdict:?}")
}

/// A run far from the one before, so that no cache has it.
fn scattered(number: u64, runs: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) % runs
}
