//! Laws over random charges: families agree with each other and with the charges, and a restart changes nothing.

use budget::charge::CallOutcome;
use budget::entry::Phase;
use budget::{Fact, Priced};
use pricing::{Money, Unpriced, UsageKey};
use proptest::prelude::*;

use super::{exposed, fold, snapshot};
use crate::metrics::ledger::{Caps, LedgerMetrics};
use crate::metrics::tests::{Exposition, Feed, cost, model, no_price, sum, tool};

#[derive(Clone, Debug)]
struct Step {
    run: u8,
    agent: u8,
    team: u8,
    name: u8,
    kind: u8,
    amount: i128,
    tokens: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..4u8, 0..6u8, 0..4u8, 0..12u8, 0..12u8, 0..10i128.pow(26), 0..10_000_000u64);
    let step = step.prop_map(|(run, agent, team, name, kind, amount, tokens)| Step {
        run,
        agent,
        team,
        name,
        kind,
        amount,
        tokens,
    });
    prop::collection::vec(step, 0..120)
}

/// Runs open, call models and tools with and without a price, and end.
fn feed(steps: &[Step]) -> Feed {
    let mut feed = Feed::default();
    for step in steps {
        let Step { run, agent, team, name, kind, amount, tokens } = step;
        let (run, agent, team, name) = (format!("r{run}"), format!("a{agent}"), format!("t{team}"), format!("n{name}"));
        let who = [run.as_str(), agent.as_str(), team.as_str()];
        let usage = [(UsageKey::InputTokens, *tokens), (UsageKey::OutputTokens, tokens / 3)];
        match kind {
            0 => feed.open(&run, &agent, &team),
            1 => feed.end(&run, Phase::Succeeded),
            2 => feed.wait(40_000),
            5 => feed.adjust(usize::from(step.agent) + usize::from(step.name), *amount),
            3 => feed.call(who, tool(&name), cost(*amount), CallOutcome::Ok, &[]),
            4 => feed.call(who, model("p", &name), no_price(Unpriced::UnknownModel), CallOutcome::Error, &usage),
            _ => feed.call(who, model("p", &name), cost(*amount), CallOutcome::Ok, &usage),
        };
    }
    feed
}

fn charged(feed: &Feed) -> i128 {
    feed.entries
        .iter()
        .map(|entry| match &entry.fact {
            Fact::Adjusted(adjustment) => adjustment.delta.scaled(),
            Fact::Charged(charge) => match &charge.priced {
                Priced::Cost(cost) => cost.total.scaled(),
                Priced::Reported(cost) => cost.scaled(),
                Priced::Unpriced(_) | Priced::Zero(_) => 0,
            },
            _ => 0,
        })
        .sum()
}

/// Everything that is never evicted: no agent is idle for a day in a feed without waits.
fn no_waits(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().filter(|step| step.kind != 2).collect()
}

const TIGHT: Caps = Caps {
    series_max: 8,
    agents_max: 2,
    models_per_provider_max: 3,
    tools_max: 2,
    providers_max: 1,
    teams_max: 2,
    namespaces_max: 1,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The roll-up is the sum of its parts and, less the credit, of all charges and adjustments, to the last digit, with roomy caps and with tight ones.
    #[test]
    fn the_roll_up_is_the_sum_of_its_parts(steps in steps()) {
        let feed = feed(&no_waits(steps));
        for caps in [Caps::default(), TIGHT] {
            let exposed = Exposition::of_ledger(&fold(&feed, caps));
            let of = |category| sum(&exposed, "meterd_cost_usd_total", &[category]);
            prop_assert_eq!(of("category=\"model\""), sum(&exposed, "meterd_model_cost_usd_total", &[]));
            prop_assert_eq!(of("category=\"tool\""), sum(&exposed, "meterd_tool_cost_usd_total", &[]));
            prop_assert_eq!(of("") - sum(&exposed, "meterd_cost_credit_usd_total", &[]), charged(&feed));
        }
    }

    /// Calls and tokens are counted once each, whatever the caps do to their labels.
    #[test]
    fn calls_and_tokens_are_conserved(steps in steps()) {
        let feed = feed(&no_waits(steps));
        let (mut calls, mut tokens) = (0i128, 0i128);
        for entry in &feed.entries {
            if let Fact::Charged(charge) = &entry.fact
                && matches!(charge.called, budget::charge::Called::Model { .. })
            {
                calls += 1;
                tokens += i128::from(charge.usage.tokens().unwrap().total());
            }
        }
        let one = Money::from_scaled(10i128.pow(18)).unwrap().scaled();
        for caps in [Caps::default(), TIGHT] {
            let exposed = Exposition::of_ledger(&fold(&feed, caps));
            prop_assert_eq!(sum(&exposed, "meterd_model_calls_total", &[]), calls * one);
            prop_assert_eq!(sum(&exposed, "meterd_tokens_total", &[]), tokens * one);
        }
    }

    /// A restart from a snapshot at any entry, then the rest, equals a life without one (invariant I5).
    #[test]
    fn a_resumed_fold_is_the_same_fold(steps in steps(), cut in 0..120usize) {
        let feed = feed(&steps);
        let whole = fold(&feed, TIGHT);
        let mut resumed = LedgerMetrics::new(TIGHT);
        for (place, entry) in feed.entries.iter().enumerate() {
            if place == cut {
                let bytes = snapshot(&resumed);
                resumed = postcard::from_bytes::<LedgerMetrics>(&bytes).unwrap().with_caps(TIGHT);
                // The follower may hand over an entry a second time.
                feed.entries.iter().take(place).for_each(|entry| resumed.apply(entry));
            }
            resumed.apply(entry);
        }
        prop_assert_eq!(resumed.seq(), whole.seq());
        prop_assert_eq!(snapshot(&resumed), snapshot(&whole));
        prop_assert_eq!(Exposition::of_ledger(&resumed).text, Exposition::of_ledger(&whole).text);
    }

    /// No counter falls and no histogram count falls, from entry to entry.
    #[test]
    fn counters_never_fall(steps in steps()) {
        let feed = feed(&no_waits(steps));
        let mut shorter = Feed::default();
        let mut before = exposed(&shorter);
        for entries in feed.entries.chunks(10) {
            shorter.entries.extend_from_slice(entries);
            let now = exposed(&shorter);
            for family in ["meterd_cost_usd_total", "meterd_tokens_total", "meterd_execution_cost_usd_bucket"] {
                for (series, value) in before.family(family) {
                    let later = now.value(series).expect("a series went away");
                    prop_assert!(later.parse::<Money>().unwrap() >= value.parse::<Money>().unwrap());
                }
            }
            before = now;
        }
    }
}
