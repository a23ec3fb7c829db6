//! Documents in; budgets, warnings and problems with their places out.

use ::budget::{Action, Fraction, Scope, Source, Unit, Window};

use super::*;

/// Every problem, one a line: `line:column: severity: path: message (hint)`.
fn problems(text: &str) -> String {
    let problems = match read(text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn check(text: &str, expected: &str) {
    assert_eq!(problems(text), expected.trim(), "{text}");
}

fn one(text: &str) -> Resource {
    let (mut resources, warnings) = read(text).unwrap();
    assert_eq!(warnings, Vec::new());
    assert_eq!(resources.len(), 1);
    resources.remove(0)
}

fn one_budget(text: &str) -> Budget {
    let mut budgets = one(text).budgets();
    assert_eq!(budgets.len(), 1);
    budgets.remove(0)
}

fn arcs(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

const FULL: &str = r#"
apiVersion: ops.joch.dev/v1alpha1
kind: Budget
metadata: { name: monthly, namespace: support, labels: { tier: gold } }
spec:
  scope: { teams: [support-platform], labels: { b: "2", a: x } }
  limits: { monthlyUsd: 5000, dailyUsd: 250.10, perRunUsd: "0.05", hourlyUsd: 1e2, weeklyUsd: 1, rolling24hUsd: 2,
            tokenLimitDaily: 10000000, tokenLimitPerRun: 5, toolCallLimitPerRun: 6, modelCallLimitPerRun: 0 }
  enforcement: { onSoftLimit: alert, onHardLimit: terminate, softLimitPct: [0.95, 0.5, 0.95, 0.000001] }
  allocation: { byAgent: { triage: 0.5, escalation: 0.3, billing: 0.2 } }
  attribution: { model: true }
  timeZone: europe/berlin
  weekStart: Sun
  monthStartDay: 28
status: { phase: Active, theirs: 1 }
"#;

#[test]
fn a_budget_is_read_to_the_last_field() {
    let budget = one_budget(FULL);
    assert_eq!((budget.source, &budget.id, budget.generation), (Source::Budget, &Ref::new("support", "monthly"), 0));
    let labels = vec![(Arc::from("a"), Arc::from("x")), (Arc::from("b"), Arc::from("2"))];
    assert_eq!(budget.scope, Scope { teams: arcs(&["support-platform"]), labels, ..Scope::default() });
    let limits: Vec<_> = budget.limits.iter().map(|limit| (limit.unit, limit.window, limit.amount)).collect();
    const CENT: i128 = 10_000_000_000_000_000;
    let expected = [
        (Unit::Usd, Window::Run, 5 * CENT),
        (Unit::Usd, Window::Hour, 10_000 * CENT),
        (Unit::Usd, Window::Day, 25_010 * CENT),
        (Unit::Usd, Window::Week, 100 * CENT),
        (Unit::Usd, Window::Month, 500_000 * CENT),
        (Unit::Usd, Window::Rolling24h, 200 * CENT),
        (Unit::Tokens, Window::Day, 10_000_000),
        (Unit::Tokens, Window::Run, 5),
        (Unit::ToolCalls, Window::Run, 6),
        (Unit::ModelCalls, Window::Run, 0),
    ];
    assert_eq!(limits, expected);
    assert_eq!(budget.soft_levels, [Fraction(1), Fraction(500_000), Fraction(950_000)]);
    assert_eq!(budget.on_hard_limit, Action::Terminate);
    assert_eq!((budget.time_zone.as_ref(), budget.week_start, budget.month_start_day), ("Europe/Berlin", 7, 28));
    let shares: Vec<_> = budget.by_agent.iter().map(|(agent, share)| (agent.as_ref(), share.0)).collect();
    assert_eq!(shares, [("billing", 200_000), ("escalation", 300_000), ("triage", 500_000)]);
}

#[test]
fn a_plain_budget_has_defaults_and_binds_its_namespace() {
    let budget =
        one_budget("{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b}, spec: {limits: {dailyUsd: 1}}}");
    assert_eq!(budget.scope, Scope { namespaces: arcs(&["default"]), implied: true, ..Scope::default() });
    assert_eq!((budget.on_hard_limit, budget.soft_levels), (Action::Deny, vec![SOFT_LEVEL_DEFAULT]));
    assert_eq!((budget.time_zone.as_ref(), budget.week_start, budget.month_start_day), ("UTC", 1, 1));
    let (resources, warnings) = read(
        "{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b, namespace: n}, spec: {scope: {teams: []}, limits: {dailyUsd: 0}}}",
    )
    .unwrap();
    assert!(warnings.iter().any(|warning| warning.to_string().contains("the scope selects nothing")), "{warnings:?}");
    let empty = resources[0].budgets().remove(0);
    assert_eq!(empty.scope, Scope { namespaces: arcs(&["n"]), implied: true, ..Scope::default() });
}

#[test]
fn the_document_is_canonical_and_keeps_unknown_fields_and_foreign_status() {
    let spelled = one(FULL).meta().document.clone();
    assert!(spelled.contains(r#""status":{"theirs":1}"#), "{spelled}");
    assert!(spelled.contains(r#""dailyUsd":250.1,"#), "{spelled}");
    assert!(spelled.starts_with(r#"{"apiVersion":"ops.joch.dev/v1alpha1","kind":"Budget","metadata":{"labels""#));
    let reprinted = Json::parse(&spelled).unwrap().to_yaml();
    assert_eq!(one(&reprinted).meta().document, spelled, "the same document in another order and form");
    let (resources, _) =
        read("{apiVersion: joch.dev/v1alpha1, kind: Agent, metadata: {name: a}, spec: {novel: [1, x]}}").unwrap();
    assert!(resources[0].meta().document.contains(r#""spec":{"novel":[1,"x"]}"#));
}

#[test]
fn an_agent_carries_a_budget_that_terminates() {
    let text = "
apiVersion: joch.dev/v1alpha1
kind: Agent
metadata: { name: triage, namespace: support }
spec:
  modelRoute: { routeRef: { name: r } }
  budgets: { tokenLimitPerRun: 20000, costLimitUsdPerDay: 12.5, toolCallLimitPerRun: 30, perRunUsd: 1, modelCallLimitPerRun: 9 }
";
    let budget = one_budget(text);
    assert_eq!(
        (budget.source, &budget.id, budget.on_hard_limit),
        (Source::Agent, &Ref::new("support", "triage"), Action::Terminate)
    );
    assert_eq!(budget.scope, Scope { agents: arcs(&["triage"]), namespaces: arcs(&["support"]), ..Scope::default() });
    let limits: Vec<_> = budget.limits.iter().map(|limit| (limit.unit, limit.window)).collect();
    let expected = [
        (Unit::Usd, Window::Run),
        (Unit::Usd, Window::Day),
        (Unit::Tokens, Window::Run),
        (Unit::ToolCalls, Window::Run),
        (Unit::ModelCalls, Window::Run),
    ];
    assert_eq!(limits, expected);
    assert!(
        one("{apiVersion: joch.dev/v1alpha1, kind: Agent, metadata: {name: a}, spec: {budgets: {}}}")
            .budgets()
            .is_empty()
    );
    let alert = "{apiVersion: joch.dev/v1alpha1, kind: Agent, metadata: {name: a}, spec: {budgets: {perRunUsd: 1, onHardLimit: alert}}}";
    assert_eq!(one_budget(alert).on_hard_limit, Action::Alert);
}

#[test]
fn every_problem_of_a_text_is_named_at_once() {
    let text = r#"apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { namespace: a b }
---
apiVersion: joch.dev/v1
kind: Budget
metadata: { name: b }
spec:
  scope: { agents: triage }
  limits: { dailyUsd: -5, monthlyUsd: lots, perRunUsd: 0.0000000000000000001, tokenLimitDaily: 1.5, toolCallLimitPerRun: -1 }
  enforcement: { onHardLimit: terminat, softLimitPct: 80, onSoftLimit: page }
  allocation: { byAgent: { a: 0.7, b: 0.4 } }
  timeZone: Europe/Berln
  weekStart: someday
  monthStartDay: 31
---
- not a resource
"#;
    check(
        text,
        r#"
3:11: error: metadata.name: the resource has no name (add metadata: { name: … })
5:13: error: apiVersion: "joch.dev/v1" is not a version that is read here (write apiVersion: joch.dev/v1alpha1)
9:20: error: spec.scope.agents: must be a list of names, not text (write [triage])
10:23: error: spec.limits.dailyUsd: -5 is negative (write 0 to allow nothing)
10:39: error: spec.limits.monthlyUsd: not a decimal amount: "lots" (write a plain decimal such as 5 or 0.25)
10:56: error: spec.limits.perRunUsd: "0.0000000000000000001" has digits below 10^-18 USD (write a plain decimal such as 5 or 0.25)
10:96: error: spec.limits.tokenLimitDaily: "1.5" is not a whole number (write digits only, such as 10000000)
10:122: error: spec.limits.toolCallLimitPerRun: -1 is negative (write 0 to allow nothing)
11:31: error: spec.enforcement.onHardLimit: "terminat" is none of alert, deny, terminate (did you mean "terminate"?)
11:55: error: spec.enforcement.softLimitPct: 80 is more than 1 (a share is between 0 and 1: write 0.8 for 80 %)
11:72: error: spec.enforcement.onSoftLimit: "page" is none of alert
12:26: error: spec.allocation.byAgent: the shares sum to 1.1, more than 1 (agents that are not listed share what is left)
13:13: error: spec.timeZone: "Europe/Berln" is no IANA time zone (did you mean "Europe/Berlin"?)
14:14: error: spec.weekStart: "someday" is no weekday (write monday … sunday, or 1 (Monday) … 7 (Sunday))
15:18: error: spec.monthStartDay: 31 is not a day from 1 to 28 (days 29 to 31 are missing in some months)
17:1: error: a resource is a mapping with apiVersion, kind, metadata and spec, not a list
"#,
    );
}

/// What a budget does may stand in its spec or in its enforcement, once.
#[test]
fn actions_stand_in_the_spec_or_in_the_enforcement() {
    let budget = |spec: &str| {
        one_budget(&format!(
            "{{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {{name: b}}, spec: {{limits: {{perRunUsd: 1}}, {spec}}}}}"
        ))
    };
    let parts = "onHardLimit: terminate, softLimitPct: [0.5, 0.9], onUnpriced: deny, estimateCeilingUsd: 2, \
                 windDown: {allowanceUsd: 0.2, grace: 5s}, kill: {plan: [stream]}";
    let (here, there) = (budget(parts), budget(&format!("enforcement: {{{parts}}}")));
    assert_eq!(here, there);
    assert_eq!((here.on_hard_limit, here.soft_levels.len()), (Action::Terminate, 2));
    assert!(here.grants_a_turn() && here.policy.kill_plan.len() == 1 && here.policy.estimate_ceiling.is_some());
    let twice = "{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b}, spec: {limits: {perRunUsd: 1}, \
                 onHardLimit: deny, enforcement: {onHardLimit: terminate}}}";
    assert!(problems(twice).contains("spec.onHardLimit: stands in enforcement as well"), "{}", problems(twice));
}

#[test]
fn shares_are_exact() {
    let levels = |text: &str| {
        format!(
            "{{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {{name: b}}, spec: {{limits: {{dailyUsd: 1}}, enforcement: {{softLimitPct: {text}}}}}}}"
        )
    };
    assert_eq!(one_budget(&levels("1")).soft_levels, [Fraction(1_000_000)]);
    assert_eq!(one_budget(&levels("0.123456")).soft_levels, [Fraction(123_456)]);
    assert_eq!(one_budget(&levels("1e-6")).soft_levels, [Fraction(1)]);
    assert_eq!(one_budget(&levels("[]")).soft_levels, []);
    for (text, why) in [
        ("0.1234567", "has more than 6 decimals"),
        ("0", "a soft level of 0"),
        ("-0.1", "is negative"),
        ("1.000001", "is more than 1"),
        ("5000", "is more than 1"),
        ("some", "is not a plain decimal"),
        ("{}", "must be a single value"),
    ] {
        assert!(problems(&levels(text)).contains(why), "{text}: {}", problems(&levels(text)));
    }
    let shares = "{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: b}, spec: {limits: {dailyUsd: 1}, allocation: {byAgent: {a: 0.333333, b: 0.333333, c: 0.333334}}}}";
    assert_eq!(one_budget(shares).by_agent.iter().map(|(_, share)| share.0).sum::<u32>(), 1_000_000);
}

#[test]
fn warnings_name_what_has_no_effect() {
    check(
        "
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: b }
spec:
  limits: { dailyUSD: 1, colour: red }
  onPartition: deny
  enforcment: {}
extra: 1
---
{apiVersion: joch.dev/v1alpha1, kind: Agnet, metadata: {name: a}}
---
{apiVersion: joch.dev/v1alpha1, kind: Team, metadata: {name: t}, spec: {budgetRefs: [{name: b}]}}
---
{apiVersion: joch.dev/v1alpha1, kind: Budget, metadata: {name: nothing}}
",
        r#"
6:11: warning: spec.limits: the budget has no limit, so it limits nothing (limits are perRunUsd, hourlyUsd, dailyUsd, weeklyUsd, monthlyUsd, rolling24hUsd, tokenLimitDaily, tokenLimitPerRun, toolCallLimitPerRun, modelCallLimitPerRun)
6:13: warning: spec.limits.dailyUSD: unknown field: kept, but it has no effect (did you mean "dailyUsd"?)
6:26: warning: spec.limits.colour: unknown field: kept, but it has no effect
7:3: warning: spec.onPartition: not enforced by this version: kept, but it has no effect
8:3: warning: spec.enforcment: unknown field: kept, but it has no effect (did you mean "enforcement"?)
9:1: warning: extra: unknown field: kept, but it has no effect
11:39: warning: kind: unknown kind Agnet: kept, but it has no effect (did you mean "Agent"?)
15:1: warning: spec: the budget has no spec, so it limits nothing
"#,
    );
}

#[test]
fn kinds_that_are_not_used_are_handed_through() {
    let (resources, warnings) = read(
        "{apiVersion: tools.joch.dev/v1alpha1, kind: Tool, metadata: {name: zendesk.create_ticket}, spec: {type: mcp}}",
    )
    .unwrap();
    assert_eq!(warnings, Vec::new());
    assert!(matches!(&resources[0], Resource::Other { meta } if meta.kind.as_ref() == "Tool"));
    let Command::Apply(applied) = resources[0].command(Origin::Directory) else { panic!("not applied") };
    assert_eq!((applied.kind.as_ref(), applied.origin, applied.budgets.len()), ("Tool", Origin::Directory, 0));
}

#[test]
fn a_resource_given_twice_is_refused() {
    check(
        "{apiVersion: joch.dev/v1alpha1, kind: Team, metadata: {name: t}}\n---\n{apiVersion: joch.dev/v1alpha1, kind: Team, metadata: {name: t, namespace: default}}",
        "3:1: error: metadata.name: Team default/t is given twice, first on line 1 (keep one of the two)",
    );
}

#[test]
fn broken_yaml_is_a_problem_with_a_place() {
    let problems = read("a: [1\nb: 2").unwrap_err();
    assert!(problems[0].place.line >= 1 && problems[0].message.starts_with("not YAML"));
}
