//! A guide is followed as a reader would: its files are written, its commands run, what it shows is compared with what they
//! print. One folder and at most one daemon a guide; ports are ephemeral and stand in for the usual ones.
//!
//! Words behind the language of a fence say what it is:
//!
//! - `sh test`: run by bash, which stops at the first failure. `daemon`: its one line starts a `meterd serve` that stays;
//!   `stops`: the daemon ends by it.
//! - `text output`: what the command before printed. `…` stands for anything within a line, alone for any lines.
//! - `test file=NAME`: the block is written to NAME. YAML is checked by `meterd check` first.
//! - `json test status=S cost=C`: posted to `/v1/usage` with the time of now; the first result's status and cost, which the
//!   guide must state as `C USD`.
//! - `manual`: for the reader only: needs root, the network, or what stands outside the guide.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::fences::{Fence, fences};
use super::harness::cli::{self, COMMAND_MAX};
use super::harness::http;
use super::harness::process::Process;
use super::harness::wait::until;
use super::root;

const API: &str = "127.0.0.1:7460";
const METRICS: &str = "127.0.0.1:9460";
const START_MAX: Duration = Duration::from_secs(30);

/// One guide under way.
struct Reader {
    guide: String,
    text: String,
    folder: TempDir,
    daemon: Option<Process>,
    /// Addresses of the daemon, without the scheme.
    api: String,
    metrics: String,
    /// What the last command printed.
    printed: Option<String>,
    steps: usize,
}

/// Follows `docs/guides/<name>` to its end.
#[track_caller]
pub(crate) fn follow(name: &str) {
    let path = root().join("docs/guides").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let folder = tempfile::Builder::new().prefix("meterd-guide-").tempdir().expect("a temporary folder");
    let (api, metrics) = (String::new(), String::new());
    let fences = fences(&text);
    let guide = name.to_owned();
    let mut reader = Reader { guide, text, folder, daemon: None, api, metrics, printed: None, steps: 0 };
    for fence in fences {
        eprintln!("{name}:{}: {} {}", fence.line, fence.language, fence.words.join(" "));
        reader.step(&fence);
    }
    assert!(reader.steps > 0, "{name} has nothing that can be followed");
}

impl Reader {
    fn step(&mut self, fence: &Fence) {
        let at = format!("docs/guides/{}:{}", self.guide, fence.line);
        let tested = fence.has("test");
        match fence.language.as_str() {
            "text" if fence.has("output") => return self.compare(fence, &at),
            "text" if fence.words.is_empty() => return,
            _ if fence.has("manual") && !tested => return,
            _ => assert!(tested, "{at}: say `test` or `manual` behind `{}`", fence.language),
        }
        self.steps += 1;
        if let Some(name) = fence.value("file") {
            self.write(name, fence, &at);
        } else if fence.language == "sh" && fence.has("daemon") {
            self.start(fence.body.trim(), &at);
        } else if fence.language == "sh" {
            self.run(fence, &at);
        } else if fence.language == "json" {
            self.post(fence, &at);
        } else {
            panic!("{at}: nothing can be done with this: give it a file=NAME");
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, fence: &Fence, at: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is writable");
        fs::write(&path, &fence.body).expect("the folder is writable");
        if fence.language == "yaml" {
            let checked = cli::run(&["check", name], self.path());
            let (code, said) = (checked.code(), checked.stdout);
            assert!(code == 0 && said.trim() == "0 errors, 0 warnings in 1 file", "{at}: {said}");
        }
    }

    /// A command with the reader's environment: `meterd` on the path, everything temporary inside the guide's folder.
    fn in_folder<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_meterd"));
        let bin = bin.parent().expect("the binary is in a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.current_dir(self.path()).env("PATH", format!("{bin}:{path}")).env("TMPDIR", self.path())
    }

    /// Starts the daemon, once the one before has ended, and learns where it listens.
    fn start(&mut self, line: &str, at: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.starts_with(&["meterd", "serve"]) && line.lines().count() == 1, "{at}: not `meterd serve …`");
        if let Some(mut before) = self.daemon.take() {
            before.wait_ref(START_MAX);
        }
        let mut command = cli::meterd(&words[1..]);
        command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        let mut process = Process::start(self.in_folder(&mut command), &format!("serve-{}", self.steps), self.path());
        let endpoints = self.path().join("meterd-data/endpoints.json");
        let pid = process.id();
        let found = until("endpoints.json of the daemon", START_MAX, || {
            assert!(process.ended().is_none(), "{at}: the daemon ended at once:\n{}", process.stderr());
            let found: Value = serde_json::from_slice(&fs::read(&endpoints).ok()?).ok()?;
            (found["pid"] == pid).then_some(found)
        });
        let address = |key: &str| found[key].as_str().and_then(|url| url.strip_prefix("http://")).map(str::to_owned);
        self.api = address("api").expect("an address");
        self.metrics = address("metrics").expect("an address");
        until("readiness", START_MAX, || {
            let answer = http::request(&format!("http://{}", self.metrics), "GET", "/readyz", &[], &[]).ok()?;
            (answer.status == 200).then_some(())
        });
        self.daemon = Some(process);
        self.printed = None;
    }

    fn run(&mut self, fence: &Fence, at: &str) {
        let mut script = fence.body.replace("localhost:", "127.0.0.1:");
        if self.daemon.is_some() {
            script = script.replace(API, &self.api).replace(METRICS, &self.metrics);
        }
        let name = format!("step-{}", fence.line);
        fs::write(self.path().join(&name), format!("exec 2>&1\n{script}")).expect("the folder is writable");
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", &name]);
        for (name, value) in cli::meterd(&[]).get_envs() {
            match value {
                Some(value) => bash.env(name, value),
                None => bash.env_remove(name),
            };
        }
        let ended = Process::start(self.in_folder(&mut bash), &name, self.path()).wait(COMMAND_MAX);
        let printed = ended.stdout.replace(&self.path().display().to_string(), ".");
        let printed = match &self.daemon {
            Some(_) => printed.replace(&self.api, API).replace(&self.metrics, METRICS),
            None => printed,
        };
        assert_eq!(ended.code(), 0, "{at}: exit code\n{printed}\n--- log of the daemon\n{}", self.log());
        if fence.has("stops") {
            self.daemon.as_mut().unwrap_or_else(|| panic!("{at}: no daemon runs")).wait_ref(START_MAX);
        }
        self.printed = Some(printed);
    }

    fn log(&self) -> String {
        self.daemon.as_ref().map(Process::stderr).unwrap_or_default()
    }

    fn post(&self, fence: &Fence, at: &str) {
        let mut body: Value = serde_json::from_str(&fence.body).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(body["time"].is_string(), "{at}: an event has a time");
        body["time"] = Value::from(now());
        let api = format!("http://{}", self.api);
        let headers = [("content-type", "application/json")];
        let answer = http::request(&api, "POST", "/v1/usage", &headers, body.to_string().as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{at}: {error}")).expect(200).json();
        let result = &answer["results"][0];
        assert_eq!(result["status"].as_str(), Some(fence.value("status").unwrap_or("accepted")), "{at}: {answer}");
        let cost = fence.value("cost");
        assert_eq!(result["cost_usd"].as_str(), cost, "{at}: {answer}");
        let stated = |cost: &str| self.text.contains(&format!("{cost} USD"));
        assert!(cost.is_none_or(stated), "{at}: the guide does not state this cost: {cost:?}");
    }

    fn compare(&mut self, fence: &Fence, at: &str) {
        let printed = self.printed.take().unwrap_or_else(|| panic!("{at}: no command printed this"));
        let plain = |text: &str| text.trim_end().lines().map(collapsed).collect::<Vec<_>>();
        let (shown, printed) = (plain(&fence.body), plain(&printed));
        let matches = lines_match(
            &shown.iter().map(String::as_str).collect::<Vec<_>>(),
            &printed.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        assert!(matches, "{at}: the command printed\n{}\n--- and the guide shows\n{}", printed.join("\n"), fence.body);
    }
}

/// Now, as an event says it.
pub(crate) fn now() -> String {
    pricing::Timestamp::from_nanos(now_nanos()).to_string()
}

/// Now, in nanoseconds since 1970.
pub(crate) fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

/// A line with runs of blanks as one: columns are as wide as what stands in them.
fn collapsed(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{}{}", &line[..indent], words.join(" "))
}

/// Do the lines match, where `…` alone stands for any lines?
fn lines_match(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skip| lines_match(rest, &printed[skip..]))
        }
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, more)| line_matches(first, line) && lines_match(rest, more))
        }
    }
}

/// Does the line match, where `…` stands for anything?
fn line_matches(shown: &str, printed: &str) -> bool {
    match shown.split_once('…') {
        None => shown == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn what_a_guide_shows_is_matched_line_by_line() {
    assert!(lines_match(&["a …", "…", "d"], &["a b", "c", "c", "d"]) && lines_match(&["…"], &[]));
    assert!(!lines_match(&["a …", "d"], &["a b", "c", "d"]) && !lines_match(&["a"], &["a", "b"]));
    assert!(line_matches("x … y… z", "x 1 y2 z") && !line_matches("x …y", "x z"));
    assert_eq!(collapsed("  a    b "), "  a b");
}
