//! Processes that belong together, looked up in /proc and held by pidfds: descendants, and the members of a group.
//!
//! A pid is only a name to look up; what is signalled is a pidfd that was opened before the look-up was repeated.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

/// More processes than this are not looked up: a program that forks without end is stopped at its root.
const PROCESSES_MAX: usize = 4_096;

/// Signals a process and, first, its descendants: a parent that is still there cannot lose them to another one.
pub(crate) fn signal(root: Pid, pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    for descendant in below(root) {
        tolerate(pidfd_send_signal(descendant.as_fd(), signal))?;
    }
    tolerate(pidfd_send_signal(pidfd, signal))
}

/// Gone already is as good as signalled.
pub(crate) fn tolerate(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::SRCH) { Ok(()) } else { result }
}

/// Every descendant of a process, but never this one's own process.
pub(crate) fn below(root: Pid) -> Vec<OwnedFd> {
    let own = getpid();
    // Between the look-up and the pidfd the process may have ended and its pid been reused: its parents tell.
    let held = descendants(root).into_iter().filter(|pid| *pid != own).filter_map(|pid| {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        is_below(pid, root).then_some(pidfd)
    });
    held.collect()
}

/// Every member of a process group but this process and the leader, which the caller holds.
pub(crate) fn group(leader: Pid) -> Vec<OwnedFd> {
    let own = getpid();
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let members = pids.filter(|pid| *pid != own && *pid != leader).filter_map(|pid| {
        let in_group = || stat(pid).is_some_and(|stat| stat.group == leader.as_raw_nonzero().get());
        let pidfd = in_group().then(|| pidfd_open(pid, PidfdFlags::empty()).ok()).flatten()?;
        in_group().then_some(pidfd)
    });
    members.take(PROCESSES_MAX).collect()
}

/// What is read from a process's `stat`.
pub(crate) struct Stat {
    /// Its process group.
    pub(crate) group: i32,
    /// It has ended and waits for its parent.
    pub(crate) is_over: bool,
    /// Start time in clock ticks after the boot.
    pub(crate) started: u64,
}

/// The fields after the program's name, which may hold anything: it ends at the last parenthesis.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let (state, _parent) = (fields.next()?, fields.next()?);
    let group = fields.next()?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some(Stat { is_over: matches!(state, "Z" | "X"), group, started })
}

/// Children, their children and so on, parents first.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        }
        if found.len() > PROCESSES_MAX {
            break;
        }
    }
    found.split_off(1)
}

/// Does the chain of parents lead to `root`?
fn is_below(pid: Pid, root: Pid) -> bool {
    let mut at = pid;
    for _ in 0..PROCESSES_MAX {
        let Some(parent) = parent(at) else { return false };
        if parent == root {
            return true;
        }
        at = parent;
    }
    false
}

/// The parent's pid, from the status file: its fields have names, so an odd program name cannot shift them.
fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}
