//! `POST /v1/reconcile`: a provider's bill beside what was metered; with `book`, the differences become adjustments.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use pricing::{Money, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::answer::typed;
use crate::bill::{BILL_BYTES_MAX, Billed, Compared, Metered, Provider, Report, compare};
use crate::metrics::{Correction, Reconciled};
use crate::rollup::{Answer, Params, Question};
use crate::server::body::{BodyLimits, read};
use crate::server::problem::Problem;
use crate::settle::BillLine;

const DAY_NANOS: i64 = 86_400_000_000_000;
/// Lines of one bill, and days and models compared with it.
const LINES_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    provider: Provider,
    billed: Vec<Billed>,
    #[serde(default)]
    book: bool,
}

pub(super) async fn post(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let limits = BodyLimits { bytes_max: app.body.bytes_max.max(BILL_BYTES_MAX), ..app.body };
    let raw = read(body, limits).await?;
    let wish: Wish = serde_json::from_slice(&raw).map_err(|error| {
        let expected = r#"expected {"provider", "billed": [{"day", "model", "cost_usd"}], "book"?}"#;
        Problem::bad_request("invalid_bill", format!("{expected}: {error}"))
    })?;
    if wish.billed.is_empty() || wish.billed.len() > LINES_MAX {
        return Err(Problem::bad_request("invalid_bill", format!("a bill has 1 to {LINES_MAX} lines")).at("/billed"));
    }
    let mut report = compared(&app, &wish).await?;
    let mut booked = 0;
    let mut left = 0;
    if wish.book {
        for row in report.rows.iter().filter(|row| !row.difference_usd.is_zero()) {
            let booking = book(&app, wish.provider, row).await?;
            booked += booking.booked;
            left += u64::from(booking.left);
            if booking.booked > 0 {
                let down = booking.difference.is_negative();
                let direction = if down { Correction::Down } else { Correction::Up };
                let size = Money::from_scaled(booking.difference.scaled().abs()).unwrap_or_default();
                app.metrics.corrected(wish.provider.as_str(), direction, size);
            }
        }
        report = compared(&app, &wish).await?;
    }
    let Report { billed_usd: billed, metered_usd: metered, .. } = report;
    let comparison = Reconciled { at: app.clock.now(), billed, metered };
    app.metrics.reconciled(wish.provider.as_str(), comparison);
    let mut answer = json!(report);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("provider".to_owned(), json!(wish.provider));
        answer.insert("booked".to_owned(), json!(booked));
        answer.insert("not_booked".to_owned(), json!(left));
    }
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

async fn compared(app: &App, wish: &Wish) -> Result<Report, Problem> {
    let question = question(&wish.billed, app.clock.now())?;
    let answer = app.rollups.ask(question, |_| None).await?;
    Ok(compare(&wish.billed, &metered(&answer, wish.provider)))
}

async fn book(app: &App, provider: Provider, row: &Compared) -> Result<crate::settle::BillBooking, Problem> {
    let line = BillLine {
        day: row.day,
        providers: provider.metered_as().iter().map(|name| Arc::from(*name)).collect(),
        models: row.metered_models.iter().cloned().collect::<BTreeSet<_>>(),
        billed: row.billed_usd,
        bill: Arc::from(provider.as_str()),
    };
    Ok(app.settler.book_bill(&line).await?)
}

/// What was metered by model and day, over the days of a bill.
pub fn question(billed: &[Billed], now: Timestamp) -> Result<Question, crate::rollup::NotAQuestion> {
    let days = billed.iter().map(|line| line.day);
    let (first, last) = (days.clone().min().unwrap_or(now), days.max().unwrap_or(now));
    let params = Params {
        by: Some("model".to_owned()),
        bucket: Some("day".to_owned()),
        since: Some(first.to_string()),
        until: Some(last.saturating_add(DAY_NANOS).to_string()),
        limit: Some(LINES_MAX),
        ..Params::default()
    };
    Question::parse(&params, now)
}

/// The rows of that answer which such a bill is for.
#[must_use]
pub fn metered(answer: &Answer, provider: Provider) -> Vec<Metered> {
    let ours = provider.metered_as();
    let rows = answer.rows.iter().filter_map(|row| {
        let [Some(of), Some(model)] = &row.names else { return None };
        let tokens = &row.sums.tokens;
        (ours.is_empty() || ours.contains(&&**of)).then(|| Metered {
            day: row.bucket.unwrap_or_default(),
            model: model.clone(),
            cost: row.sums.cost,
            unpriced_calls: row.sums.unpriced_calls,
            cached_tokens: u64::try_from(tokens.cache_read.saturating_add(tokens.cache_write)).unwrap_or_default(),
            tokens: u64::try_from(tokens.total().max(0)).unwrap_or(u64::MAX),
        })
    });
    rows.collect()
}
