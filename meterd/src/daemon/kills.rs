//! What the driver of kills is given: the view to read from, the meter to record with, the configured targets; and the
//! socket over which workers register.

use std::sync::Arc;

use budget::signal::{Kill, Process};
use budget::{Command, Ref};
use pricing::Timestamp;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::App;
use crate::clock::Clock;
use crate::config::{Config, UnixSocket};
use crate::follow::{Courier, Cursor, Pace, follow};
use crate::ledger::{DataDir, LedgerError};
use crate::meter::Handle;
use crate::reconcile::View;
use crate::server::unix::{self, UnixError};
use crate::signal::deliver::{Answer, Book, Driver, Targets};
use crate::signal::exceeded::{Exceeded, cursor_name};
use crate::signal::webhook::Topic;

/// The ledger, as the driver sees it.
struct Ledger {
    meter: Handle,
    view: View,
    clock: Clock,
}

/// Starts the driver of kills, with those that are open at entry `cursor`.
pub(super) fn drive(
    config: &Config,
    app: &App,
    dir: &DataDir,
    cursor: u64,
    followers: &mut JoinSet<()>,
    following: &CancellationToken,
) -> Result<(), LedgerError> {
    let book = Ledger { meter: app.meter.clone(), view: app.view.clone(), clock: app.clock.clone() };
    let signals = &config.signals;
    let targets = Targets { webhooks: signals.webhooks.clone(), joch: signals.joch.clone() };
    let (driver, waker) = Driver::new(Arc::new(book), app.hub.clone(), targets, signals.per_second_max);
    followers.spawn(follow("kills", app.view.ledger().clone(), cursor, waker, following.clone()));
    followers.spawn(driver.run(app.stop.clone()));
    let reader = app.view.ledger();
    for hook in signals.webhooks.iter().filter(|hook| hook.topics.contains(&Topic::BudgetExceeded)) {
        // What was exceeded before a webhook was configured is not told to it.
        let committed = reader.committed();
        let place = Cursor::open(dir, &cursor_name(hook), committed, committed)?;
        let clock = app.clock.clone();
        let peer = Exceeded::new(hook.clone(), move || clock.now());
        let courier = Courier::new("budget-exceeded", reader.clone(), place, Pace::default(), peer);
        followers.spawn(courier.run(app.stop.clone()));
    }
    Ok(())
}

impl Book for Ledger {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn open(&self) -> Answer<Vec<Arc<str>>> {
        let view = self.view.clone();
        Box::pin(
            async move { view.read_fresh(|state| state.open_kills().map(|kill| Arc::clone(&kill.id)).collect()).await },
        )
    }

    fn kill(&self, id: Arc<str>) -> Answer<Option<Kill>> {
        let view = self.view.clone();
        Box::pin(async move { view.read_fresh(|state| state.kill(&id).cloned()).await })
    }

    fn worker(&self, execution: &Ref) -> Option<(Process, Vec<(Ref, bool)>)> {
        self.view.read(|state| {
            let process = state.process(execution)?.clone();
            let others = state.runs_of(&process).filter(|run| *run != execution);
            let others = others.map(|run| (run.clone(), state.process(run).is_some_and(|worker| worker.shared)));
            Some((process.clone(), others.collect()))
        })
    }

    fn record(&self, command: Command) -> Answer<bool> {
        let meter = self.meter.clone();
        Box::pin(async move {
            let recorded = meter.command_when_room(command).await;
            recorded.inspect_err(|error| tracing::warn!(%error, "what became of a kill was not recorded")).is_ok()
        })
    }
}

/// Opens the Unix socket that the configuration asks for. The default place may be too long for an address: then there is
/// none, and the log says so.
pub(super) async fn socket(config: &Config, dir: &DataDir) -> Result<Option<UnixListener>, UnixError> {
    let path = match &config.listen.unix_socket {
        UnixSocket::Off => return Ok(None),
        UnixSocket::At(path) => path.clone(),
        UnixSocket::InDataDir => dir.socket(),
    };
    match unix::bind(&path).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ UnixError::TooLong(_)) if config.listen.unix_socket == UnixSocket::InDataDir => {
            tracing::warn!("no Unix socket: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
