//! `metrics.md`: every family, from `meterd metrics --catalog -o json`.

use serde_json::Value;

use super::{code, compare, page, table};
use crate::harness::cli;

const INTRO: &str = "\
Families of `GET /metrics` (default `127.0.0.1:9460`), in Prometheus' text format or OpenMetrics, whichever `Accept` asks for.
Money is in US dollars, time in seconds. `meterd metrics --catalog` prints the same list. OpenMetrics names counters without
`_total` in `# TYPE`; samples carry it in both formats.

Values of `_other` stand for everything beyond the caps of [`metrics.*`](config.md#metrics); an empty label means that the event
named none. Samples are binary floats, for watching; exact amounts are in the ledger and the API.

A Prometheus, and whatever is built on its scraper (told by `X-Prometheus-Scrape-Timeout-Seconds`), sees every series of the ledger begin
at 0: the scrape that brings a series shows it at 0, and everything else from the ledger and the state as it was in that scraper's last
scrape; the next one shows what there is. So no first charge is lost to `increase()`, and the parts of one scrape always add up.
Scrapers are told apart by their address and `?family=`; eight are remembered. After a restart totals go on at once; a scraper that is
new five minutes after the start begins with the totals. Any other reader gets the figures as they are.";

/// Where samples come from, in the page's order.
const ORIGINS: [(&str, &str, &str); 3] = [
    ("ledger", "From the ledger", "Sums over ledger entries: they go on after a restart where they were."),
    ("state", "From the state", "Read off the live state when the scrape comes, at the same entry as the counters."),
    ("daemon", "From the daemon", "The process's own: they start at 0 when it starts."),
];

#[test]
fn metrics_page_is_fresh() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ended = cli::run(&["metrics", "--catalog", "-o", "json"], folder.path()).expect_code(0);
    let families: Vec<Value> = serde_json::from_str(&ended.stdout).expect("the catalogue is a JSON array");
    assert!(families.len() > 30, "the catalogue has {} families", families.len());
    let text = |family: &Value, key: &str| family[key].as_str().unwrap_or_default().to_owned();
    let mut body = String::new();
    let mut shown = 0;
    for (origin, title, says) in ORIGINS {
        let of_origin: Vec<&Value> = families.iter().filter(|family| family["origin"] == origin).collect();
        shown += of_origin.len();
        let rows = of_origin.into_iter().map(|family| {
            let labels = family["labels"].as_array().expect("labels are a list");
            let labels: Vec<String> = labels.iter().map(|label| code(label.as_str().expect("text"))).collect();
            let name = code(&text(family, "name"));
            vec![name, text(family, "type"), text(family, "unit"), labels.join(", "), text(family, "help")]
        });
        body.push_str(&format!(
            "## {title}\n\n{says}\n\n{}\n",
            table(&["name", "type", "unit", "labels", "help"], rows)
        ));
    }
    assert_eq!(shown, families.len(), "a family has an origin that the page does not know");
    compare("metrics.md", &page("Metrics", INTRO, &body));
}
