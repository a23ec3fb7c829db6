//! `sinks`: where the ledger's entries are carried to. Reads no secret: a password is named by its file.

use std::path::PathBuf;
use std::time::Duration;

/// `sinks.clickhouse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickHouse {
    /// Base URL of the HTTP interface, such as `https://clickhouse.example:8443`.
    pub url: String,
    /// Database; created when it is not there.
    pub database: String,
    /// User.
    pub user: String,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities that may sign the server's certificate; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// This ledger's name in the cluster; no two daemons may share it.
    pub shard: String,
    /// Entries in one batch, at most.
    pub batch_rows_max: usize,
    /// A batch that is not full waits so long for more.
    pub flush_interval: Duration,
    /// Compress what is sent.
    pub compress: bool,
    /// Rows of usage, kills and executions are dropped when they are older.
    pub ttl: Option<Duration>,
    /// Rows of roll-ups are dropped when they are older.
    pub rollup_ttl: Option<Duration>,
    /// Cluster on which tables are created.
    pub cluster: Option<String>,
    /// Use the Replicated engines.
    pub replicated: bool,
}

/// A name that needs no quotes in SQL.
pub(super) fn identifier(text: &str) -> Result<String, (String, Option<String>)> {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(text.to_owned());
    }
    let hint = "write letters, digits and underscores, such as meterd".to_owned();
    Err((format!("{text:?} is no plain name"), Some(hint)))
}

/// A name of letters, digits, dots, dashes and underscores.
pub(super) fn word(text: &str) -> Result<String, (String, Option<String>)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let hint = "write letters, digits, dots, dashes and underscores, such as eu-1".to_owned();
    Err((format!("{text:?} is no plain name"), Some(hint)))
}

/// An HTTP or HTTPS URL without a secret in it.
pub(super) fn url(text: &str) -> Result<String, (String, Option<String>)> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if rest.contains('@') => {
            let hint = "name the user in sinks.clickhouse.user and the password's file in passwordFile".to_owned();
            Err(("holds credentials".to_owned(), Some(hint)))
        }
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => {
            let hint = "write http://HOST:8123 or https://HOST:8443".to_owned();
            Err((format!("{text:?} is no URL of ClickHouse's HTTP interface"), Some(hint)))
        }
    }
}
