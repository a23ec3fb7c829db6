//! Requests that are kept with the project, of every kind, against the table of what they truly hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::{Defaults, Encoding, Last, Rule, decode_logs, decode_points, decode_traces};
use super::support::{Sums, sums, sums_of};
use crate::ingest::Item;
use crate::ingest::json::BodyKind;

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/otlp")).to_path_buf()
}

/// Every source is billed by its metrics, as far as it sends any.
fn metrics_only() -> Defaults {
    let rule = Rule { service: "*".into(), metrics_only: true, ..Rule::default() };
    Defaults { rules: [rule].into(), ..Defaults::default() }
}

fn items(path: &Path) -> Vec<Item> {
    let body = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let encoding = if name.ends_with(".pb") { Encoding::Protobuf } else { Encoding::Json };
    match name.split('.').nth(1).unwrap() {
        "traces" => {
            let batch = decode_traces(&body, encoding, &Defaults::default()).unwrap();
            sums(&batch);
            batch.items
        }
        "logs" => decode_logs(&body, encoding, &Defaults::default()).unwrap().items,
        "metrics" => {
            let decode =
                |defaults: &Defaults, last: &Last| decode_points(&body, encoding, defaults, "t", last).unwrap();
            assert!(decode(&Defaults::default(), &Last::default()).items.is_empty());
            let mut last = Last::default();
            let batch = decode(&metrics_only(), &last);
            for step in batch.items.iter().flat_map(|(_, steps)| steps) {
                last.learn_step(*step);
            }
            // What is cumulative says nothing new; a delta has the same id again.
            let ids: BTreeSet<_> = batch.items.iter().map(|(item, _)| item.id.clone()).collect();
            let again = decode(&metrics_only(), &last);
            assert!(again.items.iter().all(|(item, steps)| steps.is_empty() && ids.contains(&item.id)), "sent again");
            batch.items.into_iter().map(|(item, _)| item).collect()
        }
        "payloads" => crate::ingest::litellm::decode(&body, BodyKind::Sniff).unwrap().items,
        other => panic!("{other}: no such kind of request"),
    }
}

fn row(sums: &Sums) -> [u64; 9] {
    [
        sums.calls,
        sums.failed,
        sums.input_total,
        sums.cache_read,
        sums.cache_write,
        sums.output_total,
        sums.reasoning,
        sums.embeddings_input,
        sums.tool_calls,
    ]
}

#[test]
fn every_kept_request_gives_exactly_what_it_holds() {
    let table = std::fs::read_to_string(folder().join("EXPECTED.tsv")).unwrap();
    let mut named = BTreeSet::from(["EXPECTED.tsv".to_owned(), "README.md".to_owned()]);
    for line in table.lines().skip(1) {
        let mut cells = line.split('\t');
        let name = cells.next().unwrap();
        let expected: Vec<u64> = cells.map(|cell| cell.parse().unwrap()).collect();
        let first = items(&folder().join(name));
        assert_eq!(row(&sums_of(&first)).to_vec(), expected, "{name}: {first:#?}");
        // The ledger counts an id once: each of a request's calls has its own, and the same one when it is sent again.
        let ids: BTreeSet<_> = first.iter().map(|item| item.id.clone().unwrap()).collect();
        assert_eq!(ids.len(), first.len(), "{name}: calls share an id");
        assert_eq!(items(&folder().join(name)), first, "{name}");
        named.insert(name.to_owned());
    }
    let there = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), named, "every file has its line in the table");
}

/// The captures beside the project, in full: the table there leaves these cells open, the constant answers do not.
#[test]
fn captured_payloads_of_litellm_hold_every_count() {
    let Some(folder) = super::captures_folder() else { return };
    let expected = [
        ("litellm-generic-api.029.json", [1, 0, 2048, 1024, 0, 321, 128, 0, 0]),
        ("litellm-generic-api.031.ndjson", [2, 0, 4048, 2224, 300, 642, 128, 0, 0]),
    ];
    for (name, expected) in expected {
        let body = std::fs::read(folder.join(name)).unwrap();
        let items = crate::ingest::litellm::decode(&body, BodyKind::Sniff).unwrap().items;
        assert_eq!(row(&sums_of(&items)), expected, "{name}");
    }
}
