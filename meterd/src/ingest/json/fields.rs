//! One event's fields as raw JSON text, borrowed from the body: which are known, which came twice, which are ignored.
//!
//! Never interprets a value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::DEPTH_MAX;
use crate::event::{Rejection, escape_pointer};
use crate::ingest::IGNORED_FIELDS_MAX;

/// Longest name of an ignored field that is kept.
const IGNORED_NAME_BYTES_MAX: usize = 64;

macro_rules! fields {
    ($($field:ident = $name:literal,)+) => {
        /// A field of the native event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $(
            #[doc = concat!("`", $name, "`")]
            $field,
        )+ }

        impl Field {
            const COUNT: usize = [$($name),+].len();

            fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)+ _ => None }
            }

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)+ }
            }

            pub(super) const fn pointer(self) -> &'static str {
                match self { $(Self::$field => concat!("/", $name),)+ }
            }
        }
    };
}

fields! {
    Id = "id",
    Source = "source",
    Time = "time",
    Namespace = "namespace",
    Execution = "execution",
    ParentExecution = "parent_execution",
    Agent = "agent",
    Team = "team",
    Environment = "environment",
    Conversation = "conversation",
    Labels = "labels",
    Kind = "kind",
    Provider = "provider",
    Model = "model",
    RequestModel = "request_model",
    ResponseId = "response_id",
    Usage = "usage",
    Attrs = "attrs",
    Tool = "tool",
    McpServer = "mcp_server",
    Quantities = "quantities",
    Outcome = "outcome",
    Estimated = "estimated",
    Reservation = "reservation",
    Final = "final",
    ReportedCostUsd = "reported_cost_usd",
}

/// The raw text of every known field, and the names of the others.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    raw: [Option<&'a str>; Field::COUNT],
    /// Names of unknown fields, at most `IGNORED_FIELDS_MAX`.
    pub(super) ignored: Vec<String>,
    /// What is wrong with the object itself: a field twice, nesting too deep.
    pub(super) problem: Option<Rejection>,
}

impl<'a> Fields<'a> {
    /// The raw text of a field; `null` is the same as leaving it out.
    pub(super) fn get(&self, field: Field) -> Option<&'a str> {
        self.raw.get(field as usize).copied().flatten().filter(|raw| *raw != "null")
    }

    fn put(&mut self, field: Field, raw: &'a str) {
        let Some(slot) = self.raw.get_mut(field as usize) else { return };
        if slot.replace(raw).is_some() {
            self.refuse(duplicate(field.pointer(), field.name()));
        }
    }

    fn refuse(&mut self, rejection: Rejection) {
        self.problem.get_or_insert(rejection);
    }
}

/// A key that stands twice in one object.
pub(super) fn duplicate(pointer: impl Into<String>, name: &str) -> Rejection {
    Rejection::new("duplicate_field", pointer, format!("`{}` stands twice in one object; send it once", shown(name)))
}

/// A name that somebody sent, shortened and without control characters, fit for a message.
pub(super) fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(IGNORED_NAME_BYTES_MAX).collect()
}

/// One element of a body: an event's fields, or what stood there instead.
#[derive(Debug)]
pub(super) enum Element<'a> {
    /// An object.
    Event(Box<Fields<'a>>),
    /// Something else, named for a message.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Element<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a usage event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element<'de>, A::Error> {
        let mut fields = Box::new(Fields { raw: [None; Field::COUNT], ignored: Vec::new(), problem: None });
        while let Some(key) = map.next_key::<Key>()? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            if too_deep(raw) {
                let (pointer, name) = match &key {
                    Key::Known(field) => (field.pointer().to_owned(), field.name().to_owned()),
                    Key::Unknown(name) => (format!("/{}", escape_pointer(name)), shown(name)),
                };
                let message = format!("`{name}` is nested deeper than {DEPTH_MAX} levels");
                fields.refuse(Rejection::new("too_deep", pointer, message));
            }
            match key {
                Key::Known(field) => fields.put(field, raw),
                Key::Unknown(name) if fields.ignored.len() < IGNORED_FIELDS_MAX => fields.ignored.push(shown(&name)),
                Key::Unknown(_) => {}
            }
        }
        Ok(Element::Event(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Element<'de>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element::Other("an array"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element<'de>, E> {
        Ok(Element::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element<'de>, E> {
        Ok(Element::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element<'de>, E> {
        Ok(Element::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element<'de>, E> {
        Ok(Element::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Element<'de>, E> {
        Ok(Element::Other("a string"))
    }

    fn visit_unit<E>(self) -> Result<Element<'de>, E> {
        Ok(Element::Other("null"))
    }
}

enum Key {
    Known(Field),
    Unknown(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a field name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Field::parse(name).map_or_else(|| Key::Unknown(shown(name)), Key::Known))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Is this value nested too deep? Only objects and arrays are looked into, so a plain field costs one comparison.
fn too_deep(raw: &str) -> bool {
    if !raw.starts_with(['{', '[']) {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
