//! Scenario tables: one line a step, its verdict and facts after `=>`, the balances at the end.
//! `UPDATE=1` rewrites what is expected; the difference is for the reviewer to read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]
#![allow(dead_code)]
#![expect(clippy::disallowed_methods, reason = "tests read their tables")]

#[path = "support/linked.rs"]
mod linked;
#[path = "support/show.rs"]
mod show;
#[path = "support/step.rs"]
mod step;
#[path = "support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

const BALANCES: &str = "== balances";

/// Runs a script and gives it back with what really happened.
fn run(script: &str) -> String {
    let mut world = world::World::default();
    let mut out = String::new();
    for (number, line) in script.lines().enumerate() {
        if line == BALANCES {
            break;
        }
        let step = line.split(" =>").next().unwrap().trim_end();
        if step.is_empty() || step.starts_with('#') {
            out += &format!("{line}\n");
        } else if let Some(time) = step.strip_prefix("@ ") {
            world.now = time.parse().unwrap();
            out += &format!("{step}\n");
        } else {
            let did =
                step::perform(&mut world, step).unwrap_or_else(|why| panic!("line {}: {step}: {why}", number + 1));
            out += &format!("{step} => {did}\n");
        }
    }
    world.check_replay();
    format!("{out}{BALANCES}\n{}", show::balances(&world))
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn scripts_end_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut different = Vec::new();
    let paths = scripts();
    assert!(paths.len() >= 12, "the scripts are missing");
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let happened = run(&script);
        if update {
            std::fs::write(&path, &happened).unwrap();
        } else if happened != script {
            let first = script.lines().zip(happened.lines()).find(|(expected, actual)| expected != actual);
            let (expected, actual) = first.unwrap_or(("<end>", "<end>"));
            different.push(format!("{}:\n  expected {expected}\n  happened {actual}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
