//! The names of one provider's models, compiled: hash lookups for exact names and aliases, a search for prefixes,
//! lists of globs and of regular expressions.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{Glob, Regex};
use crate::time::Timestamp;

/// Which entry answers to a name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    exact: FxHashMap<Box<str>, u32>,
    aliases: FxHashMap<Box<str>, Vec<Alias>>,
    /// Sorted, each once.
    prefixes: Vec<(Box<str>, u32)>,
    /// The longest first.
    globs: Vec<(Glob, u32)>,
    /// The longest first.
    regexes: Vec<(Regex, u32)>,
}

/// How an entry claims a name, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The name itself.
    Exact,
    /// Another name for it, perhaps for a time.
    Alias,
    /// How the name begins; the longest goes first.
    Prefix,
    /// A pattern; the longest goes first.
    Glob,
    /// A regular expression for the whole name; the longest goes first.
    Regex,
}

impl Rank {
    /// Its name in a price table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Alias => "alias",
            Self::Prefix => "prefix",
            Self::Glob => "glob",
            Self::Regex => "regex",
        }
    }
}

/// The entry that answers to a name, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) entry: u32,
    pub(crate) rank: Rank,
    /// What the name fits.
    pub(crate) pattern: &'a str,
    /// The only MCP server that it is for, of a tool's entry.
    pub(crate) server: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    entry: u32,
}

/// Another entry that answers to the same names with the same rank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    pub(crate) entry: u32,
    /// The other's pattern, where it differs.
    pub(crate) pattern: Option<String>,
}

impl Names {
    /// The entry for `name` at that time, or at any, and why it is that one.
    pub(crate) fn find(&self, name: &str, at: Option<Timestamp>) -> Option<Answer<'_>> {
        if let Some((pattern, entry)) = self.exact.get_key_value(name) {
            return Some(Answer { entry: *entry, rank: Rank::Exact, pattern, server: None });
        }
        let alias = self.aliases.get_key_value(name).and_then(|(pattern, aliases)| {
            aliases.iter().find(|alias| at.is_none_or(|at| alias.holds(at))).map(|alias| (pattern, alias.entry))
        });
        if let Some((pattern, entry)) = alias {
            return Some(Answer { entry, rank: Rank::Alias, pattern, server: None });
        }
        if let Some((pattern, entry)) = self.longest_prefix(name.as_bytes()) {
            return Some(Answer { entry: *entry, rank: Rank::Prefix, pattern, server: None });
        }
        if let Some((glob, entry)) = self.globs.iter().find(|(glob, _)| glob.covers(name)) {
            return Some(Answer { entry: *entry, rank: Rank::Glob, pattern: glob.as_str(), server: None });
        }
        let (regex, entry) = self.regexes.iter().find(|(regex, _)| regex.covers(name))?;
        Some(Answer { entry: *entry, rank: Rank::Regex, pattern: regex.as_str(), server: None })
    }

    /// Everything that claims `name` at that time, the strongest first. For people: a search through all patterns.
    pub(crate) fn claims(&self, name: &str, at: Timestamp) -> Vec<Answer<'_>> {
        let claim = |entry: u32, rank, pattern| Answer { entry, rank, pattern, server: None };
        let exact = self.exact.get_key_value(name).map(|(pattern, entry)| claim(*entry, Rank::Exact, &**pattern));
        let aliases = self.aliases.get_key_value(name).into_iter().flat_map(|(pattern, aliases)| {
            let held = aliases.iter().filter(|alias| alias.holds(at));
            held.map(move |alias| claim(alias.entry, Rank::Alias, &**pattern))
        });
        let begins = self.prefixes.iter().filter(|(prefix, _)| name.starts_with(&**prefix));
        let mut prefixes: Vec<Answer<'_>> = begins.map(|(prefix, entry)| claim(*entry, Rank::Prefix, prefix)).collect();
        prefixes.sort_by_key(|answer| std::cmp::Reverse(answer.pattern.len()));
        let globs = self.globs.iter().filter(|(glob, _)| glob.covers(name));
        let regexes = self.regexes.iter().filter(|(regex, _)| regex.covers(name));
        let all = exact.into_iter().chain(aliases).chain(prefixes);
        let all = all.chain(globs.map(|(glob, entry)| claim(*entry, Rank::Glob, glob.as_str())));
        all.chain(regexes.map(|(regex, entry)| claim(*entry, Rank::Regex, regex.as_str()))).collect()
    }

    pub(crate) fn add_exact(&mut self, name: &str, entry: u32) -> Result<(), Clash> {
        let known = *self.exact.entry(name.into()).or_insert(entry);
        if known == entry { Ok(()) } else { Err(Clash { entry: known, pattern: None }) }
    }

    pub(crate) fn add_alias(
        &mut self,
        name: &str,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        entry: u32,
    ) -> Result<(), Clash> {
        let alias = Alias { from, until, entry };
        let known = self.aliases.entry(name.into()).or_default();
        if let Some(other) = known.iter().find(|other| other.meets(&alias)) {
            return Err(Clash { entry: other.entry, pattern: None });
        }
        known.push(alias);
        Ok(())
    }

    pub(crate) fn add_prefix(&mut self, prefix: &str, entry: u32) -> Result<(), Clash> {
        match self.prefixes.binary_search_by(|(known, _)| (**known).cmp(prefix)) {
            Ok(found) => {
                let clash = self.prefixes.get(found).filter(|(_, known)| *known != entry);
                return clash.map_or(Ok(()), |(_, known)| Err(Clash { entry: *known, pattern: None }));
            }
            Err(gap) => self.prefixes.insert(gap, (prefix.into(), entry)),
        }
        Ok(())
    }

    /// The last prefix that sorts before the name is the longest that the name begins with, or else shares a beginning
    /// with the name that every prefix of the name lies within: so the search goes on for that beginning.
    fn longest_prefix(&self, name: &[u8]) -> Option<&(Box<str>, u32)> {
        let mut rest = name;
        loop {
            let after = self.prefixes.partition_point(|(prefix, _)| prefix.as_bytes() <= rest);
            let found = self.prefixes.get(after.checked_sub(1)?)?;
            let prefix = &found.0;
            let shared = prefix.bytes().zip(rest).take_while(|(left, right)| left == *right).count();
            if shared == prefix.len() {
                return Some(found);
            }
            rest = rest.get(..shared)?;
        }
    }

    pub(crate) fn add_glob(&mut self, glob: Glob, entry: u32) -> Result<(), Clash> {
        let rival = self
            .globs
            .iter()
            .find(|(other, owner)| *owner != entry && other.rank() == glob.rank() && other.overlaps(&glob));
        if let Some((other, owner)) = rival {
            return Err(Clash { entry: *owner, pattern: Some(other.as_str().to_owned()) });
        }
        let gap = self.globs.partition_point(|(other, _)| other.rank() >= glob.rank());
        self.globs.insert(gap, (glob, entry));
        Ok(())
    }

    pub(crate) fn add_regex(&mut self, regex: Regex, entry: u32) -> Result<(), Clash> {
        let len = regex.as_str().len();
        let rival = self
            .regexes
            .iter()
            .find(|(other, owner)| *owner != entry && other.as_str().len() == len && !other.is_apart_from(&regex));
        if let Some((other, owner)) = rival {
            return Err(Clash { entry: *owner, pattern: Some(other.as_str().to_owned()) });
        }
        let gap = self.regexes.partition_point(|(other, _)| other.as_str().len() >= len);
        self.regexes.insert(gap, (regex, entry));
        Ok(())
    }
}

impl Alias {
    fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Do both hold at some time?
    fn meets(&self, other: &Self) -> bool {
        let starts_in_time = |one: &Self, two: &Self| match (one.from, two.until) {
            (Some(from), Some(until)) => from < until,
            _ => true,
        };
        starts_in_time(self, other) && starts_in_time(other, self)
    }
}
