//! The command line: what each command prints where, and its exit codes. `run`, `demo` and refused starts have their own modules.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

const COMMANDS: &[&str] =
    &["serve", "demo", "run", "check", "price", "apply", "get", "describe", "export", "verify", "bench", "completions"];

fn here() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn each_command_explains_itself() {
    let folder = here();
    let all = cli::run(&["--help"], folder.path()).expect_code(0).stdout;
    for command in COMMANDS {
        assert!(all.contains(command), "{command} in {all}");
        let help = cli::run(&[command, "--help"], folder.path()).expect_code(0);
        assert!(help.stdout.contains("Usage:"), "{command}: {}", help.stdout);
        assert!(help.stdout.len() > 150, "{command} says more than its name: {}", help.stdout);
        assert_eq!(help.stderr, "", "{command}");
    }
    cli::run(&["no-such-command"], folder.path()).expect_code(2);
    cli::run(&["serve", "--no-such-flag"], folder.path()).expect_code(2);
}

#[test]
fn completions_are_a_script_that_bash_reads() {
    let folder = here();
    let script = cli::run(&["completions", "bash"], folder.path()).expect_code(0).stdout;
    assert!(script.contains("_meterd"), "{script}");
    let path = folder.path().join("meterd.bash");
    fs::write(&path, script).unwrap();
    let status = std::process::Command::new("bash").arg("-n").arg(&path).status().unwrap();
    assert!(status.success());
}

#[test]
fn check_names_file_line_and_column_of_each_problem() {
    let folder = here();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        name.to_owned()
    };
    let good =
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: cap }\nspec:\n  limits: { dailyUsd: 5 }\n";
    write("good.yaml", good);
    cli::run(&["check", "good.yaml"], folder.path()).expect_code(0);
    let check = |name: &str, text: &str, place: &str, mention: &str| {
        write(name, text);
        let ended = cli::run(&["check", name], folder.path()).expect_code(78);
        let output = format!("{}{}", ended.stdout, ended.stderr);
        assert!(output.contains(&format!("{name}:{place}")), "{name}:{place} in {output}");
        assert!(output.contains(mention), "`{mention}` in {output}");
    };
    check("broken.yaml", "kind: Budget\nmetadata: { name: [\n", "", "");
    check("limit.yaml", &good.replace("dailyUsd: 5", "dailyUsd: -5"), "5:", "dailyUsd");
    check("action.yaml", &format!("{good}  enforcement:\n    onHardLimit: explode\n"), "7:", "explode");
    let ended = cli::run(&["check", "limit.yaml", "action.yaml"], folder.path()).expect_code(78);
    let output = format!("{}{}", ended.stdout, ended.stderr);
    assert!(output.contains("limit.yaml:5:") && output.contains("action.yaml:7:"), "all problems at once: {output}");
    let ended = cli::run(&["check", "no-such-file.yaml"], folder.path()).expect_code(78);
    assert!(ended.stderr.contains("no-such-file.yaml") || ended.stdout.contains("no-such-file.yaml"));
}

/// One line out for each line in, in order, whatever is in it; exit 0 also when something has no price.
#[test]
fn price_answers_line_by_line() {
    let folder = here();
    let mut unknown = model_call("p-2", "e");
    unknown["model"] = json!("gpt-of-another-world");
    let mut invalid = model_call("p-3", "e");
    invalid["usage"]["input_tokens"] = json!(-1);
    let input = format!("{}\n{unknown}\n{invalid}\nnot json\n{}\n", model_call("p-1", "e"), model_call("p-5", "e"));
    let ended = cli::run_with_input(&["price", "-"], folder.path(), input.as_bytes()).expect_code(0);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<(&str, &Value)> =
        lines.iter().map(|line| (line["status"].as_str().unwrap(), &line["cost_usd"])).collect();
    let (cost, null) = (json!(CALL_USD), Value::Null);
    let expected = [("priced", &cost), ("unpriced", &null), ("invalid", &null), ("invalid", &null), ("priced", &cost)];
    assert_eq!(found, expected, "{}", ended.stdout);
    assert_eq!(lines[0]["id"], "p-1");
    assert_eq!(lines[0]["price_table"]["digest"].as_str().map(str::len), Some(64));
    assert!(lines[0]["lines"].as_array().is_some_and(|lines| lines.len() >= 3), "{}", lines[0]);
    assert_eq!(lines[1]["reason"], "unknown_model");
    assert_eq!(lines[4]["id"], "p-5");
    let path = folder.path().join("events.ndjson");
    fs::write(&path, &input).unwrap();
    let again = cli::run(&["price", "events.ndjson"], folder.path()).expect_code(0);
    assert_eq!(again.stdout, ended.stdout, "a file and standard input are the same");
}

/// Reading commands say the same against a running daemon and against its directory at rest.
#[test]
fn get_and_describe_read_a_daemon_and_a_directory_alike() {
    let mut daemon = Daemon::start();
    daemon.usage(&json!([model_call("a-1", "exec-1"), model_call("a-2", "exec-1"), model_call("b-1", "exec-2")]));
    let folder = here();
    let url = daemon.api().to_owned();
    let at_url = |arguments: &[&str]| {
        cli::run(&[arguments, &["--url", url.as_str()]].concat(), folder.path()).expect_code(0).stdout
    };
    let table = at_url(&["get", "executions", "-n", NS]);
    assert!(table.contains("exec-1") && table.contains("0.000846"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colour outside a terminal");
    let yaml = at_url(&["get", "executions", "exec-1", "-n", NS, "-o", "yaml"]);
    assert!(yaml.lines().any(|line| line.trim() == "costUsd: 0.000846"), "{yaml}");
    let described = at_url(&["describe", "execution", "exec-1", "-n", NS]);
    for mention in ["exec-1", "0.000846", "gpt-4o-mini", "0.0001536", "cache_read_tokens"] {
        assert!(described.contains(mention), "{mention} in {described}");
    }
    let live = at_url(&["get", "executions", "-n", NS, "-o", "json"]);
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    let rest = cli::run(&["get", "executions", "-n", NS, "-o", "json", "--data-dir", &data_dir], folder.path())
        .expect_code(0)
        .stdout;
    let names = |text: &str| -> Vec<(String, String)> {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let items = value["items"].as_array().or(value.as_array()).cloned().unwrap_or_default();
        let field = |item: &Value| (item["metadata"]["name"].to_string(), item["status"]["modelCalls"].to_string());
        items.iter().map(field).collect()
    };
    assert_eq!(names(&live).len(), 2);
    assert_eq!(names(&live), names(&rest));
    let missing =
        cli::run(&["get", "executions", "nobody", "-n", NS, "--data-dir", &data_dir], folder.path()).expect_code(1);
    assert!(missing.stderr.contains("nobody"), "{}", missing.stderr);
    let csv = cli::run(&["get", "executions", "-n", NS, "-o", "csv", "--data-dir", &data_dir], folder.path())
        .expect_code(0)
        .stdout;
    assert_eq!(csv.lines().count(), 3, "a head and two rows: {csv}");
}

#[test]
fn apply_takes_a_file_and_a_folder_and_refuses_whole() {
    let daemon = Daemon::start();
    let folder = here();
    let write = |name: &str, limit: &str| {
        let text = format!(
            "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: {name}, namespace: {NS} }}\nspec:\n  limits: {{ dailyUsd: {limit} }}\n"
        );
        fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    };
    write("one", "1");
    let url = daemon.api();
    cli::run(&["apply", "-f", "one.yaml", "--url", url], folder.path()).expect_code(0);
    daemon.get(&format!("/v1/namespaces/{NS}/budgets/one")).expect(200);
    write("two", "2");
    cli::run(&["apply", "-f", ".", "--url", url], folder.path()).expect_code(0);
    daemon.get(&format!("/v1/namespaces/{NS}/budgets/two")).expect(200);
    let budgets = cli::run(&["get", "budgets", "-n", NS, "--url", url], folder.path()).expect_code(0).stdout;
    assert!(budgets.contains("one") && budgets.contains("two"), "{budgets}");
    write("three", "-3");
    let refused = cli::run(&["apply", "-f", "three.yaml", "--url", url], folder.path());
    assert!(matches!(refused.code(), 1 | 78), "{refused:?}");
    assert!(refused.stderr.contains("three.yaml") && refused.stderr.contains("5:"), "{}", refused.stderr);
    daemon.get(&format!("/v1/namespaces/{NS}/budgets/three")).expect(404);
    let nobody = cli::run(&["get", "budgets", "--url", "http://127.0.0.1:1"], folder.path()).expect_code(1);
    assert!(nobody.stderr.contains("127.0.0.1:1"), "it says whom it could not reach: {}", nobody.stderr);
}

/// The file of the data directory that holds these bytes, and where.
fn holding(folder: &Path, sought: &[u8]) -> Option<(PathBuf, usize)> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file()
                && let Some(at) =
                    fs::read(&path).expect("a file").windows(sought.len()).position(|bytes| bytes == sought)
            {
                return Some((path, at));
            }
        }
    }
    None
}

/// `verify` proves a good ledger and finds one changed bit, wherever it is.
#[test]
fn verify_finds_a_changed_bit() {
    let mut daemon = Daemon::start();
    for id in ["before", "the-changed-one", "after"] {
        daemon.usage(&model_call(id, "exec-1"));
    }
    let folder = here();
    let data_dir = daemon.data_dir();
    daemon.kill(); // no clean stop: no snapshot that could stand in for the log
    let argument = data_dir.display().to_string();
    let proven = cli::run(&["verify", "--data-dir", &argument], folder.path()).expect_code(0);
    assert!(proven.stdout.contains("0.001269"), "it says what it summed: {}", proven.stdout);
    cli::run(&["verify", "--data-dir", &argument, "--execution", &format!("{NS}/exec-1")], folder.path())
        .expect_code(0);
    let (file, at) = holding(&data_dir, b"the-changed-one").expect("the event's id is in the log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refuted = cli::run(&["verify", "--data-dir", &argument], folder.path()).expect_code(1);
    assert!(refuted.stderr.len() > 20, "it says what and where: {}", refuted.stderr);
    assert!(!refuted.stderr.contains("panicked"), "{}", refuted.stderr);
}
