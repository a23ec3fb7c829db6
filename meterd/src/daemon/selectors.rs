//! Budgets that bind no run are said in the log, each generation once: a selector with a slip in it limits nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use budget::{Budget, Ref, Source, State};
use tokio_util::sync::CancellationToken;

use crate::api::App;

/// How often they are looked for.
const EVERY: Duration = Duration::from_secs(30);
/// Runs looked at, newest first.
const RUNS_READ_MAX: usize = 1_000;

/// Until `stop`.
pub(super) async fn watch(app: App, stop: CancellationToken) {
    let mut said = BTreeMap::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for (budget, limited) in app.view.read(|state| news(state, &mut said)) {
            if limited {
                tracing::warn!(%budget, "the budget binds no run, so it limits nothing: check its scope");
            } else {
                tracing::warn!(%budget, "the budget has no limit, so it limits nothing");
            }
        }
    }
}

/// Budgets that limit nothing and of which that was not said, and whether they have a limit at all. Before any run is known
/// nothing can be said of scopes.
fn news(state: &State, said: &mut BTreeMap<(Source, Ref), u64>) -> Vec<(Ref, bool)> {
    let some_run = state.executions().next().is_some();
    let idle = |budget: &&Budget| budget.limits.is_empty() || some_run && !state.binds_some_run(budget, RUNS_READ_MAX);
    let budgets = state.budgets().filter(|budget| budget.source == Source::Budget).filter(idle);
    let new = budgets
        .filter(|budget| said.insert((budget.source, budget.id.clone()), budget.generation) != Some(budget.generation));
    new.map(|budget| (budget.id.clone(), !budget.limits.is_empty())).collect()
}
