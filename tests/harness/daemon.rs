//! The real `meterd serve` in a folder of its own on ephemeral ports: start, ask, stop, kill, start again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rust_decimal::Decimal;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Response};
use super::process::{Ended, Process};
use super::stream::Stream;
use super::wait::{SOON, until};
use super::{cli, metrics};

/// How long a start may take, replay included, and a bounded drain.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);

/// A daemon and its folder: `data/` is its data directory, the rest is the test's.
pub(crate) struct Daemon {
    process: Option<Process>,
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    starts: u32,
    api: String,
    metrics: String,
}

impl Daemon {
    /// A daemon with nothing but defaults.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// A daemon with the configuration that `config` writes, given the test's folder; empty text means no file.
    #[track_caller]
    pub(crate) fn start_with(config: impl FnOnce(&Path) -> String) -> Self {
        Self::start_in(config, |_| Vec::new())
    }

    /// The same, with variables of the environment, given the test's folder.
    #[track_caller]
    pub(crate) fn start_in(
        config: impl FnOnce(&Path) -> String,
        environment: impl FnOnce(&Path) -> Vec<(String, String)>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("meterd-e2e-").tempdir().expect("a temporary folder");
        let text = config(folder.path());
        let mut arguments = Vec::new();
        if !text.is_empty() {
            let path = folder.path().join("meterd.yaml");
            fs::write(&path, text).expect("the folder is writable");
            arguments = vec!["-c".to_owned(), path.display().to_string()];
        }
        let (api, metrics) = (String::new(), String::new());
        let environment = environment(folder.path());
        let mut daemon = Self { process: None, folder, arguments, environment, starts: 0, api, metrics };
        daemon.launch();
        daemon
    }

    #[track_caller]
    fn launch(&mut self) {
        self.starts += 1;
        let mut command = serve(&self.data_dir());
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        let mut process = Process::start(&mut command, &format!("serve-{}", self.starts), self.folder.path());
        let endpoints = self.data_dir().join("endpoints.json");
        let pid = process.id();
        let found = until("endpoints.json of the daemon", START_MAX, || {
            let ended = process.ended();
            assert!(ended.is_none(), "meterd serve ended at once: {ended:?}");
            let found: Value = serde_json::from_slice(&fs::read(&endpoints).ok()?).ok()?;
            (found["pid"] == pid).then_some(found) // a killed daemon leaves its file behind
        });
        let address = |key: &str| found[key].as_str().expect("endpoints.json names both listeners").to_owned();
        (self.api, self.metrics) = (address("api"), address("metrics"));
        self.process = Some(process);
        until("readiness", START_MAX, || {
            let answer = http::request(&self.metrics, "GET", "/readyz", &[], &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    pub(crate) fn metrics_address(&self) -> &str {
        &self.metrics
    }

    /// Process id of the daemon that runs now.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// What the daemon that runs now has logged.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// One request to the API; it must be answered.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n--- log\n{}", self.log()))
    }

    /// One request to the API; the daemon may be gone.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        http::request(&self.api, method, path, headers, body)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], &[])
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &Value) -> Response {
        self.request("PUT", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Posts usage that must be taken whole; the result of each event.
    #[track_caller]
    pub(crate) fn usage(&self, body: &Value) -> Vec<Value> {
        let answer = self.post("/v1/usage", body).expect(200).json();
        answer["results"].as_array().unwrap_or_else(|| panic!("no results in {answer}")).clone()
    }

    /// Applies resources written in YAML; they must be taken.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) -> Value {
        self.request("POST", "/v1/resources/apply", &[("content-type", "application/yaml")], yaml.as_bytes())
            .expect(200)
            .json()
    }

    /// The Execution as the API shows it.
    #[track_caller]
    pub(crate) fn execution(&self, namespace: &str, name: &str) -> Value {
        self.get(&format!("/v1/namespaces/{namespace}/executions/{name}")).expect(200).json()
    }

    /// All ledger lines of an execution, every page of them.
    #[track_caller]
    pub(crate) fn entries(&self, namespace: &str, name: &str) -> Vec<Value> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let page = self
                .get(&format!("/v1/namespaces/{namespace}/executions/{name}/entries?limit=500{next}"))
                .expect(200)
                .json();
            all.extend(page["entries"].as_array().unwrap_or_else(|| panic!("no entries in {page}")).iter().cloned());
            match page["continue"].as_str() {
                Some(token) if !token.is_empty() => next = format!("&continue={token}"),
                _ => return all,
            }
        }
    }

    /// Subscribes to an execution's signals.
    #[track_caller]
    pub(crate) fn signals(&self, namespace: &str, name: &str, after: Option<&str>) -> Stream {
        Stream::open(&self.api, &format!("/v1/namespaces/{namespace}/executions/{name}/signals"), after)
    }

    /// The exposition as a scraper gets it.
    #[track_caller]
    pub(crate) fn scrape(&self) -> String {
        http::request(&self.metrics, "GET", "/metrics", &[], &[])
            .expect("the metrics listener answers")
            .expect(200)
            .text()
    }

    /// Waits until the sum of the matching samples is `expected`: followers are a moment behind the ledger.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], expected: &str) {
        let expected: Decimal = expected.parse().expect("a decimal");
        let mut last = None;
        until(&format!("{name}{labels:?} = {expected}"), SOON, || {
            let text = self.scrape();
            let found = metrics::sum(&text, name, labels);
            if found != last {
                last = found;
                eprintln!("{name}{labels:?} is {found:?}");
            }
            (found == Some(expected)).then_some(())
        });
    }

    /// SIGKILL: no drain, no last write.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait_ref(STOP_MAX);
        }
    }

    /// SIGTERM and the drain; the exit status.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::TERM);
        process.wait_ref(STOP_MAX)
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ended {
        self.process.take().expect("it runs").wait(STOP_MAX)
    }

    /// Starts again on the same data directory.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "stop or kill it first");
        self.launch();
    }
}

/// `meterd serve` on `data_dir` and ephemeral loopback ports.
pub(crate) fn serve(data_dir: &Path) -> Command {
    let mut command =
        cli::meterd(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data_dir);
    command
}
