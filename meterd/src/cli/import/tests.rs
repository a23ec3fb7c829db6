//! The version in a file's name, the report's lines and its summary.

use std::path::Path;

use pricing::import::LeftOut;

use super::{report, summary, version_in};

#[test]
fn a_version_stands_at_the_end_of_the_name() {
    for (name, expected) in [
        ("litellm-1.109.1.json", Some("1.109.1")),
        ("/x/genai-prices-0.2.3.json", Some("0.2.3")),
        ("data.json", None),
        ("prices-new.json", None),
        ("model-5.json", None),
    ] {
        assert_eq!(version_in(Path::new(name)).as_deref(), expected, "{name}");
    }
}

#[test]
fn the_report_has_a_line_for_each_and_the_summary_one_for_each_reason() {
    let left = |model: Option<&str>, what: &str, why: &str| LeftOut {
        provider: "p".to_owned(),
        model: model.map(str::to_owned),
        what: what.to_owned(),
        why: why.to_owned(),
    };
    let all = [
        left(None, "extractors", "not here"),
        left(Some("m"), "match glob *a*", "two\tfit"),
        left(Some("n"), "match glob *b*", "two\tfit"),
    ];
    let lines = "provider\tmodel\twhat\twhy\np\t*\textractors\tnot here\np\tm\tmatch glob *a*\ttwo fit\n\
                 p\tn\tmatch glob *b*\ttwo fit\n";
    assert_eq!(report(&all), lines);
    assert_eq!(summary(&all).rows, [["match", "2", "two\tfit"], ["extractors", "1", "not here"]]);
}
