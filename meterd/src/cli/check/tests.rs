//! Files on disk in, lines and counts out.

use std::fs;

use super::*;

fn check_files(files: &[(&str, &str)], config: Option<&str>, paths: &[&str], expected: &str) -> CheckOutcome {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let config = config.map(|name| dir.path().join(name));
    let paths: Vec<PathBuf> = paths.iter().map(|name| dir.path().join(name)).collect();
    let mut out = Vec::new();
    let outcome = check(config.as_deref(), &[], &paths, &mut out);
    let text = String::from_utf8(out).unwrap().replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(text, expected);
    outcome
}

const AGENT: &str =
    "apiVersion: joch.dev/v1alpha1\nkind: Agent\nmetadata: { name: triage }\nspec: { budgets: { perRunUsd: 1 } }\n";
const BUDGET: &str = "apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: b }
spec:
  scope: { agents: [triage, tirage] }
  limits: { dailyUsd: 1 }
";

#[test]
fn good_files_pass() {
    let outcome = check_files(
        &[("r/a.yaml", AGENT), ("meterd.yaml", "resources: { dir: r }\nprices: { seed: false }\n")],
        Some("meterd.yaml"),
        &[],
        "0 errors, 0 warnings in 2 files\n",
    );
    assert_eq!(outcome, CheckOutcome { errors: 0, warnings: 0, files: 2 });
}

#[test]
fn a_selector_that_matches_nothing_is_a_warning() {
    let expected = "DIR/r/b.yaml:5:29: warning: no Agent here is named \"tirage\", so the budget may bind nothing (spec.scope.agents)
  hint: did you mean \"triage\"?
0 errors, 1 warning in 2 files
";
    let outcome = check_files(&[("r/a.yaml", AGENT), ("r/b.yaml", BUDGET)], None, &["r"], expected);
    assert_eq!((outcome.errors, outcome.warnings), (0, 1));
    check_files(&[("b.yaml", BUDGET)], None, &["b.yaml"], "0 errors, 0 warnings in 1 file\n");
}

#[test]
fn every_problem_of_every_kind_of_file_is_listed() {
    let files = [
        ("meterd.yaml", "listen: { api: x }\nprices: { dirs: [none] }\n"),
        ("other.yaml", "dataDir: d\nlisten: { tls: { certFile: c } }\n"),
        ("table.yaml", "kind: PriceTable\nspec: 1\n---\n{a: 1, a: 2}\n"),
        ("r.yaml", "kind: Budgt\napiVersion: joch.dev/v1alpha1\nmetadata: { name: b }\n"),
        ("empty/readme.md", ""),
    ];
    let expected = "DIR/empty: warning: the folder has no documents
  hint: documents end in .yaml, .yml or .json; folders below it are not read
DIR/meterd.yaml:1:16: error: \"x\" is no socket address (listen.api)
  hint: write an address and a port, such as 127.0.0.1:7460
DIR/none.yaml: error: cannot be read: No such file or directory (os error 2)
  hint: check the path
DIR/other.yaml:2:16: error: needs the path of a PEM file (listen.tls.keyFile)
DIR/r.yaml:1:7: warning: unknown kind Budgt: kept, but it has no effect (kind)
  hint: did you mean \"Budget\"?
DIR/table.yaml:4:8: error: the key is given twice, first on line 4 (a)
  hint: keep one of the two
4 errors, 2 warnings in 4 files
";
    let outcome = check_files(
        &files,
        Some("meterd.yaml"),
        &["other.yaml", "table.yaml", "r.yaml", "empty", "none.yaml"],
        expected,
    );
    assert_eq!((outcome.errors, outcome.warnings), (4, 2));
}

#[test]
fn the_folders_of_the_configuration_are_checked() {
    let files = [
        ("meterd.yaml", "prices: { dirs: [p], seed: false }\nresources: { dir: r }\n"),
        ("r/a.yaml", "- 1\n"),
        ("p/a.yaml", "kind: Budget\n"),
    ];
    let expected = "DIR/p/a.yaml:1:7: error: \"Budget\" is not a PriceTable or a PriceBook (kind)
  hint: other kinds go to resources.dir
DIR/r/a.yaml:1:1: error: a resource is a mapping with apiVersion, kind, metadata and spec, not a list
2 errors, 0 warnings in 3 files
";
    check_files(&files, Some("meterd.yaml"), &[], expected);
}
