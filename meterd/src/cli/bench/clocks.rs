//! What this process has used: time on the wall, time of this thread on a core, memory.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A stretch of work of this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    wall: Instant,
    core: Duration,
}

impl Stretch {
    pub(super) fn start() -> Self {
        Self { wall: Instant::now(), core: on_core() }
    }

    pub(super) fn wall(&self) -> Duration {
        self.wall.elapsed()
    }

    /// Without the time in which others had the core.
    pub(super) fn core(&self) -> Duration {
        on_core().saturating_sub(self.core)
    }
}

/// Time that this thread has had a core for itself.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Time that all threads of this process have had a core.
pub(super) fn process_core() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of this process in bytes; `None` where the system does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The most resident memory since the last [`forget_peak`].
pub(super) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Lets the peak begin anew from what is resident now. Where the system does not, the peak is that of the whole life.
pub(super) fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
