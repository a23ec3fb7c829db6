//! `usage.md`: the names of `usage` and `quantities` and the blocks of their rates, from the pricing crate.

use pricing::UsageKey;

use super::{code, compare, page, table};

const INTRO: &str = "\
The names that events declare in `usage` (model calls) and `quantities` (tool calls and approvals), and that price tables set rates
for. A name with totals is a part of each of them: it is declared inside the total, never beside it. A part without a rate of its own is
priced at the first of its totals that has one.

A rate is the price of one block, where `per` in the price table says no other. Amounts are whole numbers, but for the families
`durations`, `minutes` and `token_hours`, which take decimals of at most 12 places.";

#[test]
fn usage_page_is_fresh() {
    let rows = UsageKey::ALL.iter().map(|key| {
        let family = key.family();
        let wider: Vec<String> = key.wider().iter().map(|wider| code(wider.as_str())).collect();
        vec![code(key.as_str()), wider.join(", "), code(family.as_str()), family.default_per().to_string()]
    });
    compare("usage.md", &page("Usage names", INTRO, &table(&["name", "part of", "family", "rate per"], rows)));
}
