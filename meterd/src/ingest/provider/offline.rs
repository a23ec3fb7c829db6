//! Native events as files of cases spell them, with fields left out that only the daemon needs → plain native events.

use pricing::Timestamp;

use super::Defaults;
use super::envelope::Draft;
use super::object::Object;

/// Other names under which a field is read, besides its own.
const ALIASES: &[(&str, &str)] = &[("timestamp", "time"), ("context", "attrs")];

/// The line as a native event: aliases resolved, and what is missing put in. `None` where the line is no object.
pub(super) fn complete(line: &str, defaults: &Defaults<'_>) -> Option<String> {
    let object = Object::parse(line)?;
    let mut draft = Draft::default();
    let mut seen: Vec<&str> = Vec::new();
    for (key, raw) in object.pairs().filter(|(_, raw)| *raw != "null") {
        let name = ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| *name);
        seen.push(name);
        draft.raw(name, Some(raw));
    }
    let lacks = |name: &str| !seen.contains(&name);
    if lacks("kind") {
        draft.text("kind", Some(if lacks("tool") { "model" } else { "tool" }));
    }
    if lacks("id") {
        draft.text("id", defaults.id);
    }
    if lacks("execution") {
        draft.text("execution", defaults.execution);
    }
    if lacks("time") {
        draft.text("time", defaults.time.map(|time: Timestamp| time.to_string()).as_deref());
    }
    Some(draft.done())
}
