//! Policies read from Budgets: every field, its default, and what is wrong.

use budget::policy::{KillStep, OnPartition, OnUnpriced, Policy, WindDown};
use budget::signal::Channel;

use crate::resource::{Resource, read};

fn policy(spec: &str) -> Policy {
    let text = format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: b }}\nspec:\n  limits: {{ perRunUsd: 5 }}\n{spec}"
    );
    let (resources, _) = read(&text).expect("the document is valid");
    let Some(Resource::Budget { budget, .. }) = resources.into_iter().next() else { panic!("no budget") };
    budget.policy
}

fn refused(spec: &str) -> String {
    let text = format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: b }}\nspec:\n  limits: {{ perRunUsd: 5 }}\n{spec}"
    );
    let problems = read(&text).expect_err("the document is refused");
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_plain_budget_has_the_default_policy() {
    assert_eq!(policy(""), Policy::default());
    assert_eq!(Policy::default().on_unpriced, OnUnpriced::Hold);
}

#[test]
fn every_field_is_read() {
    let read = policy(
        "  onUnpriced: deny\n  estimateCeilingUsd: 0.25\n  onPartition: { allowUpTo: 0.5 }\n  windDown: { allowanceUsd: 0.10, grace: 45s }\n  kill: { plan: [stream, { channel: process, grace: 500ms }] }\n",
    );
    assert_eq!(
        read,
        Policy {
            on_unpriced: OnUnpriced::Deny,
            estimate_ceiling: Some("0.25".parse().unwrap()),
            per_call: None,
            on_partition: OnPartition::AllowUpTo(Some("0.5".parse().unwrap())),
            wind_down: Some(WindDown { allowance: "0.1".parse().unwrap(), grace_ms: 45_000 }),
            kill_plan: vec![
                KillStep { channel: Channel::Stream, grace_ms: None },
                KillStep { channel: Channel::Process, grace_ms: Some(500) },
            ],
            slice: None,
        }
    );
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    assert_eq!(
        refused("  onUnpriced: guess\n  windDown: { grace: soon }\n  kill: { plan: [telepathy] }\n"),
        "spec.onUnpriced: \"guess\" is none of deny, hold, allow; spec.windDown.grace: \"soon\" is not a grace; \
         spec.kill.plan[0]: \"telepathy\" is no channel of a kill"
    );
}
