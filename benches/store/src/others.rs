//! Stores of others, each as durable as meterd's own: a commit has been fsynced when it returns.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::{Row, Store};

/// What each may keep in memory of its pages.
const CACHE_BYTES: usize = 64 << 20;

/// fjall 3: an LSM tree keyed by the id, its journal fsynced with each commit.
pub struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
}

impl Fjall {
    pub fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder).cache_size(CACHE_BYTES as u64).open()?;
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

const ROWS: redb::TableDefinition<&[u8; 16], &[u8]> = redb::TableDefinition::new("rows");

/// redb: a copy-on-write B-tree keyed by the id.
pub struct Redb {
    database: redb::Database,
}

impl Redb {
    pub fn open(folder: &Path) -> Result<Self> {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(folder.join("rows.redb"))?;
        Ok(Self { database })
    }
}

impl Store for Redb {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for row in rows {
                ensure!(table.insert(&row.id, &row.body[..])?.is_none(), "an id twice");
            }
        }
        transaction.commit().context("commit")
    }
}

/// SQLite: WAL, synchronous=FULL, rows by number, and with `unique` an index over the ids.
pub struct Sqlite {
    connection: rusqlite::Connection,
}

impl Sqlite {
    pub fn open(folder: &Path, unique: bool) -> Result<Self> {
        let connection = rusqlite::Connection::open(folder.join("rows.db"))?;
        let unique = if unique { "UNIQUE" } else { "" };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-{};
             CREATE TABLE rows (number INTEGER PRIMARY KEY, id BLOB NOT NULL {unique}, body BLOB NOT NULL);",
            CACHE_BYTES / 1024
        ))?;
        Ok(Self { connection })
    }
}

impl Store for Sqlite {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO rows (number, id, body) VALUES (?1, ?2, ?3)")?;
            for row in rows {
                insert.execute((row.number.cast_signed(), &row.id[..], &row.body[..]))?;
            }
        }
        transaction.commit().context("commit")
    }
}
