//! Bodies and documents in, descriptions of runs out.

use budget::{Action, Fraction, Unit};

use super::*;

fn open(body: &str) -> Opened {
    execution_from_json("ns", "run-1", body.as_bytes()).unwrap()
}

fn check_refused(body: &[u8], expected: &str) {
    let problems = execution_from_json("ns", "run-1", body).unwrap_err();
    let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(text.join("\n"), expected, "{}", String::from_utf8_lossy(body));
}

#[test]
fn the_short_form_becomes_a_document() {
    let opened = open(
        r#"{"agent":"triage","team":"support","environment":"prod","parent":"run-0","conversation":"c-1",
            "labels":{"b":"2","a":"1"},"budgets":{"perRunUsd":0.05,"toolCallLimitPerRun":3,"softLimitPct":0.5}}"#,
    );
    assert_eq!(opened.execution, Ref::new("ns", "run-1"));
    let subject = &opened.subject;
    assert_eq!(subject.agent.as_deref(), Some("triage"));
    assert_eq!(subject.team.as_deref(), Some("support"));
    assert_eq!(subject.environment.as_deref(), Some("prod"));
    assert_eq!(subject.labels, [(Arc::from("a"), Arc::from("1")), (Arc::from("b"), Arc::from("2"))]);
    assert_eq!(opened.parent, Some(Ref::new("ns", "run-0")));
    assert_eq!(opened.conversation.as_deref(), Some("c-1"));
    assert!(opened.inherit_from_agent);
    let budget = opened.budget.unwrap();
    assert_eq!((budget.source, &budget.id), (Source::Execution, &Ref::new("ns", "run-1")));
    assert_eq!(budget.scope, Scope { execution: Some(Ref::new("ns", "run-1")), ..Scope::default() });
    assert_eq!((budget.on_hard_limit, budget.soft_levels), (Action::Terminate, vec![Fraction(500_000)]));
    let limits: Vec<_> = budget.limits.iter().map(|limit| (limit.unit, limit.amount)).collect();
    assert_eq!(limits, [(Unit::Usd, 50_000_000_000_000_000), (Unit::ToolCalls, 3)]);
    assert_eq!(
        opened.document.as_deref().unwrap(),
        concat!(
            r#"{"apiVersion":"joch.dev/v1alpha1","kind":"Execution","metadata":{"labels":{"a":"1","b":"2"},"#,
            r#""name":"run-1","namespace":"ns"},"spec":{"agentRef":{"name":"triage"},"#,
            r#""budgets":{"perRunUsd":0.05,"softLimitPct":0.5,"toolCallLimitPerRun":3},"#,
            r#""conversationRef":{"name":"c-1"},"environment":"prod","parentRef":{"name":"run-0"},"team":"support"}}"#
        )
    );
}

#[test]
fn the_short_form_and_its_document_open_the_same_run() {
    let short = open(r#"{"agentRef":{"name":"a"},"team":"t","budgets":{"perRunUsd":1,"inheritFromAgent":false}}"#);
    assert!(!short.inherit_from_agent);
    assert_eq!(open(short.document.as_deref().unwrap()), short);
}

#[test]
fn nothing_at_all_opens_a_run() {
    for body in ["", "{}", "null"] {
        let opened = open(body);
        assert_eq!((opened.budget, opened.subject), (None, Subject::default()), "{body:?}");
        assert!(opened.inherit_from_agent);
    }
}

#[test]
fn a_whole_document_is_read() {
    let opened = open(
        r#"{"apiVersion":"runtime.joch.dev/v1alpha1","kind":"Execution","metadata":{"name":"run-1","labels":{"x":"y"}},
            "spec":{"agentRef":{"name":"triage"},"trigger":{"type":"upstream","sourceRef":{"name":"run-0"}},
                    "conversationRef":{"name":"conv-77123"},"budgets":{"inheritFromAgent":true},"novel":"\u00e9"},
            "status":{"phase":"Running","costUsd":0.62,"hookDecisions":24}}"#,
    );
    assert_eq!(opened.parent, Some(Ref::new("ns", "run-0")));
    assert_eq!(opened.conversation.as_deref(), Some("conv-77123"));
    assert_eq!(opened.budget, None);
    let document = opened.document.unwrap();
    assert!(document.contains(r#""novel":"é""#) && document.contains(r#""status":{"hookDecisions":24}"#), "{document}");
}

#[test]
fn json_escapes_are_read() {
    let opened = open(r#"{"agent":"\u0061gent","labels":{"emoji":"\ud83d\ude00","slash":"a\/b"}}"#);
    assert_eq!(opened.subject.agent.as_deref(), Some("agent"));
    let labels: Vec<&str> = opened.subject.labels.iter().map(|(_, value)| value.as_ref()).collect();
    assert_eq!(labels, ["😀", "a/b"]);
    assert_eq!(open("{\t\"agent\"\t:\t\"a\",\r\n\t\t\"team\":\"t\"\n\t}").subject.team.as_deref(), Some("t"));
}

#[test]
fn bad_bodies_are_refused_with_every_problem() {
    check_refused(b"\xff", "1:1: error: the body is not UTF-8 text");
    check_refused(
        br#"{"budget":{"perRunUsd":1},"budgets":{"perRunUSD":1,"tokenLimitPerRun":-2}}"#,
        "1:2: error: budget: unknown key (did you mean \"budgets\"?)\n\
         1:38: error: budgets.perRunUSD: unknown key (did you mean \"perRunUsd\"?)\n\
         1:71: error: budgets.tokenLimitPerRun: -2 is negative (write 0 to allow nothing)",
    );
    check_refused(
        br#"{"name":"other","parent":"run-1"}"#,
        "1:9: error: name: \"other\" is not the name in the path, \"run-1\" (leave name out, or make them equal)\n\
         1:26: error: a run cannot be its own parent",
    );
    check_refused(
        br#"{"kind":"Budget","metadata":{"namespace":"x"}}"#,
        "1:1: error: kind: \"Budget\" is not an Execution\n\
         1:42: error: metadata.namespace: \"x\" is not the namespace in the path, \"ns\" (leave namespace out, or make them equal)",
    );
    check_refused(b"[1]", "1:1: error: must be a mapping of keys to values, not a list");
    check_refused(b"{}\n---\n{}", "1:1: error: the body holds more than one document");
    assert!(execution_from_json("a/b", "", b"").is_err());
}
