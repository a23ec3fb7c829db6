//! Which entry prices a tool: an exact name before the longest glob, and with its server before any server.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::model::{Answer, Glob, Rank};

/// The tools of one table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tools {
    entries: Vec<Entry>,
    exact: FxHashMap<Box<str>, Vec<Rule>>,
    /// The longest first, with a server before without.
    globs: Vec<(Glob, Rule)>,
}

/// An entry, and the only server it is for.
#[derive(Debug, Serialize, Deserialize)]
struct Rule {
    server: Option<Box<str>>,
    entry: usize,
}

/// Which tools an entry is for.
pub(super) enum Pattern<'a> {
    Name(&'a str),
    Glob(&'a str),
}

impl Tools {
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries that claim a tool of that server, the strongest first: the first one prices it.
    pub(super) fn claims<'a>(
        &'a self,
        tool: &str,
        server: Option<&str>,
    ) -> impl Iterator<Item = (&'a Entry, Answer<'a>)> {
        let exact = self.exact.get_key_value(tool).into_iter();
        let exact = exact.flat_map(|(name, rules)| rules.iter().map(|rule| (Rank::Exact, &**name, rule)));
        let globs = self.globs.iter().filter(move |(glob, _)| glob.covers(tool));
        let globs = globs.map(|(glob, rule)| (Rank::Glob, glob.as_str(), rule));
        let all = exact.chain(globs);
        let fits = move |rule: &Rule| rule.server.is_none() || rule.server.as_deref() == server;
        all.filter(move |(_, _, rule)| fits(rule)).filter_map(|(rank, pattern, rule)| {
            let entry = u32::try_from(rule.entry).ok()?;
            let answer = Answer { entry, rank, pattern, server: rule.server.as_deref() };
            Some((self.entries.get(rule.entry)?, answer))
        })
    }

    /// Adds an entry; refuses one that another of equal rank already answers for, and names that.
    pub(super) fn add(&mut self, pattern: &Pattern<'_>, server: Option<&str>, entry: Entry) -> Result<(), String> {
        let rule = Rule { server: server.map(Box::from), entry: self.entries.len() };
        match pattern {
            Pattern::Name(name) => {
                let rules = self.exact.entry((*name).into()).or_default();
                if rules.iter().any(|other| other.server == rule.server) {
                    return Err((*name).to_owned());
                }
                let gap = if rule.server.is_some() { 0 } else { rules.len() };
                rules.insert(gap, rule);
            }
            Pattern::Glob(text) => {
                let glob = Glob::new(text);
                let rival = self.globs.iter().find(|(other, other_rule)| {
                    other.rank() == glob.rank() && other_rule.server == rule.server && other.overlaps(&glob)
                });
                if let Some((other, _)) = rival {
                    return Err(other.as_str().to_owned());
                }
                let rank = |glob: &Glob, rule: &Rule| (glob.rank(), rule.server.is_some());
                let gap =
                    self.globs.partition_point(|(other, other_rule)| rank(other, other_rule) >= rank(&glob, &rule));
                self.globs.insert(gap, (glob, rule));
            }
        }
        self.entries.push(entry);
        Ok(())
    }
}
