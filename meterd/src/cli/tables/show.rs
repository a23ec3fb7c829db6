//! `meterd tables show`: the entry that answers for a model or a tool, why, what it is chosen before, and each of its rules.

use pricing::Timestamp;
use pricing::book::{Claim, Explained, ExplainedRule};
use pricing::model::Rank;

use crate::cli::output::{Output, Rows};
use crate::resource::print::Json;

pub(super) fn text(explained: &Explained, asked: &str, at: Timestamp, output: Output) -> String {
    match output {
        Output::Table => {
            format!("{}\n{}", heads(explained, asked, at).table_without_header(), rules(explained).table())
        }
        Output::Csv => rules(explained).csv(),
        Output::Json => document(explained, asked, at).to_json(),
        Output::Yaml => document(explained, asked, at).to_yaml(),
    }
}

/// What was asked and what answers.
fn heads(explained: &Explained, asked: &str, at: Timestamp) -> Heads {
    let table = &explained.table;
    let mut heads = vec![
        ("asked", format!("{asked} at {at}")),
        ("entry", entry(explained)),
        ("matched", matched(explained.rank, &explained.pattern, explained.server.as_deref())),
        ("table", format!("{} {}", table.name, table.version)),
        ("digest", table.digest.to_string()),
    ];
    for claim in passed(explained) {
        let how = matched(claim.rank, &claim.pattern, claim.server.as_deref());
        heads.push(("before", format!("{how}: {} in {} {}", claim.id, claim.table.name, claim.table.version)));
    }
    let many = explained.layers.len() > 1;
    for (number, layer) in explained.layers.iter().enumerate() {
        if many {
            let table = &layer.table;
            heads.push(("layer", format!("{number} {} {} {}", table.name, table.version, table.digest)));
        }
        heads.extend(layer.beside.iter().map(|(field, json)| (*field, json.clone())));
    }
    Heads(heads)
}

/// `provider:id` of a model; what a tool's entry matches.
fn entry(explained: &Explained) -> String {
    if explained.provider.is_empty() {
        return explained.id.to_string();
    }
    format!("{}:{}", explained.provider, explained.id)
}

/// How an entry claims a name.
fn matched(rank: Rank, pattern: &str, server: Option<&str>) -> String {
    let of = server.map(|server| format!(" of {server}")).unwrap_or_default();
    format!("{} {pattern:?}{of}", rank.as_str())
}

/// Entries that claim the name as well, and that this one goes before.
fn passed(explained: &Explained) -> impl Iterator<Item = &Claim> {
    let chosen = |claim: &&Claim| {
        claim.id == explained.id
            && claim.rank == explained.rank
            && claim.server == explained.server
            && explained.layers.first().is_some_and(|layer| layer.table == claim.table)
    };
    explained.claims.iter().filter(move |claim| !chosen(claim))
}

struct Heads(Vec<(&'static str, String)>);

impl Heads {
    fn table_without_header(&self) -> String {
        self.0.iter().map(|(name, text)| format!("{name:<10}{text}\n")).collect()
    }
}

/// One row for each rate of each rule; a rule without rates is a row of its own. Where tables stand over each other, a
/// rule's name says in which of them it is.
fn rules(explained: &Explained) -> Rows {
    let currency = |layer: usize| explained.layers.get(layer).map_or("USD", |layer| &*layer.currency);
    let all_usd = explained.layers.iter().all(|layer| &*layer.currency == "USD");
    let price = if all_usd { "usd" } else { "price" };
    let mut rows = Rows::new(&["rule", "in_force", "unit", price, "per", "when"]);
    let many = explained.layers.len() > 1;
    for rule in &explained.rules {
        let number = if many { format!("{}.{}", rule.layer, rule.index) } else { rule.index.to_string() };
        let mut row = |unit: &str, usd: String, per: String| {
            let force = rule.force.as_str().to_owned();
            let price = if all_usd || usd == "-" { usd } else { format!("{usd} {}", currency(rule.layer)) };
            rows.rows.push(vec![number.clone(), force, unit.to_owned(), price, per, condition(rule)]);
        };
        if rule.rates.is_empty() {
            row("-", "-".to_owned(), "-".to_owned());
        }
        for (unit, usd, per) in &rule.rates {
            row(unit.as_str(), usd.to_string(), per.to_string());
        }
    }
    rows
}

fn condition(rule: &ExplainedRule) -> String {
    let when = if rule.when.is_empty() { "always" } else { &rule.when };
    match (rule.reset, rule.base_only) {
        (true, _) => format!("{when}, forgetting all above"),
        (false, true) => format!("{when}, where no conditional rate holds"),
        (false, false) => when.to_owned(),
    }
}

fn matched_document(rank: Rank, pattern: &str, server: Option<&str>) -> Json {
    let mut pairs = vec![("rank", Json::text(rank.as_str())), ("pattern", Json::text(pattern))];
    pairs.extend(server.map(|server| ("mcpServer", Json::text(server))));
    Json::map(pairs)
}

fn passed_document(claim: &Claim) -> Json {
    Json::map([
        ("table", Json::text(&claim.table.name)),
        ("version", Json::text(&claim.table.version)),
        ("id", Json::text(&claim.id)),
        ("matched", matched_document(claim.rank, &claim.pattern, claim.server.as_deref())),
    ])
}

fn document(explained: &Explained, asked: &str, at: Timestamp) -> Json {
    let table = &explained.table;
    let parsed = |json: &str| Json::parse(json).unwrap_or(Json::Null);
    let rule = |rule: &ExplainedRule| {
        let rate = |(unit, usd, per): &(pricing::UsageKey, rust_decimal::Decimal, u32)| {
            let pairs = [("unit", Json::text(unit)), ("usd", Json::text(usd)), ("per", Json::count(*per))];
            Json::map(pairs)
        };
        let when = if rule.when.is_empty() { Json::Null } else { parsed(&rule.when) };
        Json::map([
            ("layer", Json::count(u32::try_from(rule.layer).unwrap_or(u32::MAX))),
            ("rule", Json::count(u32::try_from(rule.index).unwrap_or(u32::MAX))),
            ("inForce", Json::text(rule.force.as_str())),
            ("when", when),
            ("reset", Json::Bool(rule.reset)),
            ("baseOnly", Json::Bool(rule.base_only)),
            ("rates", Json::List(rule.rates.iter().map(rate).collect())),
        ])
    };
    let mut pairs = vec![
        ("asked", Json::text(asked)),
        ("at", Json::text(at)),
        ("provider", Json::text(&explained.provider)),
        ("id", Json::text(&explained.id)),
        ("matched", matched_document(explained.rank, &explained.pattern, explained.server.as_deref())),
        ("before", Json::List(passed(explained).map(passed_document).collect())),
        (
            "table",
            Json::map([
                ("name", Json::text(&table.name)),
                ("version", Json::text(&table.version)),
                ("digest", Json::text(&table.digest)),
            ]),
        ),
    ];
    if let [layer] = &*explained.layers {
        pairs.extend(layer.beside.iter().map(|(field, json)| (*field, parsed(json))));
    }
    let layer = |layer: &pricing::book::ExplainedLayer| {
        let table = &layer.table;
        let mut pairs = vec![
            ("name", Json::text(&table.name)),
            ("version", Json::text(&table.version)),
            ("digest", Json::text(&table.digest)),
            ("currency", Json::text(&layer.currency)),
        ];
        pairs.extend(layer.beside.iter().map(|(field, json)| (*field, parsed(json))));
        Json::map(pairs)
    };
    pairs.push(("layers", Json::List(explained.layers.iter().map(layer).collect())));
    pairs.push(("rules", Json::List(explained.rules.iter().map(rule).collect())));
    Json::map(pairs)
}
