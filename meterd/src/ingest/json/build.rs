//! Raw fields → a validated `UsageEvent`, or the first thing wrong with them.

use std::borrow::Cow;
use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Money, Timestamp, Usage};

use super::fields::{Field, Fields, shown};
use super::{mcp, quantities, scalar};
use crate::event::{ATTRS_MAX, DEFAULT_NAMESPACE, DEFAULT_SOURCE, LABELS_MAX, Labels, Rejection, UsageEvent};
use crate::ingest::{IGNORED_FIELDS_MAX, amount};

/// The event, and the names of the fields that were kept out.
pub(super) fn event(fields: &Fields<'_>) -> (Result<UsageEvent, Rejection>, Vec<String>) {
    let mut ignored = fields.ignored.clone();
    let event = read(fields, &mut ignored);
    ignored.truncate(IGNORED_FIELDS_MAX);
    (event, ignored)
}

fn read(fields: &Fields<'_>, ignored: &mut Vec<String>) -> Result<UsageEvent, Rejection> {
    if let Some(problem) = &fields.problem {
        return Err(problem.clone());
    }
    let id = required(fields, Field::Id)?;
    let time = time(fields)?;
    let execution = required(fields, Field::Execution)?;
    let kind = Kind::read(fields)?;
    let (called, usage) = mcp::as_tool(called(fields, kind)?, usage(fields, kind)?);
    note_ignored(fields, kind, ignored);
    let event = UsageEvent {
        id,
        source: optional(fields, Field::Source)?.unwrap_or_else(|| Arc::from(DEFAULT_SOURCE)),
        time,
        namespace: optional(fields, Field::Namespace)?.unwrap_or_else(|| Arc::from(DEFAULT_NAMESPACE)),
        execution,
        parent_execution: optional(fields, Field::ParentExecution)?,
        agent: optional(fields, Field::Agent)?,
        team: optional(fields, Field::Team)?,
        environment: optional(fields, Field::Environment)?,
        conversation: optional(fields, Field::Conversation)?,
        labels: labels(fields)?,
        called,
        usage,
        attrs: attrs(fields)?,
        outcome: outcome(fields)?,
        estimated: flag(fields, Field::Estimated)?,
        reservation: optional(fields, Field::Reservation)?,
        // One call is one reservation, unless its event says that more will come.
        settles: fields
            .get(Field::Final)
            .map_or(Ok(fields.get(Field::Reservation).is_some()), |raw| scalar::boolean(Field::Final.pointer(), raw))?,
        reported_cost: reported_cost(fields)?,
    };
    event.validate()?;
    Ok(event)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Tool,
    Approval,
}

impl Kind {
    fn read(fields: &Fields<'_>) -> Result<Self, Rejection> {
        match &*required_text(fields, Field::Kind)? {
            "model" => Ok(Self::Model),
            "tool" => Ok(Self::Tool),
            "approval" => Ok(Self::Approval),
            other => Err(Rejection::new(
                "unknown_kind",
                Field::Kind.pointer(),
                format!("unknown kind `{}`; use `model`, `tool` or `approval`", shown(other)),
            )),
        }
    }

    /// Fields that say something only about another kind, and are kept out.
    const fn foreign(self) -> &'static [Field] {
        match self {
            Self::Model => &[Field::Tool, Field::McpServer],
            Self::Tool => &[Field::Provider, Field::Model, Field::RequestModel, Field::ResponseId],
            Self::Approval => {
                &[Field::Provider, Field::Model, Field::RequestModel, Field::ResponseId, Field::Tool, Field::McpServer]
            }
        }
    }
}

fn note_ignored(fields: &Fields<'_>, kind: Kind, ignored: &mut Vec<String>) {
    let foreign = kind.foreign().iter().filter(|field| fields.get(**field).is_some());
    ignored.extend(foreign.map(|field| field.name().to_owned()));
}

fn called(fields: &Fields<'_>, kind: Kind) -> Result<Called, Rejection> {
    match kind {
        Kind::Model => {
            let model = required(fields, Field::Model)?;
            let request_model = optional(fields, Field::RequestModel)?.filter(|asked| *asked != model);
            let response_id = optional(fields, Field::ResponseId)?;
            Ok(Called::Model { provider: required(fields, Field::Provider)?, model, request_model, response_id })
        }
        Kind::Tool => {
            let mcp_server = optional(fields, Field::McpServer)?;
            Ok(Called::Tool { tool: required(fields, Field::Tool)?, mcp_server })
        }
        Kind::Approval => Ok(Called::Approval),
    }
}

fn usage(fields: &Fields<'_>, kind: Kind) -> Result<Option<Usage>, Rejection> {
    let (mine, other) = match kind {
        Kind::Model => (Field::Usage, Field::Quantities),
        Kind::Tool | Kind::Approval => (Field::Quantities, Field::Usage),
    };
    // Never dropped silently: what stands there was meant to be paid for.
    if fields.get(other).is_some() {
        let message = format!(
            "`{}` does not belong to this kind; a model call has `usage`, a tool call or an approval `quantities`",
            other.name()
        );
        return Err(Rejection::new("unexpected_field", other.pointer(), message));
    }
    match (kind, fields.get(mine)) {
        (Kind::Model, Some(raw)) => quantities::usage(mine.pointer(), raw),
        (Kind::Tool, raw) => quantities::tool(mine.pointer(), raw),
        (Kind::Approval, Some(raw)) => quantities::approval(mine.pointer(), raw),
        (_, None) => Ok(None),
    }
}

fn time(fields: &Fields<'_>) -> Result<Timestamp, Rejection> {
    let text = required_text(fields, Field::Time)?;
    text.parse().map_err(|_| {
        let message = "not an RFC 3339 time with an offset, such as 2026-11-22T10:00:00.123Z";
        Rejection::new("invalid_time", Field::Time.pointer(), message)
    })
}

fn outcome(fields: &Fields<'_>) -> Result<CallOutcome, Rejection> {
    let Some(text) = optional_text(fields, Field::Outcome)? else { return Ok(CallOutcome::Ok) };
    match &*text {
        "ok" => Ok(CallOutcome::Ok),
        "error" => Ok(CallOutcome::Error),
        "aborted" => Ok(CallOutcome::Aborted),
        other => Err(Rejection::new(
            "invalid_value",
            Field::Outcome.pointer(),
            format!("unknown outcome `{}`; use `ok`, `error` or `aborted`", shown(other)),
        )),
    }
}

fn reported_cost(fields: &Fields<'_>) -> Result<Option<Money>, Rejection> {
    let Some(raw) = fields.get(Field::ReportedCostUsd) else { return Ok(None) };
    let pointer = Field::ReportedCostUsd.pointer();
    let text = if scalar::is_number(raw) {
        Cow::Borrowed(raw)
    } else if raw.starts_with('"') {
        scalar::string(pointer, raw)?
    } else {
        return Err(scalar::wrong_type(pointer, "a decimal string such as \"0.0123\"", raw));
    };
    let amount = amount::from_text(&text).ok_or_else(|| {
        let message = "not an amount of US dollars; send a decimal string such as \"0.0123\", below 10^20";
        Rejection::new("invalid_amount", pointer, message)
    })?;
    Ok(Some(amount))
}

fn labels(fields: &Fields<'_>) -> Result<Labels, Rejection> {
    let Some(raw) = fields.get(Field::Labels) else { return Ok(Vec::new()) };
    let pointer = Field::Labels.pointer();
    let mut labels = Vec::new();
    for (key, raw) in scalar::object(pointer, raw, LABELS_MAX)? {
        let value = scalar::string(&scalar::inside(pointer, &key), raw)?;
        labels.push((Arc::from(&*key), Arc::from(&*value)));
    }
    labels.sort_unstable();
    Ok(labels)
}

fn attrs(fields: &Fields<'_>) -> Result<Attrs, Rejection> {
    let mut attrs = Attrs::new();
    let Some(raw) = fields.get(Field::Attrs) else { return Ok(attrs) };
    let pointer = Field::Attrs.pointer();
    for (key, raw) in scalar::object(pointer, raw, ATTRS_MAX)? {
        // Price lists key on words, switches and sizes alike; all of them are compared as text.
        let value = match raw {
            "null" => continue,
            "true" | "false" => Cow::Borrowed(raw),
            number if scalar::is_number(number) => Cow::Borrowed(number),
            text => scalar::string(&scalar::inside(pointer, &key), text)?,
        };
        attrs.set(&key, &value);
    }
    Ok(attrs)
}

fn flag(fields: &Fields<'_>, field: Field) -> Result<bool, Rejection> {
    fields.get(field).map_or(Ok(false), |raw| scalar::boolean(field.pointer(), raw))
}

fn optional_text<'a>(fields: &Fields<'a>, field: Field) -> Result<Option<Cow<'a, str>>, Rejection> {
    fields.get(field).map(|raw| scalar::string(field.pointer(), raw)).transpose()
}

fn optional(fields: &Fields<'_>, field: Field) -> Result<Option<Arc<str>>, Rejection> {
    Ok(optional_text(fields, field)?.map(|text| Arc::from(&*text)))
}

fn required_text<'a>(fields: &Fields<'a>, field: Field) -> Result<Cow<'a, str>, Rejection> {
    optional_text(fields, field)?.ok_or_else(|| {
        let message = format!("`{}` is missing; {}", field.name(), hint(field));
        Rejection::new("missing_field", field.pointer(), message)
    })
}

fn required(fields: &Fields<'_>, field: Field) -> Result<Arc<str>, Rejection> {
    required_text(fields, field).map(|text| Arc::from(&*text))
}

const fn hint(field: Field) -> &'static str {
    match field {
        Field::Id => "give each event an id of its own, so that a retry is not charged twice",
        Field::Time => "send the start of the call as an RFC 3339 time",
        Field::Execution => "name the run that the call belongs to",
        Field::Kind => "use `model`, `tool` or `approval`",
        Field::Provider => "a model call names its provider, such as `openai`",
        Field::Model => "a model call names its model, as the response gave it",
        Field::Tool => "a tool call names its tool",
        _ => "this field is required",
    }
}
