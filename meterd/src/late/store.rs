//! The file of the dead letters: lines that are only added, each with its checksum; made anew without what is done at a start.
//!
//! Bounded in letters, in what is remembered of imported ones, and in bytes; what does not fit is refused and said so.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Kept, Keys, Letter};
use crate::ledger::{DataDir, DiskFile, LedgerError};

/// Letters that wait, at most.
pub const LETTERS_MAX: usize = 10_000;
/// Letters that wait and imported ones that are remembered, at most.
pub const REMEMBERED_MAX: usize = 100_000;
/// Bytes of the file, at most, for new letters; imports may go beyond, by a few bytes a letter.
const FILE_BYTES_MAX: u64 = 64 << 20;
const CHECKSUM_BYTES: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
enum Line {
    /// It waits.
    Kept(Box<Letter>),
    /// An import begins; what it books comes after this entry.
    Tried { ids: Vec<u64>, after: u64 },
    /// The ledger has it, in this entry.
    Ended { id: u64, end: End },
}

/// What became of a letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct End {
    key: u128,
    seq: u64,
    namespace: Arc<str>,
}

pub(super) struct Store {
    dir: DataDir,
    path: PathBuf,
    /// Opened when it is first written to.
    file: Option<Box<dyn DiskFile>>,
    len: u64,
    memory: Memory,
}

#[derive(Default)]
struct Memory {
    waiting: BTreeMap<u64, Letter>,
    tried: BTreeMap<u64, u64>,
    ended: BTreeMap<u64, End>,
    keys: HashMap<u128, u64>,
    last: u64,
}

impl Memory {
    fn apply(&mut self, line: Line) {
        match line {
            Line::Kept(letter) => {
                self.last = self.last.max(letter.id);
                self.keys.insert(letter.charge.key, letter.id);
                self.waiting.insert(letter.id, *letter);
            }
            Line::Tried { ids, after } => self.tried.extend(ids.into_iter().map(|id| (id, after))),
            Line::Ended { id, end } => {
                self.last = self.last.max(id);
                self.keys.insert(end.key, id);
                self.waiting.remove(&id);
                self.tried.remove(&id);
                self.ended.insert(id, end);
            }
        }
    }

    /// The same in as few lines as possible.
    fn lines(&self) -> Vec<Line> {
        let ended = self.ended.iter().map(|(id, end)| Line::Ended { id: *id, end: end.clone() });
        let kept = self.waiting.values().map(|letter| Line::Kept(Box::new(letter.clone())));
        let tried = self.tried.iter().map(|(id, after)| Line::Tried { ids: vec![*id], after: *after });
        ended.chain(kept).chain(tried).collect()
    }
}

impl Store {
    pub(super) fn open(dir: &DataDir) -> Result<Self, LedgerError> {
        let path = dir.dead_letters();
        let mut store = Self { dir: dir.clone(), path, file: None, len: 0, memory: Memory::default() };
        if !dir.has(&store.path) {
            return Ok(store);
        }
        let path = &store.path;
        let bytes = dir.read(path).map_err(LedgerError::io("read", path))?;
        // What follows the last end of a line was cut off by a crash, and nobody was told that it is kept.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = bytes.get(..end).unwrap_or_default();
        for (number, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = decode(line.trim_ascii_end()).ok_or_else(|| damaged(path, number + 1))?;
            store.memory.apply(line);
        }
        store.len = end as u64;
        let anew = encode(&store.memory.lines()).map_err(LedgerError::io("encode", path))?;
        if anew.len() < bytes.len() {
            match dir.write_durably(path, &anew) {
                Ok(()) => store.len = anew.len() as u64,
                // It stays as it is, until there is room.
                Err(error) if error.is_disk_full() => tracing::warn!(%error, "no room to tidy the dead letters"),
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    pub(super) fn keep(&mut self, letters: Vec<Letter>) -> Result<Vec<Kept>, LedgerError> {
        let mut lines = Vec::new();
        let mut kept = Vec::with_capacity(letters.len());
        let mut new = Keys::new();
        for letter in letters {
            let key = letter.charge.key;
            let known = self.memory.keys.get(&key).or_else(|| new.get(&key)).copied();
            if let Some(id) = known {
                kept.push(self.end_of(id).map_or(Kept::Letter(id), Kept::Imported));
                continue;
            }
            let full = self.memory.waiting.len() + new.len() >= LETTERS_MAX
                || self.memory.keys.len() + new.len() >= REMEMBERED_MAX
                || self.len >= FILE_BYTES_MAX;
            if full {
                kept.push(Kept::Full);
                continue;
            }
            let id = self.memory.last + 1 + new.len() as u64;
            new.insert(key, id);
            lines.push(Line::Kept(Box::new(Letter { id, ..letter })));
            kept.push(Kept::Letter(id));
        }
        self.write(lines)?;
        Ok(kept)
    }

    pub(super) fn tried(&mut self, ids: Vec<u64>, after: u64) -> Result<(), LedgerError> {
        self.write(vec![Line::Tried { ids, after }])
    }

    /// The ledger has these letters.
    pub(super) fn end(&mut self, ended: Vec<(u64, u64)>) -> Result<(), LedgerError> {
        let line = |(id, seq): (u64, u64)| {
            let charge = &self.memory.waiting.get(&id)?.charge;
            let end = End { key: charge.key, seq, namespace: Arc::clone(&charge.execution.namespace) };
            Some(Line::Ended { id, end })
        };
        let lines = ended.into_iter().filter_map(line).collect();
        self.write(lines)
    }

    /// Letters that an import began with and nobody saw the end of, and the entry after which they may be.
    pub(super) fn cut_off(&self) -> (Keys, u64) {
        let Memory { tried, waiting, .. } = &self.memory;
        let keys = tried.keys().filter_map(|id| Some((waiting.get(id)?.charge.key, *id))).collect();
        (keys, tried.values().copied().min().unwrap_or(0))
    }

    /// These were looked for and are not in the ledger.
    pub(super) fn not_tried(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            self.memory.tried.remove(&id);
        }
    }

    pub(super) fn waiting(&self, from: u64) -> impl Iterator<Item = &Letter> {
        self.memory.waiting.range(from..).map(|(_, letter)| letter)
    }

    pub(super) fn letter(&self, id: u64) -> Option<&Letter> {
        self.memory.waiting.get(&id)
    }

    /// The entry that has the letter.
    pub(super) fn end_of(&self, id: u64) -> Option<u64> {
        self.memory.ended.get(&id).map(|end| end.seq)
    }

    pub(super) fn count(&self) -> usize {
        self.memory.waiting.len()
    }

    /// The namespaces of those that are imported.
    pub(super) fn ended(&self) -> impl Iterator<Item = &str> {
        self.memory.ended.values().map(|end| &*end.namespace)
    }

    fn write(&mut self, lines: Vec<Line>) -> Result<(), LedgerError> {
        if lines.is_empty() {
            return Ok(());
        }
        let bytes = encode(&lines).map_err(LedgerError::io("encode", &self.path))?;
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                if !self.dir.has(&self.path) {
                    self.dir.write_durably(&self.path, &[])?;
                }
                let open = self.dir.disk().open_append(&self.path);
                empty.insert(open.map_err(LedgerError::io("open", &self.path))?)
            }
        };
        // A part of an earlier line that failed is cut off first.
        let written = file.set_len(self.len).and_then(|()| file.append(&bytes));
        written.map_err(LedgerError::io("write", &self.path))?;
        file.sync_data().map_err(LedgerError::io("fsync", &self.path))?;
        self.len += bytes.len() as u64;
        for line in lines {
            self.memory.apply(line);
        }
        Ok(())
    }
}

fn encode(lines: &[Line]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        let content = postcard::to_stdvec(line).map_err(io::Error::other)?;
        let mut framed = checksum(&content).to_vec();
        framed.extend(content);
        bytes.extend(STANDARD_NO_PAD.encode(framed).into_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn decode(line: &[u8]) -> Option<Line> {
    let framed = STANDARD_NO_PAD.decode(line).ok()?;
    let (sum, content) = framed.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*sum == checksum(content)).then(|| postcard::from_bytes(content).ok())?
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::digest(content).into();
    digest.first_chunk::<CHECKSUM_BYTES>().copied().unwrap_or_default()
}

fn damaged(path: &std::path::Path, line: usize) -> LedgerError {
    let what =
        format!("line {line} is damaged; restore the file from a copy, or move it away to start without dead letters");
    LedgerError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, what))
}
