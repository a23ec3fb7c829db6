//! The tables and views, as migrations: applied by the daemon, and shipped in `deploy/clickhouse/` as they are applied.

use crate::config::ClickHouse;

/// Every migration, oldest first. What is here never changes; what changes is a new one.
const MIGRATIONS: [(u32, &str); 1] = [(1, include_str!("migrations/0001.sql"))];

/// How the tables are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    database: String,
    cluster: Option<String>,
    replicated: bool,
    ttl_days: Option<u64>,
    rollup_ttl_days: Option<u64>,
}

/// The whole schema as one file of SQL: what `deploy/clickhouse/` holds, or the same for a cluster.
#[must_use]
pub fn rendered(cluster: Option<&str>, replicated: bool) -> String {
    let schema = Schema {
        database: "meterd".to_owned(),
        cluster: cluster.map(str::to_owned),
        replicated,
        ttl_days: None,
        rollup_ttl_days: None,
    };
    let texts = MIGRATIONS.iter().map(|(_, text)| schema.fill(text));
    texts.collect::<Vec<_>>().join("\n")
}

impl Schema {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &ClickHouse) -> Self {
        let days = |ttl: std::time::Duration| (ttl.as_secs() / 86_400).max(1);
        Self {
            database: settings.database.clone(),
            cluster: settings.cluster.clone(),
            replicated: settings.replicated,
            ttl_days: settings.ttl.map(days),
            rollup_ttl_days: settings.rollup_ttl.map(days),
        }
    }

    /// Statements that make what is missing and leave alone what is there, in order.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let mut statements: Vec<String> = Vec::new();
        for (_, text) in MIGRATIONS {
            let filled = self.fill(text);
            statements.extend(filled.split(";\n").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned));
        }
        let tables = [
            ("entries_raw", "time", self.ttl_days),
            ("kill_events_raw", "at", self.ttl_days),
            ("execution_events_raw", "at", self.ttl_days),
            ("cost_quarters_raw", "quarter", self.rollup_ttl_days),
        ];
        for (table, column, days) in tables {
            if let Some(days) = days {
                statements.push(format!(
                    "ALTER TABLE {}.{table}{} MODIFY TTL toDateTime({column}) + INTERVAL {days} DAY",
                    self.database,
                    self.on_cluster()
                ));
            }
        }
        statements
    }

    fn on_cluster(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!(" ON CLUSTER '{cluster}'")).unwrap_or_default()
    }

    fn fill(&self, text: &str) -> String {
        let engine = if self.replicated { "ReplicatedReplacingMergeTree" } else { "ReplacingMergeTree" };
        // Replicated tables remember tokens by themselves.
        let dedup = if self.replicated { "" } else { "non_replicated_deduplication_window = 1000, " };
        text.replace("{db}", &self.database)
            .replace("{on_cluster}", &self.on_cluster())
            .replace("{replacing}", engine)
            .replace("{replacing_by_time}", &format!("{engine}(written_at)"))
            .replace("{dedup}", dedup)
    }
}
