//! `GET /metrics`: both text formats by `Accept`, gzip, and `?family=` for some of the families.
//!
//! Written on a thread of its own from one state; neither the writer of the ledger nor other requests wait for it.

use std::io::Write;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::App;
use super::answer::typed;
use super::extract::Query;
use crate::metrics::{self, Scraper, catalog};
use crate::server::body::header_text;
use crate::server::peer::Peer;
use crate::server::problem::Problem;

/// What Prometheus, and whatever is built on its scraper, sends with every scrape: who keeps time series, and for whom a
/// series must begin at 0.
const SCRAPER: &str = "x-prometheus-scrape-timeout-seconds";

pub(super) async fn metrics(
    State(app): State<App>,
    Query(params): Query<Vec<(String, String)>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let families = families(&params)?;
    let format = metrics::negotiate(header_text(&headers, &header::ACCEPT));
    let gzip = header_text(&headers, &header::ACCEPT_ENCODING).is_some_and(|accept| accept.contains("gzip"));
    let scraper = headers
        .contains_key(SCRAPER)
        .then(|| Scraper { address: peer.and_then(|Extension(peer)| peer.address()), families: families.clone() });
    let place = app.ledger_metrics.place().ok_or_else(|| {
        Problem::unavailable("too_many_scrapes", "enough scrapes are being answered already").retry_after(1)
    })?;
    let (depth, capacity) = app.meter.depth();
    app.metrics.queue_depth(depth);
    app.metrics.queue_capacity(capacity);
    app.metrics.dead_letters(app.late.read(|letters| letters.count()));
    // The scrape shows everything that was durable when it came, in the counters as in the gauges.
    app.view.read_fresh(|_| ()).await;
    let writing = tokio::task::spawn_blocking(move || {
        let now = app.clock.now();
        let whole = families.is_empty();
        let writer = app.ledger_metrics.writer(format).only(families);
        let text = app.view.read(|state| app.ledger_metrics.expose(writer, state, now, &app.metrics, scraper));
        if whole {
            app.ledger_metrics.wrote(text.len());
        }
        let packed = if gzip { gzipped(&text) } else { None };
        drop(place);
        match packed {
            Some(packed) => {
                let mut response = typed(StatusCode::OK, format.content_type(), packed);
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            None => typed(StatusCode::OK, format.content_type(), text),
        }
    });
    writing.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))
}

/// The families that `?family=A&family=B,C` asks for; none means all of them.
fn families(params: &[(String, String)]) -> Result<Vec<&'static str>, Problem> {
    let mut wanted = Vec::new();
    for name in params.iter().filter(|(key, _)| key == "family").flat_map(|(_, names)| names.split(',')) {
        let found = catalog().iter().find(|family| family.name == name || family.open_metrics_name() == name);
        let family = found.ok_or_else(|| {
            let detail = format!("no such metric family: {name:?}; `meterd metrics --catalog` lists them");
            Problem::bad_request("unknown_family", detail)
        })?;
        if !wanted.contains(&family.name) {
            wanted.push(family.name);
        }
    }
    Ok(wanted)
}

fn gzipped(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
