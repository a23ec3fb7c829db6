//! One delivery: its rows, the proof that its roll-ups hold them, and then the row that says it is complete.

use std::time::Instant;

use clickhouse::Row;
use clickhouse::insert::Insert;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::client::{Client, SinkError};
use super::encode::{EntryRow, ExecutionRow, KillRow, Of, hash};
use crate::follow::{Deliver, Delivery, Failed, Retry};
use crate::metrics::DaemonMetrics;
use crate::rollup::Line;

/// The label `sink` of the metrics.
pub(super) const SINK: &str = "clickhouse";

/// Carries deliveries to one ClickHouse.
pub(super) struct Carrier {
    pub(super) client: Client,
    pub(super) metrics: DaemonMetrics,
    /// Tells the tokens of one life of the sink from those of another: a token that ClickHouse remembers from before it was
    /// emptied would make it drop rows in silence. What comes again after a restart is told apart by its keys alone.
    pub(super) life: String,
    /// Deliveries that had to be made once more although ClickHouse took them.
    pub(super) again: u64,
    /// Ended when the tables have to be made anew.
    pub(super) round: CancellationToken,
}

/// Sends the rows of one table, if there are any; how many. A macro, because rows borrow from the delivery and the crate's
/// insert cannot be named over such rows in a generic function.
macro_rules! send {
    ($client:expr, $table:literal, $row:ty, $token:expr, $rows:expr) => {{
        let mut open: Option<Insert<$row>> = None;
        let mut count: u64 = 0;
        for row in $rows {
            let insert = match &mut open {
                Some(insert) => insert,
                none => none.insert($client.insert::<$row>($table, $token).await?),
            };
            insert.write(&row).await.map_err(|error| SinkError::server("insert", &error))?;
            count += 1;
        }
        if let Some(insert) = open {
            insert.end().await.map_err(|error| SinkError::server("insert", &error))?;
        }
        count
    }};
}

/// What the roll-ups of a batch hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Row, Deserialize)]
struct Held {
    entries: u64,
    cost: i128,
}

impl Deliver for Carrier {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<(), Failed> {
        let begin = Instant::now();
        match self.carry(delivery).await {
            Ok(rows) => {
                self.metrics.sink_delivered(SINK, rows, begin.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                self.metrics.sink_failed(SINK, error.reason());
                if error.wants_prepare() {
                    self.round.cancel();
                }
                Err(Failed { message: error.to_string(), retry: Retry::Now })
            }
        }
    }
}

impl Carrier {
    async fn carry(&mut self, delivery: &Delivery) -> Result<u64, SinkError> {
        let hash = hash(delivery.entries());
        let (first, last) = (delivery.from, delivery.to);
        let token = format!("{}:{first}-{last}:{hash}:{}:{}", self.client.shard, self.life, self.again);
        let shard = self.client.shard.clone();
        let of = Of { shard: &shard, first, last };
        let kills = delivery.entries().filter_map(|entry| KillRow::of(entry, &shard));
        let mut rows = send!(self.client, "kill_events_raw", KillRow<'_>, &token, kills);
        let runs = delivery.entries().filter_map(|entry| ExecutionRow::of(entry, &shard));
        rows += send!(self.client, "execution_events_raw", ExecutionRow<'_>, &token, runs);
        let lines = delivery.entries().filter_map(|entry| EntryRow::of(entry, of));
        let inserted = send!(self.client, "entries_raw", EntryRow<'_>, &token, lines);
        rows += inserted;
        if inserted > 0 {
            self.settle(delivery, inserted).await?;
        }
        self.complete(first, last, rows, &hash).await?;
        Ok(rows)
    }

    /// Reads the roll-ups of the batch back: they must hold its rows and its money.
    async fn settle(&mut self, delivery: &Delivery, inserted: u64) -> Result<(), SinkError> {
        let cost = delivery
            .entries()
            .filter_map(Line::of)
            .fold(0_i128, |sum, line| sum.saturating_add(line.sums.cost.scaled()));
        let wanted = Held { entries: inserted, cost };
        let sql = format!(
            "SELECT sum(entries) AS entries, sum(cost_usd) AS cost FROM {}.cost_quarters_raw FINAL \
             WHERE shard = ? AND batch_first = ? AND batch_last = ?",
            self.client.database
        );
        let query = self.client.query(&sql).bind(&self.client.shard).bind(delivery.from).bind(delivery.to);
        let held = self.client.rows::<Held>("read the roll-ups back", query).await?.pop().unwrap_or_default();
        if held == wanted {
            return Ok(());
        }
        // A token that ClickHouse knows already would hide the rows once more.
        self.again += 1;
        let (first, last) = (delivery.from, delivery.to);
        Err(SinkError::Unsettled { first, last, found: held.entries, wanted: wanted.entries })
    }

    /// Says that the batch is complete.
    async fn complete(&self, first: u64, last: u64, rows: u64, hash: &str) -> Result<(), SinkError> {
        let Client { database, shard, .. } = &self.client;
        let sql = format!(
            "INSERT INTO {database}.batches_raw (shard, batch_first, batch_last, rows, hash) SETTINGS async_insert = 0 \
             VALUES ('{shard}', {first}, {last}, {rows}, '{hash}')"
        );
        self.client.run("say that a batch is complete", &sql).await
    }
}
