//! FOCUS 1.0 rows: the FinOps Open Cost and Usage Specification's columns, a row for each day, agent and model or tool.
//!
//! What meterd does not know stays empty where the specification allows it: regions, commitments, price ids, unit prices. Costs
//! are what was metered at the prices in force; no invoice is meant by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use budget::Subject;
use budget::charge::Called;
use pricing::Timestamp;
use serde_json::{Map, Value};

use super::{QUARTER_NANOS, Sums};

const DAY_NANOS: i64 = 86_400_000_000_000;

/// The columns, in the specification's (alphabetical) order, and meterd's own after them.
pub const COLUMNS: [&str; 49] = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_CacheReadTokens",
    "x_CacheWriteTokens",
    "x_Calls",
    "x_InputTokens",
    "x_OutputTokens",
    "x_UnpricedCalls",
];

/// Rows, growing.
#[derive(Debug, Default)]
pub struct Focus {
    rows: BTreeMap<Key, Sums>,
}

/// What one row stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: i64,
    namespace: Arc<str>,
    agent: Option<Arc<str>>,
    team: Option<Arc<str>>,
    environment: Option<Arc<str>>,
    labels: Vec<(Arc<str>, Arc<str>)>,
    kind: &'static str,
    provider: Option<Arc<str>>,
    name: Arc<str>,
}

impl Focus {
    /// Adds a quarter-hour's sums of one subject and one model, tool or approval.
    pub fn add(&mut self, quarter: i64, namespace: &Arc<str>, subject: &Subject, called: &Called, sums: &Sums) {
        let (kind, provider, name) = match called {
            Called::Model { provider, model, .. } => ("model", Some(provider.clone()), model.clone()),
            Called::Tool { tool, .. } => ("tool", None, tool.clone()),
            Called::Approval => ("approval", None, Arc::from("approval")),
        };
        let key = Key {
            day: quarter.saturating_mul(QUARTER_NANOS).div_euclid(DAY_NANOS),
            namespace: namespace.clone(),
            agent: subject.agent.clone(),
            team: subject.team.clone(),
            environment: subject.environment.clone(),
            labels: subject.labels.clone(),
            kind,
            provider,
            name,
        };
        self.rows.entry(key).or_default().add(sums);
    }

    /// As CSV (RFC 4180) with a header. `account` is the account whose money it is.
    pub fn to_csv(&self, account: &str) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS)?;
        for (key, sums) in &self.rows {
            let cells = cells(key, sums, account);
            writer.write_record(COLUMNS.iter().map(|column| cells.get(column).map_or("", String::as_str)))?;
        }
        let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn cells(key: &Key, sums: &Sums, account: &str) -> BTreeMap<&'static str, String> {
    let cost = sums.cost.to_string();
    let start = Timestamp::from_nanos(key.day.saturating_mul(DAY_NANOS));
    let end = start.saturating_add(DAY_NANOS);
    let (month, next) = month(start);
    let (quantity, unit) = match key.kind {
        "model" => (sums.tokens.total().to_string(), "Tokens"),
        "tool" => (sums.tool_calls.to_string(), "Calls"),
        _ => (sums.approvals.to_string(), "Approvals"),
    };
    // A tool or a person's time has no provider that sends a bill: it is the house's own.
    let provider = key.provider.as_deref().unwrap_or("internal").to_owned();
    let agent = key.agent.as_deref().unwrap_or_default().to_owned();
    let mut description = format!("{} {} ", key.kind, key.name);
    description.push_str(&if agent.is_empty() { "calls".to_owned() } else { format!("calls by agent {agent}") });
    let category = if key.kind == "model" { "AI and Machine Learning" } else { "Other" };
    let sku =
        key.provider.as_deref().map_or_else(|| format!("{}:{}", key.kind, key.name), |at| format!("{at}:{}", key.name));
    let resource_type = if agent.is_empty() { "" } else { "Agent" };
    let tokens = &sums.tokens;
    BTreeMap::from([
        ("BilledCost", cost.clone()),
        ("BillingAccountId", account.to_owned()),
        ("BillingAccountName", account.to_owned()),
        ("BillingCurrency", "USD".to_owned()),
        ("BillingPeriodStart", month.to_string()),
        ("BillingPeriodEnd", next.to_string()),
        ("ChargeCategory", "Usage".to_owned()),
        ("ChargeDescription", description),
        ("ChargeFrequency", "Usage-Based".to_owned()),
        ("ChargePeriodStart", start.to_string()),
        ("ChargePeriodEnd", end.to_string()),
        ("ConsumedQuantity", quantity.clone()),
        ("ConsumedUnit", unit.to_owned()),
        ("ContractedCost", cost.clone()),
        ("EffectiveCost", cost.clone()),
        ("InvoiceIssuerName", provider.clone()),
        ("ListCost", cost),
        ("PricingCategory", "Standard".to_owned()),
        ("PricingQuantity", quantity),
        ("PricingUnit", unit.to_owned()),
        ("ProviderName", provider.clone()),
        ("PublisherName", provider),
        ("ResourceId", agent.clone()),
        ("ResourceName", agent),
        ("ResourceType", resource_type.to_owned()),
        ("ServiceCategory", category.to_owned()),
        ("ServiceName", key.name.to_string()),
        ("SkuId", sku),
        ("SubAccountId", key.namespace.to_string()),
        ("SubAccountName", key.namespace.to_string()),
        ("Tags", tags(key)),
        ("x_CacheReadTokens", tokens.cache_read.to_string()),
        ("x_CacheWriteTokens", tokens.cache_write.to_string()),
        ("x_Calls", sums.calls().to_string()),
        ("x_InputTokens", tokens.input.to_string()),
        ("x_OutputTokens", tokens.output.saturating_add(tokens.reasoning).to_string()),
        ("x_UnpricedCalls", sums.unpriced_calls.to_string()),
    ])
}

/// The civil month in UTC: its start and its end.
fn month(at: Timestamp) -> (Timestamp, Timestamp) {
    let calendar = budget::window::Calendar { time_zone: Arc::from("UTC"), week_start: 1, month_start_day: 1 };
    let span = calendar.span(budget::Window::Month, at);
    (span.start, span.end.unwrap_or(at))
}

fn tags(key: &Key) -> String {
    let mut tags = Map::new();
    for (name, value) in [("team", &key.team), ("environment", &key.environment)] {
        if let Some(value) = value {
            tags.insert(name.to_owned(), Value::from(&**value));
        }
    }
    for (name, value) in &key.labels {
        tags.insert(name.to_string(), Value::from(&**value));
    }
    Value::Object(tags).to_string()
}
