//! `POST /v1/metrics` of sources whose metrics are all there is. One export at a time: increases are against the one before.

use std::sync::Arc;

use budget::Fact;
use tokio::sync::Mutex;

use super::App;
use super::caller::Caller;
use super::traces::{Exported, Signal, booked};
use crate::ingest::otlp::{self, Encoding, Last};
use crate::ledger::LedgerError;
use crate::server::problem::Problem;

/// What is known of telemetry between its requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// What is configured of its sources.
    pub(super) sources: Arc<otlp::Defaults>,
    /// Spans above calls that came in before.
    pub(super) recent: Arc<std::sync::Mutex<otlp::Recent>>,
    /// The last value of each series; read back from the ledger before the first export.
    last: Arc<Mutex<Option<Last>>>,
}

impl Telemetry {
    /// Nothing has come in yet.
    #[must_use]
    pub fn new(sources: otlp::Defaults) -> Self {
        Self { sources: Arc::new(sources), ..Self::default() }
    }
}

/// Books the increases. When booking fails, nothing is remembered: the same values count when they are sent again.
pub(super) async fn export(
    app: &App,
    caller: &Caller,
    plain: &[u8],
    encoding: Encoding,
    defaults: &otlp::Defaults,
) -> Result<Exported, Problem> {
    let mut held = app.telemetry.last.lock().await;
    let before = match held.take() {
        Some(last) => last,
        None if defaults.any_metrics_only() => read_back(app).await?,
        None => Last::default(),
    };
    let mut after = before.clone();
    let decoded = otlp::decode_points(plain, encoding, defaults, &mut after);
    *held = Some(before);
    let batch = decoded?;
    let note = if batch.items.is_empty() && batch.points > 0 {
        "nothing of this is billed: metrics are read of sources with `metrics: only`, as spans and logs would count twice"
    } else {
        ""
    };
    let exported = booked(app, caller, Signal::Metrics, batch.items, note).await?;
    *held = Some(after);
    Ok(exported)
}

/// What was booked of metrics before this start.
async fn read_back(app: &App) -> Result<Last, Problem> {
    let reader = app.view.ledger().clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut last = Last::default();
        reader.scan(1, |entry| {
            if let Fact::Charged(charge) = &entry.fact
                && charge.source.starts_with(otlp::METRICS_VIA)
            {
                last.learn(&charge.event_id);
            }
            true
        })?;
        Ok::<_, LedgerError>(last)
    });
    Ok(read.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))??)
}
