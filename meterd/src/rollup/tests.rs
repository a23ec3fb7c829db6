//! Roll-ups against sums made the plain way, over a seeded ledger with late events, adjustments and unpriced calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use budget::adjust::Superseded;
use budget::charge::Called;
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact, Ref, Subject, Turns};
use pricing::{Timestamp, UsageKey};
use serde_json::Value;
use tempfile::TempDir;

use super::cube::Cube;
use super::{Answer, AtRest, Groups, Params, QUARTER_NANOS, Question, Sums, scan};
use crate::event::charge::tests::sample::{START, call, entries, usage, usd};
use crate::ledger::{self, DataDir, Reader};

const HOUR: i64 = 3_600_000_000_000;

/// Charges of three teams, two namespaces and nine runs over four days, some of them late; every seventh is re-priced.
fn seeded(count: usize) -> Vec<Entry> {
    let mut seed = 7_u64;
    let mut next = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let mut facts: Vec<Fact> = Vec::new();
    for id in 0..count {
        let mut charge: Charge = call(&id.to_string(), &format!("run-{}", next(9)));
        charge.execution = Ref::new(["ns", "other"][next(2) as usize], &charge.execution.name);
        charge.subject.team = [None, Some("blue".into()), Some("red".into())][next(3) as usize].clone();
        charge.subject.labels = vec![("tier".into(), ["gold", "tin"][next(2) as usize].into())];
        charge.time = START.saturating_add(-(next(96) as i64) * HOUR - next(3_600) as i64 * 1_000_000_000);
        if next(5) == 0 {
            charge.called = Called::Tool { tool: "search".into(), mcp_server: Some("m".into()) };
        }
        facts.push(Fact::Charged(Box::new(charge.clone())));
        if next(7) == 0 {
            facts.push(Fact::Adjusted(Box::new(adjustment(facts.len() as u64, charge))));
        }
    }
    entries(1, facts)
}

fn adjustment(of: u64, charge: Charge) -> Adjustment {
    let before = charge.price();
    let (event_id, execution, subject) = (charge.event_id, charge.execution, charge.subject);
    let (called, time, priced) = (charge.called, charge.time, charge.priced);
    let (reason, delta) = (AdjustReason::Repriced, usd("-0.000000000000000001"));
    let (event_time, turns, ceiling, run) = (time, Turns::Not, None, None);
    Adjustment {
        of,
        event_id,
        execution,
        subject,
        called,
        time,
        event_time,
        reason,
        before,
        priced,
        delta,
        turns,
        ceiling,
        run,
    }
}

fn reader_of(entries: &[Entry]) -> (TempDir, DataDir, Reader) {
    let folder = TempDir::new().unwrap();
    let dir = DataDir::new(folder.path().join("data"));
    let mut writer = ledger::open(&dir, 0, |_| {}).unwrap().writer;
    for batch in entries.chunks(100) {
        writer.append(batch.to_vec()).unwrap();
    }
    let reader = writer.reader();
    (folder, dir, reader)
}

fn question(words: &[(&str, &str)]) -> Question {
    let words: serde_json::Map<String, Value> =
        words.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let params: Params = serde_json::from_value(Value::Object(words)).unwrap();
    Question::parse(&params, START).unwrap()
}

fn from_cube(entries: &[Entry], question: &Question, cells_max: usize) -> Option<Answer> {
    let mut cube = Cube::new(question.needs_runs(), cells_max);
    entries.iter().for_each(|entry| cube.apply(entry));
    let mut groups = Groups::new(question);
    cube.fill(question, &mut groups);
    cube.reaches(question).then(|| groups.answer("ledger", |_| None))
}

fn from_scan(reader: &Reader, question: &Question) -> Answer {
    let mut groups = Groups::new(question);
    scan(reader, question, &mut groups).unwrap();
    groups.answer("ledger", |_| None)
}

/// Cost by a key of each charge and adjustment whose time lies in the span, summed one by one.
fn plainly(
    entries: &[Entry],
    span: (Timestamp, Timestamp),
    key: impl Fn(&Ref, &Subject, &Called, Timestamp) -> Option<String>,
) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for entry in entries {
        let (run, subject, called, time, cost) = match &entry.fact {
            Fact::Charged(c) => (&c.execution, &c.subject, &c.called, c.time, c.amount()),
            Fact::Adjusted(a) => (&a.execution, &a.subject, &a.called, a.time, a.delta),
            _ => continue,
        };
        if time >= span.0
            && time < span.1
            && let Some(key) = key(run, subject, called, time)
        {
            *sums.entry(key).or_default() += cost.scaled();
        }
    }
    sums
}

fn sums_of(answer: &Answer) -> BTreeMap<String, i128> {
    let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("-").to_owned();
    let mut sums = BTreeMap::new();
    for row in &answer.rows {
        let bucket = row.bucket.map(|start| format!("{start}|")).unwrap_or_default();
        let key = format!("{bucket}{}|{}", name(&row.names[0]), name(&row.names[1]));
        assert!(sums.insert(key, row.sums.cost.scaled()).is_none(), "a row comes once");
    }
    sums
}

#[test]
fn every_way_gives_the_sums_of_the_entries() {
    let entries = seeded(3_000);
    let (_folder, _dir, reader) = reader_of(&entries);
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
    let team = |_: &Ref, subject: &Subject, _: &Called, _: Timestamp| Some(format!("{}|-", text(&subject.team)));
    let run = |run: &Ref, _: &Subject, _: &Called, _: Timestamp| Some(format!("{}|{}", run.namespace, run.name));
    let tool = |_: &Ref, _: &Subject, called: &Called, _: Timestamp| {
        matches!(called, Called::Tool { .. }).then(|| "search|-".to_owned())
    };
    let gold_in_ns = |run: &Ref, subject: &Subject, _: &Called, _: Timestamp| {
        (&*run.namespace == "ns" && &*subject.labels[0].1 == "gold").then(|| format!("{}|-", text(&subject.team)))
    };
    // In India a day begins at 18:30 UTC the day before.
    let days = |_: &Ref, subject: &Subject, _: &Called, time: Timestamp| {
        let local = time.saturating_add(5 * HOUR + HOUR / 2).nanos().div_euclid(24 * HOUR) * 24 * HOUR;
        let start = Timestamp::from_nanos(local).saturating_add(-(5 * HOUR + HOUR / 2));
        Some(format!("{start}|{}|-", text(&subject.team)))
    };
    let two_days = ("since", "2026-11-20T10:00:00Z");
    type Key<'a> = &'a dyn Fn(&Ref, &Subject, &Called, Timestamp) -> Option<String>;
    let cases: [(&[(&str, &str)], Key<'_>); 5] = [
        (&[("by", "team"), two_days], &team),
        (&[("by", "execution"), two_days], &run),
        (&[("by", "tool"), two_days], &tool),
        (&[("by", "team"), two_days, ("namespace", "ns"), ("label", "tier=gold")], &gold_in_ns),
        (&[("by", "team"), two_days, ("bucket", "day"), ("tz", "Asia/Kolkata")], &days),
    ];
    for (words, key) in cases {
        let question = question(words);
        let expected = plainly(&entries, (question.since, question.until), key);
        assert!(!expected.is_empty());
        let cube = from_cube(&entries, &question, 1_000_000).unwrap();
        assert_eq!(sums_of(&cube), expected, "{words:?}");
        assert_eq!(cube.total.cost.scaled(), expected.values().sum::<i128>(), "{words:?}");
        let scanned = from_scan(&reader, &question);
        assert_eq!(scanned.to_json(), cube.to_json(), "{words:?}");
    }
}

#[test]
fn memory_has_a_bound_and_answers_stay_exact() {
    let entries = seeded(3_000);
    let (_folder, _dir, reader) = reader_of(&entries);
    let all = question(&[("by", "agent"), ("since", "2026-11-01")]);
    let recent = question(&[("by", "agent"), ("since", "2h")]);
    let whole = from_cube(&entries, &recent, 1_000_000).unwrap();
    // A few hundred cells hold some hours of the four days, so what is older is the ledger's to answer.
    assert!(from_cube(&entries, &all, 300).is_none(), "the oldest cells are given up");
    let kept = from_cube(&entries, &recent, 300).unwrap();
    assert_eq!(kept.to_json(), whole.to_json());
    assert_eq!(from_scan(&reader, &all).total.entries, entries.len() as u64);
}

#[test]
fn a_directory_at_rest_answers_from_its_cursor_and_from_nothing() {
    let entries = seeded(500);
    let (_folder, dir, reader) = reader_of(&entries[..400]);
    let view = super::RollupView::open(&dir, &reader);
    crate::follow::Handler::take(&mut view.follower(), &entries[..300]).unwrap();
    view.save().unwrap();
    for words in [[("by", "agent"), ("since", "2026-11-01")], [("by", "execution"), ("since", "2026-11-01")]] {
        let question = question(&words);
        let answer = AtRest::open(&dir).unwrap().ask(&question, |_| None).unwrap();
        assert_eq!(answer.to_json(), from_scan(&reader, &question).to_json());
        assert_eq!(answer.total.entries, 400);
    }
}

#[test]
fn words_that_are_no_question_are_told() {
    let check = |words: &[(&str, &str)], parameter: &str| {
        let words: serde_json::Map<String, Value> =
            words.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        let params: Params = serde_json::from_value(Value::Object(words)).unwrap();
        assert_eq!(Question::parse(&params, START).unwrap_err().parameter, parameter);
    };
    check(&[("by", "colour")], "by");
    check(&[("by", "label:")], "by");
    check(&[("since", "yesterday")], "since");
    check(&[("since", "2026-11-22T10:00:00Z"), ("until", "2026-11-21")], "until");
    check(&[("tz", "Mars/Olympus")], "tz");
    check(&[("bucket", "week")], "bucket");
    check(&[("order", "beauty")], "order");
    check(&[("label", "gold")], "label");
    // A date begins at midnight in the zone; the span is whole quarter-hours.
    let day = question(&[("since", "2026-11-20"), ("until", "2026-11-21T10:01:00Z"), ("tz", "Europe/Berlin")]);
    assert_eq!(day.since.to_string(), "2026-11-19T23:00:00Z");
    assert_eq!(day.until.to_string(), "2026-11-21T10:15:00Z");
}

#[test]
fn a_subtree_holds_the_cost_of_every_run_below() {
    let charges = [("child", "1"), ("grandchild", "2"), ("alone", "4")];
    let charges = charges.map(|(run, _)| Fact::Charged(Box::new(call(run, run))));
    let entries = entries(1, charges);
    let mut words = question(&[("by", "execution"), ("since", "2h")]);
    words.tree = true;
    let mut cube = Cube::new(true, 100);
    entries.iter().for_each(|entry| cube.apply(entry));
    let mut groups = Groups::new(&words);
    cube.fill(&words, &mut groups);
    let answer = groups.answer("ledger", |run| match &*run.name {
        "grandchild" => Some(Ref::new("ns", "child")),
        "child" => Some(Ref::new("ns", "root")),
        _ => None,
    });
    let rows: Vec<(String, String, String)> = answer
        .rows
        .iter()
        .map(|row| {
            (row.names[1].as_deref().unwrap().into(), row.sums.cost.to_string(), row.subtree_cost.unwrap().to_string())
        })
        .collect();
    let row = |name: &str, own: &str, tree: &str| (name.to_owned(), own.to_owned(), tree.to_owned());
    // Each call costs 0.006; the root has none of its own.
    assert_eq!(
        rows,
        [
            row("child", "0.006", "0.012"),
            row("root", "0", "0.012"),
            row("alone", "0.006", "0.006"),
            row("grandchild", "0.006", "0.006")
        ]
    );
}

/// A call that takes its estimate's place counts once: tokens and tool calls are those of the call itself, wherever they are summed.
#[test]
fn what_an_estimate_had_is_taken_back() {
    let mut facts = Vec::new();
    let mut supersede = |called: Called, estimate: &[(UsageKey, u64)], truth: &[(UsageKey, u64)]| {
        let told = |numbers: &[(UsageKey, u64)]| Charge {
            called: called.clone(),
            usage: usage(numbers),
            estimated: true,
            ..call("e", "run-1")
        };
        let estimate = told(estimate);
        let known = Superseded::of(&estimate, &told(truth));
        facts.push(Fact::Charged(Box::new(estimate.clone())));
        let mut adjustment = adjustment(facts.len() as u64, estimate);
        adjustment.reason = AdjustReason::Superseded(Arc::new(known));
        // A reservation picked the windows of its budgets a quarter of an hour before.
        adjustment.time = adjustment.event_time.saturating_add(-QUARTER_NANOS);
        facts.push(Fact::Adjusted(Box::new(adjustment)));
    };
    let model = call("e", "run-1").called;
    supersede(
        model,
        &[(UsageKey::InputTokens, 1_000), (UsageKey::OutputTokens, 50)],
        &[(UsageKey::InputTokens, 400), (UsageKey::OutputTokens, 80)],
    );
    let tool = Called::Tool { tool: "search".into(), mcp_server: None };
    supersede(tool, &[(UsageKey::Calls, 3)], &[(UsageKey::Calls, 1)]);
    let entries = entries(1, facts);
    let (_folder, _dir, reader) = reader_of(&entries);
    for by in ["agent", "execution"] {
        let question = question(&[("by", by), ("since", "2d"), ("bucket", "hour")]);
        for answer in [from_cube(&entries, &question, 100).unwrap(), from_scan(&reader, &question)] {
            let [row] = answer.rows.as_slice() else { panic!("{answer:?}") };
            let Sums { model_calls, tool_calls, tokens, .. } = row.sums;
            assert_eq!((model_calls, tool_calls), (1, 1));
            assert_eq!((tokens.input, tokens.output), (400, 80));
        }
    }
}
