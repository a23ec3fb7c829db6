//! One call seen by two instrumentations of one process that share neither a trace nor a response id: one span lies within the other's
//! time, and both say the same model and the same usage. Only pairs where one has the response's id and the other has none.

use super::super::attributes::Field;
use super::super::call::Call;
use super::super::span::Span;
use super::give;

/// Marks the one without the id as a duplicate of the one with it; each of them once.
pub(super) fn settle(calls: &mut [Call], spans: &[Span]) {
    let is_open = |call: &Call| call.class.is_model() && !call.duplicate && !call.tokens.is_empty();
    let pick = |with_id: bool| {
        let open = calls.iter().enumerate().filter(|(_, call)| is_open(call) && call.response_id.is_some() == with_id);
        let mut found: Vec<usize> = open.map(|(index, _)| index).collect();
        found.sort_by_key(|index| calls.get(*index).and_then(|call| spans.get(call.span)).map(|span| span.start_nanos));
        found
    };
    let (mut named, nameless) = (pick(true), pick(false));
    for index in nameless {
        let Some(place) = named.iter().position(|other| same(calls, spans, index, *other)) else { continue };
        let counted = named.remove(place);
        give(calls, index, counted);
    }
}

fn same(calls: &[Call], spans: &[Span], one: usize, other: usize) -> bool {
    let (Some(one), Some(other)) = (calls.get(one), calls.get(other)) else { return false };
    let (Some(outer), Some(inner)) = (spans.get(one.span), spans.get(other.span)) else { return false };
    let another_instrumentation =
        outer.place.resource == inner.place.resource && outer.place.scope != inner.place.scope;
    let within = |a: &Span, b: &Span| a.start_nanos <= b.start_nanos && b.end_nanos <= a.end_nanos;
    let text = |span: &Span, field| span.attributes.text(field).map(str::to_owned);
    let same_model = [Field::ResponseModel, Field::RequestModel]
        .into_iter()
        .any(|field| text(outer, field).is_some_and(|model| text(inner, field).is_some_and(|other| other == model)));
    another_instrumentation
        && one.provider == other.provider
        && same_model
        && outer.trace != inner.trace
        && (within(outer, inner) || within(inner, outer))
        && one.tokens.input.is_some()
        && one.tokens.input == other.tokens.input
        && one.tokens.output == other.tokens.output
        && one.tokens.agrees_with(&other.tokens)
}
