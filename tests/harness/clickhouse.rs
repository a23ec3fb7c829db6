//! A real ClickHouse server on loopback: started, asked, killed, started again on the same data.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::http;
use super::process::Process;
use super::wait::until;

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);

/// A server and its folder.
pub(crate) struct ClickHouse {
    process: Option<Process>,
    folder: TempDir,
    starts: u32,
    http: u16,
    tcp: u16,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clickhouse/serve")
}

impl ClickHouse {
    /// A server with nothing in it.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut server = Self::stopped();
        server.start_again();
        server
    }

    /// A server that does not run yet; its address is known.
    pub(crate) fn stopped() -> Self {
        let folder = tempfile::Builder::new().prefix("meterd-clickhouse-").tempdir().expect("a temporary folder");
        Self { process: None, folder, starts: 0, http: free_port(), tcp: free_port() }
    }

    /// A server that knows one more user, by a password.
    #[track_caller]
    pub(crate) fn with_user(name: &str, password: &str) -> Self {
        let mut server = Self::stopped();
        let store = server.folder.path().join("store");
        fs::create_dir(&store).expect("a new folder");
        let user = |name: &str, password: &str| {
            format!(
                "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>\
                 <quota>default</quota></{name}>"
            )
        };
        let users = format!("{}{}", user("default", ""), user(name, password));
        let text = format!(
            "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>{users}</users></clickhouse>"
        );
        fs::write(store.join("users.xml"), text).expect("a new file");
        let config =
            format!("<clickhouse><users_config>{}</users_config></clickhouse>", store.join("users.xml").display());
        fs::write(store.join("config.xml"), config).expect("a new file");
        server.start_again();
        server
    }

    /// Starts it on its data.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "kill or stop it first");
        self.starts += 1;
        let mut command = Command::new(script());
        command.arg(self.folder.path().join("store")).arg(self.http.to_string()).arg(self.tcp.to_string());
        let mut process = Process::start(&mut command, &format!("clickhouse-{}", self.starts), self.folder.path());
        until("ClickHouse", START_MAX, || {
            assert!(process.ended().is_none(), "ClickHouse ended: {}", process.stderr());
            let answer = http::request(&self.url(), "GET", "/ping", &[], &[]).ok()?;
            (answer.status == 200).then_some(())
        });
        self.process = Some(process);
    }

    /// Starts it again if it has ended by itself: the engine as a library aborts at some cuts in the middle of an insert, which
    /// the server does not. For those who send to it that is one more crash.
    #[track_caller]
    pub(crate) fn revive(&mut self) {
        if self.process.as_mut().is_some_and(|process| process.ended().is_some()) {
            self.process = None;
            self.start_again();
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait_ref(STOP_MAX);
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// The answer to a statement, as tab-separated rows.
    #[track_caller]
    pub(crate) fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        self.ask_with(sql, "")
    }

    /// The same with parameters: `&param_name=value…`.
    #[track_caller]
    pub(crate) fn ask_with(&self, sql: &str, parameters: &str) -> Vec<Vec<String>> {
        let path = format!("/?output_format_decimal_trailing_zeros=0{parameters}");
        let answer = http::request(&self.url(), "POST", &path, &[], sql.as_bytes())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}
