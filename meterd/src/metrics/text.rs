//! The text writer: Prometheus text 0.0.4 and OpenMetrics 1.0, with exact decimals from scaled integers.
//!
//! Money goes from `i128` to digits without a float and without an allocation for each number. Knows no family and
//! keeps nothing between two answers.

use super::catalog::{Family, Kind};

/// Which of the two text formats to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The `Content-Type` of an answer in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Most bytes an exemplar's label names and values may have together, by OpenMetrics 1.0.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// Writes one exposition.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    out: Vec<u8>,
    /// The only families to write; all of them when empty.
    only: Vec<&'static str>,
    /// Where a family that nobody asked for begins.
    unwanted: Option<usize>,
}

/// A sample whose name is written and whose labels and value are to come.
#[derive(Debug)]
pub struct Sample<'a> {
    format: Format,
    out: &'a mut Vec<u8>,
    labels: usize,
}

/// An exemplar: which execution caused the newest observation.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    /// The execution's name.
    pub execution_id: &'a str,
    /// The trace of the call that caused it, when it came with one.
    pub trace_id: Option<u128>,
    /// The observed amount.
    pub value: i128,
    /// Decimal places of `value`.
    pub scale: u32,
    /// When, in nanoseconds since the epoch.
    pub at_nanos: i64,
}

impl Writer {
    /// An empty exposition.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self::with_capacity(format, 64 * 1024)
    }

    /// An empty exposition with room for so many bytes: an answer is about as long as the one before.
    #[must_use]
    pub fn with_capacity(format: Format, bytes: usize) -> Self {
        Self { format, out: Vec::with_capacity(bytes), only: Vec::new(), unwanted: None }
    }

    /// Writes these families and no others; all of them when there are none.
    #[must_use]
    pub fn only(mut self, families: Vec<&'static str>) -> Self {
        self.only = families;
        self
    }

    /// Is this family asked for? Spares the work of writing what is left out anyway.
    #[must_use]
    pub fn wants(&self, family: &Family) -> bool {
        self.only.is_empty() || self.only.contains(&family.name)
    }

    /// Opens a family: its help, type and, in OpenMetrics, its unit. Samples follow.
    pub fn family(&mut self, family: &Family) {
        self.leave_out();
        self.unwanted = (!self.wants(family)).then_some(self.out.len());
        match self.format {
            Format::Text => {
                let kind = if family.kind == Kind::Info { Kind::Gauge } else { family.kind };
                self.meta("HELP", family.name, family.help);
                self.meta("TYPE", family.name, kind.as_str());
            }
            Format::OpenMetrics => {
                let name = family.open_metrics_name();
                self.meta("TYPE", name, family.kind.as_str());
                if !family.unit.is_empty() && family.kind != Kind::Info {
                    self.meta("UNIT", name, family.unit);
                }
                self.meta("HELP", name, family.help);
            }
        }
    }

    /// Starts a sample of `family`; `suffix` is `_bucket`, `_sum`, `_count` or nothing.
    pub fn sample(&mut self, family: &Family, suffix: &str) -> Sample<'_> {
        self.out.extend_from_slice(family.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
        Sample { format: self.format, out: &mut self.out, labels: 0 }
    }

    /// The finished exposition.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.leave_out();
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        self.out
    }

    fn leave_out(&mut self) {
        if let Some(start) = self.unwanted.take() {
            self.out.truncate(start);
        }
    }

    fn meta(&mut self, word: &str, name: &str, text: &str) {
        for part in ["# ", word, " ", name, " "] {
            self.out.extend_from_slice(part.as_bytes());
        }
        let quotes = self.format == Format::OpenMetrics;
        escape(&mut self.out, text, quotes);
        self.out.push(b'\n');
    }
}

impl Sample<'_> {
    /// Adds a label. An empty value is the same as no label, and is written all the same: the set stays visible.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.open(name);
        escape(self.out, value, true);
        self.out.push(b'"');
        self
    }

    /// Adds `le` with a bound that is a scaled integer.
    #[must_use]
    pub fn le(mut self, bound: i128, scale: u32) -> Self {
        self.open("le");
        let start = self.out.len();
        decimal(self.out, bound, scale);
        // OpenMetrics wants `1.0` where a plain decimal says `1`, and one spelling keeps one series in both formats.
        if !self.out.get(start..).is_some_and(|digits| digits.contains(&b'.')) {
            self.out.extend_from_slice(b".0");
        }
        self.out.push(b'"');
        self
    }

    /// Ends the sample with an exact decimal: `value` × 10^-`scale`.
    pub fn decimal(self, value: i128, scale: u32) {
        self.decimal_with(value, scale, None);
    }

    /// Ends the sample with an exact decimal and, in OpenMetrics, an exemplar.
    pub fn decimal_with(self, value: i128, scale: u32, exemplar: Option<&Exemplar<'_>>) {
        let Sample { format, out, .. } = self.close();
        decimal(out, value, scale);
        if let (Format::OpenMetrics, Some(exemplar)) = (format, exemplar) {
            write_exemplar(out, exemplar);
        }
        out.push(b'\n');
    }

    /// Ends the sample with a whole number.
    pub fn count(self, value: u64) {
        self.decimal(i128::from(value), 0);
    }

    /// Ends the sample with a float: durations and sizes, never money.
    pub fn float(self, value: f64) {
        let out = self.close().out;
        float(out, value);
        out.push(b'\n');
    }

    fn open(&mut self, name: &str) {
        self.out.push(if self.labels == 0 { b'{' } else { b',' });
        self.labels = self.labels.saturating_add(1);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
    }

    fn close(self) -> Self {
        self.out.extend_from_slice(if self.labels == 0 { b" " } else { b"} " });
        self
    }
}

/// A float as both formats spell it.
fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        out.extend_from_slice(value.to_string().as_bytes());
    }
}

/// A histogram bound as OpenMetrics spells it: `1.0`, `0.25`, `+Inf`.
#[must_use]
pub fn bound(value: f64) -> String {
    if value.is_infinite() {
        "+Inf".to_owned()
    } else if value.fract() == 0.0 {
        format!("{value:.1}")
    } else {
        value.to_string()
    }
}

/// Most decimal places that a number here has.
const SCALE_MAX: usize = 18;
/// Digits of the largest `i128`, and room for zeros in front of a small fraction.
const DIGITS_MAX: usize = 54;
const CHUNK: u128 = 1_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 18;

/// Appends `value` × 10^-`scale` as the shortest exact decimal. `scale` is at most 18.
pub fn decimal(out: &mut Vec<u8>, value: i128, scale: u32) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut rest = value.unsigned_abs();
    for chunk in digits.rchunks_mut(CHUNK_DIGITS) {
        // Below 10^18, so it fits; 64-bit division is several times faster than 128-bit.
        let mut part;
        if rest < CHUNK {
            (part, rest) = (u64::try_from(rest).unwrap_or(0), 0);
        } else {
            part = u64::try_from(rest % CHUNK).unwrap_or(0);
            rest /= CHUNK;
        }
        for digit in chunk.iter_mut().rev() {
            *digit = b'0' + u8::try_from(part % 10).unwrap_or(0);
            part /= 10;
        }
        if rest == 0 {
            break;
        }
    }
    let scale = usize::try_from(scale).unwrap_or(SCALE_MAX).min(SCALE_MAX);
    let (whole, fraction) = digits.split_at(DIGITS_MAX - scale);
    if value < 0 {
        out.push(b'-');
    }
    let first = whole.iter().position(|digit| *digit != b'0').unwrap_or(whole.len() - 1);
    out.extend_from_slice(whole.get(first..).unwrap_or(b"0"));
    if let Some(last) = fraction.iter().rposition(|digit| *digit != b'0') {
        out.push(b'.');
        out.extend_from_slice(fraction.get(..=last).unwrap_or_default());
    }
}

/// Escapes a label value (`quotes`) or a help text: both formats agree on `\\`, `\n` and `\"`.
fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'\n' | b'"')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}

/// A shortened id would name another run: an id that does not fit is left out, and with it the exemplar if it has no
/// trace either.
fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar<'_>) {
    const EXECUTION: &str = "execution_id";
    const TRACE: &str = "trace_id";
    const TRACE_DIGITS: usize = 32;
    let trace_chars = exemplar.trace_id.map_or(0, |_| TRACE.len() + TRACE_DIGITS);
    let all = trace_chars.saturating_add(EXECUTION.len()).saturating_add(exemplar.execution_id.chars().count());
    let execution = (all <= EXEMPLAR_CHARS_MAX).then_some(exemplar.execution_id);
    if execution.is_none() && exemplar.trace_id.is_none() {
        return;
    }
    out.extend_from_slice(b" # {");
    if let Some(execution) = execution {
        out.extend_from_slice(b"execution_id=\"");
        escape(out, execution, true);
        out.push(b'"');
    }
    if let Some(trace) = exemplar.trace_id {
        if execution.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(format!("{TRACE}=\"{trace:032x}\"").as_bytes());
    }
    out.extend_from_slice(b"} ");
    decimal(out, exemplar.value, exemplar.scale);
    out.push(b' ');
    decimal(out, i128::from(exemplar.at_nanos), 9);
}

#[cfg(test)]
mod tests;
