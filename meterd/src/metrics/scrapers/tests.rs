//! What a scraper sees of series that begin: at 0 first, in one position with all else, and never twice or less than before.

use std::net::IpAddr;

use budget::{Source, State};
use pricing::{Money, Timestamp};
use proptest::prelude::*;

use super::{SCRAPERS_MAX, START_NANOS, Scraper, Scrapers, Shown};
use crate::metrics::tests::{Exposition, Feed, budget_of, cost, model, sum, tool, usd};
use crate::metrics::{Caps, DaemonMetrics, Format, Gauges, LedgerMetrics, Writer, gauges};

const MODEL: &str = r#"meterd_model_cost_usd_total{provider="p",model="m",agent_namespace="ns",agent="a",team="t"}"#;
const ROLL_UP: &str =
    r#"meterd_cost_usd_total{agent_namespace="ns",agent="a",team="t",category="model",basis="priced"}"#;
const WHO: [&str; 3] = ["r1", "a", "t"];

fn scraper(address: u32) -> Scraper {
    Scraper { address: Some(IpAddr::from(address.to_be_bytes())), families: Vec::new() }
}

/// A daemon's families, its scrapers, and the time.
struct Scene {
    feed: Feed,
    folded: usize,
    ledger: LedgerMetrics,
    scrapers: Scrapers,
    now: i64,
}

impl Scene {
    /// A daemon that starts on what `feed` holds.
    fn start(feed: Feed) -> Self {
        let (scrapers, ledger) = (Scrapers::default(), LedgerMetrics::new(Caps::default()));
        let mut scene = Self { feed, folded: 0, ledger, scrapers, now: 0 };
        scene.fold();
        scene
            .scrapers
            .begin(Shown { amounts: scene.ledger.amounts(), gauges: Gauges::default() }, Timestamp::default());
        scene
    }

    fn fold(&mut self) {
        self.feed.entries[self.folded..].iter().for_each(|entry| self.ledger.apply(entry));
        self.folded = self.feed.entries.len();
    }

    fn scrape(&mut self, by: &Scraper) -> Exposition {
        self.fold();
        self.now += 15_000_000_000;
        let now = Timestamp::from_nanos(self.now);
        let mut writer = Writer::new(Format::Text);
        super::answer(&self.scrapers, Some(by.clone()), &State::default(), now, &self.ledger, &mut writer);
        Exposition::parse(writer.finish())
    }
}

#[test]
fn a_series_is_shown_at_zero_first_and_the_roll_up_waits_with_it() {
    let mut scene = Scene::start(Feed::default());
    let by = scraper(1);
    scene.feed.open("r1", "a", "t").charge(WHO, tool("x"), cost(usd("1")));
    scene.scrape(&by);
    scene.scrape(&by);
    scene.feed.charge(WHO, model("p", "m"), cost(usd("5"))).charge(WHO, tool("x"), cost(usd("2")));
    let first = scene.scrape(&by);
    first.check(MODEL, "0");
    first.check(ROLL_UP, "0");
    first.check(r#"meterd_tool_cost_usd_total{tool="x",agent_namespace="ns",agent="a",team="t"}"#, "1");
    first.check(
        r#"meterd_model_calls_total{provider="p",model="m",agent_namespace="ns",agent="a",team="t",outcome="ok"}"#,
        "0",
    );
    scene.feed.charge(WHO, model("p", "m"), cost(usd("1")));
    // Nothing begins any more: everything, at once.
    let second = scene.scrape(&by);
    second.check(MODEL, "6");
    second.check(ROLL_UP, "6");
    second.check(r#"meterd_tool_cost_usd_total{tool="x",agent_namespace="ns",agent="a",team="t"}"#, "3");
}

#[test]
fn each_scraper_has_a_zero_of_its_own_and_a_new_one_begins_with_the_totals() {
    let mut scene = Scene::start(Feed::default());
    scene.scrape(&scraper(1));
    scene.scrape(&scraper(2));
    scene.feed.charge(WHO, model("p", "m"), cost(usd("5")));
    scene.scrape(&scraper(1)).check(MODEL, "0");
    scene.scrape(&scraper(1)).check(MODEL, "5");
    scene.scrape(&scraper(2)).check(MODEL, "0");
    scene.scrape(&scraper(2)).check(MODEL, "5");
    scene.now += START_NANOS;
    scene.scrape(&scraper(3)).check(MODEL, "5");
}

/// After a restart a scraper goes on from what the ledger holds; what begins between the start and its first scrape is
/// at 0 in it.
#[test]
fn a_restart_shows_totals_at_once_and_what_is_new_at_zero() {
    let mut feed = Feed::default();
    feed.charge(WHO, model("p", "m"), cost(usd("5")));
    let mut scene = Scene::start(feed);
    scene.feed.charge(WHO, model("p", "m"), cost(usd("1")));
    scene.scrape(&scraper(1)).check(MODEL, "6");
    let mut scene = Scene::start(std::mem::take(&mut scene.feed));
    let new = r#"meterd_model_cost_usd_total{provider="p",model="new",agent_namespace="ns",agent="a",team="t"}"#;
    scene.feed.charge(WHO, model("p", "new"), cost(usd("2")));
    let first = scene.scrape(&scraper(1));
    first.check(MODEL, "6");
    first.check(new, "0");
    scene.scrape(&scraper(1)).check(new, "2");
}

#[test]
fn a_series_that_comes_back_after_a_rest_begins_at_the_total_it_had() {
    let mut scene = Scene::start(Feed::default());
    let by = scraper(1);
    scene.feed.charge(WHO, model("p", "m"), cost(usd("5")));
    scene.scrape(&by);
    scene.scrape(&by).check(MODEL, "5");
    scene.feed.wait(25 * 3600).charge(["r2", "b", "t"], tool("x"), cost(0));
    assert_eq!(scene.scrape(&by).value(MODEL), None);
    scene.feed.charge(WHO, model("p", "m"), cost(usd("3")));
    scene.scrape(&by).check(MODEL, "5");
    scene.scrape(&by).check(MODEL, "8");
}

#[test]
fn so_many_scrapers_are_remembered() {
    let scrapers = Scrapers::default();
    let ledger = LedgerMetrics::new(Caps::default());
    let many = u32::try_from(SCRAPERS_MAX).unwrap() + 1;
    for address in 0..many {
        let now = Timestamp::default();
        let shown = Shown { amounts: ledger.amounts(), gauges: gauges(&State::default(), now, &ledger) };
        scrapers.saw(scraper(address), shown, now);
    }
    assert!(scrapers.before(&scraper(0), Timestamp::default()).is_none());
    assert!((1..many).all(|address| scrapers.before(&scraper(address), Timestamp::default()).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is charged between whichever scrapes: every series is first seen at 0 and never falls, the parts of each
    /// scrape add up, and a scrape after the last charge but one more shows all of it.
    #[test]
    fn nothing_is_lost_and_every_scrape_adds_up(steps in prop::collection::vec((0..6u8, 0..4u8, 1..10i128.pow(19)), 1..60)) {
        let mut scene = Scene::start(Feed::default());
        scene.feed.apply(budget_of(Source::Budget, "b", "t", usd("5")));
        let by = scraper(1);
        let mut last: std::collections::BTreeMap<String, i128> = std::collections::BTreeMap::new();
        let mut all = 0;
        let scrapes = steps.into_iter().map(Some).chain([Some((0, 0, 0)), None, None]);
        for step in scrapes {
            match step {
                Some((kind @ 0..=3, name, amount)) if amount > 0 => {
                    let called = if kind == 0 { tool(&format!("x{name}")) } else { model("p", &format!("m{name}")) };
                    scene.feed.charge(["r1", &format!("a{kind}"), "t"], called, cost(amount));
                    all += amount;
                }
                _ => {
                    let exposed = scene.scrape(&by);
                    for (series, value) in exposed.family("meterd_model_cost_usd_total").chain(exposed.family("meterd_cost_usd_total")) {
                        let value = value.parse::<Money>().unwrap().scaled();
                        prop_assert!(value >= *last.get(series).unwrap_or(&0), "{series} fell");
                        prop_assert!(last.contains_key(series) || value == 0, "{series} began at {value}");
                        last.insert(series.to_owned(), value);
                    }
                    let total = sum(&exposed, "meterd_cost_usd_total", &[]);
                    let models = sum(&exposed, "meterd_model_cost_usd_total", &[]);
                    prop_assert_eq!(sum(&exposed, "meterd_cost_usd_total", &[r#"category="model""#]), models);
                    prop_assert_eq!(sum(&exposed, "meterd_tool_cost_usd_total", &[]), total - models);
                    prop_assert_eq!(sum(&exposed, "meterd_budget_charged_usd_total", &[]), total);
                }
            }
        }
        let end = scene.scrape(&by);
        prop_assert_eq!(sum(&end, "meterd_cost_usd_total", &[]), all);
    }
}

/// The whole answer is the daemon's families, too, and counts for the scraper.
#[test]
fn a_reader_that_keeps_no_series_gets_the_figures_as_they_are() {
    let mut scene = Scene::start(Feed::default());
    scene.feed.charge(WHO, model("p", "m"), cost(usd("5")));
    scene.fold();
    let text = crate::metrics::render(
        Writer::new(Format::Text),
        &State::default(),
        Timestamp::default(),
        &scene.ledger,
        &DaemonMetrics::new().unwrap(),
    );
    Exposition::parse(text).check(MODEL, "5");
    scene.scrape(&scraper(1)).check(MODEL, "0");
}
