//! The real disk: the operating system's files. In tests the calls that write a segment can be made to fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::{Disk, DiskFile, Lock, Locked};

/// The operating system's files.
#[derive(Clone, Debug, Default)]
pub struct OsDisk {
    #[cfg(test)]
    faults: Faults,
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// Faults that wait for this file.
    #[cfg(test)]
    faults: Option<Faults>,
}

#[derive(Debug)]
struct OsLock {
    _file: File,
}

impl Lock for OsLock {}

impl OsDisk {
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "faults are injected in tests only"))]
    fn file(&self, path: &Path, file: File) -> Box<dyn DiskFile> {
        #[cfg(not(test))]
        let _ = path;
        Box::new(OsFile {
            file,
            #[cfg(test)]
            faults: is_segment(path).then(|| self.faults.clone()),
        })
    }
}

impl Disk for OsDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        #[cfg(test)]
        if is_segment(path) {
            self.faults.check(|call| call == Call::Create)?;
        }
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        Ok(self.file(path, file))
    }

    fn replace(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, File::open(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, OpenOptions::new().read(true).append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|metadata| metadata.len())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Locked> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Ok(Locked::Others(holder));
        }
        file.set_len(0)?;
        file.write_all(note.as_bytes())?;
        Ok(Locked::Ours(Box::new(OsLock { _file: file })))
    }

    /// A process that got the holder's number later counts as the holder.
    fn is_locked(&self, path: &Path) -> bool {
        let holder: Option<u32> = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        holder.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        #[cfg(test)]
        if self.faults.is_full() {
            return Ok(0);
        }
        let stat = statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    #[cfg(test)]
    fn fill(&self, full: bool) {
        self.faults.1.store(full, std::sync::atomic::Ordering::SeqCst);
    }

    #[cfg(test)]
    fn fail(&self, fault: Fault) {
        *self.faults.lock() = Some(fault);
    }
}

impl DiskFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            let written = faults.written();
            if let Err(error) = faults.check(|call| matches!(call, Call::Write(_))) {
                self.file.write_all(&bytes[..written.min(bytes.len())])?;
                return Err(error);
            }
        }
        self.file.write_all(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.check_sync()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        #[cfg(test)]
        self.check_sync()?;
        self.file.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let from = self.len()?;
        if len <= from {
            return Ok(());
        }
        #[cfg(test)]
        if self.faults.as_ref().is_some_and(Faults::is_full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, len - from)?)
    }
}

#[cfg(test)]
impl OsFile {
    fn check_sync(&self) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.check(|call| call == Call::Sync))
    }
}

/// A failure to come, once.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The call that fails.
    pub call: Call,
    /// How many such calls still succeed before.
    pub after: u32,
    /// With which error.
    pub kind: io::ErrorKind,
}

/// What the writer asks of the disk.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Creating a segment.
    Create,
    /// Writing; so many bytes reach the file all the same.
    Write(usize),
    /// Making it durable.
    Sync,
}

#[cfg(test)]
#[derive(Clone, Debug, Default)]
struct Faults(Arc<Mutex<Option<Fault>>>, Arc<std::sync::atomic::AtomicBool>);

#[cfg(test)]
impl Faults {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn written(&self) -> usize {
        match self.lock().map(|fault| fault.call) {
            Some(Call::Write(written)) => written,
            _ => 0,
        }
    }

    fn check(&self, is: impl FnOnce(Call) -> bool) -> io::Result<()> {
        let mut waiting = self.lock();
        let Some(fault) = waiting.as_mut().filter(|fault| is(fault.call)) else { return Ok(()) };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let kind = fault.kind;
        *waiting = None;
        Err(io::Error::from(kind))
    }
}

#[cfg(test)]
fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}
