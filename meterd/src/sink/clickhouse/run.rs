//! A sink's whole life: tables and watermark first, then deliveries for as long as they go well, then the same again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use budget::Ref;
use pricing::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::carry::{Carrier, SINK};
use super::client::{Client, SinkError};
use super::watermark;
use crate::config::ClickHouse;
use crate::follow::{Courier, Cursor, Pace, Progress};
use crate::ledger::{DataDir, Reader};
use crate::metrics::DaemonMetrics;
use crate::rollup::{Answer, Question};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// A delivery under way gets so long to end when the daemon goes down; cut off, it comes again.
const GRACE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(500);

/// Where the sink stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It makes its tables and reads how far ClickHouse has come.
    #[default]
    Starting,
    /// It delivers.
    Delivering,
    /// ClickHouse is away, or refuses.
    Failing,
    /// It holds back until somebody resumes it, or the daemon is started again.
    Paused,
}

/// What the sink says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Everything up to this entry is complete in ClickHouse.
    pub delivered: u64,
    /// What the newest attempt failed with.
    pub failing: Option<String>,
    /// Rises each time that everything is sent again.
    pub backfills: u64,
}

/// The sink, shared between its task and those who ask; cheap to clone.
#[derive(Clone)]
pub struct ClickHouseSink {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ClickHouse,
    dir: DataDir,
    reader: Reader,
    metrics: DaemonMetrics,
    status: watch::Sender<Status>,
    /// The deliveries that run now, until it is cancelled.
    round: Mutex<CancellationToken>,
    /// Everything is wanted again.
    backfill: Mutex<bool>,
    /// Nothing is to be sent for now.
    paused: watch::Sender<bool>,
}

impl ClickHouseSink {
    /// A sink that is not running yet.
    #[must_use]
    pub fn new(settings: ClickHouse, dir: DataDir, reader: Reader, metrics: DaemonMetrics) -> Self {
        let (status, _) = watch::channel(Status::default());
        let (round, backfill, (paused, _)) = (Mutex::default(), Mutex::new(false), watch::channel(false));
        Self { shared: Arc::new(Shared { settings, dir, reader, metrics, status, round, backfill, paused }) }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// A connection of its own, for questions.
    pub fn client(&self) -> Result<Client, SinkError> {
        Client::new(&self.shared.settings)
    }

    /// The answer from ClickHouse, once everything is there that was committed before the question came. `None` when that takes
    /// too long, or when rows that the question asks for have been dropped by age.
    pub async fn ask(
        &self,
        question: &Question,
        now: Timestamp,
        wait_max: Duration,
        parent: impl Fn(&Ref) -> Option<Ref>,
    ) -> Result<Option<Answer>, SinkError> {
        let settings = &self.shared.settings;
        let ttl = if question.needs_runs() { settings.ttl } else { settings.rollup_ttl };
        let oldest = ttl.map(|ttl| now.saturating_add(-i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX)));
        if oldest.is_some_and(|oldest| question.since < oldest) {
            return Ok(None);
        }
        let committed = self.shared.reader.committed();
        let mut status = self.status();
        let there = status.wait_for(|status| status.delivered >= committed);
        if tokio::time::timeout(wait_max, there).await.is_err() {
            return Ok(None);
        }
        drop(status);
        self.client()?.ask(question, parent).await.map(Some)
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &ClickHouse {
        &self.shared.settings
    }

    /// Sends everything again, from the first entry that the ledger holds. Rows that are there are replaced by themselves.
    pub fn backfill(&self) -> u64 {
        *self.shared.backfill.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let mut number = 0;
        self.shared.status.send_modify(|status| {
            status.backfills += 1;
            status.state = State::Starting;
            status.delivered = 0;
            number = status.backfills;
        });
        self.shared.round.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        number
    }

    /// Holds back, or goes on where it was. What is under way when it is held back is cut off and comes again; intake does
    /// not wait either way, as the ledger keeps what is not delivered.
    pub fn hold(&self, paused: bool) {
        self.shared.paused.send_replace(paused);
        if paused {
            self.shared.status.send_modify(|status| status.state = State::Paused);
            self.shared.round.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        }
    }

    /// Waits while it is held back, and says meanwhile how much is waiting.
    async fn while_paused(&self, stop: &CancellationToken) {
        let mut paused = self.shared.paused.subscribe();
        while *paused.borrow_and_update() && !stop.is_cancelled() {
            self.shared.status.send_modify(|status| status.state = State::Paused);
            self.measure();
            tokio::select! {
                _ = paused.changed() => {}
                () = tokio::time::sleep(TICK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Delivers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        while !stop.is_cancelled() {
            let round = stop.child_token();
            *self.shared.round.lock().unwrap_or_else(PoisonError::into_inner) = round.clone();
            // Asked after the round can be cut off: a pause that comes later cuts this one.
            self.while_paused(&stop).await;
            match self.prepare(&round).await {
                Ok((cursor, carrier)) => {
                    pause = PAUSE_MIN;
                    self.deliver(cursor, carrier, &round, &stop).await;
                }
                Err(error) => {
                    self.shared.metrics.sink_failed(SINK, error.reason());
                    tracing::warn!(%error, "ClickHouse is not ready; will try again");
                    self.failing(error.to_string());
                    tokio::select! {
                        () = self.tick_for(pause) => pause = (pause * 2).min(PAUSE_MAX),
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Tables, watermark, cursor.
    async fn prepare(&self, round: &CancellationToken) -> Result<(Cursor, Carrier), SinkError> {
        let Shared { dir, reader, metrics, settings, .. } = &*self.shared;
        let client = Client::new(settings)?;
        client.migrate().await?;
        let begin = self.first_entry()?.saturating_sub(1);
        let wanted = *self.shared.backfill.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted {
            watermark::void(&client, 0).await?;
        }
        let reached = watermark::read(&client, reader, begin).await?;
        let mut cursor = Cursor::open(dir, SINK, reached, reader.committed())?;
        if cursor.place().delivered != reached {
            tracing::info!(cursor = cursor.place().delivered, reached, "ClickHouse says how far it has come");
            cursor.deliver(reached)?;
        }
        if wanted {
            *self.shared.backfill.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
        let life = format!("{}-{}", std::process::id(), getrandom::u64().unwrap_or_default());
        let carrier = Carrier { client, metrics: metrics.clone(), life, again: 0, round: round.clone() };
        Ok((cursor, carrier))
    }

    fn first_entry(&self) -> Result<u64, SinkError> {
        let batches = self.shared.reader.read_from(1, 1)?;
        Ok(batches.first().and_then(|batch| batch.entries.first()).map_or(1, |entry| entry.seq))
    }

    async fn deliver(&self, cursor: Cursor, carrier: Carrier, round: &CancellationToken, stop: &CancellationToken) {
        let Shared { reader, settings, .. } = &*self.shared;
        let pace = Pace { entries_max: settings.batch_rows_max, gather: settings.flush_interval, pause_max: PAUSE_MAX };
        let courier = Courier::new(SINK, reader.clone(), cursor, pace, carrier);
        let mut progress = courier.progress();
        self.told(&progress.borrow().clone());
        let run = courier.run(round.clone());
        tokio::pin!(run);
        loop {
            tokio::select! {
                () = &mut run => return,
                Ok(()) = progress.changed() => { let now = progress.borrow_and_update().clone(); self.told(&now); }
                () = tokio::time::sleep(TICK) => self.measure(),
                () = stop.cancelled() => {
                    // What is cut off here comes again, with the same bounds.
                    let _ = tokio::time::timeout(GRACE, &mut run).await;
                    return;
                }
            }
        }
    }

    fn told(&self, progress: &Progress) {
        // What the deliveries before a backfill have come to says nothing of it.
        if *self.shared.backfill.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        let paused = *self.shared.paused.borrow();
        self.shared.status.send_modify(|status| {
            status.state = match progress.failing {
                _ if paused => State::Paused,
                Some(_) => State::Failing,
                None => State::Delivering,
            };
            status.delivered = progress.delivered;
            status.failing.clone_from(&progress.failing);
        });
        self.measure();
    }

    fn failing(&self, message: String) {
        self.shared.status.send_modify(|status| {
            status.state = State::Failing;
            status.failing = Some(message);
        });
        self.measure();
    }

    /// Pauses, and says meanwhile how much is waiting.
    async fn tick_for(&self, pause: Duration) {
        let end = tokio::time::Instant::now() + pause;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(TICK.min(pause)).await;
            self.measure();
        }
    }

    fn measure(&self) {
        let Shared { reader, metrics, status, .. } = &*self.shared;
        let (committed, delivered) = (reader.committed(), status.borrow().delivered);
        let oldest = if committed > delivered { reader.entry(delivered + 1).ok().flatten() } else { None };
        let waiting = usize::try_from(committed.saturating_sub(delivered)).unwrap_or(usize::MAX);
        metrics.sink_pending(SINK, waiting, oldest.map(|entry| entry.at));
    }
}
