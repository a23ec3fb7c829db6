//! What a clock believes, as text for a file: how far wall and boot time are apart, on which boot of the machine. Asks no clock.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::str::FromStr;

/// Wall less boot time as it is believed. It means nothing on another boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belief {
    /// The boot's id.
    pub boot: String,
    /// Wall less boot time, in nanoseconds.
    pub difference: i64,
}

impl Belief {
    /// Is this, for what it is kept for, the same? Slewing goes on all the time.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        const SECOND: u64 = 1_000_000_000;
        self.boot == other.boot && self.difference.abs_diff(other.difference) < SECOND
    }
}

impl Display for Belief {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.boot, self.difference)
    }
}

impl FromStr for Belief {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (boot, difference) = text.trim().split_once(' ').ok_or(())?;
        Ok(Self { boot: boot.to_owned(), difference: difference.parse().map_err(drop)? })
    }
}

/// The machine's present boot, where it says.
pub(super) fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}
