//! UsageEvent + price book → Charge: what the meter books. Pure; runs on every core before the one writer.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use budget::charge::{CallOutcome, Called, Priced, Zero};
use budget::{Charge, Claim, Found, Ref, Subject};
use pricing::cost::Unpriced;
use pricing::table::Unmatched;
use pricing::{Attrs, Call, Money, Outcome, PriceBook, Target, Timestamp, Usage, price};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::UsageEvent;

/// Prices one event against a book. `tenant` and `via` come from the caller's credential and the route, never from the
/// event.
#[must_use]
pub fn charge(book: &PriceBook, event: UsageEvent, tenant: &str, via: &'static str) -> Charge {
    let team = event.team.clone();
    charge_for(book, event, team.as_deref(), tenant, via)
}

/// The same for an event that is its run's team's: `team` picks the price and leaves what the event says as it is, so
/// that the event sent again is the same event.
#[must_use]
pub fn charge_for(book: &PriceBook, event: UsageEvent, team: Option<&str>, tenant: &str, via: &'static str) -> Charge {
    let key = key(&[tenant, &event.source, &event.id]);
    let response_key = match &event.called {
        Called::Model { provider, response_id: Some(response), .. } => {
            Some(self::key(&[tenant, "response", provider, response]))
        }
        _ => None,
    };
    let body = body_hash(&event);
    let priced = priced(book, &event, team);
    let execution = Ref { namespace: Arc::clone(&event.namespace), name: event.execution };
    let parent = event.parent_execution.map(|name| Ref { namespace: event.namespace, name });
    Charge {
        event_id: event.id,
        source: event.source,
        via: Arc::from(via),
        key,
        response_key,
        body,
        time: event.time,
        execution,
        subject: Subject { agent: event.agent, team: event.team, environment: event.environment, labels: event.labels },
        parent,
        conversation: event.conversation,
        called: event.called,
        usage: event.usage.unwrap_or_default(),
        attrs: event.attrs,
        outcome: event.outcome,
        // What was cut off is known only so far.
        estimated: event.estimated || event.outcome == CallOutcome::Aborted,
        priced,
        reported_cost: event.reported_cost,
        claim: event.reservation.map(|reservation| Claim { reservation, last: event.settles, found: Found::Nothing }),
        ceiling: None,
        late: false,
    }
}

/// A cost that a trusted caller states for a reservation, instead of usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Id of the statement; without one the reservation has one statement.
    pub id: Option<Arc<str>>,
    /// The cost.
    pub cost: Money,
    /// Nothing more will come.
    pub last: bool,
    /// Provider, if it was a model.
    pub provider: Option<Arc<str>>,
    /// Model.
    pub model: Option<Arc<str>>,
    /// Tool, if it was one.
    pub tool: Option<Arc<str>>,
}

/// Name of a provider or model that a statement leaves out.
const UNSTATED: &str = "unstated";

/// The charge of a stated cost. Its run is the reservation's, which the meter knows.
#[must_use]
pub fn reported(reservation: &Arc<str>, stated: &Stated, now: Timestamp, tenant: &str) -> Charge {
    let id = stated.id.clone().unwrap_or_else(|| Arc::from(format!("{reservation}/settle")));
    let unstated = || Arc::from(UNSTATED);
    let called = match &stated.tool {
        Some(tool) => Called::Tool { tool: Arc::clone(tool), mcp_server: None },
        None => Called::Model {
            provider: stated.provider.clone().unwrap_or_else(unstated),
            model: stated.model.clone().unwrap_or_else(unstated),
            request_model: None,
            response_id: None,
        },
    };
    let body = [&*stated.cost.to_string(), if stated.last { "last" } else { "more" }].join(" ");
    Charge {
        key: key(&[tenant, "reservation", reservation, &id]),
        event_id: id,
        source: Arc::from("reservation"),
        via: Arc::from("api"),
        response_key: None,
        body: first_8(&Sha256::digest(body.as_bytes()).into()),
        time: now,
        execution: Ref::new("", ""),
        subject: Subject::default(),
        parent: None,
        conversation: None,
        called,
        usage: Usage::default(),
        attrs: Attrs::default(),
        outcome: CallOutcome::Ok,
        estimated: false,
        priced: Priced::Reported(stated.cost),
        reported_cost: Some(stated.cost),
        claim: Some(Claim { reservation: Arc::clone(reservation), last: stated.last, found: Found::Nothing }),
        ceiling: None,
        late: false,
    }
}

fn first_8(digest: &[u8; 32]) -> u64 {
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The price of a charge at the book's rates: the same question that [`charge`] asked, for checking it again.
#[must_use]
pub fn price_again(book: &PriceBook, charge: &Charge) -> Outcome {
    let call = Question {
        called: &charge.called,
        at: charge.time,
        usage: &charge.usage,
        attrs: &charge.attrs,
        outcome: charge.outcome,
        namespace: &charge.execution.namespace,
        team: charge.subject.team.as_deref(),
    };
    call.ask(book)
}

fn priced(book: &PriceBook, event: &UsageEvent, team: Option<&str>) -> Priced {
    let Some(usage) = &event.usage else {
        return match event.outcome {
            CallOutcome::Ok => Priced::Unpriced(Unpriced::MissingUsage),
            // A call that failed and states no usage used nothing that a provider bills.
            CallOutcome::Error | CallOutcome::Aborted => Priced::Zero(Zero::FailedWithoutUsage),
        };
    };
    let question = Question {
        called: &event.called,
        at: event.time,
        usage,
        attrs: &event.attrs,
        outcome: event.outcome,
        namespace: &event.namespace,
        team,
    };
    match question.ask(book) {
        Outcome::Priced(cost) => Priced::Cost(cost),
        Outcome::Unpriced(Unpriced::UnknownTool)
            if book.unmatched_tool(&event.namespace, team) == Unmatched::ZeroWithFlag =>
        {
            Priced::Zero(Zero::UnlistedTool)
        }
        Outcome::Unpriced(Unpriced::UnknownModel | Unpriced::UnknownProvider)
            if book.unmatched_model(&event.namespace, team) == Unmatched::ZeroWithFlag =>
        {
            Priced::Zero(Zero::UnlistedModel)
        }
        Outcome::Unpriced(reason) => Priced::Unpriced(reason),
    }
}

struct Question<'a> {
    called: &'a Called,
    at: Timestamp,
    usage: &'a Usage,
    attrs: &'a Attrs,
    outcome: CallOutcome,
    namespace: &'a str,
    team: Option<&'a str>,
}

impl Question<'_> {
    fn ask(&self, book: &PriceBook) -> Outcome {
        let target = match self.called {
            Called::Model { provider, model, request_model, .. } => {
                Target::Model { provider, model, request_model: request_model.as_deref() }
            }
            Called::Tool { tool, mcp_server } => {
                Target::Tool { tool, mcp_server: mcp_server.as_deref(), outcome: self.outcome.as_str() }
            }
            Called::Approval => Target::Approval,
        };
        let Self { at, usage, attrs, namespace, team, .. } = *self;
        price(book, &Call { target, at, usage, attrs, namespace, team })
    }
}

/// First 16 bytes of sha256 over the parts, each with its length before it.
fn key(parts: &[&str]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}

/// What a re-sent event must repeat: everything but its id and source, and never its price.
fn body_hash(event: &UsageEvent) -> u64 {
    #[derive(Serialize)]
    struct Body<'a> {
        time: Timestamp,
        names: [Option<&'a str>; 8],
        labels: &'a [(Arc<str>, Arc<str>)],
        called: &'a Called,
        usage: &'a Option<Usage>,
        attrs: &'a Attrs,
        outcome: CallOutcome,
        estimated: bool,
        settles: bool,
        reported: Option<pricing::Money>,
    }
    let body = Body {
        time: event.time,
        names: [
            Some(&event.namespace),
            Some(&event.execution),
            event.parent_execution.as_deref(),
            event.agent.as_deref(),
            event.team.as_deref(),
            event.environment.as_deref(),
            event.conversation.as_deref(),
            event.reservation.as_deref(),
        ],
        labels: &event.labels,
        called: &event.called,
        usage: &event.usage,
        attrs: &event.attrs,
        outcome: event.outcome,
        estimated: event.estimated,
        settles: event.settles,
        reported: event.reported_cost,
    };
    // Encoding plain values into memory cannot fail; an empty text would only make two bodies look alike.
    let bytes = postcard::to_stdvec(&body).unwrap_or_default();
    first_8(&Sha256::digest(&bytes).into())
}
