//! The process itself, read from `/proc/self`. What cannot be read has no series.

use std::fs;

use crate::metrics::catalog::{Family, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RSS, PROCESS_START};
use crate::metrics::text::Writer;

/// Clock ticks of `/proc` are hundredths of a second on every architecture that Linux shows to programs.
const TICKS: u32 = 2;
const TICKS_PER_SECOND: i128 = 100;
/// In `/proc/PID/stat`, counted from the field after the command's name: user and system time, and the start.
const UTIME: usize = 11;
const STIME: usize = 12;
const START: usize = 19;

/// Writes CPU time, memory, file descriptors and start time.
pub(super) fn write(writer: &mut Writer) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold blanks and parentheses; the last one closes it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let field = |place: usize| fields.get(place).and_then(|text| text.parse::<i128>().ok());
    let cpu = field(UTIME).zip(field(STIME)).map(|(user, system)| user.saturating_add(system));
    number(&PROCESS_CPU, cpu, TICKS, writer);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&PROCESS_RSS, resident(&status), 0, writer);
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count());
    number(&PROCESS_OPEN_FDS, open.and_then(|open| i128::try_from(open).ok()), 0, writer);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    number(&PROCESS_MAX_FDS, files_max(&limits), 0, writer);
    let boot = boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let start = boot.zip(field(START)).map(|(boot, ticks)| boot.saturating_mul(TICKS_PER_SECOND).saturating_add(ticks));
    number(&PROCESS_START, start, TICKS, writer);
}

fn number(family: &Family, value: Option<i128>, scale: u32, writer: &mut Writer) {
    if let Some(value) = value {
        writer.family(family);
        writer.sample(family, "").decimal(value, scale);
    }
}

/// Bytes of `VmRSS`, which the kernel gives in KiB whatever the page size.
fn resident(status: &str) -> Option<i128> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i128 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit of open files; none when it is unlimited.
fn files_max(limits: &str) -> Option<i128> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Seconds since the epoch at which the machine started.
fn boot_time(stat: &str) -> Option<i128> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse().ok())
}
