//! The rehearsal: one state of its own, in which the ledger's runs make their calls under the proposed budgets alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use budget::charge::Priced;
use budget::entry::{Applied, Opened};
use budget::reservation::Reserve;
use budget::signal::{Cause, CounterAt};
use budget::{Action, Charge, Command, Denial, Entry, Fact, Ref, Source, State, Verdict, decide};
use pricing::{Money, Timestamp};

use super::{Asked, BudgetRow, RUNS_MAX, Report, RunRow, Since, source_word};

pub(super) struct Rehearsal {
    state: State,
    /// Until they are in force.
    waiting: Option<(Timestamp, Vec<Applied>)>,
    /// What they are called: other versions of them are not looked at.
    proposed: HashSet<(Arc<str>, Ref)>,
    since: Since,
    report: Report,
    runs: BTreeMap<Ref, RunRow>,
    budgets: BTreeMap<(Source, Ref), BudgetRow>,
    /// Which budget stopped a run.
    killed: HashMap<Ref, (Source, Ref)>,
}

impl Rehearsal {
    pub(super) fn new(asked: &Asked, since: Since) -> Self {
        let mut budgets = BTreeMap::new();
        for budget in asked.proposed.iter().flat_map(|applied| &applied.budgets) {
            let (source, namespace) = (source_word(budget.source), budget.id.namespace.to_string());
            let row = BudgetRow { source, namespace, name: budget.id.name.to_string(), ..BudgetRow::default() };
            budgets.insert((budget.source, budget.id.clone()), row);
        }
        Self {
            state: State::default(),
            waiting: Some((asked.since, asked.proposed.clone())),
            proposed: asked.proposed.iter().map(|applied| (applied.kind.clone(), applied.id.clone())).collect(),
            since,
            report: Report { since: asked.since, until: asked.until, ..Report::default() },
            runs: BTreeMap::new(),
            budgets,
            killed: HashMap::new(),
        }
    }

    /// Takes one entry of the ledger; `None` when a sum leaves its range.
    pub(super) fn take(&mut self, entry: &Entry) -> Option<()> {
        let now = entry.at;
        if let Some((_, proposed)) = self.waiting.take_if(|(since, _)| *since <= now) {
            for applied in proposed {
                let facts = self.carry_out(now, Command::Apply(applied)).1;
                self.note(now, &facts)?;
            }
        }
        match &entry.fact {
            Fact::Opened(opened) => {
                // A run's own limits are not what is asked about.
                let opened = Opened { budget: None, document: None, ..(**opened).clone() };
                self.carry_out(now, Command::Open(Box::new(opened)));
            }
            Fact::Ended { execution, phase } => {
                self.carry_out(now, Command::End { execution: execution.clone(), phase: *phase });
            }
            Fact::Removed { kind, id } if !self.is_proposed(kind, id) => {
                self.carry_out(now, Command::Remove { kind: kind.clone(), id: id.clone() });
            }
            Fact::Applied(applied) if !self.is_proposed(&applied.kind, &applied.id) => {
                let (budgets, document) = (Vec::new(), "{}".into());
                self.carry_out(now, Command::Apply(Applied { budgets, document, ..applied.clone() }));
            }
            Fact::Forgotten { executions } => {
                let fact = Fact::Forgotten { executions: executions.clone() };
                self.fold(now, fact);
            }
            Fact::Charged(charge) => {
                let mut charge = (**charge).clone();
                if let Some(known) = self.since.calls.get(&entry.seq) {
                    charge = known.corrected(charge);
                }
                if let Some(price) = self.since.prices.get(&entry.seq) {
                    charge.priced = Priced::Reported(*price);
                }
                // What was held is not: each call is judged when it is booked.
                charge.claim = None;
                self.call(now, charge)?;
            }
            _ => {}
        }
        Some(())
    }

    fn is_proposed(&self, kind: &Arc<str>, id: &Ref) -> bool {
        self.proposed.contains(&(Arc::clone(kind), id.clone()))
    }

    /// One call, as it was made.
    fn call(&mut self, now: Timestamp, charge: Charge) -> Option<()> {
        if self.waiting.is_some() {
            self.carry_out(now, Command::Charge(Box::new(charge)));
            return Some(());
        }
        let (cost, run) = (charge.amount(), charge.execution.clone());
        self.report.calls += 1;
        self.report.spent_usd = self.report.spent_usd.checked_add(cost)?;
        if let Some(row) = self.row(&charge) {
            row.spent_usd = row.spent_usd.checked_add(cost)?;
        }
        self.end_turn(now, &run);
        let denial = self.denial(now, &charge);
        let by = match &denial {
            Some(Denial::Fenced(_)) => self.killed.get(&run).cloned(),
            Some(Denial::Limit(counter)) => Some((counter.source, counter.budget.clone())),
            Some(Denial::PerCall { budget, .. }) => Some((Source::ModelRoute, budget.clone())),
            Some(Denial::Unpriced(budget)) => Some((Source::Budget, budget.clone())),
            _ => None,
        };
        let Some(by) = by else {
            let (_, facts) = self.carry_out(now, Command::Charge(Box::new(charge)));
            self.report.would_have_spent_usd = self.report.would_have_spent_usd.checked_add(cost)?;
            if let Some(row) = self.runs.get_mut(&run) {
                row.would_have_spent_usd = row.would_have_spent_usd.checked_add(cost)?;
            }
            return self.note(now, &facts);
        };
        let fenced = matches!(denial, Some(Denial::Fenced(_)));
        let counted = if fenced { &mut self.report.calls_avoided } else { &mut self.report.calls_denied };
        *counted += 1;
        if let Some(row) = self.budgets.get_mut(&by) {
            row.calls_denied += u64::from(!fenced);
            row.saved_usd = row.saved_usd.checked_add(cost)?;
        }
        if let Some(row) = self.runs.get_mut(&run) {
            *(if fenced { &mut row.calls_avoided } else { &mut row.calls_denied }) += 1;
            if let Some(denial) = denial.filter(|_| row.reason.is_none()) {
                row.reason = Some(said(&denial));
            }
        }
        Some(())
    }

    /// The last turn of a run is over when its time is.
    fn end_turn(&mut self, now: Timestamp, run: &Ref) {
        let turn = self.state.execution(run).and_then(|run| self.state.turn_left(run));
        if let Some(turn) = turn.filter(|turn| turn.until <= now) {
            self.carry_out(now, Command::Fence { kill: turn.kill });
        }
    }

    /// What would stand in the way of this call. A limit that terminates lets it be made, and ends the run with it.
    fn denial(&self, now: Timestamp, charge: &Charge) -> Option<Denial> {
        let wish = Reserve {
            id: "rehearsal".into(),
            body: 0,
            execution: charge.execution.clone(),
            subject: charge.subject.clone(),
            parent: charge.parent.clone(),
            estimate: charge.as_estimate(),
            ceiling: None,
            ttl_ms: 1,
        };
        let verdict = decide(&self.state, now, Command::Reserve(Box::new(wish)), &mut Vec::new());
        let Verdict::Refused { denial, .. } = verdict else { return None };
        let denies = |counter: &CounterAt| {
            let found = self.state.budgets().find(|b| b.source == counter.source && b.id == counter.budget);
            found.is_some_and(|budget| budget.on_hard_limit == Action::Deny)
        };
        Some(*denial).filter(|denial| if let Denial::Limit(counter) = denial { denies(counter) } else { true })
    }

    /// Counts what the budgets did.
    fn note(&mut self, now: Timestamp, facts: &[Fact]) -> Option<()> {
        for fact in facts {
            match fact {
                Fact::Warned { execution, counter, .. } | Fact::Reached { execution, counter } => {
                    if let Some(row) = self.budgets.get_mut(&(counter.source, counter.budget.clone())) {
                        row.alerts += 1;
                    }
                    if let Some(row) = self.runs.get_mut(execution) {
                        row.alerts += 1;
                    }
                }
                Fact::Killed { execution, cause, .. } | Fact::WindDown { execution, cause, .. } => {
                    let Cause::Budget(counter) = cause else { continue };
                    let by = (counter.source, counter.budget.clone());
                    if let Some(row) = self.budgets.get_mut(&by) {
                        row.runs_killed += 1;
                    }
                    self.killed.insert(execution.clone(), by);
                    if let Some(row) = self.known(execution) {
                        row.killed_at = Some(now);
                        row.reason.get_or_insert_with(|| figures(counter));
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The row of a call's run.
    fn row(&mut self, charge: &Charge) -> Option<&mut RunRow> {
        if !self.runs.contains_key(&charge.execution) {
            self.report.runs += 1;
        }
        self.known(&charge.execution)
    }

    fn known(&mut self, execution: &Ref) -> Option<&mut RunRow> {
        if self.runs.len() >= RUNS_MAX && !self.runs.contains_key(execution) {
            return None;
        }
        let subject = self.state.execution(execution).map(|run| run.subject.clone()).unwrap_or_default();
        Some(self.runs.entry(execution.clone()).or_insert_with(|| RunRow {
            namespace: execution.namespace.to_string(),
            execution: execution.name.to_string(),
            agent: subject.agent.map(|agent| agent.to_string()),
            team: subject.team.map(|team| team.to_string()),
            ..RunRow::default()
        }))
    }

    fn carry_out(&mut self, now: Timestamp, command: Command) -> (Verdict, Vec<Fact>) {
        let mut facts = Vec::new();
        let verdict = decide(&self.state, now, command, &mut facts);
        for fact in &facts {
            self.fold(now, fact.clone());
        }
        (verdict, facts)
    }

    fn fold(&mut self, now: Timestamp, fact: Fact) {
        let at = now.max(self.state.log_time().saturating_add(1));
        self.state.apply(&Entry { seq: self.state.seq() + 1, at, fact });
    }

    /// The sums.
    pub(super) fn report(mut self) -> Option<Report> {
        let mut report = std::mem::take(&mut self.report);
        report.saved_usd = report.spent_usd.checked_sub(report.would_have_spent_usd)?;
        for row in self.runs.values_mut() {
            row.saved_usd = row.spent_usd.checked_sub(row.would_have_spent_usd)?;
            report.runs_alerted += u64::from(row.alerts > 0);
            report.runs_denied += u64::from(row.calls_denied > 0);
            report.runs_killed += u64::from(row.killed_at.is_some());
        }
        // What a kill spared is its budget's.
        report.budgets = self.budgets.into_values().collect();
        report.list(self.runs);
        Some(report)
    }
}

fn said(denial: &Denial) -> String {
    match denial {
        Denial::Limit(counter) => figures(counter),
        Denial::PerCall { budget, limit } => format!("{budget}: one call may cost {limit} USD"),
        Denial::Unpriced(budget) => format!("{budget}: usage without a price"),
        other => other.code().to_owned(),
    }
}

fn figures(counter: &CounterAt) -> String {
    let amount = |amount: i128| match counter.unit {
        budget::Unit::Usd => Money::from_scaled(amount).unwrap_or_default().to_string(),
        _ => amount.to_string(),
    };
    let unit = match counter.unit {
        budget::Unit::Usd => "USD",
        budget::Unit::Tokens => "tokens",
        budget::Unit::ToolCalls => "tool calls",
        budget::Unit::ModelCalls => "model calls",
    };
    let window = counter.window.as_str();
    format!("{} {window}: {} of {} {unit}", counter.budget, amount(counter.spent), amount(counter.limit))
}
