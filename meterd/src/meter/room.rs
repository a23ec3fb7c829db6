//! Which work a full disk still takes, and how much room work wants. Pure.

use budget::{Charge, Command};

use super::Ask;

/// An entry without its texts, and the warnings and kills that it may cause.
const ENTRY_BYTES: u64 = 2_048;

/// Does this end or settle something, so that it may use the reserve of the disk?
pub(super) fn may_use_reserve(ask: &Ask) -> bool {
    match ask {
        Ask::Charges(_) | Ask::Reserve(_) => false,
        Ask::Settle(_) => true,
        Ask::Command(command) => !matches!(
            **command,
            Command::Open(_)
                | Command::Charge(_)
                | Command::Reserve(_)
                | Command::Adjust(_)
                | Command::Apply(_)
                | Command::Pin(_)
        ),
    }
}

/// Bytes that it may take in the ledger, rather too many than too few.
pub(super) fn wanted(ask: &Ask) -> u64 {
    match ask {
        Ask::Charges(charges) => charges.iter().map(charge).fold(0, u64::saturating_add),
        Ask::Command(command) => match &**command {
            Command::Charge(charged) => charge(charged),
            Command::Apply(applied) => texts(&[&applied.document]).saturating_mul(2),
            Command::Open(opened) => texts(&[opened.document.as_deref().unwrap_or_default()]),
            _ => ENTRY_BYTES,
        },
        Ask::Reserve(_) => ENTRY_BYTES.saturating_mul(2),
        Ask::Settle(charged) => charge(charged),
    }
}

fn charge(charge: &Charge) -> u64 {
    let labels = charge.subject.labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    // The labels may be said once more, in the opening of the run.
    ENTRY_BYTES.saturating_add(labels as u64 * 2)
}

fn texts(texts: &[&str]) -> u64 {
    texts.iter().map(|text| text.len() as u64).fold(ENTRY_BYTES, u64::saturating_add)
}
