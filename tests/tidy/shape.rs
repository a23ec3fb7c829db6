//! Sizes, headers and names of files and functions, and what test code never does.

use crate::none;
use crate::source::{File, functions, rust_files};

const FILE_LINES_MAX: usize = 500;
const MAIN_LINES_MAX: usize = 40;
const FUNCTION_LINES_MAX: usize = 70;
const NAMES_REFUSED: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

/// The one place where test code may pause: the bounded wait-until.
const PAUSE_ALLOWED_IN: &str = "tests/harness/wait.rs";

fn findings(judge: impl Fn(&File) -> Vec<String>) -> Vec<String> {
    rust_files().iter().flat_map(judge).collect()
}

#[test]
fn each_file_says_first_what_lives_in_it() {
    none(&findings(|file| {
        if file.text.starts_with("//! ") {
            return Vec::new();
        }
        vec![format!("{}:1: begins without `//!`: say what lives here and what never does", file.path)]
    }));
}

#[test]
fn files_and_functions_keep_their_sizes() {
    none(&findings(|file| {
        let lines = file.text.lines().count();
        let max = if file.path == "meterd/src/main.rs" { MAIN_LINES_MAX } else { FILE_LINES_MAX };
        let mut found = Vec::new();
        if lines > max {
            found.push(format!("{}:{max}: {lines} lines, {max} at most: cut it where two ideas meet", file.path));
        }
        for function in functions(&file.code).iter().filter(|function| function.code_lines > FUNCTION_LINES_MAX) {
            let (line, lines) = (file.line(function.offset), function.code_lines);
            let name = function.name;
            found.push(format!(
                "{}:{line}: `{name}` has {lines} lines of code, {FUNCTION_LINES_MAX} at most",
                file.path
            ));
        }
        found
    }));
}

#[test]
fn names_say_what_is_inside() {
    none(&findings(|file| {
        let stem = |part: &str| part.strip_suffix(".rs").unwrap_or(part).to_owned();
        let parts: Vec<String> = file.path.split('/').map(stem).collect();
        let mut found = Vec::new();
        if file.path.ends_with("/mod.rs") {
            found.push(format!("{}:1: `mod.rs`: name the file after its module, beside the folder", file.path));
        }
        if let Some(name) = parts.iter().find(|part| NAMES_REFUSED.contains(&part.as_str())) {
            found.push(format!("{}:1: `{name}` says nothing: name the idea that lives here", file.path));
        }
        found
    }));
}

#[test]
fn tests_neither_sleep_nor_hide() {
    let refused = [
        ("#[ignore", "a test that does not run proves nothing: mend or remove it"),
        ("thread::sleep", "wait for the condition itself: harness::wait"),
        ("time::sleep", "wait for the condition itself"),
    ];
    none(&findings(|file| {
        let mut found = Vec::new();
        for (pattern, advice) in refused {
            let everywhere = pattern.starts_with('#');
            if (!everywhere && !file.is_test()) || file.path == PAUSE_ALLOWED_IN {
                continue;
            }
            for (offset, _) in file.code.match_indices(pattern) {
                found.push(format!("{}:{}: `{pattern}`: {advice}", file.path, file.line(offset)));
            }
        }
        found
    }));
}
