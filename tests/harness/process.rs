//! A child process that is killed and reaped by its id when its owner goes, and whose output is kept in files.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::wait::until;

/// A running child. Dropping it kills and reaps it.
pub(crate) struct Process {
    child: Child,
    status: Option<ExitStatus>,
    name: String,
    folder: PathBuf,
}

/// How a child ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code, or 128 + signal, as a shell tells it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Fails with all output unless the exit code is `expected`.
    #[track_caller]
    pub(crate) fn expect_code(self, expected: i32) -> Self {
        let (code, out, err) = (self.code(), &self.stdout, &self.stderr);
        assert_eq!(code, expected, "exit code\n--- stdout\n{out}\n--- stderr\n{err}");
        self
    }
}

impl Process {
    /// Starts `command`, whose output goes to `name.out` and `name.err` in `folder`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, name: &str, folder: &Path) -> Self {
        Self::start_with_input(command, name, folder, &[])
    }

    /// The same with `input` on its standard input.
    #[track_caller]
    pub(crate) fn start_with_input(command: &mut Command, name: &str, folder: &Path, input: &[u8]) -> Self {
        let path = |ext: &str| folder.join(format!("{name}.{ext}"));
        let file = |ext: &str| File::create(path(ext)).expect("the folder is writable");
        fs::write(path("in"), input).expect("the folder is writable");
        let child = command
            .stdin(Stdio::from(File::open(path("in")).expect("it was just written")))
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error} (tests/run installs what is missing)"));
        Self { child, status: None, name: name.to_owned(), folder: folder.to_path_buf() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.output("out")
    }

    pub(crate) fn stderr(&self) -> String {
        self.output("err")
    }

    fn output(&self, ext: &str) -> String {
        let path = self.folder.join(format!("{}.{ext}", self.name));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    /// Sends a signal, unless the child has ended and been reaped: its id could be another's by then.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_child(&self.child);
            rustix::process::kill_process(pid, signal).expect("the child is there until it is reaped");
        }
    }

    /// Waits for the end, at most `limit`; what is still running then is killed and the test fails.
    #[track_caller]
    pub(crate) fn wait(mut self, limit: Duration) -> Ended {
        let status = self.wait_ref(limit);
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// The same, for a child that stays with its owner.
    #[track_caller]
    pub(crate) fn wait_ref(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let begun = Instant::now();
        until(&what, limit + Duration::from_secs(1), || {
            let status = self.ended();
            assert!(
                status.is_some() || begun.elapsed() < limit,
                "{what} did not come within {limit:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout(),
                self.stderr()
            );
            status
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- stdout of {}\n{}\n--- stderr of {}\n{}", self.name, self.stdout(), self.name, self.stderr());
        }
    }
}
