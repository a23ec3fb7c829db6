//! What can be wrong before the daemon listens: each says what, where and what to do, with the exit code of its kind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::harness::cli::{self, meterd};
use crate::harness::daemon::{Daemon, serve};
use crate::harness::process::{Ended, Process};

const REFUSAL_MAX: Duration = Duration::from_secs(20);

fn refused(command: &mut std::process::Command, folder: &Path, code: i32) -> Ended {
    Process::start(command.current_dir(folder), "refused", folder).wait(REFUSAL_MAX).expect_code(code)
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = meterd(&["serve", "--listen", &address, "--metrics-listen", "127.0.0.1:0", "--data-dir", "data"]);
    let ended = refused(&mut command, folder.path(), 1);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(!folder.path().join("data/endpoints.json").exists());
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let ended = refused(&mut serve(&path), folder.path(), 1);
        assert!(ended.stderr.contains("a-file"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory", "it is left alone");
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let daemon = Daemon::start();
    let ended = refused(&mut serve(&daemon.data_dir()), daemon.folder(), 1);
    let pid = daemon.pid().to_string();
    assert!(ended.stderr.contains(&pid) || ended.stderr.contains("another"), "it says who has it: {}", ended.stderr);
    assert!(ended.stderr.contains("data"), "and which directory: {}", ended.stderr);
    daemon.get("/healthz").expect(200);
}

#[test]
fn a_broken_configuration_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meterd.yaml");
    let check = |text: &str, mention: &[&str]| {
        fs::write(&path, text).unwrap();
        let mut command = serve(&folder.path().join("data"));
        let ended = refused(command.arg("-c").arg(&path), folder.path(), 78);
        for mention in mention {
            assert!(ended.stderr.contains(mention), "`{mention}` in {}", ended.stderr);
        }
    };
    check("listen:\n  api: 127.0.0.1:0\n  metrics: [\n", &["meterd.yaml:"]);
    check("ingest:\n  queueEventsMax: -3\n", &["meterd.yaml:2:", "queueEventsMax"]);
    check("ingest:\n  queueEventMax: 3\n", &["meterd.yaml:2:", "queueEventMax", "queueEventsMax"]); // with the nearest key
    fs::write(&path, "listen: { api: nowhere }\n").unwrap();
    let ended = refused(meterd(&["serve", "--data-dir", "data", "-c"]).arg(&path), folder.path(), 78);
    assert!(ended.stderr.contains("meterd.yaml:1:") && ended.stderr.contains("nowhere"), "{}", ended.stderr);
    let mut command = serve(&folder.path().join("data"));
    let ended = refused(command.args(["-c", "no-such-file.yaml"]), folder.path(), 78);
    assert!(ended.stderr.contains("no-such-file.yaml"), "{}", ended.stderr);
}

/// The data directory belongs to its owner alone.
#[test]
fn the_data_directory_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let daemon = Daemon::start();
    let mode = fs::metadata(daemon.data_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
}

/// Flag > environment > file > default.
#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meterd.yaml");
    fs::write(&path, "dataDir: from-file\nlisten: { api: 127.0.0.1:0, metrics: 127.0.0.1:0 }\n").unwrap();
    let check = |environment: &[(&str, &str)], arguments: &[&str], expected: &str| {
        let mut command = meterd(&["serve", "-c"]);
        command.arg(&path).args(arguments).envs(environment.iter().copied()).current_dir(folder.path());
        let mut process = Process::start(&mut command, expected, folder.path());
        let endpoints = folder.path().join(expected).join("endpoints.json");
        crate::harness::wait::until(&format!("a daemon in {expected}"), REFUSAL_MAX, || {
            assert!(process.ended().is_none(), "it ended: {}", process.stderr());
            endpoints.exists().then_some(())
        });
        process.signal(rustix::process::Signal::TERM);
        process.wait(REFUSAL_MAX).expect_code(0);
    };
    check(&[], &[], "from-file");
    check(&[("METERD_DATA_DIR", "from-environment")], &[], "from-environment");
    check(&[("METERD_DATA_DIR", "ignored")], &["--data-dir", "from-flag"], "from-flag");
}

/// Without a file, the daemon listens on loopback only, answers on both listeners and says where.
#[test]
fn health_is_on_both_listeners() {
    let daemon = Daemon::start();
    assert!(daemon.api().starts_with("http://127.0.0.1:"), "{}", daemon.api());
    for base in [daemon.api(), daemon.metrics_address()] {
        for path in ["/healthz", "/readyz"] {
            let answer = crate::harness::http::request(base, "GET", path, &[], &[]).expect("an answer");
            assert_eq!(answer.status, 200, "{base}{path}: {}", answer.text());
        }
    }
    cli::run(&["--version"], daemon.folder()).expect_code(0);
}
