//! The runbooks as pages: what the `runbook_url` of an alert leads to. The texts are docs/runbooks, embedded; a small part of
//! Markdown is made into HTML: headings, lists, paragraphs, code.

macro_rules! runbooks {
    ($($name:literal)*) => {
        /// Name and text of every runbook.
        pub const RUNBOOKS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../docs/runbooks/", $name, ".md")))),*];
    };
}

runbooks! {
    "MeterdAbsent"
    "MeterdBudgetBurnRateHigh"
    "MeterdBudgetExhaustionImminent"
    "MeterdBudgetHardLimitReached"
    "MeterdBudgetOverspend"
    "MeterdBudgetProjectedExhaustion"
    "MeterdBudgetSoftLimitReached"
    "MeterdCardinalityOverflow"
    "MeterdClockJumped"
    "MeterdConfigReloadFailed"
    "MeterdDown"
    "MeterdEventsDropped"
    "MeterdExecutionOverRunLimit"
    "MeterdIngestLagHigh"
    "MeterdIngestRejects"
    "MeterdIngestStalled"
    "MeterdKillLatencyHigh"
    "MeterdKillSignalFailed"
    "MeterdKillSignalNotAcknowledged"
    "MeterdPriceTableMismatch"
    "MeterdPriceTableReloadFailed"
    "MeterdPriceTableStale"
    "MeterdQueueNearlyFull"
    "MeterdReconcileDrift"
    "MeterdReconcileStale"
    "MeterdSinkFailing"
    "MeterdSinkLagHigh"
    "MeterdSpendSpike"
    "MeterdUnpricedUsage"
    "MeterdUnpricedUsageHigh"
    "MeterdWALErrors"
}

/// The page of this name.
#[must_use]
pub fn page(name: &str) -> Option<String> {
    let (name, text) = RUNBOOKS.iter().find(|(known, _)| *known == name)?;
    Some(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{name} · meterd</title><link rel=\"stylesheet\" href=\"/console/app.css\"><link rel=\"stylesheet\" \
         href=\"/console/views.css\"></head><body><header class=\"bar\"><a class=\"brand\" href=\"/\">meterd</a></header>\
         <main><article class=\"card runbook\">{}</article></main></body></html>\n",
        html(text)
    ))
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut in_list = false;
    for line in text.lines() {
        let item = line.strip_prefix("- ");
        if in_list && item.is_none() {
            out.push_str("</ul>\n");
        }
        if !in_list && item.is_some() {
            out.push_str("<ul>\n");
        }
        in_list = item.is_some();
        let (tag, text) = match (item, line.strip_prefix("# "), line.strip_prefix("## ")) {
            (Some(item), ..) => ("li", item),
            (_, Some(title), _) => ("h1", title),
            (_, _, Some(part)) => ("h2", part),
            _ if line.trim().is_empty() => continue,
            _ => ("p", line),
        };
        out.push_str(&format!("<{tag}>{}</{tag}>\n", inline(text)));
    }
    if in_list {
        out.push_str("</ul>\n");
    }
    out
}

/// Code between backticks; everything is escaped.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (place, part) in text.split('`').enumerate() {
        let escaped = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        if place % 2 == 1 {
            out.push_str(&format!("<code>{escaped}</code>"));
        } else {
            out.push_str(&escaped);
        }
    }
    out
}
