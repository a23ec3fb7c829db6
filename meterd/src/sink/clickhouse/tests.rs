//! The shipped schema is the one that is applied; settings change it as they should; hashes tell ledgers apart.

use std::path::Path;
use std::time::Duration;

use super::encode::hash;
use super::{Schema, rendered};
use crate::config::ClickHouse;
use crate::event::charge::tests::sample::{entries, one_of_each_fact, small};

fn settings() -> ClickHouse {
    ClickHouse {
        url: "http://127.0.0.1:8123".into(),
        database: "costs".into(),
        user: "default".into(),
        password_file: None,
        ca_file: None,
        shard: "main".into(),
        batch_rows_max: 100,
        flush_interval: Duration::from_secs(1),
        compress: true,
        ttl: None,
        rollup_ttl: None,
        cluster: None,
        replicated: false,
    }
}

#[test]
fn the_schema_in_deploy_is_the_one_that_is_applied() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/clickhouse/schema.sql");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, rendered(None, false)).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        rendered(None, false),
        "meterd sink schema > {}",
        path.display()
    );
}

#[test]
fn a_cluster_and_a_life_time_are_settings() {
    let plain = Schema::of(&settings()).statements();
    assert!(
        plain.iter().all(|text| !text.contains('{') && !text.contains("ON CLUSTER") && !text.contains("Replicated"))
    );
    assert!(plain.iter().all(|text| !text.contains("meterd.")), "the database has the name that was asked for");
    let on = Schema::of(&ClickHouse {
        cluster: Some("east".into()),
        replicated: true,
        ttl: Some(Duration::from_secs(400 * 86_400)),
        ..settings()
    });
    let on = on.statements();
    let made: Vec<&String> = on.iter().filter(|text| text.contains("CREATE ") || text.starts_with("ALTER")).collect();
    assert!(made.iter().all(|text| text.contains(" ON CLUSTER 'east'")), "{made:?}");
    let tables: Vec<&&String> = made.iter().filter(|text| text.contains("CREATE TABLE")).collect();
    assert_eq!(tables.len(), 5);
    assert!(tables.iter().all(|text| text.contains("ENGINE = ReplicatedReplacingMergeTree")));
    let alters: Vec<&&String> = made.iter().filter(|text| text.starts_with("ALTER")).collect();
    assert_eq!(alters.len(), 3, "roll-ups are kept: {alters:?}");
    assert!(alters.iter().all(|text| text.ends_with("INTERVAL 400 DAY")));
}

#[test]
fn a_batch_has_the_hash_of_its_entries() {
    let ledger = entries(1, one_of_each_fact());
    assert_eq!(hash(ledger.iter()), hash(ledger.clone().iter()));
    let other = entries(1, (0..ledger.len()).map(small));
    assert_ne!(hash(ledger.iter()), hash(other.iter()));
    assert_ne!(hash(ledger.iter()), hash(ledger.iter().take(ledger.len() - 1)));
    assert_eq!(hash(ledger.iter()).len(), 64);
}
