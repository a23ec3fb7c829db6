//! The catalogue keeps the rules of naming that scrapers and linters know.

use std::collections::BTreeSet;

use super::{Family, Kind, Layout, catalog, print_catalog};

/// Names that scraping or the formats own.
const RESERVED: [&str; 11] =
    ["job", "instance", "namespace", "pod", "container", "service", "endpoint", "node", "cluster", "le", "quantile"];

fn problems(family: &Family) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let mut check = |ok: bool, problem| {
        if !ok {
            problems.push(problem);
        }
    };
    let total = family.name.ends_with("_total");
    check(total == (family.kind == Kind::Counter), "_total belongs to counters");
    check(family.name.ends_with("_info") == (family.kind == Kind::Info), "_info belongs to infos");
    let unit_is_last = family.open_metrics_name().ends_with(&format!("_{}", family.unit));
    check(family.unit.is_empty() || unit_is_last, "the unit is the name's last word");
    check(family.help.ends_with('.'), "help is a sentence");
    check(family.labels.iter().all(|label| !RESERVED.contains(label)), "a reserved label");
    check(family.labels.iter().collect::<BTreeSet<_>>().len() == family.labels.len(), "a label twice");
    check(family.name.starts_with("meterd_") || family.name.starts_with("process_"), "prefix");
    problems
}

#[test]
fn every_family_keeps_the_naming_rules() {
    for family in catalog() {
        assert_eq!(problems(family), Vec::<&str>::new(), "{}", family.name);
    }
    let names: BTreeSet<_> = catalog().iter().map(Family::open_metrics_name).collect();
    assert_eq!(names.len(), catalog().len(), "a family is declared twice");
}

#[test]
fn the_catalogue_prints_every_family_in_both_layouts() {
    let print = |layout| {
        let mut out = Vec::new();
        print_catalog(&mut out, layout).unwrap();
        String::from_utf8(out).unwrap()
    };
    let (table, json) = (print(Layout::Table), print(Layout::Json));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(rows.len(), catalog().len());
    for (family, row) in catalog().iter().zip(&rows) {
        assert!(table.contains(&format!("| {} ", family.name)), "{}", family.name);
        assert_eq!(row["name"], family.name);
        assert_eq!(row["type"], family.kind.as_str());
        assert_eq!(row["labels"].as_array().unwrap().len(), family.labels.len());
    }
}
