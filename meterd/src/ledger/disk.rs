//! The writer's calls to the file system, all in one place, so that tests can let each of them fail. Costs nothing
//! outside tests: there it has no content.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The way to the disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    fault: Option<Fault>,
}

/// A failure to come, once.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The call that fails.
    pub(crate) call: Call,
    /// How many such calls still succeed before.
    pub(crate) after: u32,
    /// With which error.
    pub(crate) kind: io::ErrorKind,
}

/// What the writer asks of the disk.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Creating a segment.
    Create,
    /// Writing; so many bytes reach the file all the same.
    Write(usize),
    /// Making it durable.
    Sync,
}

impl Disk {
    pub(super) fn create(&mut self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.check(|call| call == Call::Create)?;
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
    }

    pub(super) fn write_all(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        {
            let written = match self.fault.map(|fault| fault.call) {
                Some(Call::Write(written)) => written,
                _ => 0,
            };
            if let Err(error) = self.check(|call| matches!(call, Call::Write(_))) {
                file.write_all(&bytes[..written.min(bytes.len())])?;
                return Err(error);
            }
        }
        file.write_all(bytes)
    }

    /// The file's content.
    pub(super) fn sync_data(&mut self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.check(|call| call == Call::Sync)?;
        file.sync_data()
    }

    /// The file's content and everything else about it.
    pub(super) fn sync_all(&mut self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.check(|call| call == Call::Sync)?;
        file.sync_all()
    }
}

#[cfg(test)]
impl Disk {
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    fn check(&mut self, is: impl FnOnce(Call) -> bool) -> io::Result<()> {
        let Some(fault) = self.fault.as_mut().filter(|fault| is(fault.call)) else { return Ok(()) };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let kind = fault.kind;
        self.fault = None;
        Err(io::Error::from(kind))
    }
}
