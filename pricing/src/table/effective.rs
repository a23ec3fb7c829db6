//! How new the prices of a table are: what its text says of it, and nothing else.

use super::PriceTable;
use crate::time::Timestamp;

/// Where a table states a time: when its source was published, and since when a rule holds.
const STATED: [&str; 2] = ["\"published\":\"", "\"from\":\""];

impl PriceTable {
    /// When the newest of these prices were published or began to hold, as far as the table says so and `now` has come to
    /// it: the newest `published` of its provenance, `from` of its rules, and day of its version (`2026.11.18+1`).
    ///
    /// Read off the canonical text, where a quote that belongs to a value is escaped, so that only a key can look like one.
    #[must_use]
    pub fn effective(&self, now: Timestamp) -> Option<Timestamp> {
        let stated = |key: &'static str| self.json.split(key).skip(1).filter_map(|rest| rest.split('"').next());
        let times = STATED.into_iter().flat_map(stated).filter_map(|text| text.parse::<Timestamp>().ok());
        times.chain(day_of(&self.reference.version)).filter(|time| *time <= now).max()
    }
}

/// The start of the day that a version begins with: `2026.11.18+1`, `2026-11-18`.
fn day_of(version: &str) -> Option<Timestamp> {
    let (day, rest) = version.split_at_checked(10)?;
    let ends = rest.bytes().next().is_none_or(|next| !next.is_ascii_alphanumeric());
    format!("{}T00:00:00Z", day.replace('.', "-")).parse().ok().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::PriceTable;
    use crate::time::Timestamp;

    fn effective(spec: &str, now: &str) -> Option<String> {
        let text = format!(
            "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: t }}\nspec:\n  version: \"1\"\n{spec}"
        );
        let (tables, _) = PriceTable::parse(&text).unwrap();
        tables[0].effective(now.parse::<Timestamp>().unwrap()).map(|time| time.to_string())
    }

    #[test]
    fn the_newest_time_that_the_table_states_and_that_has_come() {
        let model = "  models:\n    - provider: p\n      id: 'say \"from\":\"2026-11-20T00:00:00Z\"'\n      rates:\n        - set: { input_tokens: 1 }\n";
        let later = "        - when: { from: \"2026-10-14T00:00:00Z\" }\n          set: { input_tokens: 2 }\n        - when: { from: \"2027-01-01T00:00:00Z\" }\n          set: { input_tokens: 3 }\n";
        let published = "  provenance:\n    - { source: a, published: \"2026-11-01T12:00:00Z\" }\n    - { source: b, published: \"2026-09-01T00:00:00Z\" }\n";
        let now = "2026-11-25T00:00:00Z";
        assert_eq!(effective(model, now), None, "it says nothing");
        assert_eq!(effective(&format!("{model}{later}"), now).as_deref(), Some("2026-10-14T00:00:00Z"));
        assert_eq!(effective(&format!("{published}{model}{later}"), now).as_deref(), Some("2026-11-01T12:00:00Z"));
        assert_eq!(
            effective(&format!("{published}{model}{later}"), "2026-09-30T00:00:00Z").as_deref(),
            Some("2026-09-01T00:00:00Z")
        );
    }

    #[test]
    fn a_version_may_be_a_day() {
        for (version, expected) in [
            ("2026.11.18+1", Some("2026-11-18T00:00:00Z")),
            ("2026-11-18", Some("2026-11-18T00:00:00Z")),
            ("2026.11.18", Some("2026-11-18T00:00:00Z")),
            ("2026.11.183", None),
            ("2026.13.01", None),
            ("0.2.3+1", None),
        ] {
            let found = super::day_of(version).map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{version}");
        }
    }

    #[test]
    fn a_publication_that_is_no_time_is_told() {
        let text = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: t }\nspec:\n  version: \"1\"\n  provenance: [{ source: a, published: lately }]\n";
        let problems = PriceTable::parse(text).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "6:40: error: spec.provenance[0].published: not a time: \"lately\" (such as 2026-11-18T00:00:00Z)"
        );
    }
}
