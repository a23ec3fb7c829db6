//! Old segments, packed: every command reads them as before, and damage in them is found. Segments are old only after days and full
//! only after 256 MiB, so this packs what a daemon wrote with the program's own library.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use budget::entry::Phase;
use budget::{Command, Ref};
use meterd::clock::Clock;
use meterd::ledger::{DataDir, pack_closed};
use meterd::meter::{Ask, Core, Rules, restore};
use pricing::Timestamp;
use serde_json::{Value, json};

use crate::events::{NS, cost_of, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

const CALLS: u32 = 40;

/// Ends the segment that a daemon wrote, and packs it.
fn pack(data_dir: &Path) {
    let dir = DataDir::new(data_dir);
    let mut restored = restore(&dir).unwrap();
    restored.writer.limit_segments(1);
    let reader = restored.writer.reader();
    let rules = Rules { queue_events_max: 64, dedup_horizon: Duration::from_secs(86_400) };
    let mut core = Core::new(dir.clone(), restored, Clock::wall(), &rules, Box::new(|_| {}), false);
    let end = Command::End { execution: Ref::new(NS, "run"), phase: Phase::Succeeded };
    core.batch(vec![Ask::Command(Box::new(end))]).unwrap();
    // Once to pack, once more to remove what is packed.
    assert!(pack_closed(&dir, &reader, Timestamp::from_nanos(i64::MAX), u64::MAX).unwrap() > 0);
    assert_eq!(pack_closed(&dir, &reader, Timestamp::from_nanos(i64::MAX), u64::MAX).unwrap(), 0);
    core.close().unwrap();
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn packed_segments_are_read_proved_and_exported_as_before() {
    let mut daemon = Daemon::start();
    let calls: Vec<Value> = (0..CALLS).map(|number| model_call(&format!("old-{number}"), "run")).collect();
    daemon.usage(&json!(calls));
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir();
    let argument = data_dir.display().to_string();
    let export = || cli::run(&["export", "ndjson", "--data-dir", &argument], &data_dir).expect_code(0).stdout;
    let before = export();
    assert_eq!(before.lines().count(), CALLS as usize);
    pack(&data_dir);
    let packed = only_file(&data_dir.join("archive"));
    assert_eq!(packed.extension().unwrap(), "zst");
    assert_eq!(export(), before);
    // Without snapshot and index the start reads everything, packed segments among it.
    for folder in ["snapshots", "index"] {
        fs::remove_dir_all(data_dir.join(folder)).unwrap();
    }
    daemon.start_again();
    assert_eq!(daemon.execution(NS, "run")["status"]["costUsd"].to_string(), cost_of(CALLS));
    assert!(daemon.usage(&json!(calls)).iter().all(|result| result["status"] == "duplicate"));
    // Beside the live daemon, which goes on writing.
    let verify = || cli::run(&["verify", "--data-dir", &argument], daemon.folder());
    assert!(verify().expect_code(0).stdout.contains("verified"));
    daemon.usage(&model_call("new-1", "other"));
    assert!(verify().expect_code(0).stdout.contains(&format!("{} costs recomputed", CALLS + 1)));
    assert_eq!(export().lines().count(), CALLS as usize + 1);
    let mut bytes = fs::read(&packed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&packed, bytes).unwrap();
    let refuted = verify().expect_code(1);
    let said = format!("{}{}", refuted.stdout, refuted.stderr);
    assert!(said.contains(&*packed.file_name().unwrap().to_string_lossy()), "it names the file: {said}");
}
