//! `currency` and `fx`: what a table's rates are counted in, and what that was worth in US dollars.

use std::sync::Arc;

use super::super::fx::Exchange;
use super::super::reader::{Path, Reader};
use super::{Context, is_positive, when};
use crate::cost::Fx;
use crate::document::Node;

/// Rates of one table.
const RATES_MAX: usize = 10_000;
/// Longest name of a currency or unit of account.
const CURRENCY_BYTES_MAX: usize = 16;

/// The exchange rates; `None` for a table in US dollars.
pub(super) fn exchange(reader: &mut Reader, context: &Context, spec: &Node, path: &Path<'_>) -> Option<Exchange> {
    let currency = spec.get("currency").filter(|node| !node.is_null());
    let name = currency.and_then(|node| currency_name(reader, node, &Path::Key(path, "currency")));
    let rates = spec.get("fx").filter(|node| !node.is_null());
    let hint = "write fx: [{ from: \"2026-01-01\", usd: \"1.08\" }]: US dollars for one unit of the currency";
    match (name, rates) {
        (None | Some("USD"), None) => None,
        (None | Some("USD"), Some(node)) => {
            if currency.is_none() || name.is_some() {
                let message = "exchange rates for US dollars";
                reader.error(node.place, &Path::Key(path, "fx"), message, "name the currency, such as currency: EUR");
            }
            None
        }
        (Some(name), None) => {
            let place = currency.map_or(spec.place, |node| node.place);
            reader.error(place, &Path::Key(path, "fx"), format!("no exchange rates for {name}"), hint);
            None
        }
        (Some(name), Some(node)) => Some(read(reader, context, node, &Path::Key(path, "fx"), &Arc::from(name))),
    }
}

fn currency_name<'n>(reader: &mut Reader, node: &'n Node, path: &Path<'_>) -> Option<&'n str> {
    let text = reader.text(node, path)?;
    let fits = text.len() <= CURRENCY_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if !fits {
        let hint = "write it in capitals, such as USD, EUR or DBU";
        reader.error(node.place, path, format!("not a currency: {text:?}"), hint);
    }
    fits.then_some(text)
}

fn read(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>, currency: &Arc<str>) -> Exchange {
    let mut exchange = Exchange { rates: Vec::new() };
    let items = reader.list(node, path);
    if items.is_empty() || items.len() > RATES_MAX {
        let message = format!("{} exchange rates", items.len());
        reader.error(node.place, path, message, format!("give 1 to {RATES_MAX} of them"));
    }
    for (index, item) in items.iter().take(RATES_MAX).enumerate() {
        let path = Path::Index(path, index);
        if !reader.fields(item, &path, &["from", "until", "when", "usd"]) {
            continue;
        }
        let mut condition = when::when(reader, context, item, &path);
        let from = item.get("from").and_then(|from| reader.instant(from, &Path::Key(&path, "from")));
        let until = item.get("until").and_then(|until| reader.instant(until, &Path::Key(&path, "until")));
        when::narrow(reader, &mut condition, from, until, item, &path);
        let usd = reader.required(item, &path, "usd", "give US dollars for one unit of the currency");
        let path = Path::Key(&path, "usd");
        let Some(usd) = usd.and_then(|usd| reader.decimal(usd, &path)).map(|usd| usd.normalize()) else { continue };
        if !is_positive(usd) {
            reader.error(item.place, &path, "a currency that is worth nothing", "give a rate above 0");
        }
        exchange.rates.push((condition, Arc::new(Fx { currency: Arc::clone(currency), usd })));
    }
    let shadowed = exchange.rates.iter().rposition(|(when, _)| when.is_always()).filter(|last| *last > 0);
    if let Some(last) = shadowed {
        let place = items.get(last).map_or(node.place, |item| item.place);
        let message = "this rate holds at any time, so the ones before it never do";
        reader.warn(place, &Path::Index(path, last), message, "put it first, or give it a date");
    }
    exchange
}
