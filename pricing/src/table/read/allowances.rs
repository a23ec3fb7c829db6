//! `allowances` of an entry: what is free in each day or month.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::super::entry::{Allowance, Period};
use super::super::reader::{Path, Reader};
use super::{Context, is_positive, rates, when};
use crate::document::{Key, Node};
use crate::usage::Quantity;

/// Allowances of one entry.
const ALLOWANCES_MAX: usize = 16;
const FIELDS: &[&str] = &["name", "unit", "free", "period", "tz", "group", "when"];

/// `allowances`. One without a group shares with none: its group is `owner/name`.
pub(super) fn allowances(
    reader: &mut Reader,
    context: &Context,
    entry: &Node,
    owner: &str,
    path: &Path<'_>,
) -> Vec<Allowance> {
    let Some(node) = entry.get("allowances").filter(|node| !node.is_null()) else { return Vec::new() };
    let path = Path::Key(path, "allowances");
    let items = reader.list(node, &path);
    if items.len() > ALLOWANCES_MAX {
        let message = format!("{} allowances; at most {ALLOWANCES_MAX} are read", items.len());
        reader.error(node.place, &path, message, "merge some");
    }
    let items = items.iter().take(ALLOWANCES_MAX).enumerate();
    items.filter_map(|(index, item)| allowance(reader, context, item, owner, &Path::Index(&path, index))).collect()
}

fn allowance(reader: &mut Reader, context: &Context, node: &Node, owner: &str, path: &Path<'_>) -> Option<Allowance> {
    if !reader.fields(node, path, FIELDS) {
        return None;
    }
    let mut field = |name: &'static str, hint: &str| reader.required(node, path, name, hint);
    let (name, unit, free, period) = (
        field("name", "name the allowance, such as free-searches"),
        field("unit", "name what is free, such as web_searches"),
        field("free", "say how much is free in each period"),
        field("period", "write day or month"),
    );
    let name = name.and_then(|name| reader.text(name, &Path::Key(path, "name")));
    let unit = unit.and_then(|unit| {
        let path = Path::Key(path, "unit");
        let name = reader.text(unit, &path)?.to_owned();
        rates::unit(reader, &Key { place: unit.place, name }, &path)
    });
    let quota = free.and_then(|free| {
        let path = Path::Key(path, "free");
        let number = reader.decimal(free, &path)?;
        let quota = Quantity::from_decimal(number).filter(|_| is_positive(number));
        let quota = quota.filter(|quota| quota.is_whole() || !unit.is_some_and(crate::usage::UsageKey::is_whole));
        if quota.is_none() {
            reader.error(free.place, &path, format!("{number} is not a quantity of it above 0"), "give a whole number");
        }
        quota
    });
    let words = [("day", Period::Day), ("month", Period::Month)];
    let period = period.and_then(|period| reader.word(period, &Path::Key(path, "period"), &words));
    let group = node.get("group").and_then(|group| reader.text(group, &Path::Key(path, "group")));
    let tz = when::zone(reader, node, path, "tz").unwrap_or(TimeZone::UTC);
    let when = when::when(reader, context, node, path);
    let name = name?;
    let group: Arc<str> = group.map_or_else(|| Arc::from(format!("{owner}/{name}")), Arc::from);
    Some(Allowance { name: Arc::from(name), group, unit: unit?, quota: quota?, period: period?, tz, when })
}
