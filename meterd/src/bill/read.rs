//! Reports of providers → billed amounts. The shapes are those that the providers publish (docs/guides/cost.md names them).

use std::collections::BTreeMap;
use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest report.
pub const BILL_BYTES_MAX: usize = 64 << 20;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI: `GET /v1/organization/costs`.
    OpenAi,
    /// Anthropic: `GET /v1/organizations/cost_report`; amounts are cents.
    Anthropic,
    /// AWS: Cost and Usage Report 2.0 or FOCUS, as CSV.
    Aws,
    /// A CSV with the columns `date`, `model` and `cost_usd`.
    Generic,
}

/// An amount billed for one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    /// Start of the day, UTC.
    pub day: Timestamp,
    /// The model, as the report names it; `None` when it does not.
    pub model: Option<Arc<str>>,
    /// The amount.
    pub cost_usd: Money,
}

/// Why a text is no bill: where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct NotABill {
    /// Line or place.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl Provider {
    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Aws => "aws",
            Self::Generic => "generic",
        }
    }

    /// The providers of metered calls that such a bill is for; none means all.
    #[must_use]
    pub const fn metered_as(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["openai"],
            Self::Anthropic => &["anthropic"],
            Self::Aws => &["aws", "bedrock", "aws.bedrock", "amazon"],
            Self::Generic => &[],
        }
    }
}

/// Reads a report: amounts of the same day and model are one.
pub fn read(provider: Provider, text: &str) -> Result<Vec<Billed>, NotABill> {
    let mut sums: BTreeMap<(Timestamp, Option<Arc<str>>), Money> = BTreeMap::new();
    let mut add = |at: &str, day: Timestamp, model: Option<&str>, amount: Money| {
        let model = model.map(str::trim).filter(|model| !model.is_empty()).map(Arc::from);
        let sum = sums.entry((day, model)).or_default();
        *sum = sum.checked_add(amount).ok_or_else(|| bad(at, "the sum leaves the range of amounts"))?;
        Ok(())
    };
    match provider {
        Provider::OpenAi => openai(text, &mut add)?,
        Provider::Anthropic => anthropic(text, &mut add)?,
        Provider::Aws | Provider::Generic => table(text, &mut add)?,
    }
    Ok(sums.into_iter().map(|((day, model), cost_usd)| Billed { day, model, cost_usd }).collect())
}

type Add<'a> = dyn FnMut(&str, Timestamp, Option<&str>, Money) -> Result<(), NotABill> + 'a;

fn bad(at: &str, message: impl Into<String>) -> NotABill {
    NotABill { at: at.to_owned(), message: message.into() }
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
struct OpenAiBucket {
    start_time: i64,
    results: Vec<OpenAiResult>,
}

#[derive(Deserialize)]
struct OpenAiResult {
    amount: Option<OpenAiAmount>,
    line_item: Option<String>,
}

#[derive(Deserialize)]
struct OpenAiAmount {
    /// The literal: it never passes through a float.
    value: Box<RawValue>,
    currency: String,
}

/// Pages one after the other, or one.
fn pages<T: serde::de::DeserializeOwned>(text: &str, expected: &str) -> Result<Vec<T>, NotABill> {
    let mut all = Vec::new();
    for page in serde_json::Deserializer::from_str(text).into_iter::<Page<T>>() {
        let page =
            page.map_err(|error| bad(&format!("line {}", error.line()), format!("expected {expected}: {error}")))?;
        all.extend(page.data);
    }
    Ok(all)
}

fn openai(text: &str, add: &mut Add<'_>) -> Result<(), NotABill> {
    let expected = r#"{"data": [{"start_time", "results": [{"amount": {"value", "currency"}, "line_item"}]}]}"#;
    for (index, bucket) in pages::<OpenAiBucket>(text, expected)?.into_iter().enumerate() {
        let at = format!("data[{index}]");
        let day = day_of(Timestamp::from_nanos(bucket.start_time.saturating_mul(1_000_000_000)));
        for result in bucket.results {
            let Some(amount) = result.amount else { continue };
            dollars(&at, &amount.currency)?;
            let value = number(&at, amount.value.get().trim_matches('"'))?;
            // A line item is a model and what of it was charged: `gpt-4o-2024-08-06, input`.
            let model = result.line_item.as_deref().map(|item| item.split(',').next().unwrap_or(item));
            add(&at, day, model, value)?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct AnthropicBucket {
    starting_at: Timestamp,
    results: Vec<AnthropicResult>,
}

#[derive(Deserialize)]
struct AnthropicResult {
    amount: Value,
    currency: String,
    model: Option<String>,
    description: Option<String>,
}

fn anthropic(text: &str, add: &mut Add<'_>) -> Result<(), NotABill> {
    let expected = r#"{"data": [{"starting_at", "results": [{"amount", "currency", "model"}]}]}"#;
    for (index, bucket) in pages::<AnthropicBucket>(text, expected)?.into_iter().enumerate() {
        let at = format!("data[{index}]");
        for result in bucket.results {
            dollars(&at, &result.currency)?;
            let text = result.amount.as_str().map_or_else(|| result.amount.to_string(), str::to_owned);
            // Lowest currency units: cents.
            let amount = number(&at, &format!("{text}e-2"))?;
            let model = result.model.or(result.description);
            add(&at, day_of(bucket.starting_at), model.as_deref(), amount)?;
        }
    }
    Ok(())
}

/// Names of the columns that tables use for the same thing, the most exact first.
const DAYS: [&str; 5] = ["date", "day", "line_item_usage_start_date", "lineItem/UsageStartDate", "ChargePeriodStart"];
const MODELS: [&str; 6] =
    ["model", "line_item_usage_type", "lineItem/UsageType", "SkuId", "product_model", "ServiceName"];
const COSTS: [&str; 6] =
    ["cost_usd", "cost", "line_item_unblended_cost", "lineItem/UnblendedCost", "BilledCost", "amount_usd"];
const CURRENCIES: [&str; 4] = ["currency", "line_item_currency_code", "lineItem/CurrencyCode", "BillingCurrency"];

fn table(text: &str, add: &mut Add<'_>) -> Result<(), NotABill> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad("line 1", error.to_string()))?.clone();
    let place = |names: &[&str]| {
        names.iter().find_map(|name| header.iter().position(|column| column.eq_ignore_ascii_case(name)))
    };
    let needed = |names: &[&str]| {
        place(names).ok_or_else(|| bad("line 1", format!("no column for it: one of {}", names.join(", "))))
    };
    let (day, cost) = (needed(&DAYS)?, needed(&COSTS)?);
    let (model, currency) = (place(&MODELS), place(&CURRENCIES));
    for (index, record) in reader.records().enumerate() {
        let at = format!("line {}", index + 2);
        let record = record.map_err(|error| bad(&at, error.to_string()))?;
        let cell = |place: usize| record.get(place).unwrap_or_default();
        if let Some(currency) = currency {
            dollars(&at, cell(currency))?;
        }
        if cell(cost).is_empty() {
            continue;
        }
        add(&at, date(&at, cell(day))?, model.map(cell), number(&at, cell(cost))?)?;
    }
    Ok(())
}

fn dollars(at: &str, currency: &str) -> Result<(), NotABill> {
    if currency.is_empty() || currency.eq_ignore_ascii_case("usd") {
        return Ok(());
    }
    Err(bad(at, format!("the amount is in {currency}; only USD can be compared")))
}

/// An amount; digits below 10⁻¹⁸ USD, which reports out of floats have, are cut off.
fn number(at: &str, text: &str) -> Result<Money, NotABill> {
    match text.parse() {
        Err(pricing::money::MoneyError::TooFine(_)) if !text.contains(['e', 'E']) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let cut = format!("{whole}.{}", fraction.get(..18).unwrap_or(fraction));
            cut.parse().map_err(|error: pricing::money::MoneyError| bad(at, error.to_string()))
        }
        other => other.map_err(|error: pricing::money::MoneyError| bad(at, error.to_string())),
    }
}

fn date(at: &str, text: &str) -> Result<Timestamp, NotABill> {
    let start = text.get(..10).unwrap_or(text);
    let time: Result<Timestamp, _> = format!("{start}T00:00:00Z").parse();
    time.map_err(|_| bad(at, format!("{text:?} is no date such as 2026-11-22")))
}

fn day_of(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.nanos().div_euclid(DAY_NANOS).saturating_mul(DAY_NANOS))
}
