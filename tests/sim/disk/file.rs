//! An open file of the simulated disk: reads what processes see, writes what may be torn, syncs what may be lost.

use std::io::{self, ErrorKind};

use meterd::ledger::DiskFile;

use super::{Fault, Inner, Node, SimDisk};

/// An open file; of no use after the process, or the power, was gone.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) node: usize,
    pub(super) epoch: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inner, usize) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.inner();
        inner.powered()?;
        if inner.epoch != self.epoch {
            return Err(io::Error::other("a file of a process that is gone"));
        }
        act(&mut inner, self.node)
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inner, at| match inner.call(Fault::Sync)? {
            None => {
                inner.nodes[at].make_durable();
                Ok(())
            }
            Some(Fault::PowerLoss) => {
                if inner.prng.permille(500) {
                    inner.nodes[at].make_durable();
                }
                Err(io::Error::other("the power went off"))
            }
            Some(_) => {
                inner.tally.count("fault: sync");
                let node = &mut inner.nodes[at];
                let from = node.durable.len().min(node.live.len());
                // The pages count as written from now on, whatever became of them.
                if inner.prng.permille(300) {
                    inner.nodes[at].make_durable();
                } else if from < inner.nodes[at].live.len() {
                    let node = &mut inner.nodes[at];
                    let begin = node.hole.as_ref().map_or(from, |hole| hole.start.min(from));
                    node.hole = Some(begin..node.live.len());
                }
                Err(io::Error::other("input/output error"))
            }
        })
    }
}

impl Node {
    /// What a sync writes: everything but what a failed one threw away.
    fn make_durable(&mut self) {
        let same = self.durable.len();
        if self.cut || same > self.live.len() {
            self.durable.clone_from(&self.live);
        } else {
            self.durable.extend_from_slice(&self.live[same..]);
        }
        if let Some(hole) = &self.hole {
            let end = hole.end.min(self.durable.len());
            self.durable[hole.start.min(end)..end].fill(0);
        }
        self.cut = false;
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|inner, at| {
            let fault = inner.call(Fault::Write)?;
            let some = usize::try_from(inner.prng.below(bytes.len() as u64 + 1)).unwrap();
            let node = &inner.nodes[at];
            let set_aside = node.allocated.saturating_sub(node.live.len());
            let room = usize::try_from(inner.room.saturating_sub(inner.used())).unwrap_or(usize::MAX);
            let fits = bytes.len().min(set_aside.saturating_add(room));
            let (taken, error) = match fault {
                Some(Fault::PowerLoss) => (some, Some(io::Error::other("the power went off"))),
                Some(_) => {
                    inner.tally.count("fault: write");
                    (some, Some(io::Error::other("input/output error")))
                }
                None if fits < bytes.len() => {
                    inner.tally.count("fault: disk full");
                    (fits, Some(ErrorKind::StorageFull.into()))
                }
                None => (bytes.len(), None),
            };
            inner.nodes[at].live.extend_from_slice(&bytes[..taken.min(fits)]);
            error.map_or(Ok(()), Err)
        })
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|inner, at| {
            let live = &inner.nodes[at].live;
            let from = usize::try_from(offset).unwrap().min(live.len());
            let count = bytes.len().min(live.len() - from);
            bytes[..count].copy_from_slice(&live[from..from + count]);
            Ok(count)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|inner, at| Ok(inner.nodes[at].live.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|inner, at| {
            let fault = inner.call(Fault::Write)?;
            let node = &mut inner.nodes[at];
            if fault.is_none_or(|fault| fault == Fault::PowerLoss) {
                let len = usize::try_from(len).unwrap();
                node.cut |= len < node.live.len();
                node.live.resize(len, 0);
                node.allocated = node.allocated.min(len);
                node.hole = node.hole.take().filter(|hole| hole.start < len).map(|hole| hole.start..hole.end.min(len));
            }
            match fault {
                None => Ok(()),
                Some(_) => Err(io::Error::other("input/output error")),
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|inner, at| {
            let room = inner.room.saturating_sub(inner.used());
            let node = &inner.nodes[at];
            let has = node.allocated.max(node.live.len()) as u64;
            if len.saturating_sub(has) > room {
                return Err(ErrorKind::StorageFull.into());
            }
            inner.nodes[at].allocated = inner.nodes[at].allocated.max(usize::try_from(len).unwrap());
            Ok(())
        })
    }
}
