//! Every relative link of every document leads to a file, and every anchor to a heading. Never asks the network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::fences::without_fences;
use super::root;

/// Folders that hold no documents of the project.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folders are readable").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Targets of `[text](target)` outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in without_fences(text).lines().enumerate() {
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| (number + 1, target.to_owned())));
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let without = without_fences(text);
    let headings = without.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|char| char.is_alphanumeric() || "-_ ".contains(*char));
        let anchor: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
        let times = seen.entry(anchor.clone()).or_default();
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    });
    anchors.collect()
}

#[test]
fn links_and_anchors_of_documents_resolve() {
    let mut paths = Vec::new();
    documents(&root(), &mut paths);
    paths.sort();
    assert!(paths.iter().any(|path| path.ends_with("docs/guides/budgets.md")), "the guides are not found: {paths:?}");
    let (mut findings, mut checked) = (Vec::new(), 0);
    for path in &paths {
        let text = fs::read_to_string(path).expect("documents are text");
        for (line, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, anchor) = target.split_once('#').map_or((&*target, None), |(file, anchor)| (file, Some(anchor)));
            let leads_to = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            let at = format!("{}:{line}: {target}", path.display());
            if !leads_to.exists() {
                findings.push(format!("{at}: no such file"));
            } else if let Some(anchor) = anchor {
                let there = fs::read_to_string(&leads_to).map(|text| anchors(&text)).unwrap_or_default();
                if !there.contains(anchor) {
                    findings.push(format!("{at}: no such heading; there are {there:?}"));
                }
            }
        }
    }
    assert!(findings.is_empty(), "{} broken:\n{}", findings.len(), findings.join("\n"));
    assert!(checked > 10, "only {checked} links found: are they read at all?");
}

#[test]
fn links_and_anchors_are_read_as_written() {
    let text = "# A `b` c!\n[x](y.md#z) `[no](no)` [w](#v)\n```\n[n](n)\n# no\n```\n## A b c\n";
    assert_eq!(links(text), [(2, "y.md#z".to_owned()), (2, "#v".to_owned())]);
    let expected: BTreeSet<String> = ["a-b-c", "a-b-c-1"].map(str::to_owned).into();
    assert_eq!(anchors(text), expected);
}
