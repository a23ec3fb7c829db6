//! Which model an id means when several patterns fit: from "the first in the file" to "exact, then longest prefix, then
//! longest glob", where a tie refuses the table. Patterns that an earlier model already covers are taken out, and given
//! to that model where it would lose the id without them.

use super::draft::{Model, Pattern};

/// A pattern taken from a model because an earlier one always comes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shadowed {
    /// Index of the model that lost it.
    pub(super) model: usize,
    pub(super) pattern: Pattern,
    /// Index of the earlier model that covers it.
    pub(super) by: usize,
}

/// Takes out what can never be reached in file order. A model may be left without any pattern.
pub(super) fn resolve(models: &mut [Model]) -> Vec<Shadowed> {
    let shadowed = shadowed(models);
    for lost in &shadowed {
        if let Some(model) = models.get_mut(lost.model) {
            model.patterns.retain(|pattern| *pattern != lost.pattern);
        }
    }
    for lost in &shadowed {
        if winner(models, &lost.pattern) != Some(lost.by)
            && let Some(model) = models.get_mut(lost.by)
        {
            model.patterns.push(lost.pattern.clone());
            model.patterns.sort();
        }
    }
    shadowed
}

fn shadowed(models: &[Model]) -> Vec<Shadowed> {
    let mut shadowed = Vec::new();
    for (index, model) in models.iter().enumerate() {
        for pattern in &model.patterns {
            let earlier = models.iter().take(index);
            let by = earlier.enumerate().find(|(_, other)| {
                other.patterns.iter().any(|first| first.covers(pattern) && !other.widened.contains(first))
            });
            if let Some((by, _)) = by {
                shadowed.push(Shadowed { model: index, pattern: pattern.clone(), by });
            }
        }
    }
    shadowed
}

/// The model that the strict precedence gives whatever `pattern` fits.
fn winner(models: &[Model], pattern: &Pattern) -> Option<usize> {
    let fitting = models.iter().enumerate().flat_map(|(index, model)| {
        model.patterns.iter().filter(|own| own.covers(pattern)).map(move |own| (own.rank(), index))
    });
    fitting.max_by_key(|(rank, index)| (*rank, std::cmp::Reverse(*index))).map(|(_, index)| index)
}

impl Pattern {
    /// Does every id that fits `narrower` fit this too?
    pub(super) fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::Exact(own), Self::Exact(id)) => own == id,
            (Self::Exact(_), _) => false,
            (Self::Prefix(own), Self::Exact(text) | Self::Prefix(text) | Self::Glob(text)) => text.starts_with(own),
            (Self::Glob(own), Self::Exact(text) | Self::Glob(text)) => glob_covers(own, text),
            (Self::Glob(own), Self::Prefix(text)) => glob_covers(own, &format!("{text}*")),
        }
    }

    /// The higher goes first: the kind, then the length.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Exact(text) => (2, text.len()),
            Self::Prefix(text) => (1, text.len()),
            Self::Glob(text) => (0, text.len()),
        }
    }
}

/// Does the glob fit a text in which `*` stands for anything and `?` for any sign? Only a `*` of the glob fits a `*`.
fn glob_covers(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    // reached[i]: the glob's first i signs fit the text read so far.
    let mut reached = vec![false; glob.len().saturating_add(1)];
    let start = glob.iter().take_while(|sign| **sign == '*').count();
    reached.iter_mut().take(start.saturating_add(1)).for_each(|place| *place = true);
    for sign in text {
        let mut next = vec![false; reached.len()];
        for (index, own) in glob.iter().enumerate() {
            let here = reached.get(index).copied().unwrap_or(false);
            let after = index.saturating_add(1);
            if here && *own == '*' {
                mark(&mut next, index);
            } else if here && sign != '*' && (*own == sign || *own == '?') {
                mark(&mut next, after);
            }
        }
        // A `*` may also stand for nothing.
        for (index, own) in glob.iter().enumerate() {
            if *own == '*' && next.get(index).copied().unwrap_or(false) {
                mark(&mut next, index.saturating_add(1));
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

fn mark(places: &mut [bool], index: usize) {
    if let Some(place) = places.get_mut(index) {
        *place = true;
    }
}

#[cfg(test)]
mod tests;
