//! How far ClickHouse has come, read back from it: the only thing that a start believes.

use clickhouse::Row;
use serde::Deserialize;

use super::client::{Client, SinkError};
use super::encode::hash;
use crate::ledger::Reader;

/// Batches read together when there is a gap.
const BATCHES_MAX: u64 = 1_000_000;

/// What the complete batches cover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Row, Deserialize)]
struct Covered {
    first: u64,
    last: u64,
    entries: u64,
}

/// A complete batch.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
struct Complete {
    batch_first: u64,
    batch_last: u64,
    hash: String,
}

/// Up to which entry everything from `begin + 1` on is complete. Batches beyond a gap are taken back: their entries come again in
/// other bounds. Refuses a shard whose newest batch this ledger did not make.
pub(super) async fn read(client: &Client, reader: &Reader, begin: u64) -> Result<u64, SinkError> {
    let database = &client.database;
    let sql = format!(
        "SELECT min(batch_first) AS first, max(batch_last) AS last, toUInt64(sum(batch_last - batch_first + 1)) AS entries \
         FROM {database}.batches WHERE shard = ?"
    );
    let query = client.query(&sql).bind(&client.shard);
    let covered = client.rows::<Covered>("read the watermark", query).await?.pop().unwrap_or_default();
    if covered.entries == 0 {
        return Ok(begin);
    }
    let whole = covered.first <= begin + 1 && covered.entries == covered.last + 1 - covered.first;
    let reached = if whole { covered.last } else { first_gap(client, begin).await? };
    if reached < covered.last {
        void(client, reached).await?;
    }
    ours(client, reader, reached).await?;
    Ok(reached)
}

/// Takes back every complete batch that reaches beyond entry `after`.
pub(super) async fn void(client: &Client, after: u64) -> Result<(), SinkError> {
    let Client { database, shard, .. } = client;
    let sql = format!(
        "INSERT INTO {database}.batches_raw (shard, batch_first, batch_last, rows, hash, void) SETTINGS async_insert = 0 \
         SELECT shard, batch_first, batch_last, rows, hash, 1 FROM {database}.batches \
         WHERE shard = '{shard}' AND batch_last > {after}"
    );
    client.run("take batches back", &sql).await
}

async fn first_gap(client: &Client, begin: u64) -> Result<u64, SinkError> {
    let sql = format!(
        "SELECT batch_first, batch_last, hash FROM {}.batches WHERE shard = ? AND batch_last > ? \
         ORDER BY batch_first, batch_last LIMIT {BATCHES_MAX}",
        client.database
    );
    let query = client.query(&sql).bind(&client.shard).bind(begin);
    let mut reached = begin;
    for batch in client.rows::<Complete>("look for a gap", query).await? {
        // A batch that overlaps the one before counts its entries twice: it goes, and what follows it.
        if batch.batch_first != reached + 1 {
            break;
        }
        reached = batch.batch_last;
    }
    Ok(reached)
}

/// Is the batch that ends at `reached` made of this ledger's entries? What the ledger no longer holds cannot be asked.
async fn ours(client: &Client, reader: &Reader, reached: u64) -> Result<(), SinkError> {
    let sql = format!(
        "SELECT batch_first, batch_last, hash FROM {}.batches WHERE shard = ? AND batch_last = ?",
        client.database
    );
    let query = client.query(&sql).bind(&client.shard).bind(reached);
    let Some(batch) = client.rows::<Complete>("read the newest batch", query).await?.pop() else { return Ok(()) };
    let (first, last) = (batch.batch_first, batch.batch_last);
    let foreign = || SinkError::Foreign { shard: client.shard.clone(), first, last };
    if last > reader.committed() {
        return Err(foreign());
    }
    let read = reader.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut entries = Vec::new();
        let done = read.scan(first, |entry| {
            entries.push(entry.clone());
            entry.seq < last
        });
        done.map(|()| hash(entries.iter()))
    });
    match read.await {
        Ok(Ok(found)) if found == batch.hash => Ok(()),
        Ok(Err(crate::ledger::LedgerError::Missing { .. })) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        _ => Err(foreign()),
    }
}
