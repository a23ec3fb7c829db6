//! Which text format a scraper asks for. Reads an `Accept` header; knows no HTTP beyond that.

use super::text::Format;

/// The format that an `Accept` header prefers; text 0.0.4 when it says nothing of either.
#[must_use]
pub fn negotiate(accept: Option<&str>) -> Format {
    let mut best = (0, Format::Text);
    for range in accept.unwrap_or_default().split(',') {
        if let Some((weight, format)) = read(range)
            && weight > best.0
        {
            best = (weight, format);
        }
    }
    best.1
}

/// A media range's weight in thousandths and the format that it allows, if it allows one.
fn read(range: &str) -> Option<(u16, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let (mut weight, mut version) = (1000, None);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim() {
            name if name.eq_ignore_ascii_case("q") => weight = thousandths(value)?,
            name if name.eq_ignore_ascii_case("version") => version = Some(value),
            _ => {}
        }
    }
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let format = if is("application/openmetrics-text") && matches!(version, None | Some("1.0.0")) {
        Format::OpenMetrics
    } else if (is("text/plain") && matches!(version, None | Some("0.0.4"))) || is("text/*") || is("*/*") {
        Format::Text
    } else {
        return None;
    };
    Some((weight, format))
}

/// A weight such as `0.75` in thousandths; `None` for what is not one.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let weight: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::{Format, negotiate};

    #[test]
    fn the_preferred_format_wins_and_text_is_the_default() {
        let check = |accept: Option<&str>, expected| assert_eq!(negotiate(accept), expected, "{accept:?}");
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        check(Some(prometheus), Format::OpenMetrics);
        check(None, Format::Text);
        check(Some(""), Format::Text);
        check(Some("*/*"), Format::Text);
        check(Some("text/html, */*;q=0.1"), Format::Text);
        check(Some("application/openmetrics-text"), Format::OpenMetrics);
        check(Some("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.2"), Format::OpenMetrics);
        check(Some("application/openmetrics-text;version=0.0.1"), Format::Text);
        check(Some("application/openmetrics-text;version=2.0.0, text/plain;q=0.1"), Format::Text);
        check(Some("application/openmetrics-text;q=0, text/plain;q=0.3"), Format::Text);
        check(Some("application/openmetrics-text;q=0.4, text/plain;q=0.5"), Format::Text);
        check(Some("application/openmetrics-text;q=0.5, text/plain;q=0.45"), Format::OpenMetrics);
        check(Some("application/openmetrics-text;q=nonsense"), Format::Text);
        check(Some("application/openmetrics-text;q=2"), Format::Text);
        check(
            Some("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3"),
            Format::OpenMetrics,
        );
    }
}
