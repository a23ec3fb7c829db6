//! One call told of twice: estimates that give way, and second sources of a reservation that is over.

use budget::reservation::Standing;

use super::counters::Moved;
use super::{First, Oracle};
use crate::words::{Call, Kind, Said, Seen};

impl Oracle {
    /// What a call is to one that is known by its id, its response or its reservation: `None` when it is a new one.
    pub(super) fn known_call(&mut self, now: i64, call: &Call) -> Option<(Said, Vec<Seen>)> {
        let by_id = self.by_id.get(&call.id).map(|first| (first.seq, first.body == call.body));
        let by_response =
            call.response.and_then(|response| self.by_response.get(&response)).map(|first| (first.seq, true));
        let (of, same) = by_id.or(by_response).or_else(|| Some((self.same_call(call)?, true)))?;
        if let Some(done) = self.supersede(now, of, call) {
            return Some(done);
        }
        Some((if same { Said::Duplicate { seq: of } } else { Said::Conflict { seq: of } }, Vec::new()))
    }

    /// The charge of another source that settled the reservation which the call names.
    fn same_call(&self, call: &Call) -> Option<u64> {
        let hold = self.holds.get(&call.claim?.0)?;
        let over = !matches!(hold.standing, Standing::Held | Standing::Denied);
        let of = hold.settled_by.filter(|_| over && hold.run == call.run && !hold.gone)?;
        let first = &self.papers[&of];
        let kind = |kind: Kind| match kind {
            Kind::Model => 0,
            Kind::Tool(_) => 1,
            Kind::Approval => 2,
        };
        let other = first.source != call.source && kind(first.kind) == kind(call.kind) && call.kind != Kind::Approval;
        other.then_some(of)
    }

    /// The call itself takes the place of its estimate, once.
    fn supersede(&mut self, now: i64, of: u64, call: &Call) -> Option<(Said, Vec<Seen>)> {
        if call.estimated || !self.estimates.contains(&of) {
            return None;
        }
        let paper = self.papers[&of].clone();
        let tools = |kind: Kind| if let Kind::Tool(calls) = kind { Some(calls) } else { None };
        let same_kind = paper.kind == call.kind || tools(paper.kind).is_some() && tools(call.kind).is_some();
        if paper.run != call.run || paper.gone || !same_kind {
            return None;
        }
        let moved = Moved {
            // Without a price, the estimate's stands for it.
            cost: call.price.map_or(0, |price| price - paper.price.unwrap_or(0)),
            tokens: call.tokens,
            fewer: paper.tokens,
            tool_calls: tools(call.kind).unwrap_or(0),
            fewer_tool_calls: tools(paper.kind).unwrap_or(0),
            ..Moved::default()
        };
        let (fenced, mut seen) = self.correct(now, of, call.price, moved, Some(call));
        let seq = self.seq + 1;
        let found = self.papers.get_mut(&of).unwrap();
        (found.tokens, found.kind) = (call.tokens, call.kind);
        found.table = call.price.map(|_| 0).or(found.table);
        self.estimates.remove(&of);
        if !self.by_id.contains_key(&call.id) {
            self.superseding.insert(call.id);
        }
        let at = now.max(call.time);
        let first = First { seq: of, body: call.body, at };
        self.by_id.insert(call.id, first);
        if let Some(response) = call.response {
            self.by_response.insert(response, first);
        }
        if let Some((id, true)) = call.claim.filter(|(id, _)| self.claimed_at(*id, call.run).is_some()) {
            // The estimate left it open for more.
            seen.extend(self.release(id).1);
        }
        Some((Said::Accepted { seq, fenced }, seen))
    }
}
