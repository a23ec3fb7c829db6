//! `POST /v1/metrics` of sources whose metrics are all there is. One export at a time: increases are against the one before.

use std::sync::{Arc, PoisonError};

use budget::Fact;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::App;
use super::caller::Caller;
use super::traces::{Exported, Signal, exported};
use super::usage::{EventResult, take};
use crate::ingest::otlp::{self, Encoding, Last, PointBatch};
use crate::ledger::{DataDir, LedgerError};
use crate::server::problem::Problem;
use crate::settle::first_logged;
use crate::spans::SpanFile;

/// How far a sender's clock may be from ours, at most, where it matters whether a counter began before what was read back.
const CLOCKS_APART_NANOS: i64 = 86_400_000_000_000;

/// What is known of telemetry between its requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// What is configured of its sources.
    pub(super) sources: Arc<otlp::Defaults>,
    /// Spans around calls that came in before.
    pub(super) recent: Arc<std::sync::Mutex<otlp::Recent>>,
    /// The same on disk.
    spans: Arc<std::sync::Mutex<Option<SpanFile>>>,
    /// The last value of each series; read back from the ledger before the first export.
    last: Arc<Mutex<Option<Last>>>,
}

impl Telemetry {
    /// As a data directory remembers it, which this process owns.
    pub fn open(sources: otlp::Defaults, dir: &DataDir) -> Result<Self, LedgerError> {
        let (file, marks) = SpanFile::open(dir)?;
        let recent = Arc::new(std::sync::Mutex::new(otlp::Recent::restored(marks.into_iter())));
        let spans = Arc::new(std::sync::Mutex::new(Some(file)));
        Ok(Self { sources: Arc::new(sources), recent, spans, ..Self::default() })
    }

    /// Keeps what was learned of spans; before what it is about is booked.
    pub(super) async fn keep_spans(&self) {
        let (recent, spans) = (Arc::clone(&self.recent), Arc::clone(&self.spans));
        let keep = move || {
            let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
            let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = recent.take_fresh();
            let all = || recent.marks().collect();
            if let Some(file) = spans.as_mut().filter(|_| !fresh.is_empty()) {
                file.add(&fresh, all);
            }
        };
        // It ends with the daemon alone, which answers nobody then.
        let _ = tokio::task::spawn_blocking(keep).await;
    }
}

/// Books the increases.
pub(super) async fn export(
    app: &App,
    caller: &Caller,
    plain: &[u8],
    encoding: Encoding,
    defaults: &otlp::Defaults,
) -> Result<Exported, Problem> {
    let mut held = Arc::clone(&app.telemetry.last).lock_owned().await;
    if held.is_none() && defaults.any_metrics_only() {
        *held = Some(read_back(app).await?);
    }
    let nothing = Last::default();
    let last = held.as_ref().unwrap_or(&nothing);
    let batch = otlp::decode_points(plain, encoding, defaults, caller.0.tenant(), last)?;
    let (app, caller) = (app.clone(), caller.clone());
    // A sender that goes away in the middle must not leave booked what is not remembered: this goes on without it.
    let booked = tokio::spawn(async move { booked(&app, &caller, batch, held).await });
    booked.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))?
}

/// Books a batch and remembers where its counters stand. After an error the ledger is asked anew, by the next export.
async fn booked(
    app: &App,
    caller: &Caller,
    batch: PointBatch,
    mut held: OwnedMutexGuard<Option<Last>>,
) -> Result<Exported, Problem> {
    let last = held.take();
    let note = if batch.billed == 0 && batch.points > 0 {
        "nothing of this is billed: metrics are read of sources with `metrics: only`, as spans and logs would count twice"
    } else {
        ""
    };
    let (items, steps): (Vec<_>, Vec<_>) = batch.items.into_iter().unzip();
    let outcome = take(app, caller, items, "otlp").await.map_err(Problem::for_otlp)?;
    if let Some(mut last) = last {
        let kept = outcome.results.iter().zip(steps).filter(|(result, _)| is_counted(result));
        for step in kept.flat_map(|(_, steps)| steps).chain(batch.unmoved) {
            last.learn_step(step);
        }
        *held = Some(last);
    }
    exported(&outcome, Signal::Metrics, note)
}

/// Is it booked, or kept for a person to book?
fn is_counted(result: &EventResult) -> bool {
    result.status != "rejected" || matches!(result.reason, Some("too_old" | "in_future"))
}

/// Where the counters stood before this start: what was booked within the horizon, and what waits as dead letters.
async fn read_back(app: &App) -> Result<Last, Problem> {
    let reader = app.view.ledger().clone();
    let horizon = i64::try_from(app.dedup_horizon.as_nanos()).unwrap_or(i64::MAX);
    let since = app.clock.now().saturating_add(horizon.saturating_neg());
    let read = tokio::task::spawn_blocking(move || {
        let from = first_logged(&reader, since)?;
        let mut last = if from > 1 {
            Last::since(u64::try_from(since.saturating_add(CLOCKS_APART_NANOS).nanos()).unwrap_or(0))
        } else {
            Last::default()
        };
        let committed = reader.committed();
        if from > committed {
            return Ok(last);
        }
        reader.scan(from, |entry| {
            if let Fact::Charged(charge) = &entry.fact
                && charge.source.starts_with(otlp::METRICS_VIA)
            {
                last.learn(&charge.event_id);
            }
            entry.seq < committed
        })?;
        Ok::<_, LedgerError>(last)
    });
    let mut last = read.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))??;
    app.late.read(|letters| {
        for letter in letters.waiting(0).filter(|letter| letter.charge.source.starts_with(otlp::METRICS_VIA)) {
            last.learn(&letter.charge.event_id);
        }
    });
    Ok(last)
}
