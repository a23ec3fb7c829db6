//! The program under a budget: what belongs to it, a pidfd so that a reused pid is never signalled, and its end.
//!
//! Away from a terminal it gets a process group of its own, which is signalled as a whole. At a terminal it stays in the
//! foreground group, because a program in another group could not read from it; there its descendants are looked up.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, wait, waitid,
};

use crate::signal::process::{tree, watched};

/// What a program left behind is waited for so long after its SIGKILL.
const SWEEP_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A running program.
pub(super) struct Child {
    process: tokio::process::Child,
    leader: Pid,
    /// It leads a group of its own.
    has_group: bool,
    /// Holds the process's identity: after its end, nothing is signalled through a reused pid.
    pidfd: OwnedFd,
}

/// How it ended.
pub(super) struct Ended {
    /// Its exit code, or 128 + N when signal N ended it.
    pub(super) code: u8,
}

impl Child {
    pub(super) fn spawn(command: &[String], environment: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("no program given after --")?;
        let has_group = !std::io::stdin().is_terminal();
        let mut process = tokio::process::Command::new(program);
        process.args(arguments).envs(environment.iter().map(|(name, value)| (*name, value))).kill_on_drop(true);
        if has_group {
            process.process_group(0);
        }
        let process = process.spawn().with_context(|| format!("cannot start {program}"))?;
        let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = id.with_context(|| format!("{program} ended before it could be watched"))?;
        let pidfd = pidfd_open(leader, PidfdFlags::empty()).context("cannot open the program's pidfd")?;
        Ok(Self { process, leader, has_group, pidfd })
    }

    /// Waits for its end; may be called again.
    pub(super) async fn ended(&mut self) -> anyhow::Result<Ended> {
        let status = self.process.wait().await.context("cannot wait for the program")?;
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            (None, signal) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(u8::MAX),
        };
        Ok(Ended { code })
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends all of it.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Passes on a signal that this command got. What a terminal sends, it sends to the whole foreground group itself.
    pub(super) fn forward(&self, signal: Signal) -> anyhow::Result<()> {
        let from_terminal = matches!(signal, Signal::INT | Signal::QUIT | Signal::HUP);
        if from_terminal && !self.has_group { Ok(()) } else { self.signal(signal) }
    }

    /// After the leader's end: what is left in its group is ended too. A group id cannot be reused while the group has
    /// members, and without members this hits nothing.
    ///
    /// With `all`, so is every descendant of this command: whoever lost its parent has become its child. Waits until they
    /// are gone, so that nobody is left when the kill is said to be proven.
    pub(super) async fn sweep(&self, all: bool) {
        if self.has_group {
            // The usual answer is that nobody is left.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
        if !all {
            return;
        }
        let end = tokio::time::Instant::now() + SWEEP_MAX;
        // Again until nobody is left: a process may have forked while it was looked up.
        loop {
            let left = tree::below(getpid());
            for pidfd in &left {
                let _ = pidfd_send_signal(pidfd.as_fd(), Signal::KILL);
            }
            let gone = async {
                for pidfd in left {
                    if let Ok(pidfd) = watched(pidfd) {
                        let _ = pidfd.readable().await;
                    }
                }
            };
            if tokio::time::timeout_at(end, gone).await.is_err() {
                return;
            }
            // Those that were handed to this command are waited for here; the leader has been.
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            if tree::below(getpid()).is_empty() {
                return;
            }
        }
    }

    /// Signals all of it, if its leader is still the process that was started: asked of the pidfd.
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => {}
            // Ended, reaped or not: `ended` will say so.
            Ok(Some(_)) | Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error).context("cannot ask after the program"),
        }
        if !self.has_group {
            return tree::signal(self.leader, self.pidfd.as_fd(), signal).context("cannot signal the program");
        }
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot signal the program's process group"),
        }
    }
}
