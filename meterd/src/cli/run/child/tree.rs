//! A process and its descendants, looked up in /proc and signalled through pidfds.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// More descendants than this are not looked up: a program that forks without end is stopped at its root.
const DESCENDANTS_MAX: usize = 4_096;

/// Signals a process and, first, its descendants: a parent that is still there cannot lose them to another one.
pub(super) fn signal(root: Pid, pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    for pid in descendants(root) {
        // Between the look-up and the pidfd the process may have ended and its pid been reused: its parent tells.
        let Ok(descendant) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if is_below(pid, root) {
            tolerate(pidfd_send_signal(descendant.as_fd(), signal))?;
        }
    }
    tolerate(pidfd_send_signal(pidfd, signal))
}

/// Gone already is as good as signalled.
fn tolerate(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::SRCH) { Ok(()) } else { result }
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
        if found.len() > DESCENDANTS_MAX {
            break;
        }
    }
    found.split_off(1)
}

/// Does the chain of parents lead to `root`?
fn is_below(pid: Pid, root: Pid) -> bool {
    let mut at = pid;
    for _ in 0..DESCENDANTS_MAX {
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
