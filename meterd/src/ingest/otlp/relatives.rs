//! One call seen by several spans of a request: which of them counts.
//!
//! In this order: the same (trace, span) id; the same (provider, response id), where the more detailed span counts; a
//! model call above another in one trace, where the leaf counts; two instrumentations of one process around one call, in
//! two traces (`enclosure`). What the others knew alone is taken over.

mod enclosure;

use std::collections::HashMap;
use std::sync::Arc;

use super::attributes::Field;
use super::call::{Call, Known};
use super::dialect::{Class, classify};
use super::span::{Request, Span, SpanId, TraceId};

/// Most ancestors that are looked at for one span.
const ANCESTORS_MAX: usize = 64;

/// The spans of a request by id, and the way up from each.
pub(super) struct Family<'a> {
    spans: &'a [Span],
    by_id: HashMap<(TraceId, SpanId), usize>,
}

impl<'a> Family<'a> {
    /// Of a request.
    pub(super) fn new(request: &'a Request) -> Self {
        let ids = request.spans.iter().enumerate();
        let ids = ids.filter_map(|(index, span)| Some(((span.trace?, span.id?), index)));
        let mut by_id = HashMap::with_capacity(request.spans.len());
        for (id, index) in ids {
            by_id.entry(id).or_insert(index);
        }
        Self { spans: &request.spans, by_id }
    }

    /// A span's parent, if it is in this request.
    pub(super) fn parent(&self, span: usize) -> Option<usize> {
        let span = self.spans.get(span)?;
        self.by_id.get(&(span.trace?, span.parent?)).copied()
    }

    /// The ancestors of a span that are in this request, nearest first; never the span itself. A ring of parents
    /// ends where it closes, or at the bound.
    pub(super) fn ancestors(&self, span: usize) -> impl Iterator<Item = usize> + '_ {
        let up = std::iter::successors(self.parent(span), move |index| self.parent(*index));
        up.take_while(move |ancestor| *ancestor != span).take(ANCESTORS_MAX)
    }

    /// The spans.
    pub(super) const fn spans(&self) -> &'a [Span] {
        self.spans
    }
}

/// Every call of a request; those that another span counts for are marked.
pub(super) fn calls(family: &Family<'_>) -> Vec<Call> {
    let spans = family.spans();
    let mut calls: Vec<Call> = spans.iter().enumerate().filter_map(|(index, span)| Call::read(index, span)).collect();
    by_span_id(&mut calls, spans);
    by_response_id(&mut calls, family);
    by_descent(&mut calls, family);
    enclosure::settle(&mut calls, spans);
    tools(&mut calls, family);
    calls
}

fn by_span_id(calls: &mut [Call], spans: &[Span]) {
    let key = |call: &Call| spans.get(call.span).and_then(|span| Some((span.trace?, span.id?)));
    let groups = groups(calls, key);
    for group in groups {
        settle(calls, &group, |_| 0);
    }
}

fn by_response_id(calls: &mut [Call], family: &Family<'_>) {
    let key = |call: &Call| {
        let id = call.response_id.as_ref().filter(|_| call.class.is_model())?;
        Some((Arc::clone(&call.provider), Arc::clone(id)))
    };
    let groups = groups(calls, key);
    for group in groups {
        settle(calls, &group, |span| family.ancestors(span).count());
    }
}

/// Calls that share a key, each group in the order sent; only groups of several.
fn groups<K: std::hash::Hash + Eq>(calls: &[Call], key: impl Fn(&Call) -> Option<K>) -> Vec<Vec<usize>> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, call) in calls.iter().enumerate().filter(|(_, call)| !call.duplicate) {
        let Some(key) = key(call) else { continue };
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// One of the group counts: a readable one, then the most detailed, then the innermost, then the first.
fn settle(calls: &mut [Call], group: &[usize], depth: impl Fn(usize) -> usize) {
    let rank = |index: &usize| {
        let call = calls.get(*index)?;
        let named = usize::from(call.response_id.is_some()).saturating_add(usize::from(call.reported_cost.is_some()));
        let first = std::cmp::Reverse(*index);
        Some((call.rejection.is_none(), call.tokens.detail(), depth(call.span), named, first))
    };
    let Some(winner) = group.iter().copied().max_by_key(|index| rank(index)) else { return };
    for index in group.iter().copied().filter(|index| *index != winner) {
        give(calls, index, winner);
    }
}

/// Marks `from` as a duplicate of `to`, which takes over what it did not know.
fn give(calls: &mut [Call], from: usize, to: usize) {
    let Some(call) = calls.get_mut(from) else { return };
    call.duplicate = true;
    let known = Known::of(call);
    if let Some(call) = calls.get_mut(to) {
        call.fill_from(&known);
    }
}

/// A model call above another: the leaf counts. A leaf without any usage does not stand for an ancestor that has it.
fn by_descent(calls: &mut [Call], family: &Family<'_>) {
    let of_span: HashMap<usize, usize> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.class.is_model() && !call.duplicate)
        .map(|(index, call)| (call.span, index))
        .collect();
    if of_span.len() < 2 {
        return;
    }
    // A call inside of a tool is no part of the call that asked for the tool.
    let within = |ancestor: &usize| family.spans().get(*ancestor).is_some_and(|span| classify(span) != Class::Tool);
    let above =
        |span: usize| family.ancestors(span).take_while(within).filter_map(|ancestor| of_span.get(&ancestor).copied());
    let mut live: Vec<usize> = of_span.values().copied().collect();
    live.sort_unstable();

    let with_usage: Vec<usize> = live.iter().copied().filter(|index| is(calls, *index, Call::has_usage)).collect();
    let mut covered = vec![false; calls.len()];
    for ancestor in with_usage.iter().filter_map(|index| calls.get(*index)).flat_map(|call| above(call.span)) {
        set(&mut covered, ancestor);
    }
    // An ancestor with one leaf reported that leaf's call; with several, a sum, which adds nothing.
    let mut leaves: HashMap<usize, Vec<usize>> = HashMap::new();
    for leaf in with_usage.into_iter().filter(|leaf| covered.get(*leaf) == Some(&false)) {
        let Some(span) = calls.get(leaf).map(|call| call.span) else { continue };
        for ancestor in above(span) {
            let known = leaves.entry(ancestor).or_default();
            if known.len() < 2 {
                known.push(leaf);
            }
        }
    }
    let mut ancestors: Vec<(usize, Vec<usize>)> = leaves.into_iter().collect();
    ancestors.sort_unstable();
    for (ancestor, leaves) in ancestors {
        match leaves.as_slice() {
            [leaf] if same_call(calls, ancestor, *leaf) => give(calls, ancestor, *leaf),
            _ => mark(calls, ancestor),
        }
    }
    without_usage(calls, &live, &mut covered, above);
}

/// Calls without usage: a successful one below an ancestor that has it is that ancestor's call; else the leaf counts.
fn without_usage<I: Iterator<Item = usize>>(
    calls: &mut [Call],
    live: &[usize],
    covered: &mut [bool],
    above: impl Fn(usize) -> I,
) {
    for leaf in live.iter().copied().filter(|index| !is(calls, *index, Call::has_usage)).collect::<Vec<_>>() {
        if covered.get(leaf) != Some(&false) {
            continue;
        }
        let Some(span) = calls.get(leaf).map(|call| call.span) else { continue };
        let open: Vec<usize> = above(span).filter(|ancestor| covered.get(*ancestor) == Some(&false)).collect();
        match open.iter().copied().find(|ancestor| is(calls, *ancestor, Call::has_usage)) {
            // An attempt that failed, within a call that then succeeded, is a call of its own.
            Some(_) if is(calls, leaf, |call| call.failed) => {}
            Some(ancestor) => give(calls, leaf, ancestor),
            None => {
                for ancestor in open {
                    set(covered, ancestor);
                    mark(calls, ancestor);
                }
            }
        }
    }
}

fn is(calls: &[Call], index: usize, what: impl Fn(&Call) -> bool) -> bool {
    calls.get(index).is_some_and(what)
}

fn set(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

fn mark(calls: &mut [Call], index: usize) {
    if let Some(call) = calls.get_mut(index) {
        call.duplicate = true;
    }
}

fn same_call(calls: &[Call], one: usize, other: usize) -> bool {
    match (calls.get(one), calls.get(other)) {
        (Some(one), Some(other)) => one.tokens.agrees_with(&other.tokens),
        _ => false,
    }
}

/// Tool calls: the same call id in one trace, or one tool's span directly inside another of the same name and no id of
/// its own (an MCP client below the agent's own instrumentation).
fn tools(calls: &mut [Call], family: &Family<'_>) {
    let spans = family.spans();
    let text = |span: usize, field| spans.get(span).and_then(|span| span.attributes.name(field));
    let key = |call: &Call| {
        let id = text(call.span, Field::ToolCall).filter(|_| call.class == Class::Tool)?;
        Some((spans.get(call.span)?.trace?, id))
    };
    for group in groups(calls, key) {
        settle(calls, &group, |_| 0);
    }
    let of_span: HashMap<usize, usize> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.class == Class::Tool)
        .map(|(index, call)| (call.span, index))
        .collect();
    for inner in 0..calls.len() {
        let Some(span) =
            calls.get(inner).filter(|call| call.class == Class::Tool && !call.duplicate).map(|call| call.span)
        else {
            continue;
        };
        let Some(parent) = family.ancestors(span).next() else { continue };
        let Some(outer) = of_span.get(&parent).copied().filter(|outer| is(calls, *outer, |call| !call.duplicate))
        else {
            continue;
        };
        let (own_id, own_name) = (text(span, Field::ToolCall), text(span, Field::Tool));
        if own_id.is_none() && own_name.is_some() && own_name == text(parent, Field::Tool) {
            give(calls, inner, outer);
        }
    }
}
