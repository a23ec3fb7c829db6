//! One request in the forms in which exporters and collectors send it: the events are the same.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use super::super::{Defaults, Encoding, TraceBatch, decode_traces};
use super::support::{SpanText, body, span};

fn spans() -> Vec<SpanText> {
    let call = |id: u8| {
        span(id, "chat gpt-4o-mini")
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.provider.name", "openai")
            .with("gen_ai.response.model", "gpt-4o-mini")
            .with("gen_ai.response.id", format!("chatcmpl-{id}"))
            .with("gen_ai.usage.input_tokens", 2048)
            .with("gen_ai.usage.cache_read.input_tokens", 1024)
            .with("gen_ai.usage.output_tokens", 321)
    };
    let agent =
        span(9, "invoke_agent").with("gen_ai.operation.name", "invoke_agent").with("gen_ai.agent.name", "triage");
    let tool = span(3, "execute_tool grep").under(9).with("gen_ai.operation.name", "execute_tool");
    vec![call(1).under(9), tool.with("gen_ai.tool.name", "grep"), call(2).under(9).trace(2).error(), agent]
}

fn request() -> Value {
    serde_json::from_slice(&body(&spans(), &[("service.name", "worker"), ("service.namespace", "ns")])).unwrap()
}

fn read(request: &Value) -> TraceBatch {
    decode_traces(request.to_string().as_bytes(), Encoding::Json, &Defaults::default()).unwrap()
}

/// What becomes of a member, by its name; `None` leaves it.
type Change<'a> = &'a dyn Fn(&str, &Value) -> Option<(String, Value)>;

/// Every member of every object, by its name.
fn change(value: &mut Value, change_one: Change<'_>) {
    match value {
        Value::Object(members) => {
            let old = std::mem::take(members);
            for (name, mut member) in old {
                change(&mut member, change_one);
                let (name, member) = change_one(&name, &member).unwrap_or((name, member));
                members.insert(name, member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, change_one)),
        _ => {}
    }
}

/// The request with some members changed reads as before.
#[track_caller]
fn same(change_one: Change<'_>) {
    let mut changed = request();
    change(&mut changed, change_one);
    assert_ne!(changed, request(), "something is changed");
    let expected = read(&request());
    assert_eq!(expected.items.len(), 3);
    assert_eq!(read(&changed), expected, "{changed}");
}

#[test]
fn integers_are_text_or_numbers() {
    same(&|name, value| {
        let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
        (name.ends_with("Nano")).then(|| (name.to_owned(), json!(number)))
    });
    same(&|name, value| (name == "intValue").then(|| (name.to_owned(), Value::from(value.to_string()))));
    same(&|name, value| (name == "intValue").then(|| ("doubleValue".to_owned(), json!(value.as_f64()))));
    same(&|name, value| (name == "intValue").then(|| ("stringValue".to_owned(), Value::from(value.to_string()))));
}

#[test]
fn names_are_in_camel_or_snake_case() {
    same(&|name, value| {
        let snake = name.chars().fold(String::new(), |mut snake, c| {
            if c.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
            snake
        });
        (!name.contains('.')).then(|| (snake, value.clone()))
    });
}

#[test]
fn ids_are_hex_in_either_case_or_base64() {
    let bytes = |text: &Value| -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let is_id = |name: &str| matches!(name, "traceId" | "spanId" | "parentSpanId");
    same(&|name, value| is_id(name).then(|| (name.to_owned(), Value::from(STANDARD.encode(bytes(value))))));
    same(&|name, value| is_id(name).then(|| (name.to_owned(), Value::from(URL_SAFE_NO_PAD.encode(bytes(value))))));
    let mut upper = request();
    upper["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = json!("ABCDEF00000000000000000000000001");
    let mut lower = request();
    lower["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = json!("abcdef00000000000000000000000001");
    assert_eq!(read(&upper), read(&lower));
}

#[test]
fn what_is_absent_is_null_or_empty_and_what_is_unknown_is_passed_over() {
    same(&|name, value| {
        let mut more = value.clone();
        let members = more.as_object_mut().filter(|_| name == "status" || name == "scope")?;
        members.insert("unknown".to_owned(), json!({ "deep": [1, { "x": null }] }));
        members.insert("message".to_owned(), Value::Null);
        Some((name.to_owned(), more))
    });
    same(&|name, value| (name == "code" && value == 2).then(|| (name.to_owned(), json!("STATUS_CODE_ERROR"))));
    same(&|name, value| {
        let mut spans = value.as_array().filter(|_| name == "spans")?.clone();
        for span in &mut spans {
            let members = span.as_object_mut().unwrap();
            members.entry("parentSpanId").or_insert(json!(""));
            members.insert("events".to_owned(), json!([{ "name": "e", "attributes": [{ "key": "gen_ai.prompt", "value": { "stringValue": "secret" } }] }]));
            members.insert("links".to_owned(), Value::Null);
            members.insert("traceState".to_owned(), json!("a=b"));
            members.insert("flags".to_owned(), json!(257));
        }
        Some((name.to_owned(), Value::from(spans)))
    });
}

/// A collector puts requests together and takes them apart: by resource, by scope, in any order.
#[test]
fn spans_may_stand_in_any_resource_scope_and_order() {
    let whole = request();
    let group = &whole["resourceSpans"][0];
    let scopes = group["scopeSpans"].as_array().unwrap();
    let apart: Vec<Value> =
        scopes.iter().rev().map(|scope| json!({ "resource": group["resource"], "scopeSpans": [scope] })).collect();
    let sorted = |request: &Value| {
        let mut items = read(request).items;
        items.iter_mut().for_each(|item| item.index = 0);
        items.sort_by(|one, other| one.id.cmp(&other.id));
        items
    };
    assert_eq!(sorted(&json!({ "resourceSpans": apart })), sorted(&whole));
    // The agent's name comes from its span, wherever that stands.
    let named =
        sorted(&whole).iter().filter(|item| item.event.as_ref().unwrap().agent.as_deref() == Some("triage")).count();
    assert_eq!(named, 2, "the call of another trace has another agent");
    let empty = json!({ "resource": {}, "scopeSpans": [{ "scope": null, "spans": [] }, { "spans": null }] });
    let mut padded = whole.clone();
    padded["resourceSpans"].as_array_mut().unwrap().push(empty);
    assert_eq!(read(&padded), read(&whole));
}

#[test]
fn protobuf_says_the_same() {
    let message: ExportTraceServiceRequest = serde_json::from_value(request()).unwrap();
    let binary = decode_traces(&message.encode_to_vec(), Encoding::Protobuf, &Defaults::default()).unwrap();
    assert_eq!(binary, read(&request()));
    // Two requests in one body are one request, as protobuf has it.
    let twice = [message.encode_to_vec(), message.encode_to_vec()].concat();
    let twice = decode_traces(&twice, Encoding::Protobuf, &Defaults::default()).unwrap();
    assert_eq!((twice.items.len(), twice.spans), (3, 8));
}
