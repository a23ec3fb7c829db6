//! Snapshots: derived state at a position, so that start-up need not read everything. Never a truth of their own.
//!
//! A snapshot that cannot be read, or was made by another version, is passed over: the log can always rebuild it.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{DataDir, LedgerError};

/// Changes with the layout of what snapshots hold.
const MAGIC: &[u8; 8] = b"MTRDSNP5";
/// Older snapshots than this many are removed.
const KEPT: usize = 2;

/// Writes a snapshot of `value` as of entry `seq`, with its hash.
pub fn save<T: Serialize>(dir: &DataDir, seq: u64, value: &T) -> Result<PathBuf, LedgerError> {
    let path = dir.snapshots().join(format!("{seq:020}.snap"));
    let body = postcard::to_stdvec(value).map_err(|error| LedgerError::Io {
        doing: "encode a snapshot for",
        path: path.clone(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let mut bytes = Vec::with_capacity(body.len() + 48);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&seq.to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&body));
    bytes.extend_from_slice(&body);
    dir.write_durably(&path, &bytes)?;
    let mut all = list(dir)?;
    all.truncate(all.len().saturating_sub(KEPT));
    for (_, old) in all {
        dir.remove(&old)?;
    }
    Ok(path)
}

/// The newest snapshot that reads back whole: its position and value.
pub fn load_newest<T: DeserializeOwned>(dir: &DataDir) -> Result<Option<(u64, T)>, LedgerError> {
    for (seq, path) in list(dir)?.into_iter().rev() {
        match dir.read(&path).ok().and_then(|bytes| decode(seq, &bytes)) {
            Some(value) => return Ok(Some((seq, value))),
            None => tracing::warn!(path = %path.display(), "snapshot unreadable, passed over: the ledger rebuilds it"),
        }
    }
    Ok(None)
}

/// Position of the newest snapshot there is, readable or not.
pub fn newest(dir: &DataDir) -> Result<Option<u64>, LedgerError> {
    Ok(list(dir)?.pop().map(|(seq, _)| seq))
}

fn decode<T: DeserializeOwned>(seq: u64, bytes: &[u8]) -> Option<T> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (stated, rest) = rest.split_first_chunk::<8>()?;
    let (hash, body) = rest.split_first_chunk::<32>()?;
    let actual: [u8; 32] = Sha256::digest(body).into();
    #[cfg(feature = "mistakes")]
    let actual = if budget::mistakes::made(budget::mistakes::Mistake::SnapshotUnchecked) { *hash } else { actual };
    (u64::from_le_bytes(*stated) == seq && actual == *hash).then(|| postcard::from_bytes(body).ok())?
}

fn list(dir: &DataDir) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    dir.numbered(&dir.snapshots(), "snap")
}
