//! Spans above calls that were counted in earlier requests: exporters cut a trace anywhere, and a call's outer span often comes in
//! the request after its leaf's. Bounded; forgets the oldest. Not durable: a restart between the two counts both.

use std::collections::{HashSet, VecDeque};

use super::call::Call;
use super::span::{Span, SpanId, TraceId};

/// Most spans that are remembered.
const SPANS_MAX: usize = 65_536;

/// Spans of which a leaf was counted.
#[derive(Debug, Default)]
pub struct Recent {
    above: HashSet<(TraceId, SpanId)>,
    order: VecDeque<(TraceId, SpanId)>,
}

impl Recent {
    /// Marks calls whose leaf was counted before, and remembers what is above those that count now.
    pub(super) fn settle(&mut self, calls: &mut [Call], spans: &[Span]) {
        for call in calls.iter_mut().filter(|call| call.class.is_model() && !call.duplicate) {
            let known = spans.get(call.span).and_then(|span| Some((span.trace?, span.id?)));
            call.duplicate = known.is_some_and(|known| self.above.contains(&known));
        }
        let counted = calls.iter().filter(|call| call.class.is_model() && call.has_usage());
        let leaves: HashSet<usize> = counted.map(|call| call.span).collect();
        // Children stand before their parents in most exports; those that do not are found in the next round.
        for (index, span) in spans.iter().enumerate() {
            let (Some(trace), Some(id)) = (span.trace, span.id) else { continue };
            if let Some(parent) = span.parent
                && (leaves.contains(&index) || self.above.contains(&(trace, id)))
            {
                self.remember((trace, parent));
            }
        }
    }

    fn remember(&mut self, span: (TraceId, SpanId)) {
        if !self.above.insert(span) {
            return;
        }
        self.order.push_back(span);
        while self.order.len() > SPANS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.above.remove(&oldest);
            }
        }
    }
}
