//! `POST /v1/adjustments`: an administrator states what one booked charge costs, with a reason. Never through the usage API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use pricing::Money;
use serde::Deserialize;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::usage::to_json;
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::settle::{NotStated, Statement};

/// Longest reason: it stays in the ledger with the amount.
const REASON_BYTES_MAX: usize = 1_024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Sequence number of the charge.
    of: u64,
    /// What it costs from now on.
    cost_usd: Money,
    reason: String,
}

/// Books the difference: 200, also when the charge costs that already.
pub(super) async fn post(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let wish: Wish = serde_json::from_slice(&raw).map_err(|error| {
        let expected = r#"expected {"of": 12, "cost_usd": "0.10", "reason": "…"}"#;
        Problem::bad_request("invalid_adjustment", format!("{expected}: {error}"))
    })?;
    let Wish { of, cost_usd: cost, reason } = wish;
    if cost.is_negative() {
        let detail = "a call costs 0 or more: state what it costs after the refund, not the refund".to_owned();
        return Err(Problem::bad_request("invalid_adjustment", detail).at("/cost_usd"));
    }
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        let detail = format!("a reason of 1 to {REASON_BYTES_MAX} bytes is kept with the amount");
        return Err(Problem::bad_request("invalid_adjustment", detail).at("/reason"));
    }
    let by = Arc::clone(caller.0.name());
    let statement = Statement { of, cost, reason: Arc::from(reason.trim()), by };
    let stated = app.settler.state_amount(statement).await?;
    Ok(typed(StatusCode::OK, "application/json", to_json(&stated)))
}

impl From<NotStated> for Problem {
    fn from(refusal: NotStated) -> Self {
        let detail = refusal.to_string();
        match refusal {
            NotStated::NoCharge(_) => Self::not_found(detail),
            NotStated::Forgotten(_) => Self::new(StatusCode::CONFLICT, "execution_forgotten", detail),
            NotStated::MovedOn => Self::unavailable("moved_on", detail),
            NotStated::Cut(cut) => cut.into(),
        }
    }
}
