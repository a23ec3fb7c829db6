//! The few regular expressions that occur in match logic, taken apart into literal text and digits, then into patterns.
//!
//! Understood: `^` at the start, `$` at the end, literals, `\` before a sign, `\d`, `\d{n}`, sets of literals such as
//! `[-@]`, groups without alternatives, and `?` after a group. Anything else is for the caller to report.

use crate::import::draft::Pattern;

/// An expression without options: a fixed sequence of signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Alternative {
    signs: Vec<Sign>,
    /// The id ends here (`$`).
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Literal(char),
    Digit,
}

/// An expression with more alternatives than this is not taken apart.
const ALTERNATIVES_MAX: usize = 16;
/// Repetitions beyond this are not taken apart.
const REPEAT_MAX: usize = 32;

/// `^(?!…)` alone: it says which ids are not meant.
pub(super) fn is_exclusion(regex: &str) -> bool {
    regex.strip_prefix("^(?!").and_then(|rest| rest.strip_suffix(')')).is_some()
}

/// The patterns that mean the same as an expression anchored at the start; `None` when it says more than they can.
pub(super) fn patterns(regex: &str) -> Option<Vec<Pattern>> {
    let mut parser = Parser { rest: regex.strip_prefix('^')? };
    let sequences = parser.sequence()?;
    let ends = parser.take('$');
    if !parser.rest.is_empty() || !regex.is_ascii() {
        return None;
    }
    let patterns = sequences.into_iter().map(|signs| Alternative { signs, ends }.patterns());
    patterns.collect::<Option<Vec<_>>>().map(|patterns| patterns.concat())
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, sign: char) -> bool {
        self.rest.strip_prefix(sign).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let sign = chars.next()?;
        self.rest = chars.as_str();
        Some(sign)
    }

    /// Items up to the end, `$` or a closing parenthesis.
    fn sequence(&mut self) -> Option<Vec<Vec<Sign>>> {
        let mut all: Vec<Vec<Sign>> = vec![Vec::new()];
        while !self.rest.is_empty() && !self.rest.starts_with(['$', ')']) {
            let item = self.item()?;
            all = all.iter().flat_map(|head| item.iter().map(move |tail| [head.as_slice(), tail].concat())).collect();
            if all.len() > ALTERNATIVES_MAX {
                return None;
            }
        }
        Some(all)
    }

    /// The ways in which the next item can read.
    fn item(&mut self) -> Option<Vec<Vec<Sign>>> {
        let ways = match self.next()? {
            '(' => {
                let ways = self.sequence()?;
                self.take(')').then_some(ways)?
            }
            '[' => self.set()?,
            '\\' => match self.next()? {
                'd' => vec![vec![Sign::Digit]],
                sign if sign.is_ascii_punctuation() => vec![vec![Sign::Literal(sign)]],
                _ => return None,
            },
            '.' | '*' | '+' | '?' | '|' | '{' | '}' | ']' | '^' => return None,
            sign => vec![vec![Sign::Literal(sign.to_ascii_lowercase())]],
        };
        if self.take('?') {
            return Some(std::iter::once(Vec::new()).chain(ways).collect());
        }
        if self.take('{') {
            return self.repeated(&ways);
        }
        (!self.rest.starts_with(['*', '+'])).then_some(ways)
    }

    fn set(&mut self) -> Option<Vec<Vec<Sign>>> {
        let (inside, rest) = self.rest.split_once(']')?;
        self.rest = rest;
        // A dash between two signs is a range, a caret negates: neither occurs.
        let is_plain = !inside.contains(['^', '\\', '[']) && !inside.trim_matches('-').contains('-');
        is_plain.then(|| inside.chars().map(|sign| vec![Sign::Literal(sign.to_ascii_lowercase())]).collect())
    }

    fn repeated(&mut self, ways: &[Vec<Sign>]) -> Option<Vec<Vec<Sign>>> {
        let (count, rest) = self.rest.split_once('}')?;
        let count: usize = count.parse().ok().filter(|count| *count <= REPEAT_MAX)?;
        self.rest = rest;
        match ways {
            [way] => Some(vec![way.repeat(count)]),
            _ => None,
        }
    }
}

/// Dates at the end of an id; looking up an id takes them off, so the id without one says the same.
const DATES: [&str; 3] = ["-dddd-dd-dd", "-dddddddd", "@dddddddd"];

impl Alternative {
    /// As patterns of a table; `None` where its digits are neither a date at the end nor a single last sign.
    fn patterns(&self) -> Option<Vec<Pattern>> {
        let shape: String = self.signs.iter().map(|sign| if *sign == Sign::Digit { 'd' } else { '-' }).collect();
        let text: String = self
            .signs
            .iter()
            .map(|sign| match sign {
                Sign::Literal(literal) => *literal,
                Sign::Digit => 'd',
            })
            .collect();
        let first_digit = self.signs.iter().position(|sign| *sign == Sign::Digit);
        match (first_digit, self.ends) {
            (None, true) => Some(vec![Pattern::Exact(text)]),
            (None, false) => Some(vec![Pattern::Prefix(text)]),
            (Some(_), true) => {
                let date = DATES.iter().find(|date| {
                    let digits = date.replace('@', "-");
                    text.ends_with(**date)
                        && shape.ends_with(digits.as_str())
                        && first_digit == shape.len().checked_sub(date.len()).and_then(|head| head.checked_add(1))
                })?;
                Some(vec![Pattern::Exact(text.strip_suffix(date)?.to_owned())])
            }
            (Some(first), false) => {
                let head =
                    text.get(..first).filter(|_| shape.ends_with('d') && first.checked_add(1) == Some(shape.len()))?;
                Some(('0'..='9').map(|digit| Pattern::Prefix(format!("{head}{digit}"))).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests;
