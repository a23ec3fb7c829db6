//! Did you mean: the known word nearest to a misspelt one.

/// The candidate nearest to `word`, if near enough to be meant: at most a third of its letters, and three, differ.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate));
    let best = scored.min_by_key(|(distance, _)| *distance)?;
    let allowed = (word.chars().count() / 3).min(3);
    (best.0 <= allowed).then_some(best.1)
}

/// Edits between two words: insert, delete, replace, or swap two neighbours.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, b) in right.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
            let next = j.saturating_add(1);
            let replaced = at(&above, j).saturating_add(usize::from(a != b));
            let mut best = replaced.min(at(&above, next).saturating_add(1)).min(at(&row, j).saturating_add(1));
            let swapped = i.checked_sub(1).and_then(|i| left.get(i)) == Some(b)
                && j.checked_sub(1).and_then(|j| right.get(j)) == Some(a);
            if swapped && let Some(j) = j.checked_sub(1) {
                best = best.min(at(&before, j).saturating_add(1));
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}
