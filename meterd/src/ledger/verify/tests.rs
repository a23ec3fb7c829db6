//! Each difference provoked once, and a good ledger proved. The bytes are always sound: only what they say is wrong.

use std::collections::HashMap;
use std::fs;

use budget::charge::Priced;
use budget::{Charge, Fact, Ref, State};
use pricing::cost::Cost;

use super::super::Reader;
use super::price::{Books, Pricer};
use super::{Audit, Difference, Proof, verify};
use crate::event::charge::tests::sample::{CALL_USD, book, call, opened, own_budget, pin, usd};
use crate::ledger::save_snapshot;
use crate::ledger::tests::Ledger;

fn prove(ledger: &Ledger, only: Option<&Ref>) -> Result<Proof, Difference> {
    verify(&ledger.dir, only, |_, _| {})
}

/// Opens a run and books two calls, the second changed; its table is pinned.
fn ledger(change: impl FnOnce(&mut Charge)) -> Ledger {
    let mut second = call("e-2", "run");
    change(&mut second);
    let ledger = Ledger::with(vec![
        Fact::Opened(Box::new(opened("run", Some(own_budget("run", "1"))))),
        Fact::Charged(Box::new(call("e-1", "run"))),
        Fact::Charged(Box::new(second)),
        Fact::Opened(Box::new(opened("other", None))),
        Fact::Charged(Box::new(call("e-3", "other"))),
    ]);
    pin(&ledger.dir, &book());
    ledger
}

fn tampered(change: impl FnOnce(&mut Cost)) -> Result<Proof, Difference> {
    let ledger = ledger(|charge| {
        let Priced::Cost(cost) = &mut charge.priced else { panic!() };
        change(cost);
    });
    prove(&ledger, None)
}

fn table_file(ledger: &Ledger) -> std::path::PathBuf {
    fs::read_dir(ledger.dir.prices()).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_good_ledger_is_proved() {
    let ledger = ledger(|_| {});
    let expected = Proof { entries: 5, batches: 1, costs: 3, tables: 1, executions: 2, total: usd("0.018") };
    assert_eq!(prove(&ledger, None).unwrap(), expected);
    let one = Proof { costs: 2, executions: 1, total: usd("0.012"), ..expected };
    assert_eq!(prove(&ledger, Some(&Ref::new("ns", "run"))).unwrap(), one);
    let empty = Ledger::empty();
    drop(empty.open());
    assert_eq!(prove(&empty, None).unwrap(), Proof::default());
}

#[test]
fn the_progress_ends_at_the_newest_entry() {
    let facts = (0..9_000).map(crate::event::charge::tests::sample::small).collect();
    let ledger = Ledger::with(facts);
    let mut told = Vec::new();
    verify(&ledger.dir, None, |done, all| told.push((done, all))).unwrap();
    assert_eq!(told, [(4_096, 9_000), (8_192, 9_000)]);
}

#[test]
fn a_cost_that_is_not_its_lines_sum_is_found() {
    let error = tampered(|cost| cost.total = usd("0.007")).unwrap_err();
    assert!(matches!(&error, Difference::Lines { seq: 3, booked, .. } if *booked == usd("0.007")), "{error}");
    assert!(error.to_string().contains("its lines sum to 0.006 USD"), "{error}");
}

#[test]
fn a_cost_that_its_table_does_not_give_is_found() {
    let error = tampered(|cost| {
        cost.total = usd("0.007");
        cost.lines[0].amount = usd("0.003");
    })
    .unwrap_err();
    assert!(matches!(&error, Difference::Cost { seq: 3, event, .. } if &**event == "e-2"), "{error}");
    assert!(error.to_string().contains(&format!("gives {CALL_USD} USD")), "{error}");
}

#[test]
fn the_right_total_from_other_lines_is_found() {
    let error = tampered(|cost| cost.lines[0].rule = 7).unwrap_err();
    assert!(matches!(&error, Difference::Cost { seq: 3, again, .. } if again.contains("other lines")), "{error}");
}

#[test]
fn usage_that_does_not_give_the_cost_is_found() {
    let ledger = ledger(|charge| charge.called = budget::charge::Called::Approval);
    let error = prove(&ledger, None).unwrap_err();
    assert!(matches!(&error, Difference::Cost { seq: 3, again, .. } if again.contains("no price")), "{error}");
}

#[test]
fn a_missing_pinned_table_is_found() {
    let ledger = ledger(|_| {});
    fs::remove_file(table_file(&ledger)).unwrap();
    let error = prove(&ledger, None).unwrap_err();
    assert!(matches!(&error, Difference::Table { seq: 2, name, .. } if &**name == "acme"), "{error}");
}

#[test]
fn a_changed_pinned_table_is_found() {
    let ledger = ledger(|_| {});
    let path = table_file(&ledger);
    let text = fs::read_to_string(&path).unwrap();
    for (changed, what) in [
        (text.replace("swift", "swoft"), "has digest"),
        ("{}".to_owned(), "is not a price table"),
        (String::new(), "is not a price table"),
        ("{".to_owned(), "is not a price table"),
    ] {
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
        let error = prove(&ledger, None).unwrap_err();
        assert!(matches!(&error, Difference::Table { seq: 2, what: why, .. } if why.contains(what)), "{error}");
    }
}

#[test]
fn a_snapshot_that_is_not_the_fold_is_found() {
    let ledger = ledger(|_| {});
    let mut state = State::default();
    for entry in &ledger.entries[..2] {
        state.apply(entry);
    }
    save_snapshot(&ledger.dir, 2, &state).unwrap();
    prove(&ledger, None).unwrap();
    // The same state a step further on is the wrong one there, and so is an empty one.
    save_snapshot(&ledger.dir, 3, &state).unwrap();
    let error = prove(&ledger, None).unwrap_err();
    assert!(matches!(error, Difference::Snapshot(3)), "{error}");
    save_snapshot(&ledger.dir, 4, &State::default()).unwrap();
    let error = prove(&ledger, None).unwrap_err();
    assert!(matches!(error, Difference::Snapshot(4)), "{error}");
}

#[test]
fn a_charge_of_a_run_that_nothing_opened_is_found() {
    let ledger = Ledger::with(vec![Fact::Charged(Box::new(call("e", "run")))]);
    pin(&ledger.dir, &book());
    let error = prove(&ledger, None).unwrap_err();
    assert!(matches!(&error, Difference::Sum { entries, .. } if *entries == usd(CALL_USD)), "{error}");
}

#[test]
fn an_unknown_execution_is_said() {
    let error = prove(&ledger(|_| {}), Some(&Ref::new("ns", "nobody"))).unwrap_err();
    assert!(matches!(error, Difference::UnknownExecution(_)), "{error}");
}

/// The fold and the sum are two ways to the same figure, so sound entries cannot part them; a sum put aside can.
#[test]
fn a_status_that_is_not_the_sum_of_its_entries_is_found() {
    let ledger = ledger(|_| {});
    let mut audit = Audit {
        only: None,
        snapshot: None,
        reader: Reader::at_rest(&ledger.dir).unwrap(),
        adjusted: HashMap::new(),
        superseded: HashMap::new(),
        pricer: Pricer::new(&ledger.dir, Books::default()),
        state: State::default(),
        sums: HashMap::new(),
        proof: Proof::default(),
    };
    for entry in &ledger.entries {
        audit.entry(entry).unwrap();
    }
    audit.sums.insert(Ref::new("ns", "run"), usd("0.011"));
    let error = audit.finish().unwrap_err();
    let expected = (usd("0.012"), usd("0.011"));
    assert!(matches!(&error, Difference::Sum { status, entries, .. } if (*status, *entries) == expected), "{error}");
}
