//! `meterd demo --once`: the first thing that a newcomer sees, from start to end.

use std::time::{Duration, Instant};

use crate::harness::cli::{self, meterd};
use crate::harness::process::Process;

const DEMO_MAX: Duration = Duration::from_secs(30);

#[test]
fn the_demo_kills_one_run_and_leaves_a_verified_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("demo");
    let begun = Instant::now();
    let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut command = meterd(&["demo", "--once", "--seed", "7"]);
    command.args(ports).arg("--data-dir");
    let ended = Process::start(command.arg(&data_dir).current_dir(folder.path()), "demo", folder.path())
        .wait(DEMO_MAX)
        .expect_code(0);
    assert!(begun.elapsed() < DEMO_MAX);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let killed: Vec<&&str> =
        lines.iter().filter(|line| line.to_lowercase().contains("cancelled") && line.contains("limit")).collect();
    assert!(!killed.is_empty(), "a killed execution in the table:\n{}", ended.stdout);
    assert!(killed.iter().any(|line| line.contains("0.") || line.contains('$')), "with its cost:\n{}", ended.stdout);
    let succeeded = lines.iter().filter(|line| line.contains("Succeeded")).count();
    assert!(succeeded >= 2, "several executions end well:\n{}", ended.stdout);
    let data_dir = data_dir.display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], folder.path()).expect_code(0);
    let listed = cli::run(&["get", "executions", "-o", "json", "--data-dir", &data_dir], folder.path()).expect_code(0);
    assert!(listed.stdout.contains("\"costUsd\""), "{}", listed.stdout);
}

/// A port that is taken is no reason for a newcomer to fail.
#[test]
fn two_demos_can_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let mut command = meterd(&["demo", "--once", "--data-dir"]);
        Process::start(command.arg(folder.path().join(name)).current_dir(folder.path()), name, folder.path())
    };
    let (first, second) = (start("one"), start("two"));
    first.wait(DEMO_MAX * 2).expect_code(0);
    second.wait(DEMO_MAX * 2).expect_code(0);
}
