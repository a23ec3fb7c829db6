//! Prices in force: the tables of `prices.dirs` and the price tables, books and models among the resources, as one book.
//!
//! Whatever changes takes its turn here: it is checked with all the rest before any of it is recorded or put in force, so
//! that a bad file or request never replaces a good snapshot (I12), and a restart builds the same book from the ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use budget::entry::Origin;
use budget::{Command, Ref, Verdict};
use pricing::PriceBook;
use pricing::document::{Place, Problem as Fault};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{first_problem, reload, warn_all};
use crate::api::{App, Change, Order, Unchanged};
use crate::config::Prices;
use crate::ledger::{DataDir, LedgerError};
use crate::meter;
use crate::resource::{PRICE_KINDS, Resource};
use crate::watch::{self, Cache, FileProblem, Given};

/// A book with its warnings, or every problem of it.
type Loaded = Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>>;
/// The file's place of what a request brought.
const REQUEST: &str = "request";

/// Puts prices in force; cheap to clone.
#[derive(Clone)]
pub(super) struct Pricer(Arc<Shared>);

struct Shared {
    app: App,
    dir: DataDir,
    prices: Prices,
    turn: Mutex<()>,
}

/// What the ledger holds of prices.
struct Stored {
    kind: Arc<str>,
    id: Ref,
    origin: Origin,
    document: Arc<str>,
}

/// The book of `prices` and, over its tables, of what resources say.
pub(super) fn load(prices: &Prices, dir: &DataDir, given: &[Given]) -> Loaded {
    let cache = Cache::at(dir.root().join("cache/prices"));
    let (book, warnings) = watch::load_prices_and(&prices.dirs, prices.seed, given, &cache)?;
    Ok((book.with_unmatched(prices.unmatched), warnings))
}

/// What these resources say of prices.
pub(super) fn given(resources: &[(PathBuf, Resource)]) -> Vec<Given> {
    resources.iter().filter_map(|(file, resource)| Given::of(file, resource)).collect()
}

impl Pricer {
    pub(super) fn new(app: App, dir: DataDir, prices: Prices) -> Self {
        Self(Arc::new(Shared { app, dir, prices, turn: Mutex::default() }))
    }

    /// At the start: `book` is of the files and the folder of resources, which are recorded by now. What was applied
    /// before comes on top.
    pub(super) async fn begin(&self, book: PriceBook) -> Result<Result<(), Vec<FileProblem>>, LedgerError> {
        let _turn = self.0.turn.lock().await;
        let applied = self.stored().await.iter().any(|stored| stored.origin == Origin::Api);
        let book = match applied {
            false => book,
            true => match self.book(&|_| true, Vec::new()).await {
                Ok((book, _)) => book,
                Err(problems) => return Ok(Err(problems)),
            },
        };
        reload::put_in_force(&self.0.app, &self.0.dir, book).await.map(Ok)
    }

    /// Serves what is handed in at the desk until `stop`.
    pub(super) async fn serve(self, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
        let work = async {
            while let Some((change, reply)) = orders.recv().await {
                // Whoever asked may be gone; what was done stays done.
                let _ = reply.send(self.change(change).await);
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Reads `prices.dirs` again.
    pub(super) async fn reload(&self) {
        let _turn = self.0.turn.lock().await;
        let app = &self.0.app;
        let failed = match self.book(&|_| true, Vec::new()).await {
            Ok((book, warnings)) => {
                warn_all(&warnings);
                let tables = book.tables().len();
                match reload::put_in_force(app, &self.0.dir, book).await {
                    Ok(()) => {
                        app.readiness.clear("prices");
                        tracing::info!(tables, "prices reloaded");
                        return;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(problems) => first_problem(&problems),
        };
        tracing::error!("prices not reloaded, the last good ones stay in force: {failed}");
        for table in app.prices.load().tables() {
            app.metrics.price_tables_failed(&table.reference().name);
        }
        app.readiness.warn("prices", failed);
    }

    /// What the folder of resources holds now, recorded; and the prices among it in force. Nothing of it where the
    /// prices would not hold together.
    pub(super) async fn resources(&self, resources: &[(PathBuf, Resource)]) -> Result<(), String> {
        let _turn = self.0.turn.lock().await;
        let of_folder = |stored: &Stored| stored.origin == Origin::Directory;
        let bears = resources.iter().any(|(_, resource)| resource.bears_prices());
        let book = if bears || self.stored().await.iter().any(of_folder) {
            let stays = |stored: &Stored| !of_folder(stored) && !resources.iter().any(|(_, new)| stored.is(new));
            Some(self.book(&stays, given(resources)).await.map_err(|problems| first_problem(&problems))?.0)
        } else {
            None
        };
        reload::sync_resources(&self.0.app, resources).await.map_err(|error| error.to_string())?;
        match book.filter(|book| !same(book, &self.0.app.prices.load())) {
            Some(book) => reload::put_in_force(&self.0.app, &self.0.dir, book).await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    async fn change(&self, change: Change) -> Result<Vec<Verdict>, Unchanged> {
        let _turn = self.0.turn.lock().await;
        let (book, commands) = match change {
            Change::Apply(resources) => {
                let file = Path::new(REQUEST);
                let added = resources.iter().filter_map(|resource| Given::of(file, resource)).collect();
                let stays = |stored: &Stored| !resources.iter().any(|new| stored.is(new));
                let commands = resources.iter().map(|resource| resource.command(Origin::Api)).collect::<Vec<_>>();
                (self.book(&stays, added).await, commands)
            }
            Change::Remove { kind, id } => {
                let stays = |stored: &Stored| (&stored.kind, &stored.id) != (&kind, &id);
                let book = self.book(&stays, Vec::new()).await;
                (book, vec![Command::Remove { kind: Arc::clone(&kind), id: id.clone() }])
            }
        };
        let (book, _) = book.map_err(|problems| Unchanged::Problems(problems.into_iter().map(fault).collect()))?;
        let app = &self.0.app;
        let mut verdicts = Vec::with_capacity(commands.len());
        for command in commands {
            verdicts.push(match verdicts.is_empty() {
                true => app.meter.command(command).await?,
                false => app.meter.command_when_room(command).await?,
            });
        }
        if !same(&book, &app.prices.load()) {
            let tables = book.tables().len();
            reload::put_in_force(app, &self.0.dir, book).await.map_err(|_| meter::Refused::Stopped)?;
            tracing::info!(tables, "prices changed by a request");
        }
        Ok(verdicts)
    }

    async fn stored(&self) -> Vec<Stored> {
        let bears = |kind: &str| PRICE_KINDS.contains(&kind);
        let ask = |state: &budget::State| {
            let resources = state.resources().filter(|resource| bears(&resource.kind));
            let stored = resources.map(|resource| Stored {
                kind: Arc::clone(&resource.kind),
                id: resource.id.clone(),
                origin: resource.origin,
                document: Arc::clone(&resource.document),
            });
            stored.collect()
        };
        self.0.app.view.read_fresh(ask).await
    }

    /// The book of the files, of the ledger's resources as far as they stay, and of what is added.
    async fn book(&self, stays: &(dyn Fn(&Stored) -> bool + Sync), added: Vec<Given>) -> Loaded {
        let stored: Vec<Stored> = self.stored().await.into_iter().filter(stays).collect();
        let shared = Arc::clone(&self.0);
        // Reading takes a while and must not hold up others.
        let read = tokio::task::spawn_blocking(move || {
            let mut given = Vec::new();
            for Stored { kind, id, document, .. } in &stored {
                given.extend(Given::of_document(Path::new(&format!("applied {kind} {id}")), document)?);
            }
            given.extend(added);
            load(&shared.prices, &shared.dir, &given)
        });
        let stopping = || vec![FileProblem::of_file(Path::new(REQUEST), "the daemon is going down", None)];
        read.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Stored {
    fn is(&self, resource: &Resource) -> bool {
        let meta = resource.meta();
        (&meta.kind, &meta.id) == (&self.kind, &self.id)
    }
}

/// Do both price every call alike, from the same tables in the same piles?
fn same(new: &PriceBook, old: &PriceBook) -> bool {
    new.pins().map(|(reference, _)| reference).eq(old.pins().map(|(reference, _)| reference))
}

/// A problem for whoever sent the request: what lies elsewhere is told with its file.
fn fault(FileProblem { file, problem }: FileProblem) -> Fault {
    if file == Path::new(REQUEST) {
        return problem;
    }
    let message = format!("{}: {}", file.display(), problem.message);
    Fault { place: Place::default(), message, ..problem }
}
