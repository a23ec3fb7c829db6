//! A call that counts → a `UsageEvent`: identity, attribution, usage, outcome.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Quantity, Timestamp, Usage, UsageKey};

use super::Defaults;
use super::attributes::{Attributes, Field, cut};
use super::call::Call;
use super::dialect::{Class, classify};
use super::relatives::Family;
use super::span::{Span, hex};
use crate::event::{MODEL_BYTES_MAX, NAME_BYTES_MAX, Rejection, SOURCE_BYTES_MAX, UsageEvent, VALUE_BYTES_MAX};
use crate::ingest::{Item, NOTE_INCONSISTENT_USAGE};

/// What stands where a span names no model or tool: unpriced and visible, never free.
const UNNAMED: &str = "unknown";
/// What SDKs put where nobody named the service.
const UNNAMED_SERVICE: &str = "unknown_service";

/// Everything around a call.
pub(super) struct Context<'a> {
    /// All spans of the request.
    pub(super) family: &'a Family<'a>,
    /// The attributes of each resource.
    pub(super) resources: &'a [Attributes],
    /// What the sender leaves out.
    pub(super) defaults: &'a Defaults,
}

/// The item of a call that counts.
pub(super) fn item(context: &Context<'_>, call: Call) -> Item {
    let index = call.span;
    let Some(span) = context.family.spans().get(index) else {
        let event = Err(Rejection::new("missing_span", "", "this span is not part of the request"));
        return Item { index, id: None, event, ignored_fields: Vec::new(), notes: Vec::new() };
    };
    let id = id(span);
    let mut notes = Vec::new();
    let event = match &id {
        Some((id, trace)) => event(context, span, call, id, trace, &mut notes),
        None => Err(Rejection::new(
            "invalid_span_id",
            span.place.pointer(""),
            "a span needs a trace id of 16 bytes and a span id of 8 bytes, neither all zeros",
        )),
    };
    Item { index, id: id.map(|(id, _)| id), event, ignored_fields: Vec::new(), notes }
}

/// `traceid:spanid` and the trace id, in hex.
fn id(span: &Span) -> Option<(Arc<str>, Arc<str>)> {
    let trace = hex(&span.trace?);
    let id = format!("{trace}:{}", hex(&span.id?));
    Some((Arc::from(id), Arc::from(trace)))
}

fn event(
    context: &Context<'_>,
    span: &Span,
    mut call: Call,
    id: &Arc<str>,
    trace: &Arc<str>,
    notes: &mut Vec<&'static str>,
) -> Result<UsageEvent, Rejection> {
    if let Some(rejection) = call.rejection.take() {
        return Err(rejection);
    }
    let around = Around { context, span: call.span, resource: context.resources.get(span.place.resource) };
    let usage = if call.class.is_model() {
        if call.tokens.make_inclusive() {
            notes.push(NOTE_INCONSISTENT_USAGE);
        }
        call.tokens.usage(|| span.place.pointer("gen_ai.usage"))?
    } else {
        Some(tool_usage(span)?)
    };
    let mut attrs = Attrs::new();
    if let Some(tier) = &call.service_tier {
        attrs.set("service_tier", &printable(tier, VALUE_BYTES_MAX));
    }
    let service = around.resource_name(Field::ServiceName);
    let source = format!("otlp/{}", service.as_deref().unwrap_or(UNNAMED));
    let rule = context.defaults.rule(service.as_deref());
    let named_namespace = around.name(Field::Namespace).or_else(|| rule.and_then(|rule| rule.namespace.clone()));
    let named_agent = around.agent().or_else(|| rule.and_then(|rule| rule.agent.clone()));
    let named_team = around.name(Field::Team).or_else(|| rule.and_then(|rule| rule.team.clone()));
    // Never from a span above: that may be about more than this call.
    let reservation = span.attributes.name(Field::Reservation);
    let event = UsageEvent {
        id: Arc::clone(id),
        source: printable(&source, SOURCE_BYTES_MAX),
        time: time(span)?,
        namespace: named_namespace.unwrap_or_else(|| Arc::clone(&context.defaults.namespace)),
        execution: around.execution().unwrap_or_else(|| Arc::clone(trace)),
        parent_execution: None,
        agent: named_agent
            .or_else(|| context.defaults.agent.clone())
            .or(service.filter(|name| !name.starts_with(UNNAMED_SERVICE))),
        team: named_team.or_else(|| context.defaults.team.clone()),
        environment: around.name(Field::Environment),
        conversation: around.name(Field::Conversation),
        labels: Vec::new(),
        called: called(span, &call),
        usage,
        attrs,
        outcome: outcome(span),
        estimated: false,
        settles: reservation.is_some(),
        reservation,
        reported_cost: call.reported_cost,
    };
    event.validate()?;
    Ok(event)
}

/// How the call ended. One that its caller gave up says what it knows of its usage: an estimate.
fn outcome(span: &Span) -> CallOutcome {
    const GIVEN_UP: [&str; 7] = [
        "aborted",
        "aborterror",
        "apiuseraborterror",
        "canceled",
        "cancelled",
        "cancellederror",
        "operationcanceledexception",
    ];
    if !span.failed() {
        return CallOutcome::Ok;
    }
    let kind = span.attributes.name(Field::ErrorType).unwrap_or_else(|| Arc::from(""));
    let word = kind.rsplit(['.', ':']).next().unwrap_or_default().to_ascii_lowercase();
    if GIVEN_UP.contains(&word.as_str()) { CallOutcome::Aborted } else { CallOutcome::Error }
}

fn called(span: &Span, call: &Call) -> Called {
    let name = |field, bytes_max| span.attributes.name(field).map(|name| printable(&name, bytes_max));
    if call.class == Class::Tool {
        let tool = name(Field::Tool, NAME_BYTES_MAX).or_else(|| name(Field::TraceloopEntity, NAME_BYTES_MAX));
        let tool = tool.or_else(|| named(&span.name)).unwrap_or_else(|| Arc::from(UNNAMED));
        let mcp_server = call.mcp_server.as_ref().map(|server| printable(server, NAME_BYTES_MAX));
        return Called::Tool { tool, mcp_server };
    }
    let request_model = name(Field::RequestModel, MODEL_BYTES_MAX);
    let model = name(Field::ResponseModel, MODEL_BYTES_MAX).or_else(|| request_model.clone());
    let model = model.unwrap_or_else(|| Arc::from(UNNAMED));
    let request_model = request_model.filter(|asked| *asked != model);
    Called::Model {
        provider: printable(&call.provider, NAME_BYTES_MAX),
        model,
        request_model,
        response_id: call.response_id.clone(),
    }
}

/// A span's own name, where nothing else names its tool: OpenInference and Langfuse name the span after it.
fn named(name: &str) -> Option<Arc<str>> {
    let name = name.strip_prefix("execute_tool ").or_else(|| name.strip_suffix(".tool")).unwrap_or(name);
    (!name.is_empty()).then(|| printable(name, NAME_BYTES_MAX))
}

/// One call. How long the span took is its observer's measure, not a quantity that the tool reported.
fn tool_usage(span: &Span) -> Result<Usage, Rejection> {
    let mut usage = Usage::new();
    let one = Quantity::from_u64(1).unwrap_or_default();
    let refuse = |message: String| Rejection::new("invalid_quantity", span.place.pointer(""), message);
    usage.set(UsageKey::Calls, one).map_err(|invalid| refuse(invalid.to_string()))?;
    Ok(usage)
}

/// The start of the call; its end where the start is missing.
fn time(span: &Span) -> Result<Timestamp, Rejection> {
    let nanos = if span.start_nanos == 0 { span.end_nanos } else { span.start_nanos };
    i64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Timestamp::from_nanos).ok_or_else(|| {
        let message = "a span needs its start time, in nanoseconds since 1970-01-01T00:00:00Z";
        Rejection::new("invalid_time", span.place.pointer(""), message)
    })
}

/// A span, its ancestors and its resource, in this order of precedence.
struct Around<'a> {
    context: &'a Context<'a>,
    span: usize,
    resource: Option<&'a Attributes>,
}

impl Around<'_> {
    fn lineage(&self) -> impl Iterator<Item = &Span> {
        let family = self.context.family;
        std::iter::once(self.span).chain(family.ancestors(self.span)).filter_map(|index| family.spans().get(index))
    }

    fn resource_name(&self, field: Field) -> Option<Arc<str>> {
        Some(printable(&self.resource?.name(field)?, NAME_BYTES_MAX))
    }

    /// A name that describes: cut and cleaned rather than refused.
    fn name(&self, field: Field) -> Option<Arc<str>> {
        let found = self.lineage().find_map(|span| span.attributes.name(field));
        found
            .map(|name| printable(&name, NAME_BYTES_MAX))
            .filter(|name| !name.is_empty())
            .or_else(|| self.resource_name(field))
    }

    /// The run's name decides who pays, so it is never cut: one that is too long refuses the event.
    fn execution(&self) -> Option<Arc<str>> {
        let found = self.lineage().find_map(|span| span.attributes.name(Field::Execution));
        found.or_else(|| self.resource?.name(Field::Execution))
    }

    /// The span's own agent, or the nearest agent's above it.
    fn agent(&self) -> Option<Arc<str>> {
        let of = |span: &Span| {
            let entity = || span.attributes.name(Field::TraceloopEntity).filter(|_| classify(span) == Class::Agent);
            span.attributes.name(Field::Agent).or_else(entity)
        };
        let found = self.lineage().find_map(of).or_else(|| self.resource?.name(Field::Agent))?;
        Some(printable(&found, NAME_BYTES_MAX)).filter(|name| !name.is_empty())
    }
}

fn printable(text: &str, bytes_max: usize) -> Arc<str> {
    if text.len() <= bytes_max && !text.chars().any(char::is_control) {
        return Arc::from(text);
    }
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    Arc::from(cut(&clean, bytes_max))
}
