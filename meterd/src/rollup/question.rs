//! A question about cost, as the API and the command line ask it: one reader of the words, so that both mean the same.

use std::sync::Arc;

use budget::charge::Called;
use budget::counter::AHEAD_MAX_NANOS;
use budget::window::Calendar;
use budget::{Ref, Subject, Window};
use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use super::QUARTER_NANOS;

/// Rows in one answer unless asked otherwise, and at most.
const ROWS_DEFAULT: usize = 1_000;
const ROWS_MAX: usize = 100_000;
/// How far back a question looks that names no beginning.
const SINCE_DEFAULT: &str = "30d";
/// Label conditions in one question.
const LABELS_MAX: usize = 16;

/// The words of a question: the query of `GET /v1/cost`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// `team`, `agent`, `model`, `provider`, `tool`, `namespace`, `environment`, `execution`, `label:KEY`.
    pub by: Option<String>,
    /// RFC 3339 time, date, or age such as `30d`.
    pub since: Option<String>,
    /// The same; without it everything until now, and what clocks ahead have sent.
    pub until: Option<String>,
    /// `hour`, `day` or `month`.
    pub bucket: Option<String>,
    /// IANA zone of the buckets and of dates.
    pub tz: Option<String>,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only this team.
    pub team: Option<String>,
    /// Only this agent.
    pub agent: Option<String>,
    /// Only this model, as `MODEL` or `PROVIDER:MODEL`.
    pub model: Option<String>,
    /// Only this tool.
    pub tool: Option<String>,
    /// Only this environment.
    pub environment: Option<String>,
    /// Only this execution, as `NAME` or `NAMESPACE/NAME`.
    pub execution: Option<String>,
    /// Only with these labels: `KEY=VALUE`, several with commas.
    pub label: Option<String>,
    /// `cost`, `tokens` or `calls`.
    pub order: Option<String>,
    /// Rows, the largest first.
    pub limit: Option<usize>,
    /// With `by=execution`: adds the cost of the subtree.
    pub tree: Option<bool>,
    /// `ledger`, `clickhouse` or `auto`; the asker's affair, not the question's.
    pub source: Option<String>,
}

/// Why a text is no question: the parameter, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {message}")]
pub struct NotAQuestion {
    /// The parameter.
    pub parameter: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What rows stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Team.
    Team,
    /// Agent, within its namespace.
    Agent,
    /// Model, within its provider; model calls only.
    Model,
    /// Provider; model calls only.
    Provider,
    /// Tool; tool calls only.
    Tool,
    /// Namespace.
    Namespace,
    /// Environment.
    Environment,
    /// Execution, within its namespace.
    Execution,
    /// The value of a label.
    Label(Arc<str>),
}

/// A civil span that rows are cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Civil hour.
    Hour,
    /// Civil day.
    Day,
    /// Civil month.
    Month,
}

/// What the largest row is the largest of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rank {
    /// Money.
    #[default]
    Cost,
    /// Tokens of every type.
    Tokens,
    /// Calls of every kind.
    Calls,
}

/// Which lines count. `None` and empty do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Namespace.
    pub namespace: Option<Arc<str>>,
    /// Team.
    pub team: Option<Arc<str>>,
    /// Agent.
    pub agent: Option<Arc<str>>,
    /// Provider of a model.
    pub provider: Option<Arc<str>>,
    /// Model.
    pub model: Option<Arc<str>>,
    /// Tool.
    pub tool: Option<Arc<str>>,
    /// Environment.
    pub environment: Option<Arc<str>>,
    /// Name of an execution; its namespace is `namespace`.
    pub execution: Option<Arc<str>>,
    /// Labels that must all be there.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// What rows stand for.
    pub by: By,
    /// Beginning, a quarter-hour's.
    pub since: Timestamp,
    /// End, a quarter-hour's; not included.
    pub until: Timestamp,
    /// Buckets.
    pub bucket: Option<Bucket>,
    /// Cuts time into buckets.
    pub calendar: Calendar,
    /// Which lines count.
    pub filter: Filter,
    /// Order of the rows.
    pub rank: Rank,
    /// Rows at most.
    pub limit: usize,
    /// Subtree cost wanted.
    pub tree: bool,
}

impl By {
    /// The word of the question.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Team => "team".to_owned(),
            Self::Agent => "agent".to_owned(),
            Self::Model => "model".to_owned(),
            Self::Provider => "provider".to_owned(),
            Self::Tool => "tool".to_owned(),
            Self::Namespace => "namespace".to_owned(),
            Self::Environment => "environment".to_owned(),
            Self::Execution => "execution".to_owned(),
            Self::Label(key) => format!("label:{key}"),
        }
    }

    /// Names of the columns that tell rows apart.
    #[must_use]
    pub const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Team => &["team"],
            Self::Agent => &["namespace", "agent"],
            Self::Model => &["provider", "model"],
            Self::Provider => &["provider"],
            Self::Tool => &["tool"],
            Self::Namespace => &["namespace"],
            Self::Environment => &["environment"],
            Self::Execution => &["namespace", "execution"],
            Self::Label(_) => &["label"],
        }
    }
}

impl Bucket {
    /// The word of the question.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The window that it is.
    #[must_use]
    pub const fn window(self) -> Window {
        match self {
            Self::Hour => Window::Hour,
            Self::Day => Window::Day,
            Self::Month => Window::Month,
        }
    }
}

impl Filter {
    /// Does a subject pass? What was called and which run it was is asked apart.
    #[must_use]
    pub fn takes_subject(&self, namespace: &str, subject: &Subject) -> bool {
        let is = |wanted: &Option<Arc<str>>, found: Option<&str>| match wanted {
            None => true,
            Some(wanted) => found == Some(&**wanted),
        };
        is(&self.namespace, Some(namespace))
            && is(&self.team, subject.team.as_deref())
            && is(&self.agent, subject.agent.as_deref())
            && is(&self.environment, subject.environment.as_deref())
            && self.labels.iter().all(|label| subject.labels.contains(label))
    }

    /// Does what was called pass?
    #[must_use]
    pub fn takes_called(&self, called: &Called) -> bool {
        match called {
            Called::Model { provider, model, .. } => {
                self.tool.is_none()
                    && self.provider.as_ref().is_none_or(|wanted| wanted == provider)
                    && self.model.as_ref().is_none_or(|wanted| wanted == model)
            }
            Called::Tool { tool, .. } => {
                self.provider.is_none()
                    && self.model.is_none()
                    && self.tool.as_ref().is_none_or(|wanted| wanted == tool)
            }
            Called::Approval => self.provider.is_none() && self.model.is_none() && self.tool.is_none(),
        }
    }

    /// Does a run pass?
    #[must_use]
    pub fn takes_run(&self, execution: &Ref) -> bool {
        self.execution.as_ref().is_none_or(|wanted| *wanted == execution.name)
    }
}

impl Question {
    /// Reads the words; ages count back from `now`.
    pub fn parse(params: &Params, now: Timestamp) -> Result<Self, NotAQuestion> {
        let zone = params.tz.as_deref().unwrap_or("UTC");
        if !Calendar::is_zone(zone) {
            let message = format!("{zone:?} is no IANA time zone, such as Europe/Berlin");
            return Err(NotAQuestion { parameter: "tz", message });
        }
        let since = params.since.as_deref().unwrap_or(SINCE_DEFAULT);
        let since = instant("since", since, zone, now)?;
        // Without an end everything counts that is booked, also of senders whose clock is ahead.
        let ahead = now.saturating_add(AHEAD_MAX_NANOS);
        let until = params.until.as_deref().map_or(Ok(ahead), |text| instant("until", text, zone, now))?;
        if until < since {
            let message = "the end is before the beginning".to_owned();
            return Err(NotAQuestion { parameter: "until", message });
        }
        let whole = |quarters: i64| Timestamp::from_nanos(quarters.saturating_mul(QUARTER_NANOS));
        // `until` is the first instant that no longer counts; a whole quarter-hour ends at itself.
        let last = until.nanos().saturating_add(QUARTER_NANOS - 1).div_euclid(QUARTER_NANOS);
        Ok(Self {
            by: by(params.by.as_deref().unwrap_or("team"))?,
            since: whole(super::quarter_of(since)),
            until: whole(last.max(super::quarter_of(since) + 1)),
            bucket: params.bucket.as_deref().map(bucket).transpose()?,
            calendar: Calendar { time_zone: Arc::from(zone), week_start: 1, month_start_day: 1 },
            filter: filter(params)?,
            rank: params.order.as_deref().map_or(Ok(Rank::Cost), rank)?,
            limit: params.limit.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX),
            tree: params.tree.unwrap_or(false),
        })
    }

    /// Does it need to tell runs apart?
    #[must_use]
    pub fn needs_runs(&self) -> bool {
        self.by == By::Execution || self.filter.execution.is_some()
    }
}

/// The same question about whole days of UTC: from the day of its beginning to the last that has begun at its end.
#[must_use]
pub fn whole_days(mut question: Question) -> Question {
    const DAY: i64 = 96 * QUARTER_NANOS;
    let day = |nanos: i64| Timestamp::from_nanos(nanos.div_euclid(DAY).saturating_mul(DAY));
    question.since = day(question.since.nanos());
    question.until = day(question.until.nanos().saturating_add(DAY - 1));
    question
}

/// Names of the columns that tell rows apart, for the word of `by`; none for a word that is none.
#[must_use]
pub fn columns(word: &str) -> &'static [&'static str] {
    by(word).map(|by| by.columns()).unwrap_or_default()
}

/// An RFC 3339 time, a date (midnight in `zone`), or how long before `now`: `12h`, `30d`, `4w`.
fn instant(parameter: &'static str, text: &str, zone: &str, now: Timestamp) -> Result<Timestamp, NotAQuestion> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if text == "now" {
        return Ok(now);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() == 10
        && let Ok(start) = date.in_tz(zone)
    {
        return Ok(Timestamp::from_jiff(start.timestamp()));
    }
    age(text).map(|nanos| now.saturating_add(nanos.saturating_neg())).ok_or_else(|| NotAQuestion {
        parameter,
        message: format!(
            "{text:?} is neither a time (2026-11-22T10:00:00Z), nor a date (2026-11-22), nor an age (90m, 12h, 30d, 4w)"
        ),
    })
}

fn age(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000_000)
}

fn by(text: &str) -> Result<By, NotAQuestion> {
    Ok(match text {
        "team" => By::Team,
        "agent" => By::Agent,
        "model" => By::Model,
        "provider" => By::Provider,
        "tool" => By::Tool,
        "namespace" => By::Namespace,
        "environment" => By::Environment,
        "execution" => By::Execution,
        _ => match text.strip_prefix("label:").filter(|key| !key.is_empty()) {
            Some(key) => By::Label(Arc::from(key)),
            None => {
                let message = format!(
                    "{text:?} is none of team, agent, model, provider, tool, namespace, environment, execution, label:KEY"
                );
                return Err(NotAQuestion { parameter: "by", message });
            }
        },
    })
}

fn bucket(text: &str) -> Result<Bucket, NotAQuestion> {
    match text {
        "hour" => Ok(Bucket::Hour),
        "day" => Ok(Bucket::Day),
        "month" => Ok(Bucket::Month),
        _ => Err(NotAQuestion { parameter: "bucket", message: format!("{text:?} is none of hour, day, month") }),
    }
}

fn rank(text: &str) -> Result<Rank, NotAQuestion> {
    match text {
        "cost" => Ok(Rank::Cost),
        "tokens" => Ok(Rank::Tokens),
        "calls" => Ok(Rank::Calls),
        _ => Err(NotAQuestion { parameter: "order", message: format!("{text:?} is none of cost, tokens, calls") }),
    }
}

fn filter(params: &Params) -> Result<Filter, NotAQuestion> {
    let arc = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Arc::<str>::from);
    let mut filter = Filter {
        namespace: arc(&params.namespace),
        team: arc(&params.team),
        agent: arc(&params.agent),
        tool: arc(&params.tool),
        environment: arc(&params.environment),
        ..Filter::default()
    };
    if let Some(text) = params.model.as_deref() {
        let (provider, model) = text.split_once(':').map_or((None, text), |(provider, model)| (Some(provider), model));
        filter.provider = provider.map(Arc::from);
        filter.model = Some(model).filter(|model| !model.is_empty() && *model != "*").map(Arc::from);
    }
    if let Some(text) = params.execution.as_deref() {
        let (namespace, name) = text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
        if let Some(namespace) = namespace {
            filter.namespace = Some(Arc::from(namespace));
        }
        filter.execution = Some(Arc::from(name));
    }
    for pair in params.label.as_deref().into_iter().flat_map(|text| text.split(',')).take(LABELS_MAX) {
        let Some((key, value)) = pair.split_once('=') else {
            let message = format!("{pair:?} is not KEY=VALUE");
            return Err(NotAQuestion { parameter: "label", message });
        };
        filter.labels.push((Arc::from(key), Arc::from(value)));
    }
    Ok(filter)
}
