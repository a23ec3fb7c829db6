//! The tables on OpenTelemetry in `send-usage.md`: each attribute leads to its field, and each span that is said to be billed is.

use std::fs;

use serde_json::{Value, json};

use super::harness::daemon::Daemon;
use super::root;

/// Cells of the table rows under a heading, but for the header and the rule.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/guides/send-usage.md")).expect("the guide is there");
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

fn code_words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

/// Sends one span with these attributes, as the `number`th trace; its trace id is the execution where nothing names one.
fn send(daemon: &Daemon, number: usize, pairs: &[(&str, &str)]) -> String {
    let trace = format!("{:032x}", number + 1);
    let now = super::replay::now_nanos().to_string();
    let span = json!({
        "traceId": trace, "spanId": "00000000000000ff", "name": "call", "startTimeUnixNano": now, "endTimeUnixNano": now,
        "attributes": attributes(pairs),
    });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
    assert_eq!(daemon.post("/v1/traces", &body).expect(200).json(), json!({}), "{pairs:?}");
    trace
}

#[test]
fn attributes_name_the_run_as_listed() {
    let daemon = Daemon::start();
    let (mut number, mut seen) = (0, 0);
    for row in rows("### Which run pays") {
        let (field, names) = (row[0].as_str(), code_words(&row[1]));
        assert!(!names.is_empty(), "{row:?}");
        for name in names {
            number += 1;
            let value = format!("value-{number}");
            let call = [("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai"), (name, value.as_str())];
            let trace = send(&daemon, number, &call);
            let (namespace, execution) = match field {
                "execution" => ("default", value.as_str()),
                "namespace" => (value.as_str(), trace.as_str()),
                _ => ("default", trace.as_str()),
            };
            let run = daemon.execution(namespace, execution);
            let spec = &run["spec"];
            let found = match field {
                "execution" | "namespace" => continue,
                "agent" => &spec["agentRef"]["name"],
                "team" => &spec["team"],
                "environment" => &spec["environment"],
                "conversation" => &spec["conversationRef"]["name"],
                other => panic!("the table has a row that is not tested: {other}"),
            };
            assert_eq!(found, value.as_str(), "{field} from {name}: {run}");
            seen += 1;
        }
    }
    assert!(seen > 6 && number > 12, "{seen} of {number}");
}

#[test]
fn calls_are_billed_as_listed() {
    let daemon = Daemon::start();
    let mut number = 0;
    let mut billed = |attribute: &str, value: &str| {
        number += 1;
        let pairs = [(attribute, value), ("gen_ai.tool.name", "grep"), ("gen_ai.response.model", "gpt-4o-mini")];
        let trace = send(&daemon, number, &pairs);
        let answer = daemon.get(&format!("/v1/namespaces/default/executions/{trace}"));
        if answer.status == 404 {
            return (0, 0);
        }
        let status = answer.expect(200).json()["status"].clone();
        (status["modelCalls"].as_u64().expect("a count"), status["toolCalls"].as_u64().expect("a count"))
    };
    for row in rows("### What is billed") {
        let attribute = *code_words(&row[0]).first().unwrap_or_else(|| panic!("no attribute in {row:?}"));
        for (cell, expected) in [(&row[1], (1, 0)), (&row[2], (0, 1))] {
            let values = if cell == "any" { vec!["chat", "completion"] } else { code_words(cell) };
            for value in values {
                let value = if value.starts_with('.') { format!("ai.generateText{value}") } else { value.to_owned() };
                assert_eq!(billed(attribute, &value), expected, "{attribute} = {value}: model calls, tool calls");
            }
        }
    }
    for (attribute, value) in [
        ("gen_ai.operation.name", "invoke_agent"),
        ("openinference.span.kind", "CHAIN"),
        ("ai.operationId", "ai.generateText"),
        ("traceloop.span.kind", "workflow"),
    ] {
        assert_eq!(billed(attribute, value), (0, 0), "{attribute} = {value} is not billed");
    }
}
