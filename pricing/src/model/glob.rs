//! Globs: `*` is any text, `?` any one character, everything else itself.

use serde::{Deserialize, Serialize};

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Glob {
    text: Box<str>,
}

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.into() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Longer ones go first; of equal length, the one with fewer wildcards.
    pub(crate) fn rank(&self) -> (usize, usize) {
        let literals = self.text.chars().filter(|sign| !matches!(sign, '*' | '?')).count();
        (self.text.chars().count(), literals)
    }

    /// Does it cover the whole of `name`? Linear but for repeated stars, at most pattern × name.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.text.chars(), name.chars());
        let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
        loop {
            let (mut next_pattern, mut next_rest) = (pattern.clone(), rest.clone());
            match (next_pattern.next(), next_rest.next()) {
                (Some('*'), _) => {
                    star = Some((next_pattern.clone(), rest.clone()));
                    pattern = next_pattern;
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                    (pattern, rest) = (next_pattern, next_rest);
                }
                (None, None) => return true,
                _ => {
                    // Give the last star one more character, or give up.
                    let Some((after_star, mut taken)) = star.take() else { return false };
                    if taken.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after_star.clone(), taken.clone());
                    star = Some((after_star, taken));
                }
            }
        }
    }

    /// Is there a name that both cover?
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let left: Vec<char> = self.text.chars().collect();
        let right: Vec<char> = other.text.chars().collect();
        // reach[j]: some text is covered by the first i signs of `left` and the first j of `right`.
        let mut reach = vec![false; right.len().saturating_add(1)];
        for (i, sign) in std::iter::once(None).chain(left.iter().map(Some)).enumerate() {
            let mut row: Vec<bool> = Vec::with_capacity(reach.len());
            for (j, other) in std::iter::once(None).chain(right.iter().map(Some)).enumerate() {
                let above = reach.get(j).copied().unwrap_or(false);
                let before = row.last().copied().unwrap_or(false);
                let corner = j.checked_sub(1).and_then(|j| reach.get(j)).copied().unwrap_or(false);
                let star_left = sign == Some(&'*');
                let star_right = other == Some(&'*');
                let same = match (sign, other) {
                    (Some(a), Some(b)) => star_left || star_right || a == b || *a == '?' || *b == '?',
                    _ => false,
                };
                row.push(
                    (i == 0 && j == 0)
                        || (star_left && (above || before))
                        || (star_right && (above || before))
                        || (same && corner),
                );
            }
            reach = row;
        }
        reach.last().copied().unwrap_or(false)
    }
}
