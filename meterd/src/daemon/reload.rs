//! Prices and resources come into force here: at the start, and again when their directories change.
//!
//! A bad file never replaces a good snapshot (I12): the last good one goes on, `/readyz` and the metrics say why.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use budget::entry::Origin;
use budget::{Command, Ref, Verdict};
use pricing::PriceBook;

use super::listeners::Listeners;
use super::prices::Pricer;
use super::{first_problem, tell, warn_all};
use crate::api::App;
use crate::config::Config;
use crate::ledger::{DataDir, LedgerError};
use crate::metrics::TableInfo;
use crate::resource::Resource;
use crate::settle;
use crate::watch::{self, Placed, WatchError, WatchGuard};

/// Pins every table's content beside the ledger, records it, and then swaps the book in: no cost is ever booked from a
/// table that `verify` could not find again (I7). What is quarantined settles with the new book.
pub(super) async fn put_in_force(app: &App, dir: &DataDir, book: PriceBook) -> Result<(), LedgerError> {
    settle::pin(dir, &book)?;
    for (reference, _) in book.pins() {
        tell(app, Command::Pin(reference.clone())).await?;
    }
    let now = app.clock.now();
    let infos = book.tables().iter().map(|table| TableInfo {
        source: Arc::clone(&table.reference().name),
        version: Arc::clone(&table.reference().version),
        digest: Arc::clone(&table.reference().digest),
        entries: table.entries(),
        effective: table.effective(now),
    });
    let infos = infos.collect();
    app.settler.put(book);
    app.metrics.price_tables(infos, now);
    Ok(())
}

/// Applies what the directory holds and removes what came from it before and is gone.
pub(super) async fn sync_resources(app: &App, resources: &[(PathBuf, Resource)]) -> Result<(), LedgerError> {
    let held: HashSet<(Arc<str>, Ref)> =
        resources.iter().map(|(_, resource)| (resource.meta().kind.clone(), resource.meta().id.clone())).collect();
    let gone = app
        .view
        .read_fresh(|state| {
            let from_directory = state.resources().filter(|resource| resource.origin == Origin::Directory);
            let ids = from_directory.map(|resource| (resource.kind.clone(), resource.id.clone()));
            ids.filter(|id| !held.contains(id)).collect::<Vec<_>>()
        })
        .await;
    for (_, resource) in resources {
        let meta = resource.meta();
        match tell(app, resource.command(Origin::Directory)).await? {
            Verdict::AlreadyEnded(phase) => {
                tracing::warn!(kind = %meta.kind, id = %meta.id, phase = phase.as_str(), "not applied: it is over");
            }
            Verdict::NothingToSlice => {
                tracing::warn!(kind = %meta.kind, id = %meta.id, "not applied: its parent has no budget of its own to slice");
            }
            Verdict::Unchanged => {}
            _ => tracing::info!(kind = %meta.kind, id = %meta.id, "resource applied"),
        }
    }
    for (kind, id) in gone {
        tracing::info!(%kind, %id, "resource removed from its directory");
        tell(app, Command::Remove { kind, id }).await?;
    }
    app.metrics.config_loaded(true, app.clock.now());
    Ok(())
}

/// Watches every directory of the configuration, and reads once more what may have changed before the watch began.
pub(super) async fn watch_all(
    pricer: &Pricer,
    app: &App,
    config: &Config,
    listeners: &Listeners,
) -> Result<Vec<WatchGuard>, WatchError> {
    let runtime = tokio::runtime::Handle::current();
    let mut guards = Vec::new();
    if !config.prices.dirs.is_empty() {
        let (pricer, runtime) = (pricer.clone(), runtime.clone());
        guards.push(watch::spawn(config.prices.dirs.clone(), watch::DEBOUNCE, move || {
            runtime.block_on(pricer.reload());
        })?);
    }
    if let Some(resources) = config.resources.dir.clone() {
        let (app, pricer) = (app.clone(), pricer.clone());
        guards.push(watch::spawn(vec![resources.clone()], watch::DEBOUNCE, move || {
            runtime.block_on(reload_resources(&app, &pricer, watch::load_resources_in(&resources)));
        })?);
    }
    guards.extend(super::credentials::watch(app, config)?);
    guards.extend(listeners.watch(app)?);
    if !config.prices.dirs.is_empty() {
        pricer.reload().await;
    }
    if let Some(resources) = &config.resources.dir {
        reload_resources(app, pricer, watch::load_resources_in(resources)).await;
    }
    Ok(guards)
}

async fn reload_resources(app: &App, pricer: &Pricer, loaded: Placed) {
    let failed = match loaded {
        Ok((resources, warnings)) => {
            warn_all(&warnings);
            match pricer.resources(&resources).await {
                Ok(()) => {
                    app.readiness.clear("resources");
                    tracing::info!(resources = resources.len(), "resources reloaded");
                    return;
                }
                Err(failed) => failed,
            }
        }
        Err(problems) => first_problem(&problems),
    };
    tracing::error!("resources not reloaded, the last good ones stay in force: {failed}");
    app.metrics.config_loaded(false, app.clock.now());
    app.readiness.warn("resources", failed);
}
