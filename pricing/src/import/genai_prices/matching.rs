//! genai-prices' match logic → exact ids, prefixes and globs.

use super::regex;
use super::source::Clause;
use crate::import::draft::Pattern;

/// What a model's match logic becomes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matching {
    /// Without repetition, in order of precedence.
    pub(super) patterns: Vec<Pattern>,
    /// Those of them that fit more than the source means, because an exclusion was lost.
    pub(super) widened: Vec<Pattern>,
    /// Parts that have no counterpart, and why.
    pub(super) left_out: Vec<(String, &'static str)>,
}

const NEGATIVE: &str =
    "a pattern cannot exclude ids; models that have an exact id of their own are told apart all the same";
const REGEX: &str = "only literal text, options and dates can be said without a regular expression";
const CONJUNCTION: &str = "only one of several conditions on an id can be said at a time";

/// Reads the match logic. Matching there ignores case; here every id is lower case.
pub(super) fn matching(clause: &Clause) -> Matching {
    let mut matching = Matching::default();
    matching.add(clause);
    matching.patterns.sort();
    matching.patterns.dedup();
    matching
}

impl Matching {
    fn add(&mut self, clause: &Clause) {
        match clause {
            Clause::Equals(text) => self.patterns.push(Pattern::Exact(text.to_lowercase())),
            Clause::StartsWith(text) => self.patterns.push(Pattern::Prefix(text.to_lowercase())),
            Clause::EndsWith(text) => self.glob("*", text, ""),
            Clause::Contains(text) => self.glob("*", text, "*"),
            Clause::Regex(text) => match regex::patterns(text) {
                Some(patterns) => self.patterns.extend(patterns),
                None => self.leave_out(format!("regex {text}"), REGEX),
            },
            Clause::Or(clauses) => clauses.iter().for_each(|clause| self.add(clause)),
            Clause::And(clauses) => self.add_conjunction(clauses),
        }
    }

    /// A glob's own signs cannot be quoted inside it.
    fn glob(&mut self, before: &str, text: &str, after: &str) {
        if text.contains(['*', '?', '[', ']']) {
            self.leave_out(format!("{before}{text}{after}"), "the text contains signs that mean something in a glob");
        } else {
            self.patterns.push(Pattern::Glob(format!("{before}{}{after}", text.to_lowercase())));
        }
    }

    /// `P and not N`: P is kept, the exclusion is reported. Two positive conditions cannot be joined.
    fn add_conjunction(&mut self, clauses: &[Clause]) {
        let is_exclusion = |clause: &&Clause| matches!(clause, Clause::Regex(text) if regex::is_exclusion(text));
        let (exclusions, conditions): (Vec<&Clause>, Vec<&Clause>) = clauses.iter().partition(is_exclusion);
        match conditions.as_slice() {
            [condition] => {
                let kept = matching(condition);
                self.left_out.extend(kept.left_out);
                self.widened.extend(kept.patterns.clone());
                self.patterns.extend(kept.patterns);
                for exclusion in exclusions {
                    if let Clause::Regex(text) = exclusion {
                        self.leave_out(format!("regex {text}"), NEGATIVE);
                    }
                }
            }
            _ => self.leave_out(format!("and of {} conditions", clauses.len()), CONJUNCTION),
        }
    }

    fn leave_out(&mut self, what: String, why: &'static str) {
        self.left_out.push((what, why));
    }
}
