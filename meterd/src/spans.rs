//! Which spans are around calls that were counted, kept beside the ledger, so that a restart between a call's two spans does not
//! count it twice.
//!
//! A hint, never a truth: records are written before what they are about is booked, and left to the system to bring to the disk.
//! A process that is killed loses none; a machine that loses its power may lose the newest. Bounded: the file is made anew from
//! what is remembered when it holds twice as much.

use std::io;
use std::path::PathBuf;

use crate::ingest::otlp::{MARK_BYTES, Mark, REMEMBERED_MAX};
use crate::ledger::{DataDir, DiskFile, LedgerError};

/// A mark and its checksum.
const RECORD_BYTES: usize = MARK_BYTES + 1;
const FILE_BYTES_MAX: usize = 2 * REMEMBERED_MAX * RECORD_BYTES;

/// The file of the marks.
pub struct SpanFile {
    dir: DataDir,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    len: usize,
    /// It could not be written to; said once.
    failed: bool,
}

impl SpanFile {
    /// Reads what is there, in a directory that this process owns. A record that is damaged or cut off is left out.
    pub fn open(dir: &DataDir) -> Result<(Self, Vec<Mark>), LedgerError> {
        let path = dir.spans();
        let mut file = Self { dir: dir.clone(), path, file: None, len: 0, failed: false };
        if !dir.has(&file.path) {
            return Ok((file, Vec::new()));
        }
        let bytes = dir.read(&file.path).map_err(LedgerError::io("read", &file.path))?;
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        file.len = records.len() * RECORD_BYTES;
        let marks = records.iter().filter_map(|record| {
            let (mark, sum) = record.split_first_chunk::<MARK_BYTES>()?;
            (sum == [checksum(mark)]).then(|| Mark::from_bytes(mark)).flatten()
        });
        let marks = marks.collect();
        Ok((file, marks))
    }

    /// Adds marks; `all` is everything that is remembered, for a file that has grown too large.
    pub fn add(&mut self, marks: &[Mark], all: impl FnOnce() -> Vec<Mark>) {
        match self.write(marks, all) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(%error, "spans around counted calls are not kept: a restart may count a call twice");
            }
            Err(_) => {}
        }
    }

    fn write(&mut self, marks: &[Mark], all: impl FnOnce() -> Vec<Mark>) -> Result<(), LedgerError> {
        if self.len + marks.len() * RECORD_BYTES > FILE_BYTES_MAX {
            let bytes = encode(&all());
            self.file = None;
            self.dir.write_durably(&self.path, &bytes)?;
            self.len = bytes.len();
            return Ok(());
        }
        let bytes = encode(marks);
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                if !self.dir.has(&self.path) {
                    self.dir.write_durably(&self.path, &[])?;
                }
                let opened = self.dir.disk().open_append(&self.path);
                let opened = empty.insert(opened.map_err(LedgerError::io("open", &self.path))?);
                // What follows the last whole record was cut off.
                opened.set_len(self.len as u64).map_err(LedgerError::io("cut", &self.path))?;
                opened
            }
        };
        if let Err(error) = file.append(&bytes) {
            self.file = None;
            return Err(LedgerError::io("write", &self.path)(io::Error::other(error)));
        }
        self.len += bytes.len();
        Ok(())
    }
}

fn encode(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(marks.len() * RECORD_BYTES);
    for mark in marks {
        let mark = mark.to_bytes();
        bytes.extend(mark);
        bytes.push(checksum(&mark));
    }
    bytes
}

/// Never 0 of a record of zeros, which a file that was only made longer is full of.
fn checksum(mark: &[u8; MARK_BYTES]) -> u8 {
    mark.iter().fold(0x5a, |sum, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use super::SpanFile;
    use crate::ingest::otlp::Mark;
    use crate::ledger::DataDir;

    fn mark(n: u8) -> Mark {
        let mut bytes = [n; super::MARK_BYTES];
        bytes[0] = 1;
        Mark::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn marks_come_back_and_damage_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::new(folder.path());
        let (mut file, none) = SpanFile::open(&dir).unwrap();
        assert!(none.is_empty());
        file.add(&[mark(1), mark(2)], Vec::new);
        file.add(&[mark(3)], Vec::new);
        drop(file);
        let mut bytes = std::fs::read(dir.spans()).unwrap();
        bytes[40] ^= 1;
        bytes.extend([7; 5]);
        std::fs::write(dir.spans(), &bytes).unwrap();
        let (mut file, marks) = SpanFile::open(&dir).unwrap();
        assert_eq!(marks, [mark(1), mark(3)]);
        file.add(&[mark(4)], Vec::new);
        assert_eq!(SpanFile::open(&dir).unwrap().1, [mark(1), mark(3), mark(4)]);
    }
}
