//! JSON writes characters beyond the basic plane as two escapes (`\ud83d\ude00`), which YAML does not know.
//!
//! Everything else of JSON is YAML already; this closes the gap before a text is parsed.

use std::borrow::Cow;

/// The text with each surrogate pair written out as its character; a text that does not look like JSON stays as it is.
/// Columns after a pair on the same line count one character for it.
pub(crate) fn join_surrogates(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with(['{', '[']) || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some((joined, after)) = pair(escape) {
            out.push(joined);
            rest = after;
        } else {
            // A backslash and what it escapes stay together, so that `\\u` is not taken for an escape.
            let len = escape.chars().take(2).map(char::len_utf8).sum();
            let (kept, after) = escape.split_at_checked(len).unwrap_or((escape, ""));
            out.push_str(kept);
            rest = after;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A high and a low surrogate at the start of `text`, and what follows them.
fn pair(text: &str) -> Option<(char, &str)> {
    let (high, rest) = unit(text)?;
    let (low, rest) = unit(rest)?;
    let joined = char::decode_utf16([high, low]).next()?.ok()?;
    (0xd800..0xdc00).contains(&high).then_some((joined, rest))
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.strip_prefix("\\u")?.split_at_checked(4)?;
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten().map(|unit| (unit, rest))
}

#[cfg(test)]
mod tests;
