//! The connection: statements, the inserts of a batch, and what ClickHouse says when it will not. Knows no ledger.

use std::time::Duration;

use clickhouse::Row;
use clickhouse::insert::Insert;

use super::Schema;
use super::config::connect;
use crate::config::ClickHouse;

/// One chunk on its way, and the answer to a whole insert, take at most so long.
const SEND_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(60);
/// Longest text of ClickHouse that is passed on.
const MESSAGE_CHARS_MAX: usize = 400;

/// What went wrong with ClickHouse.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// ClickHouse cannot be reached, refuses, or answers nonsense.
    #[error("{doing}: {message}")]
    Server {
        /// What was tried.
        doing: &'static str,
        /// What it said, cut short.
        message: String,
        /// The label `reason` of the metrics.
        reason: &'static str,
        /// Its tables are not there.
        missing: bool,
    },
    /// A file of the settings cannot be used.
    #[error("{what}: {error}")]
    Setting {
        /// The file.
        what: String,
        /// What is wrong with it.
        error: String,
    },
    /// The shard's rows are of another ledger.
    #[error(
        "shard {shard:?} in ClickHouse holds entries {first} to {last} of another ledger; name this one otherwise in \
         sinks.clickhouse.shard"
    )]
    Foreign {
        /// The shard.
        shard: String,
        /// First entry of the batch that differs.
        first: u64,
        /// Its last entry.
        last: u64,
    },
    /// The roll-ups of a batch do not hold its sums.
    #[error("the roll-ups of entries {first} to {last} hold {found} rows of {wanted}; the batch is sent again")]
    Unsettled {
        /// First entry.
        first: u64,
        /// Last entry.
        last: u64,
        /// Rows there.
        found: u64,
        /// Rows sent.
        wanted: u64,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
}

impl SinkError {
    pub(super) fn server(doing: &'static str, error: &clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        let reason = match error {
            Error::Network(_) => "connect",
            Error::TimedOut => "timeout",
            Error::BadResponse(_) => "refused",
            Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => "schema",
            _ => "other",
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        let missing = ["UNKNOWN_TABLE", "UNKNOWN_DATABASE"].iter().any(|code| text.contains(code));
        let message = text.chars().take(MESSAGE_CHARS_MAX).collect();
        Self::Server { doing, message, reason, missing }
    }

    /// The label `reason` of the metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Server { reason, .. } => reason,
            Self::Unsettled { .. } => "server",
            Self::Foreign { .. } => "refused",
            Self::Setting { .. } | Self::Ledger(_) => "other",
        }
    }

    /// Must the schema and the watermark be looked at again?
    pub(super) const fn wants_prepare(&self) -> bool {
        matches!(self, Self::Server { missing: true, .. })
    }
}

/// A connection to one database; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: clickhouse::Client,
    pub(super) database: String,
    pub(super) shard: String,
    schema: Schema,
}

impl Client {
    /// A connection as the settings say; nothing is sent yet.
    pub fn new(settings: &ClickHouse) -> Result<Self, SinkError> {
        Ok(Self {
            inner: connect(settings)?,
            database: settings.database.clone(),
            shard: settings.shard.clone(),
            schema: Schema::of(settings),
        })
    }

    /// Makes what is missing of the tables and views.
    pub async fn migrate(&self) -> Result<(), SinkError> {
        for statement in self.schema.statements() {
            self.run("create the tables", &statement).await?;
        }
        Ok(())
    }

    /// A statement without an answer.
    pub async fn run(&self, doing: &'static str, sql: &str) -> Result<(), SinkError> {
        let work = self.inner.query_raw(sql).execute();
        match tokio::time::timeout(END_MAX, work).await {
            Ok(done) => done.map_err(|error| SinkError::server(doing, &error)),
            Err(_) => Err(SinkError::server(doing, &clickhouse::error::Error::TimedOut)),
        }
    }

    /// Every row of an answer.
    pub async fn rows<T>(&self, doing: &'static str, query: clickhouse::query::Query) -> Result<Vec<T>, SinkError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        match tokio::time::timeout(END_MAX, query.fetch_all::<T>()).await {
            Ok(rows) => rows.map_err(|error| SinkError::server(doing, &error)),
            Err(_) => Err(SinkError::server(doing, &clickhouse::error::Error::TimedOut)),
        }
    }

    /// A question; `?` in it are bound by the caller.
    pub fn query(&self, sql: &str) -> clickhouse::query::Query {
        self.inner.query(sql)
    }

    /// Begins an insert of a batch: one block, in order, known by `token`.
    pub(super) async fn insert<T: Row>(&self, table: &str, token: &str) -> Result<Insert<T>, SinkError> {
        let table = format!("{}.{table}", self.database);
        // Rows are the daemon's own and so are the tables: the tests write with validation, the daemon without.
        let client = self.inner.clone().with_validation(cfg!(debug_assertions));
        let insert = client.insert_unescaped::<T>(&table).await;
        let insert = insert.map_err(|error| SinkError::server("insert", &error))?;
        let settings = [
            ("async_insert", "0"),
            ("insert_deduplicate", "1"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            // A batch is one block: whole or not at all, and one row of roll-up for each of its cells.
            ("max_insert_block_size", "1048576"),
            ("min_insert_block_size_rows", "1048576"),
            ("min_insert_block_size_bytes", "1073741824"),
            ("materialized_views_ignore_errors", "0"),
            ("insert_deduplication_token", token),
        ];
        let insert = settings.into_iter().fold(insert, |insert, (name, value)| insert.with_setting(name, value));
        Ok(insert.with_timeouts(Some(SEND_MAX), Some(END_MAX)))
    }
}
