//! The data directory: one owner, one known format, told apart from what is no data directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Ledger, NEVER};
use crate::ledger::{LedgerError, Reader, open};

#[test]
fn a_second_owner_is_refused_and_told_the_first() {
    let ledger = Ledger::empty();
    let first = ledger.open();
    let error = ledger.replay(0).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, LedgerError::InUse { owner, .. } if *owner == pid), "{error}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    drop(first);
    ledger.replay(0).unwrap();
}

#[test]
fn an_unknown_format_is_left_alone() {
    let ledger = Ledger::of(&[1], NEVER);
    let path = ledger.dir.root().join("FORMAT");
    fs::write(&path, "meterd-data 9\n").unwrap();
    for error in [ledger.replay(0).unwrap_err(), Reader::at_rest(&ledger.dir).unwrap_err()] {
        assert!(matches!(&error, LedgerError::Format { found, .. } if found == "meterd-data 9\n"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "meterd-data 9\n");
}

#[test]
fn a_directory_is_made_for_its_owner_alone() {
    let ledger = Ledger::of(&[1], NEVER);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [ledger.dir.root().to_owned(), ledger.dir.segments(), ledger.dir.snapshots(), ledger.dir.prices()] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    assert_eq!(mode(&ledger.segments()[0]), 0o600);
    assert_eq!(mode(&ledger.dir.root().join("LOCK")), 0o600);
}

#[test]
fn what_cannot_be_a_data_directory_is_refused_with_its_place() {
    let ledger = Ledger::empty();
    let error = Reader::at_rest(&ledger.dir).unwrap_err();
    assert!(error.to_string().contains("is this a meterd data directory?"), "{error}");
    fs::write(ledger.dir.root(), b"a file").unwrap();
    let error = open(&ledger.dir, 0, |_| {}).unwrap_err();
    let place = ledger.dir.root().display().to_string();
    assert!(matches!(&error, LedgerError::Io { .. }) && error.to_string().contains(&place), "{error}");
}

#[test]
fn a_ledger_folder_that_cannot_be_listed_is_refused_with_its_place() {
    let ledger = Ledger::of(&[1], NEVER);
    fs::remove_dir_all(ledger.dir.segments()).unwrap();
    fs::write(ledger.dir.segments(), b"a file").unwrap();
    let error = ledger.replay(0).unwrap_err();
    let place = ledger.dir.segments().display().to_string();
    assert!(matches!(&error, LedgerError::Io { .. }) && error.to_string().contains(&place), "{error}");
}
