//! `when` and `calendars`.

use std::sync::Arc;

use jiff::civil;
use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;

use super::super::reader::{Path, Reader};
use super::super::when::{AttrTest, Bounds, Calendar, DAY_SECONDS, Test, UsageTest, Weekdays, When, Window};
use super::{Context, rates};
use crate::document::{Node, nearest};
use crate::time::Timestamp;

const WINDOW_FIELDS: &[&str] = &["start", "end", "tz", "weekdays", "weekdayTz", "exceptCalendar"];
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `spec.calendars`.
pub(super) fn calendars(reader: &mut Reader, spec: &Node, path: &Path<'_>) -> FxHashMap<String, Arc<Calendar>> {
    let Some(node) = spec.get("calendars") else { return FxHashMap::default() };
    let path = Path::Key(path, "calendars");
    let mut calendars = FxHashMap::default();
    for (key, calendar) in reader.pairs(node, &path) {
        let path = Path::Key(&path, &key.name);
        if !reader.fields(calendar, &path, &["tz", "dates"]) {
            continue;
        }
        let tz = zone(reader, calendar, &path, "tz").unwrap_or(TimeZone::UTC);
        let mut dates = Vec::new();
        if let Some(list) = reader.required(calendar, &path, "dates", "list the dates, such as [\"2026-10-01\"]") {
            let path = Path::Key(&path, "dates");
            for (index, date) in reader.list(list, &path).iter().enumerate() {
                let path = Path::Index(&path, index);
                let Some(text) = reader.text(date, &path) else { continue };
                match text.parse::<civil::Date>() {
                    Ok(date) => dates.push(date),
                    Err(_) => reader.error(date.place, &path, format!("{text:?} is not a date"), "write 2026-10-01"),
                }
            }
        }
        dates.sort_unstable();
        calendars.insert(key.name.clone(), Arc::new(Calendar { tz, dates }));
    }
    calendars
}

/// The `when` of a rule or an adjustment; always, if there is none.
pub(super) fn when(reader: &mut Reader, context: &Context, rule: &Node, path: &Path<'_>) -> When {
    let mut when = When::default();
    let Some(node) = rule.get("when").filter(|node| !node.is_null()) else { return when };
    let path = Path::Key(path, "when");
    if !reader.fields(node, &path, &["from", "until", "windows", "attrs", "usage"]) {
        return when;
    }
    when.from = node.get("from").and_then(|from| reader.instant(from, &Path::Key(&path, "from")));
    when.until = node.get("until").and_then(|until| reader.instant(until, &Path::Key(&path, "until")));
    order(reader, &when, node, &path);
    if let Some(windows) = node.get("windows") {
        let path = Path::Key(&path, "windows");
        for (index, node) in reader.list(windows, &path).iter().enumerate() {
            when.windows.extend(window(reader, context, node, &Path::Index(&path, index)));
        }
    }
    if let Some(attrs) = node.get("attrs") {
        let path = Path::Key(&path, "attrs");
        for (key, value) in reader.pairs(attrs, &path) {
            let test = attr_test(reader, value, &Path::Key(&path, &key.name));
            when.attrs.extend(test.map(|test| AttrTest { name: key.name.as_str().into(), test }));
        }
    }
    if let Some(usage) = node.get("usage") {
        let path = Path::Key(&path, "usage");
        for (key, value) in reader.pairs(usage, &path) {
            let path = Path::Key(&path, &key.name);
            let unit = rates::unit(reader, key, &path);
            let bounds = bounds(reader, value, &path, &["gt", "gte"]);
            when.usage.extend(unit.zip(bounds).map(|(key, bounds)| UsageTest { key, bounds }));
        }
    }
    when
}

/// Dates that stand beside a `when`.
pub(super) fn narrow(
    reader: &mut Reader,
    when: &mut When,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    node: &Node,
    path: &Path<'_>,
) {
    if (from.is_some() && when.from.is_some()) || (until.is_some() && when.until.is_some()) {
        reader.error(node.place, path, "a date here and in `when`", "keep one of the two");
    }
    when.from = when.from.or(from);
    when.until = when.until.or(until);
    order(reader, when, node, path);
}

fn order(reader: &mut Reader, when: &When, node: &Node, path: &Path<'_>) {
    if let (Some(from), Some(until)) = (when.from, when.until)
        && from >= until
    {
        reader.error(node.place, path, format!("from {from} is not before until {until}"), "swap or change them");
    }
}

fn window(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>) -> Option<Window> {
    if !reader.fields(node, path, WINDOW_FIELDS) {
        return None;
    }
    let tz = zone(reader, node, path, "tz").unwrap_or(TimeZone::UTC);
    let start = node.get("start").map_or(Some(0), |start| clock_time(reader, start, &Path::Key(path, "start")));
    let end = node.get("end").map_or(Some(DAY_SECONDS), |end| clock_time(reader, end, &Path::Key(path, "end")));
    if start.is_some() && start == end {
        reader.error(node.place, path, "the window is empty", "leave start and end out to mean all day");
    }
    let day_tz = zone(reader, node, path, "weekdayTz");
    if day_tz.is_some() && node.get("weekdays").is_none() {
        reader.error(node.place, path, "weekdayTz without weekdays", "add weekdays, or remove weekdayTz");
    }
    let days = node.get("weekdays").map(|days| {
        let on = weekdays(reader, days, &Path::Key(path, "weekdays"));
        Weekdays { on, tz: day_tz.unwrap_or_else(|| tz.clone()) }
    });
    let except = node.get("exceptCalendar").and_then(|name| {
        let path = Path::Key(path, "exceptCalendar");
        let text = reader.text(name, &path)?;
        let known = context.calendars.get(text).map(Arc::clone);
        if known.is_none() {
            let hint = match nearest(text, context.calendars.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "declare it under spec.calendars".to_owned(),
            };
            reader.error(name.place, &path, format!("unknown calendar {text:?}"), hint);
        }
        known
    });
    Some(Window { start: start?, end: end?, tz, days, except })
}

/// `HH:MM` or `HH:MM:SS`, up to `24:00`, as seconds since midnight.
fn clock_time(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<u32> {
    let text = reader.text(node, path)?;
    let seconds = seconds_of_day(text);
    if seconds.is_none() {
        reader.error(node.place, path, format!("{text:?} is not a time of day"), "write \"16:30\", at most \"24:00\"");
    }
    seconds
}

fn seconds_of_day(text: &str) -> Option<u32> {
    let mut seconds = 0u32;
    let mut parts = 0;
    for ((part, unit), below) in text.split(':').zip([3_600u32, 60, 1]).zip([25u32, 60, 60]) {
        let is_two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse::<u32>().ok().filter(|number| is_two_digits && *number < below)?;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        parts = 1u32.saturating_add(parts);
    }
    let counted = u32::try_from(text.split(':').count()).ok()?;
    (counted == parts && (2..=3).contains(&parts) && seconds <= DAY_SECONDS).then_some(seconds)
}

fn weekdays(reader: &mut Reader, node: &Node, path: &Path<'_>) -> [bool; 7] {
    let mut on = [false; 7];
    let items = reader.list(node, path);
    for (index, item) in items.iter().enumerate() {
        let path = Path::Index(path, index);
        let Some(text) = reader.text(item, &path) else { continue };
        let lower = text.to_lowercase();
        let full = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let day = WEEKDAYS.iter().zip(full).position(|(short, full)| lower == *short || lower == full);
        match day.and_then(|day| on.get_mut(day)) {
            Some(day) => *day = true,
            None => reader.error(item.place, &path, format!("unknown weekday {text:?}"), "write Mon, Tue … Sun"),
        }
    }
    if node.as_list().is_some_and(<[Node]>::is_empty) {
        reader.error(node.place, path, "no weekday at all", "leave weekdays out to mean every day");
    }
    on
}

pub(super) fn zone(reader: &mut Reader, node: &Node, path: &Path<'_>, field: &str) -> Option<TimeZone> {
    let value = node.get(field)?;
    let path = Path::Key(path, field);
    let text = reader.text(value, &path)?;
    TimeZone::get(text)
        .map_err(|_| {
            reader.error(value.place, &path, format!("unknown time zone {text:?}"), "write UTC or Asia/Shanghai")
        })
        .ok()
}

fn attr_test(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Test> {
    if node.as_map().is_none() {
        return reader.text(node, path).map(|text| Test::In(vec![text.into()]));
    }
    let Some((field, list)) = ["in", "notIn"].into_iter().find_map(|field| Some((field, node.get(field)?))) else {
        return bounds(reader, node, path, &["in", "notIn", "gt", "gte"]).map(Test::Bounds);
    };
    reader.fields(node, path, &[field]);
    let path = Path::Key(path, field);
    let items = reader.list(list, &path);
    if items.is_empty() {
        reader.error(list.place, &path, "no value at all", "list the values, such as [batch, flex]");
    }
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        texts.extend(reader.text(item, &Path::Index(&path, index)).map(Box::from));
    }
    Some(if field == "in" { Test::In(texts) } else { Test::NotIn(texts) })
}

fn bounds(reader: &mut Reader, node: &Node, path: &Path<'_>, known: &[&str]) -> Option<Bounds> {
    if !reader.fields(node, path, known) {
        return None;
    }
    let mut read = |field: &str| node.get(field).and_then(|value| reader.decimal(value, &Path::Key(path, field)));
    let bounds = Bounds { gt: read("gt"), gte: read("gte") };
    if node.as_map().is_some_and(<[_]>::is_empty) {
        reader.error(node.place, path, "no bound", "write { gt: 200000 } or { gte: 200000 }");
    }
    Some(bounds)
}
