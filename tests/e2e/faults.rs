//! Disks that fill up, turn read-only, lose or change bytes: the daemon refuses with a way out, and goes on from what is there.
//!
//! A full disk is a small tmpfs, one that fails an ext4 in a file. Where mounting is not allowed, that part is told on stderr and
//! left to `tests/sim`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{NS, model_call};
use crate::harness::cli;
use crate::harness::daemon::{Daemon, serve};
use crate::harness::process::{Ended, Process};
use crate::harness::wait::{SOON, until};

const REFUSAL_MAX: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 500;
/// Requests that surely fill the small disk.
const REQUESTS_MAX: usize = 400;

/// A file system of its own at a path; gone when this is dropped, also when the test fails: before its daemon, whose folder it is in.
struct Mount(PathBuf);

impl Mount {
    /// `None` where mounting is not allowed.
    fn small(path: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mebibytes}m,mode=0700");
        let done = system("mount").args(["-t", "tmpfs", "-o", &size, "meterd-e2e"]).arg(path).output();
        Self::told(path, done)
    }

    /// An ext4 in a file beside it, which turns read-only when its disk fails.
    fn failing(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let image = path.with_extension("image");
        fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).unwrap();
        let made = system("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).output();
        if !made.as_ref().is_ok_and(|made| made.status.success()) {
            eprintln!("no ext4 here ({made:?}): a disk that fails is tried by tests/sim only");
            return None;
        }
        Self::told(path, Self::in_file(path))
    }

    fn in_file(path: &Path) -> std::io::Result<Output> {
        let image = path.with_extension("image");
        system("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(path).output()
    }

    fn told(path: &Path, done: std::io::Result<Output>) -> Option<Self> {
        match done {
            Ok(done) if done.status.success() => Some(Self(path.to_path_buf())),
            other => {
                eprintln!("no mount here ({other:?}): this is tried by tests/sim only");
                None
            }
        }
    }

    /// Off, and on again, as after a repair.
    fn anew(&self) {
        for done in [system("umount").arg(&self.0).output(), Self::in_file(&self.0)] {
            assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{done:?}");
        }
    }

    fn again(&self, options: &str) -> bool {
        let done = system("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output();
        done.is_ok_and(|done| done.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = system("umount").arg("-l").arg(&self.0).output();
    }
}

/// A command that may lie where only root looks for one.
fn system(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn refused(data_dir: &Path, folder: &Path) -> Ended {
    let ended = Process::start(serve(data_dir).current_dir(folder), "refused", folder).wait(REFUSAL_MAX);
    assert_ne!(ended.code(), 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

fn verify(data_dir: &Path, folder: &Path, code: i32) -> Ended {
    cli::run(&["verify", "--data-dir", &data_dir.display().to_string()], folder).expect_code(code)
}

/// Ids of one request, numbered through.
fn batch(number: usize) -> Vec<Value> {
    (0..AT_ONCE).map(|part| model_call(&format!("full-{number}-{part}"), "filling")).collect()
}

fn calls(daemon: &Daemon) -> u64 {
    daemon.execution(NS, "filling")["status"]["modelCalls"].as_u64().expect("a number of calls")
}

/// A full disk: new work is 507, ends and kills still fit, nothing acknowledged is lost, and room brings the work back.
#[test]
fn a_full_disk_refuses_new_work_and_keeps_room_for_kills() {
    let mut mount = None;
    let mut daemon = Daemon::start_with(|folder| {
        mount = Mount::small(&folder.join("data"), 24);
        // Batches are packed: with more set aside, the rest is full sooner.
        "ledger: { reserveBytes: 16777216 }\n".to_owned()
    });
    let Some(mount) = mount else { return };
    let mut taken = 0;
    let refused = (0..REQUESTS_MAX).find_map(|number| {
        let answer = daemon.post("/v1/usage", &json!(batch(number)));
        if answer.status != 200 {
            return Some((number, answer));
        }
        taken += AT_ONCE as u64;
        None
    });
    let (number, answer) = refused.expect("24 MiB are not enough for so many events");
    let problem = answer.problem(507, "disk_full");
    assert!(problem["detail"].as_str().unwrap().contains("room"), "it says what to do: {problem}");
    assert!(taken > 0);
    assert_eq!(calls(&daemon), taken, "what was acknowledged is there, nothing else");
    let ready = crate::harness::http::request(daemon.metrics_address(), "GET", "/readyz", &[], &[]).unwrap().json();
    assert_ne!(ready["ledger"], "up", "{ready}");
    daemon.post(&format!("/v1/namespaces/{NS}/executions/filling/kill"), &json!({"reason": "disk full"})).expect(202);
    assert!(daemon.log().contains("disk is full"), "{}", daemon.log());

    assert!(mount.again("size=96m"), "a tmpfs can grow");
    let answer = until("room for the same request", SOON, || {
        let answer = daemon.post("/v1/usage", &json!(batch(number)));
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.json()["accepted"], AT_ONCE, "nothing of the refused request was booked");
    taken += AT_ONCE as u64;
    daemon.kill();
    daemon.start_again();
    assert_eq!(calls(&daemon), taken);
    assert!(daemon.stop().success());
    verify(&daemon.data_dir(), daemon.folder(), 0);
}

/// A disk that is read-only: a start is refused and named; what was there is there afterwards.
#[test]
fn a_read_only_disk_is_named_and_nothing_is_lost() {
    let mut mount = None;
    let mut daemon = Daemon::start_with(|folder| {
        mount = Mount::small(&folder.join("data"), 64);
        String::new()
    });
    let Some(mount) = mount else { return };
    daemon.usage(&json!([model_call("ro-1", "filling"), model_call("ro-2", "filling")]));
    // Beside an open file the system may refuse to turn read-only; at rest it must not.
    assert!(daemon.stop().success());
    assert!(mount.again("ro"), "nothing is open for writing");
    let ended = refused(&daemon.data_dir(), daemon.folder());
    assert!(ended.stderr.contains("data") && ended.stderr.to_lowercase().contains("read-only"), "{}", ended.stderr);
    verify(&daemon.data_dir(), daemon.folder(), 0);
    assert!(mount.again("rw"));
    daemon.start_again();
    assert_eq!(calls(&daemon), 2);
    daemon.usage(&model_call("ro-3", "filling"));
}

/// A disk that fails under a running daemon: nothing of the batch is acknowledged, intake stops, readiness is red, and the
/// process ends with the file and the reason. What was acknowledged is there once the disk is well.
#[test]
fn a_disk_that_turns_read_only_stops_the_daemon_and_loses_nothing() {
    let mut mount = None;
    let mut daemon = Daemon::start_with(|folder| {
        mount = Mount::failing(&folder.join("data"));
        String::new()
    });
    let Some(mount) = mount else { return };
    daemon.usage(&json!([model_call("dying-1", "filling"), model_call("dying-2", "filling")]));
    assert!(mount.again("abort"), "the file system is told that its disk has failed");
    let answer = daemon.try_request("POST", "/v1/usage", &[("content-type", "application/json")], dying().as_bytes());
    // The daemon may be gone before it has said so; it must not say that the event is booked.
    if let Ok(answer) = answer {
        answer.problem(503, "ledger_stopped");
    }
    let ended = daemon.ended();
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing of this batch is acknowledged, intake stops"), "{}", ended.stderr);
    assert!(ended.stderr.contains(".log: cannot"), "it names the file and what was tried: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    refused(&daemon.data_dir(), daemon.folder());
    mount.anew();
    daemon.start_again();
    assert_eq!(calls(&daemon), 2, "both that were acknowledged, and not the third");
    assert_eq!(daemon.usage(&json!([model_call("dying-3", "filling")]))[0]["status"], "accepted");
    assert!(daemon.stop().success());
    verify(&daemon.data_dir(), daemon.folder(), 0);
}

fn dying() -> String {
    json!([model_call("dying-3", "filling")]).to_string()
}

/// A ledger of several batches at rest; its newest segment.
fn at_rest() -> (Daemon, PathBuf) {
    let mut daemon = Daemon::start();
    for number in 0..12 {
        let events: Vec<Value> = (0..5).map(|part| model_call(&format!("rest-{number}-{part}"), "filling")).collect();
        daemon.usage(&json!(events));
    }
    daemon.kill();
    let folder = daemon.data_dir().join("ledger");
    let mut segments: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    (daemon, segments.pop().expect("a segment"))
}

/// One byte in the middle: refused with file and place, nothing is changed, `verify` finds it, and a copy brings it back.
#[test]
fn a_changed_byte_in_the_middle_is_refused() {
    let (mut daemon, segment) = at_rest();
    let whole = fs::read(&segment).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let ended = refused(&daemon.data_dir(), daemon.folder());
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert!(ended.stderr.contains(&name) && ended.stderr.contains("damaged at byte"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Restore"), "with a way out: {}", ended.stderr);
    verify(&daemon.data_dir(), daemon.folder(), 1);
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing was changed");
    fs::write(&segment, whole).unwrap();
    daemon.start_again();
    assert_eq!(calls(&daemon), 60);
}

/// A torn end was never acknowledged: cut off, said, and the rest goes on.
#[test]
fn a_truncated_tail_is_cut_off_and_said() {
    let (mut daemon, segment) = at_rest();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - 7).unwrap();
    drop(file);
    daemon.start_again();
    let log = daemon.log();
    assert!(log.contains("torn") || log.contains("cut"), "it says so: {log}");
    assert_eq!(calls(&daemon), 55, "the last batch is gone, and only that");
    let again: Vec<Value> = (0..5).map(|part| model_call(&format!("rest-11-{part}"), "filling")).collect();
    assert!(daemon.usage(&json!(again)).iter().all(|result| result["status"] == "accepted"));
    assert!(daemon.stop().success());
    verify(&daemon.data_dir(), daemon.folder(), 0);
}

/// A deleted segment: what is missing is named, and nothing is begun anew over it.
#[test]
fn a_deleted_file_is_missed() {
    let mut daemon = Daemon::start();
    daemon.usage(&json!([model_call("gone-1", "filling"), model_call("gone-2", "filling")]));
    assert!(daemon.stop().success(), "a clean stop leaves a snapshot, which knows of the entries");
    let folder = daemon.data_dir().join("ledger");
    let segment = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let kept = fs::read(&segment).unwrap();
    fs::remove_file(&segment).unwrap();
    let ended = refused(&daemon.data_dir(), daemon.folder());
    assert!(ended.stderr.contains("missing") && ended.stderr.contains("Restore"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing was begun in its place");
    fs::write(&segment, kept).unwrap();
    daemon.start_again();
    assert_eq!(calls(&daemon), 2);
}

/// Two daemons on one directory: the second is refused and the first goes on.
#[test]
fn two_daemons_do_not_share_a_directory() {
    let daemon = Daemon::start();
    let ended = refused(&daemon.data_dir(), daemon.folder());
    assert!(ended.stderr.contains(&daemon.pid().to_string()), "it says who has it: {}", ended.stderr);
    assert!(ended.stderr.contains("--data-dir"), "with a way out: {}", ended.stderr);
    daemon.usage(&model_call("one-1", "filling"));
    assert_eq!(calls(&daemon), 1);
}
