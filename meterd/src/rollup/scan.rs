//! A question answered from the ledger itself: slower than roll-ups, and with the same digits. Reads only.

use budget::counter::AHEAD_MAX_NANOS;
use pricing::Timestamp;

use super::answer::{Groups, names_of};
use super::{Line, Question, quarter_of};
use crate::ledger::{LedgerError, Reader};

/// Adds every line of the question's span to `groups`.
pub fn scan(reader: &Reader, question: &Question, groups: &mut Groups<'_>) -> Result<(), LedgerError> {
    lines(reader, question, |line| {
        if let Some(names) =
            names_of(&question.by, &line.execution.namespace, line.subject, line.called, Some(line.execution))
        {
            groups.add(quarter_of(line.at), names, &line.sums);
        }
    })
}

/// Every line of the question's span that its filter takes.
pub(super) fn lines(reader: &Reader, question: &Question, mut visit: impl FnMut(&Line<'_>)) -> Result<(), LedgerError> {
    let span = quarter_of(question.since)..quarter_of(question.until);
    // A line never counts later than so long after it was logged, but as long before as it likes.
    let from = first_logged(reader, question.since.saturating_add(-AHEAD_MAX_NANOS))?;
    let end = reader.committed();
    reader.scan(from, |entry| {
        if let Some(line) = Line::of(entry)
            && span.contains(&quarter_of(line.at))
            && question.filter.takes_run(line.execution)
            && question.filter.takes_subject(&line.execution.namespace, line.subject)
            && question.filter.takes_called(line.called)
        {
            visit(&line);
        }
        entry.seq < end
    })
}

/// The first entry that was logged at `time` or later; log time never goes back.
fn first_logged(reader: &Reader, time: Timestamp) -> Result<u64, LedgerError> {
    let (mut from, mut to) = (1, reader.committed() + 1);
    while from < to {
        let middle = from.midpoint(to);
        match reader.entry(middle)? {
            Some(entry) if entry.at < time => from = middle + 1,
            _ => to = middle,
        }
    }
    Ok(from)
}
