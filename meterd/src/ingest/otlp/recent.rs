//! Calls that were counted in earlier requests, by their place in their traces: exporters cut a trace anywhere, and collectors
//! send its parts in any order, so a call's outer span may come after its leaf's or before it.
//!
//! Bounded; forgets the oldest. What it learns can be taken out and given back after a restart; nothing is written here.

use std::collections::{HashMap, HashSet, VecDeque};

use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::dialect::{Class, classify};
use super::relatives::Family;
use super::span::{Span, SpanId, TraceId};

/// Most spans that are remembered.
pub const REMEMBERED_MAX: usize = 131_072;
/// Most ancestors that are looked at for one span.
const ANCESTORS_MAX: usize = 64;
/// Bytes of a mark.
pub const MARK_BYTES: usize = 33;

/// A span of a tenant's.
type Key = ([u8; 8], TraceId, SpanId);

/// A call was counted below this span: what it reports itself was counted.
const ABOVE: u8 = 1;
/// This span was counted, or is below one that was: what its children report was counted.
const UNDER: u8 = 2;

/// What is known of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    key: Key,
    side: u8,
}

impl Mark {
    /// Side, tenant, trace, span.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MARK_BYTES] {
        let (tenant, trace, span) = self.key;
        let mut bytes = [0; MARK_BYTES];
        let parts = [self.side].into_iter().chain(tenant).chain(trace).chain(span);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    /// What [`Mark::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let (side, rest) = bytes.split_first()?;
        let (tenant, rest) = rest.split_first_chunk::<8>()?;
        let (trace, rest) = rest.split_first_chunk::<16>()?;
        let span = rest.first_chunk::<8>()?;
        matches!(*side, 1..=3).then_some(Self { key: (*tenant, *trace, *span), side: *side })
    }
}

/// Spans around calls that were counted.
#[derive(Debug, Default)]
pub struct Recent {
    sides: HashMap<Key, u8>,
    order: VecDeque<Key>,
    fresh: Vec<Mark>,
}

impl Recent {
    /// As it was when these were taken out.
    #[must_use]
    pub fn restored(marks: impl Iterator<Item = Mark>) -> Self {
        let mut recent = Self::default();
        marks.for_each(|mark| recent.remember(mark.key, mark.side));
        recent.fresh.clear();
        recent
    }

    /// What was learned since this was last asked.
    pub fn take_fresh(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.fresh)
    }

    /// Everything, the oldest first.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        self.order.iter().filter_map(|key| Some(Mark { key: *key, side: *self.sides.get(key)? }))
    }

    /// Marks calls that were counted in another request, and remembers what is around those that count now.
    pub(super) fn settle(&mut self, tenant: &str, calls: &mut [Call], family: &Family<'_>) {
        let spans = family.spans();
        let digest: [u8; 32] = Sha256::digest(tenant.as_bytes()).into();
        let tenant = digest.first_chunk::<8>().copied().unwrap_or_default();
        let key = |trace: TraceId, id: SpanId| (tenant, trace, id);
        let of = |span: &Span| Some(key(span.trace?, span.id?));
        let under = self.under(family, key);
        for call in calls.iter_mut().filter(|call| call.class.is_model() && !call.duplicate) {
            let own = spans.get(call.span).and_then(of);
            call.duplicate = under.contains(&call.span) || own.is_some_and(|own| self.is(own, ABOVE));
        }
        for index in under {
            if let Some(key) = spans.get(index).and_then(of) {
                self.remember(key, UNDER);
            }
        }
        let counted = calls.iter().filter(|call| call.class.is_model() && !call.duplicate && call.has_usage());
        let leaves: HashSet<usize> = counted.map(|call| call.span).collect();
        for own in leaves.iter().filter_map(|index| spans.get(*index)).filter_map(of) {
            self.remember(own, UNDER);
        }
        self.above(family, &leaves, key);
    }

    /// Spans with an ancestor that was counted in another request. A call inside of a tool is a call of its own.
    fn under(&self, family: &Family<'_>, key: impl Fn(TraceId, SpanId) -> Key) -> HashSet<usize> {
        let spans = family.spans();
        let is_under = |index: usize| {
            let mut at = index;
            for _ in 0..ANCESTORS_MAX {
                let Some((trace, parent)) = spans.get(at).and_then(|span| Some((span.trace?, span.parent?))) else {
                    return false;
                };
                if self.is(key(trace, parent), UNDER) {
                    return true;
                }
                match family.parent(at).filter(|next| !is_tool(spans, *next)) {
                    Some(next) => at = next,
                    None => return false,
                }
            }
            false
        };
        if self.sides.is_empty() {
            return HashSet::new();
        }
        (0..spans.len()).filter(|index| is_under(*index) && !is_tool(spans, *index)).collect()
    }

    /// Remembers the spans above counted leaves, through those of this request up to the first that is not in it.
    fn above(&mut self, family: &Family<'_>, leaves: &HashSet<usize>, key: impl Fn(TraceId, SpanId) -> Key) {
        let spans = family.spans();
        for (index, span) in spans.iter().enumerate() {
            let (Some(trace), Some(id), Some(_)) = (span.trace, span.id, span.parent) else { continue };
            let begins = leaves.contains(&index) || (self.is(key(trace, id), ABOVE) && !is_tool(spans, index));
            let mut at = begins.then_some(index);
            for _ in 0..ANCESTORS_MAX {
                let Some(parent) = at.and_then(|at| spans.get(at)?.parent) else { break };
                if self.is(key(trace, parent), ABOVE) {
                    // What is above it is found when its own turn comes.
                    break;
                }
                self.remember(key(trace, parent), ABOVE);
                at = at.and_then(|at| family.parent(at)).filter(|next| !is_tool(spans, *next));
            }
        }
    }

    fn is(&self, key: Key, side: u8) -> bool {
        self.sides.get(&key).is_some_and(|sides| sides & side != 0)
    }

    fn remember(&mut self, key: Key, side: u8) {
        let sides = self.sides.entry(key).or_insert(0);
        if *sides & side == side {
            return;
        }
        if *sides == 0 {
            self.order.push_back(key);
        }
        *sides |= side;
        self.fresh.push(Mark { key, side });
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.sides.remove(&oldest);
            }
        }
    }
}

/// A call inside of a tool is no part of the call that asked for the tool.
fn is_tool(spans: &[Span], index: usize) -> bool {
    spans.get(index).is_some_and(|span| classify(span) == Class::Tool)
}
