//! `cli.md`: the help of every command, as the program prints it at 100 columns.

use crate::harness::cli::{COMMAND_MAX, meterd};
use crate::harness::process::Process;

use super::{compare, page};

const INTRO: &str = "\
Data goes to stdout, words and logs to stderr. Exit codes: 0 done, 1 failure, 2 wrong usage, 78 bad configuration, price table or
resource; [`meterd run`](#meterd-run) has its own.";

/// The help of `meterd <path>`, without values that the environment gives.
fn help(path: &[String]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = meterd(&[]);
    command.args(path).arg("--help").env("COLUMNS", "100").current_dir(folder.path());
    Process::start(&mut command, "help", folder.path()).wait(COMMAND_MAX).expect_code(0).stdout
}

/// The names under `Commands:`, but for `help`.
fn commands(help: &str) -> Vec<String> {
    let after = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows =
        after.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    rows.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

fn describe(path: &[String], body: &mut String) {
    let help = help(path);
    let title = std::iter::once("meterd").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    body.push_str(&format!("## {title}\n\n```text\n{}\n```\n\n", help.trim_end()));
    for name in commands(&help) {
        describe(&[path, &[name]].concat(), body);
    }
}

#[test]
fn cli_page_is_fresh() {
    let mut body = String::new();
    describe(&[], &mut body);
    assert!(body.contains("## meterd serve\n") && body.contains("## meterd describe execution\n"), "{body}");
    compare("cli.md", &page("Commands", INTRO, &body));
}
