//! An envelope and the reading of its body → the fields of native events, validated by the native decoder.
//!
//! The response's own words go before the envelope's where both say something: served, not asked for.

use std::sync::Arc;

use serde_json::to_string;

use super::object::{Object, text};
use super::reading::{Caller, Part, Reading};
use super::{Api, Defaults, bedrock, chunks};
use crate::event::Rejection;
use crate::ingest::json::{self, BodyKind};
use crate::ingest::{IGNORED_FIELDS_MAX, Item};

/// Fields that go into the event as they are.
const PASSED: &[&str] = &[
    "namespace",
    "parent_execution",
    "agent",
    "team",
    "environment",
    "conversation",
    "labels",
    "estimated",
    "reservation",
    "final",
];
/// Fields that are read here.
const READ: &[&str] = &[
    "provider",
    "api",
    "body",
    "time",
    "timestamp",
    "id",
    "source",
    "execution",
    "model",
    "response_id",
    "attrs",
    "context",
    "outcome",
    "reported_cost_usd",
    "kind",
];

/// Most fields of one envelope; more than that are not known.
const FIELDS_MAX: usize = 128;
/// Most calls that one response may have made within itself.
const PARTS_MAX: usize = 256;

/// The events of one envelope: the response, then the calls made within it.
pub(super) fn items(index: usize, raw: &str, defaults: &Defaults<'_>) -> Vec<Item> {
    let Some(envelope) = Object::parse(raw) else {
        let message = "an envelope is a JSON object with `provider`, `api` and `body`";
        return vec![refused(index, None, Rejection::new("invalid_type", "", message))];
    };
    let mut ignored = Vec::new();
    for (key, _) in envelope.pairs() {
        if !PASSED.contains(&key) && !READ.contains(&key) && ignored.len() < IGNORED_FIELDS_MAX {
            ignored.push(key.chars().filter(|c| !c.is_control()).take(64).collect());
        }
    }
    match read(&envelope, defaults) {
        Ok((drafts, notes)) => drafts.into_iter().map(|draft| native(index, &draft, &ignored, &notes)).collect(),
        Err(rejection) => {
            let id = envelope.text("id").map(|id| id.into_owned()).or_else(|| defaults.id.map(str::to_owned));
            vec![Item { ignored_fields: ignored, ..refused(index, id.as_deref(), rejection) }]
        }
    }
}

fn native(index: usize, draft: &str, ignored: &[String], notes: &[&'static str]) -> Item {
    let first = json::decode(draft.as_bytes(), BodyKind::Json).map(|batch| batch.items.into_iter().next());
    let item = match first {
        Ok(Some(item)) => item,
        Ok(None) => refused(index, None, Rejection::new("invalid_value", "", "this envelope makes no event")),
        Err(error) => refused(index, None, Rejection::new(error.code, "", error.message)),
    };
    let mut all = ignored.to_vec();
    all.extend(item.ignored_fields);
    all.truncate(IGNORED_FIELDS_MAX);
    Item { index, ignored_fields: all, notes: notes.to_vec(), ..item }
}

fn refused(index: usize, id: Option<&str>, rejection: Rejection) -> Item {
    let id = id.filter(|id| id.len() <= crate::event::ID_BYTES_MAX && !id.chars().any(char::is_control));
    Item { index, id: id.map(Arc::from), event: Err(rejection), ignored_fields: Vec::new(), notes: Vec::new() }
}

/// The native events of an envelope, as JSON texts, and the notes.
fn read(envelope: &Object<'_>, defaults: &Defaults<'_>) -> Result<(Vec<String>, Vec<&'static str>), Rejection> {
    for (place, (key, _)) in envelope.pairs().enumerate() {
        if place >= FIELDS_MAX {
            return Err(Rejection::new("too_many", "", format!("an envelope has at most {FIELDS_MAX} fields")));
        }
        if envelope.pairs().take(place).any(|(earlier, _)| earlier == key) {
            let message = format!("`{}` stands twice in one object; send it once", key.escape_debug());
            return Err(Rejection::new("duplicate_field", "", message));
        }
    }
    let provider = required(envelope, "provider", "name whose response it is, such as `openai`")?;
    let provider = provider.trim().to_ascii_lowercase();
    let name = required(envelope, "api", "say which API's response it is, such as `openai.chat`")?;
    let api = Api::parse(&name).ok_or_else(|| {
        let known: Vec<&str> = Api::ALL.iter().map(|api| api.as_str()).collect();
        Rejection::new("invalid_value", "/api", format!("unknown api; use {}", known.join(", ")))
    })?;
    let body = envelope.get("body").ok_or_else(|| missing("body", "send the provider's response"))?;
    let asked = envelope.text("model").map(|model| bedrock::bare(&model).to_owned());
    let texts = chunks::of(body)?;
    let chunks: Vec<Object<'_>> = texts.iter().filter_map(|text| Object::parse(text)).collect();
    let caller = Caller { provider: &provider, model: asked.as_deref() };
    let reading = api.read(&chunks, caller)?;
    let event = Event { envelope, provider: &provider, asked: asked.as_deref(), reading: &reading, defaults };
    if reading.parts.len() > PARTS_MAX {
        let message = format!("this response made more than {PARTS_MAX} calls within itself");
        return Err(Rejection::new("too_many", "/body", message));
    }
    let mut drafts = vec![event.response()?];
    for part in &reading.parts {
        drafts.push(event.part(part)?);
    }
    Ok((drafts, reading.notes))
}

fn required(envelope: &Object<'_>, name: &str, hint: &str) -> Result<String, Rejection> {
    let raw = envelope.get(name).ok_or_else(|| missing(name, hint))?;
    let text = text(raw).ok_or_else(|| Rejection::new("invalid_type", format!("/{name}"), "this must be a string"))?;
    Ok(text.into_owned())
}

fn missing(name: &str, hint: &str) -> Rejection {
    Rejection::new("missing_field", format!("/{name}"), format!("`{name}` is missing; {hint}"))
}

/// What the events of one envelope are made of.
struct Event<'a> {
    envelope: &'a Object<'a>,
    provider: &'a str,
    asked: Option<&'a str>,
    reading: &'a Reading,
    defaults: &'a Defaults<'a>,
}

impl Event<'_> {
    fn response(&self) -> Result<String, Rejection> {
        let mut draft = self.common("")?;
        let reading = self.reading;
        draft.text("model", reading.model.as_deref().or(self.asked));
        if reading.model.is_some() {
            draft.text("request_model", self.asked);
        }
        draft.text("response_id", self.response_id().as_deref());
        for field in PASSED {
            draft.raw(field, self.envelope.get(field));
        }
        if let Some(usage) = &reading.usage {
            draft.raw("usage", to_string(usage).ok().as_deref());
        }
        match self.envelope.get("outcome") {
            Some(outcome) => draft.raw("outcome", Some(outcome)),
            None => draft.text("outcome", reading.outcome),
        }
        match (&reading.reported_cost, self.envelope.get("reported_cost_usd")) {
            (_, Some(stated)) => draft.raw("reported_cost_usd", Some(stated)),
            (Some(cost), None) => draft.text("reported_cost_usd", Some(&cost.to_string())),
            (None, None) => {}
        }
        Ok(draft.done())
    }

    /// A call within the response: the same run, its own id, model and usage.
    fn part(&self, part: &Part) -> Result<String, Rejection> {
        let suffix = format!("/{}", part.name);
        let mut draft = self.common(&suffix)?;
        draft.text("model", part.model.as_deref().or(self.reading.model.as_deref()).or(self.asked));
        let response_id = self.response_id().map(|id| format!("{id}{suffix}"));
        draft.text("response_id", response_id.as_deref());
        // The reservation is settled by the response itself.
        for field in PASSED.iter().filter(|field| !matches!(**field, "reservation" | "final")) {
            draft.raw(field, self.envelope.get(field));
        }
        if let Some(usage) = &part.usage {
            draft.raw("usage", to_string(usage).ok().as_deref());
        }
        Ok(draft.done())
    }

    /// What the response and its parts share.
    fn common(&self, suffix: &str) -> Result<Draft, Rejection> {
        let mut draft = Draft::default();
        draft.text("kind", Some("model"));
        draft.text("provider", Some(self.provider));
        match self.id()? {
            Id::Text(id) => draft.text("id", Some(&format!("{id}{suffix}"))),
            Id::Raw(raw) => draft.raw("id", Some(raw)),
        }
        match self.envelope.get("source") {
            Some(source) => draft.raw("source", Some(source)),
            None => draft.text("source", Some(&format!("provider/{}", self.provider))),
        }
        let time = match (self.envelope.get("time"), self.envelope.get("timestamp")) {
            (Some(_), Some(_)) => {
                let message = "`time` and `timestamp` are two names of one field; send one of them";
                return Err(Rejection::new("duplicate_field", "/timestamp", message));
            }
            (time, alias) => time.or(alias),
        };
        match (time, &self.reading.created, self.defaults.time) {
            (Some(time), _, _) => draft.raw("time", Some(time)),
            (None, Some(created), _) => draft.text("time", Some(created)),
            (None, None, Some(default)) => draft.text("time", Some(&default.to_string())),
            (None, None, None) => {}
        }
        match (self.envelope.get("execution"), self.defaults.execution) {
            (Some(execution), _) => draft.raw("execution", Some(execution)),
            (None, Some(default)) => {
                let name = self.response_id().filter(|id| id.len() <= crate::event::NAME_BYTES_MAX);
                draft.text("execution", Some(name.as_deref().unwrap_or(default)));
            }
            (None, None) => {}
        }
        draft.raw("attrs", self.attrs()?.as_deref());
        Ok(draft)
    }

    fn response_id(&self) -> Option<String> {
        self.reading.response_id.clone().or_else(|| self.envelope.text("response_id").map(std::borrow::Cow::into_owned))
    }

    fn id(&self) -> Result<Id<'_>, Rejection> {
        if let Some(raw) = self.envelope.get("id") {
            return Ok(text(raw).map_or(Id::Raw(raw), |id| Id::Text(id.into_owned())));
        }
        let id = self.response_id().or_else(|| self.defaults.id.map(str::to_owned));
        id.map(Id::Text).ok_or_else(|| {
            missing("id", "this response bears no id of its own, so give it one: a retry is then not charged twice")
        })
    }

    /// The envelope's attributes with the served ones over them, as JSON.
    fn attrs(&self) -> Result<Option<String>, Rejection> {
        let stated = self.envelope.get("attrs").or_else(|| self.envelope.get("context"));
        let served = &self.reading.attrs;
        let Some(stated) = stated else {
            return Ok((!served.is_empty()).then(|| to_string(served).unwrap_or_default()));
        };
        let Some(object) = Object::parse(stated) else {
            return Err(Rejection::new("invalid_type", "/attrs", "this must be an object"));
        };
        let mut merged = Draft::default();
        for (key, raw) in object.pairs().filter(|(key, _)| served.get(key).is_none()) {
            merged.raw(key, Some(raw));
        }
        for (key, value) in served.iter() {
            merged.text(key, Some(value));
        }
        Ok(Some(merged.done()))
    }
}

enum Id<'a> {
    Text(String),
    /// Not a string: the native decoder says so.
    Raw(&'a str),
}

/// A JSON object in the making.
#[derive(Default)]
pub(super) struct Draft(String);

impl Draft {
    /// A field with its raw JSON, where there is one.
    pub(super) fn raw(&mut self, key: &str, raw: Option<&str>) {
        let Some(raw) = raw else { return };
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&to_string(key).unwrap_or_default());
        self.0.push(':');
        self.0.push_str(raw);
    }

    /// A field with a text, where there is one.
    pub(super) fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.raw(key, to_string(value).ok().as_deref());
        }
    }

    /// The object.
    pub(super) fn done(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}
