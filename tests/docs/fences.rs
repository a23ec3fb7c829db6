//! Fenced blocks of a Markdown text: language, attributes, body, line. Never runs anything.

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    /// First word of the info string, such as `sh`; empty for none.
    pub(crate) language: String,
    /// The other words.
    pub(crate) words: Vec<String>,
    /// What stands between the fences.
    pub(crate) body: String,
    /// Line of the opening fence.
    pub(crate) line: usize,
}

impl Fence {
    /// Is this word among its attributes?
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|found| found == word)
    }

    /// The value of `name=value`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Every fenced block; an indented one, as in a list, loses the indent of its fence.
pub(crate) fn fences(text: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut open: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        match open {
            None => {
                let Some(info) = bare.strip_prefix("```") else { continue };
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                found.push(Fence { language, words: words.collect(), body: String::new(), line: number + 1 });
                open = Some(indent);
            }
            Some(_) if bare.trim_end() == "```" => open = None,
            Some(indent) => {
                let line = line.get(indent..).unwrap_or(bare);
                if let Some(fence) = found.last_mut() {
                    fence.body.push_str(line);
                    fence.body.push('\n');
                }
            }
        }
    }
    assert!(open.is_none(), "a fence is never closed: line {}", found.last().map_or(0, |fence| fence.line));
    found
}

/// The text with every fenced block blanked, lines kept.
pub(crate) fn without_fences(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        if !inside && !is_fence {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

#[test]
fn fences_are_read_as_written() {
    let text = "a\n```sh test file=x\none\n\n  two\n```\n- b\n  ```\n  three\n  ```\n";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (body, language) = ("one\n\n  two\n".to_owned(), "sh".to_owned());
    let first = Fence { language, words: words(&["test", "file=x"]), body, line: 2 };
    let second = Fence { language: String::new(), words: Vec::new(), body: "three\n".to_owned(), line: 8 };
    assert_eq!(fences(text), [first, second]);
    assert_eq!(fences(text)[0].value("file"), Some("x"));
    assert_eq!(without_fences(text), "a\n\n\n\n\n\n- b\n\n\n\n");
}
