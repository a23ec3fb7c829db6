//! Who imports whom: every `crate::…` path of the daemon against the table, every foreign path of the pure code.

use std::fs;

use crate::none;
use crate::rooms::{
    EVERYTHING, IMPURE_IN_CRATES, IMPURE_PATHS, LEDGER_WRITER, LEDGER_WRITERS, PURE_CRATES, PURE_ROOMS, allowed, rooms,
};
use crate::source::{File, is_word, root, rust_files, word};

/// The room that a file of the daemon belongs to.
fn room(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("meterd/src/")?;
    let first = inner.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// The first names after each `crate::`, with their offsets: `crate::a::b` and `crate::{a::b, c}` alike.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("crate::") {
        if offset > 0 && (is_word(code.as_bytes()[offset - 1]) || code[..offset].ends_with('$')) {
            continue;
        }
        let rest = &code[offset + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push((offset, word(rest).to_owned())),
            Some(group) => found.extend(group_names(group).into_iter().map(|name| (offset, name))),
        }
    }
    found
}

/// The first name of each item of a use group, whose opening brace is behind us.
fn group_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0_usize, String::new(), Vec::new());
    for char in group.chars() {
        match char {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => {
                depth = if char == '{' { depth + 1 } else { depth - usize::from(char == '}') };
                item.push(char);
            }
        }
    }
    items.push(item);
    items.iter().map(|item| word(item.trim()).to_owned()).filter(|name| !name.is_empty()).collect()
}

/// `use pricing::…`, `budget::…`: is this crate named anywhere?
fn names_crate(code: &str, name: &str) -> Option<usize> {
    let path = format!("{name}::");
    code.match_indices(&path).map(|(offset, _)| offset).find(|offset| {
        let before = &code[..*offset];
        !before.ends_with("::") && before.bytes().next_back().is_none_or(|byte| !is_word(byte))
    })
}

/// Findings of one file of the daemon.
fn judge(file: &File, room: &str) -> Vec<String> {
    let Some(allowed) = allowed(room) else {
        return vec![format!(
            "{}:1: the room `{room}` is not in the import table: add it there and to ARCHITECTURE.md",
            file.path
        )];
    };
    if allowed.contains(&EVERYTHING) {
        return Vec::new();
    }
    let mut used = crate_paths(&file.code);
    used.retain(|(_, name)| rooms().any(|room| room == name));
    for name in ["pricing", "budget"] {
        used.extend(names_crate(&file.code, name).map(|offset| (offset, name.to_owned())));
    }
    used.retain(|(_, name)| name != room && !allowed.contains(&name.as_str()));
    let mut findings: Vec<String> = used
        .into_iter()
        .map(|(offset, name)| {
            let line = file.line(offset);
            format!("{}:{line}: `{room}` may not use `{name}`: move the code, or pass the value in", file.path)
        })
        .collect();
    if let Some(offset) = leads_out(file) {
        findings.push(format!("{}:{}: `super` leads out of the room: write `crate::…`", file.path, file.line(offset)));
    }
    findings
}

/// A chain of `super` that reaches the crate's root. Inside braces, one more is needed: that is a module in the file.
fn leads_out(file: &File) -> Option<usize> {
    let depth = file.path.matches('/').count() - 1;
    let nested = |offset: usize| {
        let before = &file.code[..offset];
        before.matches('{').count() > before.matches('}').count()
    };
    let chain = "super::".repeat(depth);
    let mut found = file.code.match_indices(&chain).map(|(offset, _)| offset);
    found.find(|offset| !nested(*offset) || file.code[*offset + chain.len()..].starts_with("super::"))
}

#[test]
fn each_room_uses_only_what_the_import_table_allows() {
    let mut findings = Vec::new();
    for file in rust_files().iter().filter(|file| !file.is_test()) {
        match room(&file.path) {
            Some("lib" | "main") | None => {}
            Some(room) => findings.extend(judge(file, room)),
        }
    }
    none(&findings);
}

#[test]
fn each_room_of_the_daemon_is_in_the_import_table() {
    let lib = fs::read_to_string(root().join("meterd/src/lib.rs")).expect("the daemon has a lib.rs");
    let declared: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ").or_else(|| line.trim().strip_prefix("mod ")))
        .map(word)
        .collect();
    assert!(declared.len() > 5, "lib.rs declares only {declared:?}");
    let unknown: Vec<String> = declared
        .into_iter()
        .filter(|room| allowed(room).is_none())
        .map(|room| format!("meterd/src/lib.rs: `{room}` is not in the import table"))
        .collect();
    none(&unknown);
}

/// I9: only the meter writes the ledger. The type that appends is named nowhere else.
#[test]
fn only_the_meter_writes_the_ledger() {
    let ledger = fs::read_to_string(root().join("meterd/src/ledger.rs")).expect("the ledger's room");
    let exported = ledger.lines().any(|line| line.starts_with("pub use") && line.contains(LEDGER_WRITER));
    assert!(exported, "ledger.rs exports no `{LEDGER_WRITER}`: what does this test hold?");
    let mut findings = Vec::new();
    for file in rust_files().iter().filter(|file| !file.is_test()) {
        if room(&file.path).is_none_or(|room| LEDGER_WRITERS.contains(&room)) {
            continue;
        }
        for (offset, _) in file.code.match_indices("ledger::") {
            let path = file.code[offset..].split(';').next().unwrap_or_default();
            if path.split(|char: char| !char.is_alphanumeric() && char != '_').any(|name| name == LEDGER_WRITER) {
                let line = file.line(offset);
                findings.push(format!(
                    "{}:{line}: names the ledger's `{LEDGER_WRITER}`: send a command to `meter`",
                    file.path
                ));
            }
        }
    }
    none(&findings);
}

#[test]
fn the_pure_code_knows_no_time_file_or_socket() {
    let mut findings = Vec::new();
    for file in rust_files().iter().filter(|file| !file.is_test()) {
        let pure_crate = PURE_CRATES.iter().any(|(name, _)| file.path.starts_with(&format!("{name}/src/")));
        let pure_room = room(&file.path).is_some_and(|room| PURE_ROOMS.contains(&room));
        if !pure_crate && !pure_room {
            continue;
        }
        let more = if pure_crate { IMPURE_IN_CRATES } else { &[] };
        for path in IMPURE_PATHS.iter().chain(more) {
            for (offset, _) in file.code.match_indices(path) {
                if offset == 0 || !is_word(file.code.as_bytes()[offset - 1]) {
                    let line = file.line(offset);
                    findings
                        .push(format!("{}:{line}: `{path}` in pure code: pass the value in as an argument", file.path));
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn the_pure_crates_depend_only_on_pure_crates() {
    let mut findings = Vec::new();
    for (name, allowed) in PURE_CRATES {
        let path = format!("{name}/Cargo.toml");
        let manifest = fs::read_to_string(root().join(&path)).expect("each crate has a manifest");
        let section = manifest.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next());
        let names: Vec<String> = section
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| line.split(['.', ' ', '=']).next().unwrap_or_default().replace('-', "_"))
            .collect();
        assert!(!names.is_empty(), "{path} names no dependency: has its layout changed?");
        for dependency in names.iter().filter(|dependency| !allowed.contains(&dependency.as_str())) {
            findings.push(format!("{path}: `{dependency}` is not on the list of the pure crate `{name}`"));
        }
    }
    none(&findings);
}

#[test]
fn paths_are_read_from_single_and_grouped_imports() {
    let names = |code: &str| crate_paths(code).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("use crate::ledger::Cursor;"), ["ledger"]);
    assert_eq!(names("use crate::{\n    ledger::{Cursor, Log},\n    meter,\n};"), ["ledger", "meter"]);
    assert_eq!(names("fn f(x: crate::meter::Handle) -> pub(crate) {}"), ["meter"]);
    let file = |path: &str, code: &str| File { path: path.to_owned(), text: code.to_owned(), code: code.to_owned() };
    let judged = judge(&file("meterd/src/follow/x.rs", "\nuse crate::meter::Handle;"), "follow");
    assert_eq!(judged, ["meterd/src/follow/x.rs:2: `follow` may not use `meter`: move the code, or pass the value in"]);
    assert_eq!(judge(&file("meterd/src/follow/x.rs", "use super::super::meter;"), "follow").len(), 1);
    assert!(judge(&file("meterd/src/follow/x.rs", "use super::Batch; use crate::ledger;"), "follow").is_empty());
    assert_eq!(judge(&file("meterd/src/server/x.rs", "use crate::daemon::start;"), "server").len(), 1);
}
