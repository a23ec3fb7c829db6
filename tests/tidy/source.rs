//! Reading Rust files well enough to judge them: comments and literals blanked out, lines kept. Never a full parser.

use std::fs;
use std::path::{Path, PathBuf};

/// The project's root: this package's manifest stands one folder below it.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package stands in a folder").to_path_buf()
}

/// One Rust file: its path from the root, its text, and the text with comments and literals blanked out.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

impl File {
    /// Line number of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.code[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// Is it test code? Files of the test folders, and `tests.rs` beside the code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

/// Every Rust file of the project, in the order of their paths.
pub(crate) fn rust_files() -> Vec<File> {
    let mut paths = Vec::new();
    for folder in ["pricing", "budget", "meterd", "tests"] {
        walk(&root().join(folder), "rs", &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 10, "found only {} Rust files under {}", paths.len(), root().display());
    paths.into_iter().map(|path| read(&path)).collect()
}

/// Every file below `folder` whose name ends in `.ext`, build output left out.
pub(crate) fn walk(folder: &Path, ext: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.to_string_lossy().starts_with('.') {
                walk(&path, ext, found);
            }
        } else if path.extension().is_some_and(|found| found == ext) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    File { path: relative, code: blank(&text), text }
}

/// Blanks comments, strings and character literals: the same length in bytes, the same lines, only code left.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(out).expect("whole literals are blanked")
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => string_end(bytes, at + 1),
        [b'b' | b'c', b'"', ..] if !after_word => string_end(bytes, at + 2),
        [b'r', b'"' | b'#', ..] if !after_word => raw_string_end(bytes, at, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => raw_string_end(bytes, at, 2),
        [b'\'', b'\\', ..] => at + 3 + rest[3..].iter().position(|byte| *byte == b'\'').map_or(0, |quote| quote + 1),
        [b'\'', ..] => char_end(bytes, at),
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.len().min(at + 1)
}

fn raw_string_end(bytes: &[u8], start: usize, prefix: usize) -> usize {
    let hashes = bytes[start + prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + prefix + hashes;
    if bytes.get(open) != Some(&b'"') {
        return start; // a raw identifier
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let found = bytes[open + 1..].windows(close.len()).position(|window| window == close.as_slice());
    found.map_or(bytes.len(), |found| open + 1 + found + close.len())
}

/// `'x'` is a literal, `'x` a lifetime; a character may take up to four bytes.
fn char_end(bytes: &[u8], at: usize) -> usize {
    let text = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 6)])
        .unwrap_or_else(|error| std::str::from_utf8(&bytes[at + 1..at + 1 + error.valid_up_to()]).unwrap_or_default());
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return at };
    if chars.next() == Some('\'') { at + 2 + first.len_utf8() } else { at }
}

/// One function with a body: name, offset of its `fn`, lines of its body that hold code.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) offset: usize,
    pub(crate) code_lines: usize,
}

/// Every function with a body, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("fn ") {
        let starts_word = offset == 0 || !is_word(code.as_bytes()[offset - 1]);
        let name = word(&code[offset + 3..]);
        if !starts_word || name.is_empty() {
            continue; // `Fn `, or a function pointer type
        }
        if let Some((open, close)) = body(code, offset) {
            let code_lines = code[open..=close].lines().filter(|line| !line.trim().is_empty()).count();
            found.push(Function { name, offset, code_lines });
        }
    }
    found
}

/// Braces of the body of the function at `offset`; `None` for a declaration.
fn body(code: &str, offset: usize) -> Option<(usize, usize)> {
    let mut nested = 0_usize;
    let open = code[offset..].char_indices().find_map(|(at, char)| {
        match char {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' if nested == 0 => return Some(Some(offset + at)),
            ';' if nested == 0 => return Some(None),
            _ => {}
        }
        None
    })??;
    let mut depth = 0_usize;
    code[open..].char_indices().find_map(|(at, char)| {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some((open, open + at))
    })
}

/// The identifier that `text` starts with.
pub(crate) fn word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len());
    &text[..end]
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn comments_and_literals_are_blanked_and_lines_are_kept() {
    let check = |input: &str, code: &str| {
        let blanked = blank(input);
        assert_eq!(blanked.split([' ', '\n']).collect::<String>(), code, "{input}");
        assert_eq!(blanked.len(), input.len(), "{input}");
        assert_eq!(blanked.lines().count(), input.lines().count(), "{input}");
    };
    check("a // b\nc", "ac");
    check("a /* b /* c */ \n */ d", "ad");
    check(r#"f("crate::x \" {", 'x', '\'', '"')"#, "f(,,,)");
    check("fn f<'a>(x: &'a str) {}", "fnf<'a>(x:&'astr){}");
    check(r##"r#"a " b"# + br"c" + b'"'"##, "++b");
    check("let r#type = '→';", "letr#type=;");
}

#[test]
fn function_bodies_are_measured_in_lines_of_code() {
    let code = blank("trait T { fn a(&self) -> [u8; 4]; }\nfn b() {\n    // why\n\n    c(|fn_| {\n    });\n}\n");
    let found: Vec<_> = functions(&code).iter().map(|function| (function.name, function.code_lines)).collect();
    assert_eq!(found, [("b", 4)]);
}
