//! A process that registered as the worker of a run: enough to know it again after a restart, and never a bare pid.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who a registered process is. A pid alone means nothing: it is reused. Boot, pid and start time together name one
/// process for ever; the uid is compared as well before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// The kernel's boot id.
    pub boot: Arc<str>,
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks after the boot.
    pub started: u64,
    /// Effective user.
    pub uid: u32,
    /// What goes with it.
    pub members: Members,
    /// It serves several runs, and may be signalled for one of them all the same.
    pub shared: bool,
}

/// What a signal to a process reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Members {
    /// The process and its descendants.
    Tree,
    /// Its process group, which it leads, and its descendants.
    Group,
    /// Its cgroup (path below the cgroup file system), its process group and its descendants.
    Cgroup(Arc<str>),
}

impl Members {
    /// The wire's word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Group => "group",
            Self::Cgroup(_) => "cgroup",
        }
    }
}

impl Process {
    /// Is it the same process, whatever is to be signalled with it?
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.started == other.started && self.boot == other.boot
    }
}
