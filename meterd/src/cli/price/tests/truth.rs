//! What one call truly used, as disjoint leaves, and what that costs: worked out in whole numbers, with none of the code
//! under test. Every leaf has a rate of its own, so that a token in the wrong place is a wrong cost.

use std::collections::BTreeMap;

/// A leaf and its rates in 10⁻⁹ USD each: up to the tier's bound, and beyond.
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) rate: u32,
    pub(super) per_thousand: bool,
}

const fn tokens(name: &'static str, rate: u32) -> Unit {
    Unit { name, rate, per_thousand: false }
}

const fn each(name: &'static str, rate: u32) -> Unit {
    Unit { name, rate, per_thousand: true }
}

/// Rates are odd numbers apart, those of answers even, so that half as much again is whole.
pub(super) const UNITS: &[Unit] = &[
    tokens("input_tokens", 2_003),
    tokens("cache_read_tokens", 307),
    tokens("cache_write_tokens", 2_503),
    tokens("cache_write_5m_tokens", 2_707),
    tokens("cache_write_1h_tokens", 4_111),
    tokens("input_audio_tokens", 7_013),
    tokens("input_image_tokens", 5_011),
    tokens("input_video_tokens", 6_007),
    tokens("cache_audio_read_tokens", 907),
    tokens("cache_image_read_tokens", 601),
    tokens("cache_video_read_tokens", 701),
    tokens("output_tokens", 11_002),
    tokens("output_reasoning_tokens", 13_006),
    tokens("output_audio_tokens", 17_014),
    tokens("output_image_tokens", 19_018),
    tokens("output_video_tokens", 21_022),
    tokens("output_citation_tokens", 23_026),
    each("web_searches", 31_013_000),
    each("storage_searches", 37_003_000),
    each("rerank_searches", 41_011_000),
];
/// Prompts longer than this cost twice as much, and their answers half as much again.
pub(super) const TIER: u64 = 200_000;
/// What a table may do to tokens by what was served: attribute, value, and its factor in thousandths.
pub(super) const FACTORS: &[(&str, &str, i128)] = &[
    ("processing", "batch", 500),
    ("service_tier", "flex", 600),
    ("service_tier", "priority", 1_750),
    ("inference_geo", "us", 1_100),
    ("speed", "fast", 6_000),
];

/// A price table of one model for these providers; `gte` are those whose tier begins at its bound.
pub(super) fn table(providers: &[&str], gte: &[&str]) -> String {
    let rates = |input: u32, output: u32| {
        let rate = |unit: &Unit| {
            let share = match unit {
                Unit { per_thousand: true, .. } => 2,
                Unit { name, .. } if name.starts_with("output") => output,
                _ => input,
            };
            // 10⁻⁹ USD a token are 10⁻³ USD a million; a search's are 10⁻⁶ USD a thousand.
            let (scaled, decimals) = (u64::from(unit.rate) * u64::from(share) / 2, 3);
            let shown = if unit.per_thousand { scaled / 1_000 } else { scaled };
            format!("{}: \"{}.{:0decimals$}\"", unit.name, shown / 1_000, shown % 1_000)
        };
        UNITS.iter().map(rate).collect::<Vec<_>>().join(", ")
    };
    let adjust = |(attr, value, factor): &(&str, &str, i128)| {
        let factor = format!("{}.{:03}", factor / 1_000, factor % 1_000);
        format!(
            "{{ name: {value}, when: {{ attrs: {{ {attr}: {value} }} }}, multiply: \"{factor}\", families: [tokens] }}"
        )
    };
    let adjusts = FACTORS.iter().map(adjust).collect::<Vec<_>>().join(", ");
    let mut text =
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: truth }\nspec:\n  version: \"1\"\n  \
                    models:\n"
            .to_owned();
    for provider in providers {
        let bound = if gte.contains(provider) { "gte" } else { "gt" };
        text.push_str(&format!(
            "    - provider: {provider}\n      id: m\n      match: {{ exact: [m], prefix: [m-], glob: [\"*sonar*\", \"openai.*\"] }}\n      \
             rates:\n        - set: {{ {} }}\n        - when: {{ usage: {{ input_tokens: {{ {bound}: {TIER} }} }} }}\n          \
             set: {{ {} }}\n      adjust: [{adjusts}]\n",
            rates(2, 2),
            rates(4, 3)
        ));
    }
    text
}

/// Leaves and what was served.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    pub(super) leaves: BTreeMap<&'static str, u64>,
    pub(super) served: Vec<(&'static str, &'static str)>,
    /// The provider's tier begins at its bound.
    pub(super) gte: bool,
}

impl Truth {
    pub(super) fn get(&self, leaf: &str) -> u64 {
        self.leaves.get(leaf).copied().unwrap_or(0)
    }

    pub(super) fn sum(&self, leaves: &[&str]) -> u64 {
        leaves.iter().map(|leaf| self.get(leaf)).sum()
    }

    /// Every token of the prompt.
    pub(super) fn prompt(&self) -> u64 {
        let is_input = |name: &str| name.starts_with("input") || name.starts_with("cache");
        self.leaves.iter().filter(|(name, _)| is_input(name)).map(|(_, count)| count).sum()
    }

    /// In 10⁻¹⁸ USD.
    pub(super) fn cost(&self) -> i128 {
        let is_long = if self.gte { self.prompt() >= TIER } else { self.prompt() > TIER };
        let factor =
            |(attr, value, factor): &(&str, &str, i128)| self.served.contains(&(*attr, *value)).then_some(*factor);
        let factors: Vec<i128> = FACTORS.iter().filter_map(factor).collect();
        let cost = |unit: &Unit| {
            let halves = match (unit.per_thousand, is_long) {
                (true, _) | (_, false) => 2,
                (_, true) if unit.name.starts_with("output") => 3,
                (_, true) => 4,
            };
            let exact = i128::from(self.get(unit.name)) * i128::from(unit.rate) * 1_000_000_000 * halves / 2;
            let factors = if unit.per_thousand { &[][..] } else { &factors[..] };
            factors.iter().fold(exact, |cost, factor| cost * factor / 1_000)
        };
        UNITS.iter().map(cost).sum()
    }
}
