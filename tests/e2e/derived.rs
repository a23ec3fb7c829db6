//! Everything in a data directory but the ledger itself can be made again: changed or gone, the daemon comes back as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::events::{NS, cost_of, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

const AT_ONCE: u32 = 500;
/// With so many ids a stop leaves a part of the index on disk.
const REQUESTS: u32 = 9;

fn batch(number: u32) -> Vec<Value> {
    let call = |part| {
        let mut call = model_call(&format!("call-{number}-{part}"), "run");
        call["time"] = json!(*TIME);
        call["response_id"] = json!(format!("msg-{number}-{part}"));
        call
    };
    (0..AT_ONCE).map(call).collect()
}

static TIME: std::sync::LazyLock<String> = std::sync::LazyLock::new(crate::events::now);

/// Files of a folder of the data directory, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The same run at the same cost, every id known, and a ledger that proves it.
fn is_as_before(daemon: &mut Daemon, why: &str) {
    let run = daemon.execution(NS, "run");
    assert_eq!(run["status"]["modelCalls"], REQUESTS * AT_ONCE, "{why}");
    assert_eq!(run["status"]["costUsd"].to_string(), cost_of(REQUESTS * AT_ONCE), "{why}");
    for number in [0, REQUESTS - 1] {
        let again = daemon.usage(&json!(batch(number)));
        assert!(again.iter().all(|result| result["status"] == "duplicate"), "{why}");
    }
    daemon.wait_for_metric("meterd_cost_usd_total", &[], &cost_of(REQUESTS * AT_ONCE));
    assert!(daemon.stop().success(), "{why}");
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// A block of the index is only looked at when an id may be in it: what is damaged is made again from the ledger then, and the
/// daemon goes on.
fn goes_on(daemon: &Daemon) {
    for number in 0..REQUESTS {
        let again = daemon.usage(&json!(batch(number)));
        assert!(again.iter().all(|result| result["status"] == "duplicate"), "request {number}");
    }
    let log = daemon.log();
    assert!(log.contains("a file of the dedup index is damaged") && log.contains(".run"), "it names the file: {log}");
    assert!(log.contains("the dedup index is whole again"), "{log}");
}

#[test]
fn what_is_derived_may_be_damaged_or_gone() {
    let mut daemon = Daemon::start();
    for number in 0..REQUESTS {
        daemon.usage(&json!(batch(number)));
    }
    daemon.wait_for_metric("meterd_cost_usd_total", &[], &cost_of(REQUESTS * AT_ONCE));
    assert!(daemon.stop().success());
    for folder in ["snapshots", "index", "followers"] {
        let folder = daemon.data_dir().join(folder);
        let whole = files(&folder);
        assert!(!whole.is_empty(), "{} holds nothing", folder.display());
        for (path, bytes) in &whole {
            let mut changed = bytes.clone();
            changed[bytes.len() / 2] ^= 1;
            fs::write(path, changed).unwrap();
        }
        daemon.start_again();
        if folder.ends_with("index") {
            goes_on(&daemon);
        }
        is_as_before(&mut daemon, &format!("a byte of each file in {} changed", folder.display()));
        files(&folder).keys().for_each(|path| fs::remove_file(path).unwrap());
        daemon.start_again();
        is_as_before(&mut daemon, &format!("{} was emptied", folder.display()));
    }
}

/// What a program of another time wrote is refused and not touched.
#[test]
fn a_directory_of_an_unknown_format_is_left_alone() {
    let mut daemon = Daemon::start();
    daemon.usage(&model_call("call-1", "run"));
    assert!(daemon.stop().success());
    let format = daemon.data_dir().join("FORMAT");
    let ours = fs::read(&format).unwrap();
    fs::write(&format, "meterd-data 99\n").unwrap();
    let before = files(&daemon.data_dir().join("ledger"));
    let data_dir = daemon.data_dir().display().to_string();
    let ended =
        cli::run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir], daemon.folder()).expect_code(1);
    assert!(ended.stderr.contains("FORMAT") && ended.stderr.contains("99"), "{}", ended.stderr);
    assert_eq!(files(&daemon.data_dir().join("ledger")), before);
    fs::write(&format, ours).unwrap();
    daemon.start_again();
    assert_eq!(daemon.execution(NS, "run")["status"]["modelCalls"], 1);
}
