//! Own cost → subtree cost: each run's cost counts in every run above it.

use std::collections::HashMap;

use budget::Ref;
use budget::state::DEPTH_MAX;
use pricing::{Money, Timestamp};

use super::Sums;
use super::answer::Row;

/// Gives each row the cost of its subtree; a run above that has no cost of its own gets a row. Rows are of executions.
pub(super) fn with_subtrees(rows: &mut Vec<Row>, parent: impl Fn(&Ref) -> Option<Ref>) {
    let mut trees: HashMap<(Option<Timestamp>, Ref), Money> = HashMap::new();
    for row in rows.iter() {
        let mut next = reference(row);
        for _ in 0..DEPTH_MAX {
            let Some(run) = next else { break };
            let sum = trees.entry((row.bucket, run.clone())).or_default();
            *sum = sum.checked_add(row.sums.cost).unwrap_or(*sum);
            next = parent(&run);
        }
    }
    for row in rows.iter_mut() {
        row.subtree_cost = reference(row).and_then(|run| trees.remove(&(row.bucket, run)));
    }
    let above = trees.into_iter().map(|((bucket, run), cost)| Row {
        bucket,
        names: [Some(run.namespace), Some(run.name)],
        sums: Sums::default(),
        subtree_cost: Some(cost),
    });
    rows.extend(above);
}

fn reference(row: &Row) -> Option<Ref> {
    let [namespace, name] = &row.names;
    Some(Ref { namespace: namespace.clone()?, name: name.clone()? })
}
