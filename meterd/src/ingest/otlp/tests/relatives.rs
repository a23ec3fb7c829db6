//! Which span counts when several report one call.

use std::sync::Mutex;

use pricing::UsageKey;

use super::super::{Defaults, Encoding, Mark, REMEMBERED_MAX, Recent, decode_traces_after};
use super::support::{SpanText, body, decode, only, span, sums};

fn chat(id: u8) -> SpanText {
    span(id, "chat").with("gen_ai.operation.name", "chat").with("gen_ai.provider.name", "openai")
}

fn used(span: SpanText, input: u64) -> SpanText {
    span.with("gen_ai.usage.input_tokens", input).with("gen_ai.usage.output_tokens", 1)
}

fn check(spans: &[SpanText], calls: u64, failed: u64, input: u64, duplicates: usize) {
    let batch = decode(spans);
    let sums = sums(&batch);
    assert_eq!(
        (sums.calls, sums.failed, sums.input_total, batch.duplicates),
        (calls, failed, input, duplicates),
        "{batch:#?}"
    );
    // The order of the spans decides nothing.
    let reversed: Vec<SpanText> = spans.iter().rev().cloned().collect();
    assert_eq!(self::sums(&decode(&reversed)), sums);
}

#[test]
fn the_same_span_twice() {
    check(&[used(chat(1), 10), used(chat(1), 10)], 1, 0, 10, 1);
    check(&[used(chat(1), 10), used(chat(1).trace(2), 10)], 2, 0, 20, 0);
}

#[test]
fn the_same_response_in_two_traces() {
    let id = |span: SpanText| span.with("gen_ai.response.id", "r1");
    check(&[id(used(chat(1), 10)), id(used(chat(2).trace(2), 10))], 1, 0, 10, 1);
    let other_provider = id(used(span(2, "c").with("gen_ai.operation.name", "chat").with("gen_ai.system", "groq"), 10));
    check(&[id(used(chat(1), 10)), other_provider], 2, 0, 20, 0);
    // The one with more counts wins and keeps its id; the other adds what it alone knew.
    let detailed = id(used(chat(1), 10)).with("gen_ai.usage.reasoning.output_tokens", 1);
    let tiered =
        id(used(chat(2).trace(2), 10)).with("openai.response.service_tier", "flex").with("operation.cost", 0.5);
    let event = only(&[tiered, detailed]);
    assert!(event.id.ends_with("1:0000000000000001"), "{}", event.id);
    assert_eq!(event.attrs.get("service_tier"), Some("flex"));
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.5");
    assert_eq!(event.usage.unwrap().count(UsageKey::OutputReasoningTokens), 1);
}

#[test]
fn the_leaf_counts() {
    check(&[used(chat(1), 10), used(chat(2).under(1), 10)], 1, 0, 10, 1);
    // Through spans that are nothing themselves.
    check(&[used(chat(1), 10), span(2, "http").under(1), used(chat(3).under(2), 10)], 1, 0, 10, 1);
    // An outer span that repeats the sum of two calls.
    check(&[used(chat(1), 30), used(chat(2).under(1), 10), used(chat(3).under(1), 20)], 2, 0, 30, 1);
    // Three layers.
    check(&[used(chat(1), 10), used(chat(2).under(1), 10), used(chat(3).under(2), 10)], 1, 0, 10, 2);
    // The same span ids in another trace are no relatives.
    check(&[used(chat(1), 10), used(chat(2).under(1).trace(2), 10)], 2, 0, 20, 0);
}

#[test]
fn a_leaf_takes_over_what_only_its_ancestor_knew() {
    let outer = used(chat(1), 10).with("operation.cost", 0.25).with("openai.response.service_tier", "priority");
    let event = only(&[outer.clone(), used(chat(2).under(1), 10)]);
    assert!(event.id.ends_with(":0000000000000002"));
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.25");
    assert_eq!(event.attrs.get("service_tier"), Some("priority"));
    // A sum over two calls belongs to neither.
    let batch = decode(&[outer, used(chat(2).under(1), 4), used(chat(3).under(1), 6)]);
    assert!(batch.items.iter().all(|item| item.event.as_ref().unwrap().reported_cost.is_none()));
}

#[test]
fn usage_is_never_lost_to_a_span_without_it() {
    check(&[used(chat(1), 10), chat(2).under(1)], 1, 0, 10, 1);
    check(&[chat(1), used(chat(2).under(1), 10)], 1, 0, 10, 1);
    check(&[chat(1), chat(2).under(1)], 1, 0, 0, 1);
    // A failed attempt inside of a call that then succeeded.
    check(&[used(chat(1), 10), chat(2).under(1).error()], 1, 1, 10, 0);
    check(&[used(chat(1), 10), chat(2).under(1).error(), used(chat(3).under(1), 10)], 1, 1, 10, 1);
    check(&[chat(1).error(), chat(2).under(1).error()], 0, 1, 0, 1);
}

#[test]
fn tools_count_once() {
    let tool =
        |id: u8| span(id, "execute_tool t").with("gen_ai.operation.name", "execute_tool").with("gen_ai.tool.name", "t");
    let calls = |spans: &[SpanText]| sums(&decode(spans)).tool_calls;
    assert_eq!(calls(&[tool(1), tool(2)]), 2);
    assert_eq!(calls(&[tool(1).with("gen_ai.tool.call.id", "c"), tool(2).with("gen_ai.tool.call.id", "c")]), 1);
    assert_eq!(calls(&[tool(1).with("gen_ai.tool.call.id", "c"), tool(2).with("gen_ai.tool.call.id", "d")]), 2);
    let mcp = span(2, "tools/call t").under(1).with("mcp.method.name", "tools/call").with("gen_ai.tool.name", "t");
    assert_eq!(calls(&[tool(1).with("gen_ai.tool.call.id", "c"), mcp.clone()]), 1);
    assert_eq!(calls(std::slice::from_ref(&mcp)), 1);
    // A tool that runs another tool, and a model call inside of a tool, are calls of their own.
    let other = span(2, "x").under(1).with("gen_ai.operation.name", "execute_tool").with("gen_ai.tool.name", "u");
    assert_eq!(calls(&[tool(1), other]), 2);
    check(&[used(chat(1), 10), tool(2).under(9), used(chat(3).under(2), 5)], 2, 0, 15, 0);
}

#[test]
fn rings_of_parents_end() {
    check(&[used(chat(1).under(2), 10), span(2, "x").under(3), span(3, "y").under(2)], 1, 0, 10, 0);
    check(&[used(chat(1).under(1), 10)], 1, 0, 10, 0);
    // Neither is a leaf; neither is lost.
    check(&[used(chat(1).under(2), 10), used(chat(2).under(1), 10)], 2, 0, 20, 0);
    check(&[chat(1).under(2), chat(2).under(1)], 1, 0, 0, 1);
}

/// As OpenInference's instrumentation of a stream beside the Anthropic SDK's own span: two traces, one id.
#[test]
fn one_call_in_two_traces_without_an_id_in_common() {
    let model = |span: SpanText| span.with("gen_ai.request.model", "claude-sonnet-4-5");
    let native = model(used(chat(1), 10)).with("gen_ai.response.id", "m1");
    let around = model(used(chat(2).trace(2), 10)).around(500);
    check(&[native.clone(), around.clone()], 1, 0, 10, 1);
    // Two calls at the same time have two reports each.
    let second = model(used(chat(3).trace(3), 10)).with("gen_ai.response.id", "m2");
    let around_second = model(used(chat(4).trace(4), 10)).around(700);
    check(&[native.clone(), second.clone(), around.clone(), around_second], 2, 0, 20, 2);
    check(&[native.clone(), second, around], 2, 0, 20, 1);
    // Another usage, another model, or another time is another call.
    check(&[native.clone(), model(used(chat(2).trace(2), 11)).around(500)], 2, 0, 21, 0);
    let other = used(chat(2).trace(2), 10).with("gen_ai.request.model", "claude-haiku-4-5").around(500);
    check(&[native.clone(), other], 2, 0, 20, 0);
    let mut later = model(used(chat(2).trace(2), 10));
    later = later.around(0).shifted(1_000_000);
    check(&[native, later], 2, 0, 20, 0);
}

/// Requests of one sender, each after those before it; the calls of each.
struct Sender(Mutex<Recent>);

impl Sender {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn calls(&self, spans: &[SpanText]) -> u64 {
        self.of("tenant", spans)
    }

    fn of(&self, tenant: &str, spans: &[SpanText]) -> u64 {
        let body = body(spans, &[("service.name", "worker")]);
        sums(&decode_traces_after(&body, Encoding::Json, &Defaults::default(), tenant, &self.0).unwrap()).calls
    }

    /// What was written is all that is left, byte by byte.
    fn restart(&mut self) {
        let fresh = self.0.get_mut().unwrap().take_fresh();
        let bytes: Vec<_> = fresh.into_iter().map(Mark::to_bytes).collect();
        self.0 = Mutex::new(Recent::restored(bytes.iter().map(|bytes| Mark::from_bytes(bytes).unwrap())));
    }
}

#[test]
fn an_outer_span_in_a_later_request_adds_nothing() {
    let mut sender = Sender::new();
    assert_eq!(sender.calls(&[used(chat(3).under(2), 10)]), 1);
    sender.restart();
    assert_eq!(sender.calls(&[span(2, "http").under(1)]), 0);
    assert_eq!(sender.calls(&[used(chat(1), 10)]), 0, "the leaf was counted");
    assert_eq!(sender.calls(&[used(chat(3).under(2), 10)]), 1, "a leaf that is sent again is the same event");
    assert_eq!(sender.calls(&[used(chat(1).trace(2), 10)]), 1, "another trace");
    assert_eq!(sender.of("other", &[used(chat(1), 10)]), 1, "another tenant");
}

#[test]
fn a_leaf_in_a_later_request_than_its_outer_span_adds_nothing() {
    let mut sender = Sender::new();
    assert_eq!(sender.calls(&[used(chat(1), 10)]), 1);
    sender.restart();
    assert_eq!(sender.calls(&[used(chat(1), 10)]), 1, "sent again it is the same event");
    assert_eq!(sender.calls(&[used(chat(3).under(1), 10)]), 0, "the outer span was counted");
    assert_eq!(sender.calls(&[used(chat(4).under(3), 10), span(5, "http").under(4)]), 0);
    assert_eq!(sender.calls(&[used(chat(6).under(5), 10)]), 0, "through spans that are nothing themselves");
    assert_eq!(sender.calls(&[used(chat(7), 10)]), 1, "a call beside it");
    // Two leaves below one outer span, each in a request of its own: neither is below the other.
    assert_eq!(sender.calls(&[used(chat(12).under(11).trace(2), 10)]), 1);
    assert_eq!(sender.calls(&[used(chat(13).under(11).trace(2), 10)]), 1);
    assert_eq!(sender.calls(&[used(chat(11).trace(2), 20)]), 0);
}

/// A model that is called by a tool that a model asked for.
#[test]
fn a_call_inside_of_a_tool_is_a_call_of_its_own() {
    let tool =
        |id: u8| span(id, "execute_tool t").with("gen_ai.operation.name", "execute_tool").with("gen_ai.tool.name", "t");
    let spans = [used(chat(1), 10), tool(2).under(1), used(chat(3).under(2), 5)];
    check(&spans, 2, 0, 15, 0);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let sender = Sender::new();
        let calls: u64 = order.iter().map(|index| sender.calls(&spans[*index..=*index])).sum();
        assert_eq!(calls, 2, "{order:?}");
    }
}

#[test]
fn what_is_remembered_has_a_bound() {
    let sender = Sender::new();
    let mut recent = sender.0.lock().unwrap();
    let mark = |n: u32| {
        let mut bytes = [1; 33];
        bytes[29..].copy_from_slice(&n.to_be_bytes());
        Mark::from_bytes(&bytes).unwrap()
    };
    let many = u32::try_from(REMEMBERED_MAX).unwrap() + 10;
    *recent = Recent::restored((0..many).map(mark));
    assert_eq!(recent.marks().count(), REMEMBERED_MAX);
    assert_eq!(recent.marks().next(), Some(mark(10)), "the oldest go first");
}
