//! A disk that keeps its word and not one bit more: what is not synced may be lost or torn when the power goes, names that
//! are not synced may be lost, a failed sync may have thrown the bytes away and say nothing the next time.
//!
//! Two lives: `live` is what processes see (the page cache), `durable` is what is left when the power goes.

mod file;
mod power;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use meterd::ledger::{Disk, DiskFile, Lock, Locked};

use self::file::SimFile;
use crate::prng::Prng;
use crate::tally::Tally;

/// The disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Inner>>);

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes at the call, which may have had any part of its effect.
    PowerLoss,
    /// A write fails; any part of it is in the file.
    Write,
    /// A sync fails; what it should have made durable may be lost for good.
    Sync,
    /// Making, renaming or removing a name fails.
    Name,
}

#[derive(Debug)]
struct Inner {
    prng: Prng,
    tally: Tally,
    nodes: Vec<Node>,
    /// Names as processes see them, and as they are when the power goes.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names in each folder since its last sync, oldest first.
    unsynced: BTreeMap<PathBuf, Vec<NameChange>>,
    folders: BTreeSet<PathBuf>,
    locks: BTreeMap<PathBuf, String>,
    /// Calls until the fault comes.
    armed: Option<(Fault, u64)>,
    /// The power is off: every call fails until it is on again.
    off: bool,
    /// Rises with each loss of power and each end of a process: open files of before are gone.
    epoch: u64,
    /// Bytes that all files may have together.
    room: u64,
    calls: u64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Written, and thrown away by a failed sync: no later sync writes it.
    hole: Option<Range<usize>>,
    /// Cut since the last sync.
    cut: bool,
    /// Room set aside up to this length.
    allocated: usize,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, usize),
    Gone(PathBuf),
}

impl SimDisk {
    pub fn new(prng: Prng) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            prng,
            tally: Tally::default(),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            folders: BTreeSet::new(),
            locks: BTreeMap::new(),
            armed: None,
            off: false,
            epoch: 0,
            room: u64::MAX,
            calls: 0,
        })))
    }

    /// A fault at one of the next calls that it can strike.
    pub fn arm(&self, fault: Fault, within_calls: u64) {
        let mut inner = self.inner();
        let calls = inner.prng.below(within_calls);
        inner.armed = Some((fault, calls));
    }

    /// No fault to come; did it come?
    pub fn disarm(&self) -> bool {
        self.inner().armed.take().is_none()
    }

    pub fn is_off(&self) -> bool {
        self.inner().off
    }

    /// So many bytes more fit; `None` for no bound.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let mut inner = self.inner();
        inner.room = bytes.map_or(u64::MAX, |bytes| inner.used().saturating_add(bytes));
    }

    /// Changes a byte of a file behind everybody's back, for good as far as it is on the disk; where. `None` when there is none there.
    pub fn flip(&self, prng: &mut Prng, path: &Path, within: Range<usize>) -> Option<usize> {
        let node = self.inner_node(path)?;
        let len = self.inner().nodes[node].live.len();
        let end = within.end.min(len);
        let at = within.start + prng.index(end.checked_sub(within.start)?.max(1));
        (at < len).then(|| self.flip_back(path, at)).map(|()| at)
    }

    /// The same byte once more.
    pub fn flip_back(&self, path: &Path, at: usize) {
        let node = self.inner_node(path);
        let mut inner = self.inner();
        if let Some(node) = node {
            let node = &mut inner.nodes[node];
            node.live[at] ^= 0x10;
            if let Some(byte) = node.durable.get_mut(at) {
                *byte ^= 0x10;
            }
        }
    }

    /// A file is gone for good.
    pub fn lose(&self, path: &Path) {
        let mut inner = self.inner();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    fn inner_node(&self, path: &Path) -> Option<usize> {
        self.inner().names.get(path).copied()
    }

    /// Calls that have changed something.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    pub fn tally(&self) -> Tally {
        self.inner().tally.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn handle(&self, node: usize, epoch: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), node, epoch })
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|node| self.nodes[*node].live.len().max(self.nodes[*node].allocated) as u64).sum()
    }

    /// A call that changes something: does a fault strike it?
    fn call(&mut self, can_be: Fault) -> io::Result<Option<Fault>> {
        self.powered()?;
        self.calls += 1;
        let Some((fault, left)) = &mut self.armed else { return Ok(None) };
        if *fault != Fault::PowerLoss && *fault != can_be {
            return Ok(None);
        }
        if *left > 0 {
            *left -= 1;
            return Ok(None);
        }
        let fault = *fault;
        self.armed = None;
        if fault == Fault::PowerLoss {
            self.off = true;
            self.tally.count("fault: power lost");
        }
        Ok(Some(fault))
    }

    fn powered(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn change_name(&mut self, change: NameChange) {
        let path = match &change {
            NameChange::Put(path, node) => {
                self.names.insert(path.clone(), *node);
                path
            }
            NameChange::Gone(path) => {
                self.names.remove(path);
                path
            }
        };
        let folder = path.parent().unwrap().to_path_buf();
        self.unsynced.entry(folder).or_default().push(change);
    }

    /// A call that changes names: done, failed, or cut off by the power with or without effect.
    fn name_call(&mut self, what: &'static str, changes: impl FnOnce(&mut Self)) -> io::Result<()> {
        match self.call(Fault::Name)? {
            None => {
                changes(self);
                Ok(())
            }
            Some(Fault::PowerLoss) => {
                if self.prng.permille(500) {
                    changes(self);
                }
                Err(io::Error::other("the power went off"))
            }
            Some(_) => {
                self.tally.count(what);
                Err(io::Error::other("input/output error"))
            }
        }
    }

    fn new_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn make_durable(&mut self, change: &NameChange) {
        match change {
            NameChange::Put(path, node) => self.durable_names.insert(path.clone(), *node),
            NameChange::Gone(path) => self.durable_names.remove(path),
        };
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // Folders are made once, before anything is promised: they are durable at once.
        let mut inner = self.inner();
        inner.powered()?;
        inner.folders.insert(path.to_path_buf());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner();
        if inner.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = inner.new_node();
        inner
            .name_call("fault: file not made", |inner| inner.change_name(NameChange::Put(path.to_path_buf(), node)))?;
        Ok(self.handle(node, inner.epoch))
    }

    fn replace(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner();
        let node = inner.new_node();
        inner
            .name_call("fault: file not made", |inner| inner.change_name(NameChange::Put(path.to_path_buf(), node)))?;
        Ok(self.handle(node, inner.epoch))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.inner();
        inner.powered()?;
        let node = *inner.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(self.handle(node, inner.epoch))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let node = *inner.names.get(from).ok_or_else(|| not_found(from))?;
        inner.name_call("fault: rename", |inner| {
            inner.change_name(NameChange::Put(to.to_path_buf(), node));
            inner.change_name(NameChange::Gone(from.to_path_buf()));
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.names.contains_key(path) {
            return Err(not_found(path));
        }
        inner.name_call("fault: remove", |inner| inner.change_name(NameChange::Gone(path.to_path_buf())))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.inner();
        inner.powered()?;
        if !inner.folders.contains(folder) {
            return Err(not_found(folder));
        }
        Ok(inner.names.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let inner = self.inner();
        inner.powered()?;
        let node = inner.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(inner.nodes[*node].live.len() as u64)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if let Some(fault) = inner.call(Fault::Sync)? {
            if fault != Fault::PowerLoss {
                inner.tally.count("fault: folder not synced");
            }
            return Err(io::Error::other("input/output error"));
        }
        for change in inner.unsynced.remove(folder).unwrap_or_default() {
            inner.make_durable(&change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Locked> {
        let mut inner = self.inner();
        inner.powered()?;
        if let Some(holder) = inner.locks.get(path) {
            return Ok(Locked::Others(holder.clone()));
        }
        inner.locks.insert(path.to_path_buf(), note.to_owned());
        Ok(Locked::Ours(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf(), epoch: inner.epoch })))
    }

    fn is_locked(&self, path: &Path) -> bool {
        self.inner().locks.contains_key(path)
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let inner = self.inner();
        inner.powered()?;
        Ok(inner.room.saturating_sub(inner.used()))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    epoch: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut inner = self.disk.inner();
        if inner.epoch == self.epoch {
            inner.locks.remove(&self.path);
        }
    }
}
