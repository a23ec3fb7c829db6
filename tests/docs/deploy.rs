//! The commands of the systemd unit are commands: they check a configuration, serve with it, and stop at SIGTERM.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::harness::cli::{self, meterd};
use super::harness::process::Process;
use super::harness::wait::until;
use super::root;

const START_MAX: Duration = Duration::from_secs(30);

/// The arguments of a command of the unit, its paths moved into `folder`.
fn arguments(unit: &str, key: &str, folder: &Path) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let line = line.unwrap_or_else(|| panic!("the unit has no {key}"));
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/meterd"), "{key}");
    let moved =
        |word: &str| if word.starts_with('/') { format!("{}{word}", folder.display()) } else { word.to_owned() };
    words.map(moved).collect()
}

#[test]
fn the_units_commands_run() {
    let unit = fs::read_to_string(root().join("deploy/systemd/meterd.service")).expect("the unit is there");
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("etc/meterd")).expect("the folder is writable");
    fs::create_dir_all(folder.path().join("var/lib")).expect("the folder is writable");
    let listeners = "listen: { api: 127.0.0.1:0, metrics: 127.0.0.1:0 }\n";
    fs::write(folder.path().join("etc/meterd/meterd.yaml"), listeners).expect("the folder is writable");

    let before = arguments(&unit, "ExecStartPre", folder.path());
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    cli::run(&before, folder.path()).expect_code(0);

    let mut command = meterd(&[]);
    command.args(arguments(&unit, "ExecStart", folder.path())).current_dir(folder.path());
    let mut process = Process::start(&mut command, "serve", folder.path());
    until("the daemon's address", START_MAX, || {
        assert!(process.ended().is_none(), "it ended at once: {}", process.stderr());
        folder.path().join("var/lib/meterd/endpoints.json").exists().then_some(())
    });
    process.signal(Signal::TERM);
    assert!(process.wait_ref(START_MAX).success(), "{}", process.stderr());
}
