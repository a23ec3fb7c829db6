//! A follower's place in the ledger, durable: one small file for each follower, replaced as a whole.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DataDir, LedgerError};

const EXTENSION: &str = "cursor";

/// Where a follower stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Everything up to this entry has been delivered.
    pub delivered: u64,
    /// A delivery of everything up to this entry has begun. Past `delivered`, whether it arrived is not known: it is
    /// delivered again with exactly these bounds, so that a peer that knows batches by their bounds sees the same one.
    pub intended: u64,
}

/// A follower's durable place.
#[derive(Clone, Debug)]
pub struct Cursor {
    dir: DataDir,
    path: PathBuf,
    place: Place,
}

impl Cursor {
    /// Reads where the follower `name` stood; `begin` when it is new. `name` is a file name: letters, digits and dashes.
    ///
    /// A place beyond `committed` is of another ledger, or of one that lost its end: it is refused, because going on from
    /// there would leave entries out for ever.
    pub fn open(dir: &DataDir, name: &str, begin: u64, committed: u64) -> Result<Self, LedgerError> {
        let path = dir.followers().join(name).with_extension(EXTENSION);
        let place = match dir.read(&path) {
            Ok(bytes) => decode(&path, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Place { delivered: begin, intended: begin },
            Err(error) => return Err(LedgerError::io("read", path)(error)),
        };
        if place.delivered > committed {
            let (from, to) = (committed + 1, place.delivered);
            return Err(LedgerError::Missing { path, from, to, known_by: "a follower's cursor" });
        }
        Ok(Self { dir: dir.clone(), path, place })
    }

    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Its file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says durably that a delivery up to `to` begins.
    pub fn intend(&mut self, to: u64) -> Result<(), LedgerError> {
        self.put(Place { intended: to, ..self.place })
    }

    /// Says durably that everything up to `to` has arrived.
    pub fn deliver(&mut self, to: u64) -> Result<(), LedgerError> {
        self.put(Place { delivered: to, intended: to })
    }

    fn put(&mut self, place: Place) -> Result<(), LedgerError> {
        if place != self.place {
            let text = serde_json::to_vec(&place).unwrap_or_default();
            self.dir.write_durably(&self.path, &text)?;
            self.place = place;
        }
        Ok(())
    }
}

/// Every follower that has a durable place in this directory, and how far it has come: what retention must keep for them.
pub fn places(dir: &DataDir) -> Result<Vec<(String, Place)>, LedgerError> {
    let folder = dir.followers();
    let paths = match dir.disk().list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(LedgerError::io("list", &folder))?,
    };
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)) {
        let bytes = dir.read(&path).map_err(LedgerError::io("read", &path))?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        found.push((name, decode(&path, &bytes)?));
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Place, LedgerError> {
    let place: Option<Place> = serde_json::from_slice(bytes).ok();
    place.filter(|place| place.delivered <= place.intended).ok_or_else(|| LedgerError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: "not a follower's cursor; remove it, and the follower begins anew".to_owned(),
    })
}
