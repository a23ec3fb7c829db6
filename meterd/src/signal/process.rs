//! Workers as processes: who one is when it registers, whether it is still the same, and signals to all that goes with it.
//!
//! A pid is never trusted: boot, pid, start time and user are compared each time, and what is signalled is a pidfd that
//! was opened before they were. What cannot be verified is not signalled.

#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use budget::signal::{Members, Process};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, getpid, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// Where version 2 of the cgroup file system is.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Why a process was not, or will not be, signalled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIt {
    /// The registered process has ended; whoever has its pid now is another one.
    #[error("no_process: process {0} has ended")]
    Gone(u32),
    /// It must not be signalled.
    #[error("not_permitted: {0}")]
    Refused(String),
    /// The system would not say.
    #[error("other: process {0}: {1}")]
    Unknown(u32, String),
}

/// A registered process that was verified, held by its pidfd.
#[derive(Debug)]
pub struct Held {
    process: Process,
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

/// Who the peer of a connection is; `pidfd` was opened when the connection was accepted.
pub fn identify(pid: Pid, pidfd: BorrowedFd<'_>, members: &str, shared: bool) -> Result<Process, NotIt> {
    let number = pid.as_raw_nonzero().get().unsigned_abs();
    let stat = tree::stat(pid).ok_or(NotIt::Gone(number))?;
    let uid = uid_of(pid).ok_or(NotIt::Gone(number))?;
    let leads = stat.group == pid.as_raw_nonzero().get();
    let members = match members {
        "tree" => Members::Tree,
        "group" if leads => Members::Group,
        "group" => {
            return Err(NotIt::Refused(format!("process {number} does not lead its process group; register its tree")));
        }
        "cgroup" => Members::Cgroup(own_cgroup(pid)?.into()),
        _ if leads => Members::Group,
        _ => Members::Tree,
    };
    let process = Process { boot: boot()?.into(), pid: number, started: stat.started, uid, members, shared };
    allowed(&process)?;
    // Still the one that connected: then everything that was read is of it.
    if has_ended(pidfd) { Err(NotIt::Gone(number)) } else { Ok(process) }
}

impl Held {
    /// Finds a registered process again and holds it, if it is the same one.
    pub fn open(process: &Process) -> Result<Self, NotIt> {
        let gone = NotIt::Gone(process.pid);
        allowed(process)?;
        if boot()? != *process.boot {
            return Err(gone);
        }
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(gone.clone())?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH | Errno::INVAL) => return Err(gone),
            Err(error) => return Err(NotIt::Unknown(process.pid, error.to_string())),
        };
        let stat = tree::stat(pid).ok_or(gone.clone())?;
        if stat.started != process.started || has_ended(pidfd.as_fd()) {
            return Err(gone);
        }
        let uid = uid_of(pid).ok_or(gone)?;
        if uid != process.uid {
            let message = format!("process {} runs as user {uid} now, not {}", process.pid, process.uid);
            return Err(NotIt::Refused(message));
        }
        let pidfd = watched(pidfd).map_err(|error| NotIt::Unknown(process.pid, error.to_string()))?;
        Ok(Self { process: process.clone(), pid, pidfd })
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        // A pidfd is readable once its process has ended, and stays so.
        if self.pidfd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Signals it and what goes with it. Everything is looked up and held before anything is signalled.
    pub fn signal(&self, signal: Signal) -> Result<(), NotIt> {
        let refused = |error: Errno| match error {
            Errno::PERM => NotIt::Refused(format!("process {}: {error}", self.process.pid)),
            error => NotIt::Unknown(self.process.pid, error.to_string()),
        };
        if has_ended(self.pidfd.get_ref().as_fd()) {
            return Err(NotIt::Gone(self.process.pid));
        }
        let mut others = tree::below(self.pid);
        let grouped = matches!(self.process.members, Members::Group | Members::Cgroup(_));
        let leads = tree::stat(self.pid).is_some_and(|stat| stat.group == self.pid.as_raw_nonzero().get());
        if grouped && leads && self.pid != getpgrp() {
            others.extend(tree::group(self.pid));
        }
        for other in others {
            tree::tolerate(pidfd_send_signal(other.as_fd(), signal)).map_err(refused)?;
        }
        if signal == Signal::KILL
            && let Members::Cgroup(path) = &self.process.members
            && own_cgroup(self.pid).is_ok_and(|now| now == **path)
        {
            // Children that left the group and the tree are in the cgroup still. Without permission the rest was done.
            if let Err(error) = fs::write(format!("{CGROUPS}{path}/cgroup.kill"), "1") {
                tracing::warn!(%error, cgroup = %path, "the cgroup of a worker could not be killed as a whole");
            }
        }
        tree::tolerate(pidfd_send_signal(self.pidfd.get_ref().as_fd(), signal)).map_err(refused)
    }
}

/// A pidfd that can be waited for: it is readable once its process has ended.
#[expect(deprecated, reason = "sound for an OwnedFd, which keeps its descriptor; its successor is unsafe code")]
pub fn watched(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd)
}

/// Never init, never meterd itself.
fn allowed(process: &Process) -> Result<(), NotIt> {
    if process.pid <= 1 {
        return Err(NotIt::Refused(format!("process {} is never signalled", process.pid)));
    }
    if i32::try_from(process.pid).is_ok_and(|pid| pid == getpid().as_raw_nonzero().get()) {
        return Err(NotIt::Refused("meterd does not signal itself".to_owned()));
    }
    Ok(())
}

/// The cgroup of a process, if it may be killed as a whole: one below the root that meterd is not in.
fn own_cgroup(pid: Pid) -> Result<String, NotIt> {
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("0::")).map(|path| path.trim().to_owned())
    };
    let number = pid.as_raw_nonzero();
    let path = of(&number.to_string()).ok_or(NotIt::Gone(number.get().unsigned_abs()))?;
    let meterd = of("self").unwrap_or_default();
    let within = format!("{}/", path.trim_end_matches('/'));
    if path == "/" || path.contains("..") || format!("{meterd}/").starts_with(&within) {
        let message = format!("process {number} is in the cgroup {path}, which is not its own; register its group");
        return Err(NotIt::Refused(message));
    }
    Ok(path)
}

/// The effective user of a process: the owner of its folder in /proc.
fn uid_of(pid: Pid) -> Option<u32> {
    Some(fs::metadata(format!("/proc/{}", pid.as_raw_nonzero())).ok()?.uid())
}

fn boot() -> Result<String, NotIt> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).map_err(|error| NotIt::Unknown(0, format!("the boot id: {error}")))
}

/// Asked of the pidfd: a process that was waited for has no pid any more, and one that ended waits for that.
fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap_or_default();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid = pid.and_then(|pid| Pid::from_raw(pid.trim().parse().ok().filter(|pid| *pid > 0)?));
    pid.is_none_or(|pid| tree::stat(pid).is_none_or(|stat| stat.is_over))
}
