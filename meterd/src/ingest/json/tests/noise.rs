//! No input panics, and what is accepted has passed every check.

use proptest::prelude::*;

use super::super::{BodyKind, decode};
use super::{example, model};

fn never_panics(body: &[u8]) {
    for kind in [BodyKind::Json, BodyKind::Ndjson, BodyKind::Sniff] {
        if let Ok(batch) = decode(body, kind) {
            for event in batch.items.iter().flat_map(|item| &item.event) {
                assert_eq!(event.validate(), Ok(()));
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        never_panics(&body);
    }

    #[test]
    fn json_like_text(body in "[\\[\\]{}:,\"a-e0-9. \\\\u\n-]{0,128}") {
        never_panics(body.as_bytes());
    }

    #[test]
    fn a_mutated_event(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut body = example().to_string().into_bytes();
        let place = at.index(body.len());
        body[place] = byte;
        never_panics(&body);
        let cut = cut.index(body.len());
        never_panics(&body[..cut]);
        body.remove(place);
        never_panics(&body);
    }

    #[test]
    fn any_scalar_in_any_field(field in "id|time|kind|usage|attrs|labels|agent|final|reported_cost_usd", value in "[-+0-9.eE]{0,12}|\"[^\"\\\\\\p{C}]{0,8}\"|null|true|\\{\\}|\\[\\]") {
        let body = model("").replacen('{', &format!("{{\"{field}\":{value},"), 1);
        never_panics(body.as_bytes());
    }

    #[test]
    fn whole_counts_come_through_exactly(count in 0u64..=1_000_000_000_000_000) {
        let body = model(&format!(",\"usage\":{{\"output_tokens\":{count}}}"));
        let batch = decode(body.as_bytes(), BodyKind::Json).unwrap();
        let usage = batch.items[0].event.as_ref().unwrap().usage.clone().unwrap();
        prop_assert_eq!(usage.count(pricing::UsageKey::OutputTokens), count);
    }
}
