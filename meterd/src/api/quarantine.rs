//! `GET /v1/quarantine`: usage without a price. `POST /v1/reprice`: what booked usage costs by other tables.

mod release;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::adjust::Quarantined;
use pricing::book::Layers;
use pricing::{PriceBook, PriceTable, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use release::{inspect, release};

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::extract::Query;
use super::usage::to_json;
use crate::reconcile::quarantined_json;
use crate::server::body::{BodyLimits, read};
use crate::server::problem::Problem;
use crate::settle::{Asked, Cut};

/// Lines in one answer, at most.
const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;
/// Kinds (reason, provider, name) that are counted one by one; the others count together.
const KINDS_MAX: usize = 1_000;
/// Every table of a book is in the body of a re-pricing.
const TABLES_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    namespace: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    next: Option<u64>,
}

impl Params {
    fn wants(&self, quarantined: &Quarantined) -> bool {
        self.namespace.as_deref().is_none_or(|only| *only == *quarantined.execution.namespace)
            && self.reason.as_deref().is_none_or(|only| only == quarantined.reason.code())
    }
}

/// One page, oldest first; with the first page, how many there are of each kind.
pub(super) async fn list(State(app): State<App>, caller: Caller, Query(params): Query<Params>) -> Response {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let from = params.next.unwrap_or(0);
    let sees = |quarantined: &Quarantined| caller.0.sees(&quarantined.execution.namespace);
    let answer = app.view.read_fresh(|state| {
        let mut page = state.quarantine(from).filter(|(_, quarantined)| sees(quarantined) && params.wants(quarantined));
        let items: Vec<Value> = page
            .by_ref()
            .take(limit)
            .map(|(seq, quarantined)| quarantined_json(seq, quarantined, state.held_unpriced(seq)))
            .collect();
        let next = page.next().map(|(seq, _)| seq.to_string());
        let counts = params.next.is_none().then(|| {
            counts(state.quarantine(0).map(|(_, quarantined)| quarantined).filter(|quarantined| sees(quarantined)))
        });
        json!({
            "items": items, "counts": counts, "total": state.quarantined(),
            "not_listed": state.quarantine_beyond().count, "continue": next,
        })
    });
    typed(StatusCode::OK, "application/json", answer.await.to_string())
}

/// How many charges of each reason, provider and name, the most first.
fn counts<'a>(all: impl Iterator<Item = &'a Quarantined>) -> Vec<Value> {
    let mut kinds: BTreeMap<(&str, Option<&str>, Option<&str>), u64> = BTreeMap::new();
    for Quarantined { reason, provider, name, .. } in all {
        let mut kind = (reason.code(), provider.as_deref(), name.as_deref());
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            kind = (reason.code(), None, None);
        }
        *kinds.entry(kind).or_default() += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kind = |((reason, provider, name), events): ((&str, Option<&str>, Option<&str>), u64)| json!({ "reason": reason, "provider": provider, "name": name, "events": events });
    kinds.into_iter().map(kind).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    tables: Vec<File>,
    since: Timestamp,
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    reopen: bool,
}

/// A file of price tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    text: String,
}

pub(super) async fn reprice(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let limits = BodyLimits { bytes_max: app.body.bytes_max.max(TABLES_BYTES_MAX), ..app.body };
    let raw = read(body, limits).await?;
    let wish: Wish = serde_json::from_slice(&raw).map_err(|error| {
        let expected = r#"expected {"tables": [{"name", "text"}], "since": "…", "until"?, "dry_run"?, "reopen"?}"#;
        Problem::bad_request("invalid_reprice", format!("{expected}: {error}"))
    })?;
    let prices = Arc::new(prices_of(&wish.tables)?);
    let Wish { since, until, dry_run, reopen, .. } = wish;
    let asked = Asked { prices, since, until, dry_run, reopen, now: app.clock.now() };
    let report = app.settler.reprice(&asked).await?;
    Ok(typed(StatusCode::OK, "application/json", to_json(&report)))
}

/// A book of these files; what is wrong in one is told with its name.
fn prices_of(files: &[File]) -> Result<PriceBook, Problem> {
    let (mut tables, mut books): (Vec<Arc<PriceTable>>, _) = (Vec::new(), Vec::new());
    for (place, file) in files.iter().enumerate() {
        let (read, layers) = Layers::parse_all(&file.text).map_err(|problems| {
            super::resources::refused(StatusCode::BAD_REQUEST, "invalid_price_table", &problems)
                .with("file", file.name.clone().into())
        })?;
        books.extend(layers);
        for table in read {
            let name = &table.reference().name;
            if tables.iter().any(|other| other.reference().name == *name) {
                let detail = format!("price table {name} is given twice, the second time in {}", file.name);
                return Err(Problem::bad_request("invalid_price_table", detail).at(format!("/tables/{place}")));
            }
            tables.push(Arc::new(table));
        }
    }
    if tables.is_empty() {
        return Err(Problem::bad_request("no_price_table", "no price table is given").at("/tables"));
    }
    PriceBook::layered(tables, &books).map_err(|problems| {
        let first = problems.first().map(|found| found.resource.to_string()).unwrap_or_default();
        let problems: Vec<_> = problems.into_iter().map(|found| found.problem).collect();
        super::resources::refused(StatusCode::BAD_REQUEST, "invalid_price_table", &problems)
            .with("resource", first.into())
    })
}

impl From<Cut> for Problem {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Ledger(error) => error.into(),
            Cut::Refused(refused) => refused.into(),
            Cut::OutOfRange => Self::bad_request("out_of_range", cut.to_string()),
            Cut::Stopping => Self::unavailable("stopping", "the daemon is going down; what is booked stays, ask again"),
        }
    }
}
