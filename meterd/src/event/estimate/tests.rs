//! Worst cases, worked out by hand from the table in here.

use std::sync::Arc;

use pricing::{Attrs, PriceBook, PriceTable};

use super::{Planned, tokens, worst_case};

fn book() -> PriceBook {
    let table = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: t }
spec:
  version: "1"
  models:
    - provider: p
      id: cached
      rates:
        - set: { input_tokens: "2", cache_write_tokens: "2.5", cache_write_1h_tokens: "4", output_tokens: "10" }
    - provider: p
      id: plain
      rates:
        - set: { input_tokens: "1", output_tokens: "3" }
"#;
    let (tables, _) = PriceTable::parse(table).unwrap_or_else(|problems| panic!("{problems:?}"));
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

fn check(model: &str, input: u64, output: u64, expected: Option<&str>) {
    let attrs = Attrs::default();
    let planned = Planned {
        provider: "p",
        model,
        input_tokens: input,
        max_output_tokens: output,
        attrs: &attrs,
        namespace: "n",
        team: None,
    };
    let at = "2026-11-22T10:00:00Z".parse().expect("a time");
    let worst = worst_case(&book(), at, &planned).map(|amount| amount.to_string());
    assert_eq!(worst.as_deref(), expected, "{model} {input} {output}");
    assert_eq!(tokens(&planned), input + output);
}

#[test]
fn the_dearest_reading_of_the_prompt_counts() {
    // 1,000,000 × 4 (an hour's cache) + 100,000 × 10.
    check("cached", 1_000_000, 100_000, Some("5"));
    check("plain", 1_000_000, 100_000, Some("1.3"));
    check("plain", 0, 0, Some("0"));
    check("unheard-of", 1, 1, None);
}
