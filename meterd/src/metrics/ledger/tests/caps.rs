//! Junk names cannot make series without end, and sums stay exact; idle series rest and come back.

use budget::charge::CallOutcome;
use pricing::{Money, Unpriced};

use super::{A_T, WHO, exposed, fold};
use crate::metrics::ledger::Caps;
use crate::metrics::tests::{Exposition, Feed, PICO, cost, model, no_price, sum, tool, usd};

#[test]
fn twenty_thousand_made_up_models_leave_the_sums_exact_and_the_series_few() {
    let mut feed = Feed::default();
    let mut all = 0i128;
    for junk in 0..20_000i128 {
        // Amounts that no float could add up exactly.
        let amount = usd("1234567") + junk * PICO + 1;
        all += amount;
        feed.charge(WHO, model("p", &format!("made-up-{junk}")), cost(amount));
    }
    let exposed = exposed(&feed);
    assert_eq!(exposed.family("meterd_model_cost_usd_total").count(), 201);
    assert_eq!(sum(&exposed, "meterd_model_cost_usd_total", &[]), all);
    let total = Money::from_scaled(all).unwrap().to_string();
    exposed.check(&format!(r#"meterd_cost_usd_total{{{A_T},category="model",basis="priced"}}"#), &total);
    let overflow = |family| format!(r#"meterd_exporter_overflow_total{{family="{family}",label="model"}}"#);
    exposed.check(&overflow("meterd_model_cost_usd_total"), "19800");
    exposed.check(&overflow("meterd_model_calls_total"), "19800");
    let series = exposed.family("meterd_model_cost_usd_total").count().to_string();
    exposed.check(r#"meterd_exporter_series{family="meterd_model_cost_usd_total"}"#, &series);
}

#[test]
fn a_name_that_no_table_knows_gets_no_series_of_its_own_and_is_no_overflow() {
    let mut feed = Feed::default();
    feed.charge(WHO, model("p", "real"), cost(usd("1")));
    for typo in 0..1000 {
        let name = format!("real-{typo}");
        feed.call(WHO, model("p", &name), no_price(Unpriced::UnknownModel), CallOutcome::Error, &[]);
        feed.call(WHO, model("q", &name), no_price(Unpriced::UnknownProvider), CallOutcome::Error, &[]);
        feed.call(WHO, model("p", &name), no_price(Unpriced::MissingUsage), CallOutcome::Ok, &[]);
    }
    feed.call(WHO, model("p", "real"), no_price(Unpriced::MissingUsage), CallOutcome::Ok, &[]);
    let exposed = exposed(&feed);
    assert_eq!(exposed.family("meterd_model_cost_usd_total").count(), 3);
    let calls = |provider, model, outcome| {
        format!(r#"meterd_model_calls_total{{provider="{provider}",model="{model}",{A_T},outcome="{outcome}"}}"#)
    };
    exposed.check(&calls("p", "real", "ok"), "2");
    exposed.check(&calls("p", "_other", "error"), "1000");
    exposed.check(&calls("p", "_other", "ok"), "1000");
    exposed.check(&calls("_other", "_other", "error"), "1000");
    for (series, value) in exposed.family("meterd_exporter_overflow_total") {
        assert_eq!(value, "0", "{series}");
    }
}

#[test]
fn agents_teams_tools_and_providers_are_capped_too() {
    let caps =
        Caps { agents_max: 3, teams_max: 2, tools_max: 2, providers_max: 2, namespaces_max: 1, ..Caps::default() };
    let mut feed = Feed::default();
    for junk in 0..100 {
        let (agent, team) = (format!("a{junk}"), format!("t{junk}"));
        feed.charge(["r", &agent, &team], tool(&format!("x{junk}")), cost(usd("0.1")));
        feed.charge(["r", &agent, &team], model(&format!("p{junk}"), "m"), cost(usd("0.1")));
    }
    let exposed = Exposition::of_ledger(&fold(&feed, caps));
    let values = |family: &str, label: &str| {
        let find =
            |series: &str| series.split(&format!("{label}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        exposed.family(family).map(|(series, _)| find(series)).collect::<std::collections::BTreeSet<_>>()
    };
    let check = |family, label, expected: &[&str]| {
        assert_eq!(values(family, label), expected.iter().map(|text| (*text).to_owned()).collect())
    };
    check("meterd_cost_usd_total", ",agent", &["_other", "a0", "a1", "a2"]);
    check("meterd_cost_usd_total", "team", &["_other", "t0", "t1"]);
    check("meterd_tool_cost_usd_total", "tool", &["_other", "x0", "x1"]);
    check("meterd_model_cost_usd_total", "provider", &["_other", "p0", "p1"]);
    for family in ["meterd_tool_cost_usd_total", "meterd_model_cost_usd_total"] {
        assert_eq!(sum(&exposed, family, &[]), usd("10"), "{family}");
    }
    assert_eq!(sum(&exposed, "meterd_cost_usd_total", &[]), usd("20"));
}

#[test]
fn a_full_family_folds_label_after_label_and_keeps_its_sum() {
    let caps = Caps { series_max: 10, ..Caps::default() };
    let mut feed = Feed::default();
    for agent in 0..50 {
        for name in 0..20 {
            let who = ["r", &format!("a{agent}"), &format!("t{}", agent % 5)];
            feed.charge(who, model("p", &format!("m{name}")), cost(usd("0.001")));
        }
    }
    let exposed = Exposition::of_ledger(&fold(&feed, caps));
    for family in ["meterd_model_cost_usd_total", "meterd_cost_usd_total"] {
        // The cap, and one last series that takes what no other may.
        assert!(exposed.family(family).count() <= 11, "{family}");
        assert_eq!(sum(&exposed, family, &[]), usd("1"), "{family}");
        let overflow = format!(r#"meterd_exporter_overflow_total{{family="{family}",label="agent"}}"#);
        assert_ne!(exposed.value(&overflow), Some("0"));
    }
}

#[test]
fn idle_agents_and_tools_rest_and_return_with_their_totals() {
    const DAY: i64 = 86_400;
    let cost_of = |agent| {
        format!(
            r#"meterd_cost_usd_total{{agent_namespace="ns",agent="{agent}",team="t",category="tool",basis="priced"}}"#
        )
    };
    let tool_of =
        |agent| format!(r#"meterd_tool_cost_usd_total{{tool="x",agent_namespace="ns",agent="{agent}",team="t"}}"#);
    let mut feed = Feed::default();
    feed.charge(["r", "idle", "t"], tool("x"), cost(usd("1"))).charge(["r", "busy", "t"], tool("x"), cost(usd("2")));
    feed.wait(2 * 3600).charge(["r", "busy", "t"], model("p", "m"), cost(usd("4")));
    let after_hours = exposed(&feed);
    assert_eq!(after_hours.value(&tool_of("busy")), None);
    after_hours.check(&cost_of("idle"), "1");
    feed.wait(DAY).charge(["r", "busy", "t"], model("p", "m"), cost(usd("8")));
    feed.charge(["r", "busy", "t"], model("p", "m"), cost(usd("8")));
    let after_a_day = exposed(&feed);
    assert_eq!(after_a_day.value(&cost_of("idle")), None);
    after_a_day.check(&cost_of("busy"), "2");
    after_a_day.check(r#"meterd_exporter_evicted_series_total{family="meterd_cost_usd_total",reason="idle"}"#, "1");
    assert_eq!(sum(&after_a_day, "meterd_cost_usd_total", &["_other"]), 0);
    feed.charge(["r", "idle", "t"], tool("x"), cost(usd("1")));
    let back = exposed(&feed);
    back.check(&cost_of("idle"), "2");
    back.check(&tool_of("idle"), "2");
    back.check(&tool_of("busy"), "2");
}
