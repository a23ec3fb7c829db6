//! `meterd run` at a terminal: the program can read from it, and its descendants end with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::events::{CALL_USD, NS, model_call};
use crate::harness::daemon::Daemon;
use crate::harness::process::{Ended, Process};
use crate::harness::wait::until;

const RUN_MAX: Duration = Duration::from_secs(60);

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(path)
}

/// Runs `sh -c script` under `meterd run` in a terminal of its own.
fn in_terminal(folder: &Path, line: &str, script: &str) -> Ended {
    let mut command = Command::new("python3");
    command.current_dir(folder).arg(data("terminal/in_terminal.py")).arg(line).arg(env!("CARGO_BIN_EXE_meterd"));
    command.args(["run", "--execution", "e1", "--max-usd", "0.05", "--grace", "1", "--", "sh", "-c", script]);
    Process::start(&mut command, "terminal", folder).wait(RUN_MAX)
}

#[test]
fn a_program_at_a_terminal_reads_what_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let ended = in_terminal(folder.path(), "hello", "read line; echo \"got $line\"; exit 5").expect_code(5);
    assert!(ended.stdout.contains("got hello"), "{}", ended.stdout);
}

/// Nine calls of 0.006 USD cross 0.05. The shell's background child is in no group of its own, and ends all the same.
#[test]
fn a_kill_at_a_terminal_takes_the_descendants_along() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("sleep 600 & echo $! > child; python3 {} 9 wait", data("agents/agent.py").display());
    let ended = in_terminal(folder.path(), "", &script).expect_code(124);
    assert!(ended.stdout.contains("0.054"), "the receipt: {}", ended.stdout);
    let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
    let gone = || !Path::new("/proc").join(child.trim()).join("exe").exists();
    until("the background child's end", RUN_MAX, || gone().then_some(()));
}

/// `top --watch` in a terminal of 120 × 40: its first view, the budgets at a key, and out at another.
#[test]
fn top_watches_in_a_terminal_until_it_is_left() {
    let daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: watched-cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ dailyUsd: 10 }}\n"
    ));
    daemon.usage(&model_call("a-1", "exec-1"));
    daemon.wait_for_metric("meterd_cost_usd_total", &[], CALL_USD);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.current_dir(folder.path()).arg(data("terminal/in_terminal.py")).arg("2q").args(["sh", "-c"]);
    command.arg("stty cols 120 rows 40; exec \"$0\" top models --watch --url \"$1\"");
    command.arg(env!("CARGO_BIN_EXE_meterd")).arg(daemon.api());
    let ended = Process::start(&mut command, "top", folder.path()).wait(RUN_MAX).expect_code(0);
    // Only what changes is drawn, cell by cell, so a text of several words does not come in one piece. Last: the screen is
    // given back.
    for shown in ["Ranking", "gpt-4o-mini", "watched-cap", "\u{1b}[?1049l"] {
        assert!(ended.stdout.contains(shown), "{shown} is not on the screen: {:?}", ended.stdout);
    }
}
