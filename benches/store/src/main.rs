//! The same rows into each candidate: `store-bench [log|fjall|sqlite] [ROWS] [ROWS_A_COMMIT]`.
//!
//! A row is an event's id (16 random bytes, unique), and 300 bytes. Each commit looks every id up, writes the rows, and is
//! durable when it returns. Printed for each tenth of the rows: rows a second, and the commit's p50 and p99.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

mod log;

const ROW_BYTES: usize = 300;

/// One candidate.
trait Store {
    /// Commits rows whose ids are new.
    fn commit(&mut self, rows: &[Row]) -> Result<()>;
}

/// What is stored.
struct Row {
    number: u64,
    id: [u8; 16],
    body: [u8; ROW_BYTES],
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "log".to_owned());
    let rows: u64 = arguments.next().unwrap_or_else(|| "2000000".to_owned()).parse()?;
    let at_once: u64 = arguments.next().unwrap_or_else(|| "1000".to_owned()).parse()?;
    // Beside the crate and not in /tmp, which may be memory.
    let folder = tempfile::Builder::new().prefix("store-").tempdir_in(".")?;
    let mut store: Box<dyn Store> = match name.as_str() {
        "log" => Box::new(log::Log::open(folder.path())?),
        "fjall" => Box::new(Fjall::open(folder.path())?),
        "sqlite" => Box::new(Sqlite::open(folder.path())?),
        other => bail!("no candidate {other}: log, fjall or sqlite"),
    };
    println!("store,rows,rows_per_second,commit_p50_ms,commit_p99_ms");
    let tenth = (rows / 10).max(at_once);
    let mut next = 0;
    while next < rows {
        let (begin, mut commits) = (Instant::now(), Vec::new());
        let end = rows.min(next + tenth);
        let first = next;
        while next < end {
            let batch: Vec<Row> = (next..end.min(next + at_once)).map(row).collect();
            let start = Instant::now();
            store.commit(&batch)?;
            commits.push(start.elapsed());
            next += batch.len() as u64;
        }
        commits.sort_unstable();
        let at = |percent: usize| {
            let rank = (commits.len() * percent).div_ceil(100).saturating_sub(1);
            commits.get(rank).copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3
        };
        let rate = (next - first) as f64 / begin.elapsed().as_secs_f64();
        println!("{name},{next},{rate:.0},{:.2},{:.2}", at(50), at(99));
    }
    Ok(())
}

/// SplitMix64 twice: an id that looks random and is its number's alone.
fn row(number: u64) -> Row {
    let mix = |mut seed: u64| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        seed ^ (seed >> 31)
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&mix(!number).to_be_bytes());
    let mut body = [0; ROW_BYTES];
    for (index, chunk) in body.chunks_mut(8).enumerate() {
        let word = mix(number ^ ((index as u64) << 40)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Row { number, id, body }
}

/// fjall 3: an LSM tree keyed by the id, its journal fsynced with each commit.
struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
}

impl Fjall {
    fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder).open()?;
        let rows = database.keyspace("rows", fjall::KeyspaceCreateOptions::default)?;
        Ok(Self { database, rows })
    }
}

impl Store for Fjall {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncAll));
        for row in rows {
            ensure!(self.rows.get(row.id)?.is_none(), "an id twice");
            batch.insert(&self.rows, row.id, row.body);
        }
        batch.commit().context("commit")
    }
}

/// SQLite: WAL, synchronous=FULL, rows by number and a unique index over the ids.
struct Sqlite {
    connection: rusqlite::Connection,
}

impl Sqlite {
    fn open(folder: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(folder.join("rows.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
             CREATE TABLE rows (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);",
        )?;
        Ok(Self { connection })
    }
}

impl Store for Sqlite {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO rows (number, id, body) VALUES (?1, ?2, ?3)")?;
            for row in rows {
                insert.execute((row.number, &row.id[..], &row.body[..]))?;
            }
        }
        transaction.commit().context("commit")
    }
}
