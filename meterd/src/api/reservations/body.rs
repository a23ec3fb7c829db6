//! Bodies of reservations: what is asked for, what it is settled with. Amounts are decimals as text or as JSON numbers,
//! read from their own digits.

use std::borrow::Cow;
use std::sync::Arc;

use budget::reservation::{Estimate, Reserve, TTL_MS_MAX};
use budget::{Denial, Ref, Subject, Unit};
use pricing::{Attrs, Money};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::App;
use crate::auth::Principal;
use crate::event::charge::Stated;
use crate::event::estimate::{Planned, tokens, worst_case};
use crate::event::{ATTRS_MAX, DEFAULT_NAMESPACE, ID_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, UsageEvent};
use crate::ingest::json::{self, Batch, BodyKind};
use crate::resource::duration_ms;
use crate::server::problem::Problem;

/// `POST /v1/reservations`.
#[derive(Debug, Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    namespace: Option<Cow<'a, str>>,
    execution: Cow<'a, str>,
    agent: Option<Cow<'a, str>>,
    team: Option<Cow<'a, str>>,
    environment: Option<Cow<'a, str>>,
    parent_execution: Option<Cow<'a, str>>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    estimate_usd: Option<&'a RawValue>,
    estimate: Option<Planning<'a>>,
    ttl: Option<Cow<'a, str>>,
    tokens: Option<u64>,
    tool_calls: Option<u32>,
    model_calls: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Planning<'a> {
    #[serde(borrow)]
    provider: Cow<'a, str>,
    model: Cow<'a, str>,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    max_output_tokens: u64,
    #[serde(default)]
    attrs: std::collections::BTreeMap<String, String>,
}

/// The body of a settlement.
pub(super) enum Settle {
    /// A stated cost.
    Stated(Stated),
    /// A usage event, and whether nothing more comes.
    Event(Box<UsageEvent>, bool),
}

#[derive(Debug, Deserialize)]
struct SettleBody<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    cost_usd: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    #[serde(rename = "final")]
    last: Option<bool>,
    provider: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    tool: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct ExtendBody<'a> {
    #[serde(borrow)]
    ttl: Option<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    pub(super) fn read(raw: &'a [u8]) -> Result<Self, Problem> {
        let expected = r#"expected {"id": …, "namespace": …, "execution": …, "estimate_usd": "0.42"} or an "estimate""#;
        let asked: Self = serde_json::from_slice(raw)
            .map_err(|error| Problem::bad_request("invalid_reservation", format!("{expected}: {error}")))?;
        text("/id", &asked.id, ID_BYTES_MAX)?;
        text("/execution", &asked.execution, NAME_BYTES_MAX)?;
        let names = [
            ("/namespace", &asked.namespace),
            ("/agent", &asked.agent),
            ("/team", &asked.team),
            ("/environment", &asked.environment),
            ("/parent_execution", &asked.parent_execution),
        ];
        for (pointer, name) in names {
            name.as_ref().map_or(Ok(()), |name| text(pointer, name, NAME_BYTES_MAX))?;
        }
        if asked.labels.len() > LABELS_MAX {
            return Err(Problem::bad_request("too_many", format!("at most {LABELS_MAX} labels are kept")).at("/labels"));
        }
        Ok(asked)
    }

    /// What the credential leaves no choice about.
    pub(super) fn bind(&mut self, who: &Principal) {
        let open = self.namespace.as_deref().is_none_or(|namespace| namespace == DEFAULT_NAMESPACE);
        if open
            && !who.sees(DEFAULT_NAMESPACE)
            && let Some(only) = who.only_namespace()
        {
            self.namespace = Some(Cow::Owned(only.to_string()));
        }
        if self.agent.is_none() {
            self.agent = who.only_agent().map(|agent| Cow::Owned(agent.to_string()));
        }
    }

    /// What the meter is asked for.
    pub(super) fn wish(&self, app: &App, tenant: &str) -> Result<Reserve, Problem> {
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let arc = |name: &Option<Cow<'_, str>>| name.as_deref().map(Arc::from);
        let labels = self.labels.iter().map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str())));
        Ok(Reserve {
            id: Arc::from(&*self.id),
            body: self.hash(tenant),
            execution: Ref::new(namespace, &self.execution),
            subject: Subject {
                agent: arc(&self.agent),
                team: arc(&self.team),
                environment: arc(&self.environment),
                labels: labels.collect(),
            },
            parent: self.parent_execution.as_deref().map(|name| Ref::new(namespace, name)),
            estimate: self.estimate(app, namespace)?,
            ceiling: app.budgets.estimate_ceiling,
            ttl_ms: self.ttl.as_deref().map(ttl).transpose()?.unwrap_or(app.budgets.default_ttl_ms),
        })
    }

    fn estimate(&self, app: &App, namespace: &str) -> Result<Estimate, Problem> {
        let tool_calls = self.tool_calls.unwrap_or(0);
        let model_calls = self.model_calls.unwrap_or(u32::from(tool_calls == 0 || self.estimate.is_some()));
        let mut estimate =
            Estimate { tokens: self.tokens.unwrap_or(0), tool_calls, model_calls, ..Estimate::default() };
        if let Some(planning) = &self.estimate {
            let attrs = planning.attrs()?;
            let planned = planning.planned(&planning.model, &attrs, namespace, self.team.as_deref());
            estimate.usd = worst_case(&app.prices.load(), app.clock.now(), &planned);
            estimate.tokens = self.tokens.unwrap_or_else(|| tokens(&planned));
        }
        if let Some(stated) = self.estimate_usd {
            estimate.usd = Some(amount("/estimate_usd", stated)?);
        }
        estimate.unpriced = self.estimate.is_some() && estimate.usd.is_none();
        Ok(estimate)
    }

    /// The cheapest of the models that the run's route allows, if its worst case fits into what the counter has left.
    pub(super) fn alternative(&self, app: &App, denial: &Denial) -> Option<Value> {
        let planning = self.estimate.as_ref()?;
        let room = match denial {
            Denial::Limit(counter) if counter.unit == Unit::Usd => {
                Money::from_scaled((counter.limit - counter.spent - counter.held).max(0))?
            }
            Denial::PerCall { limit, .. } => *limit,
            _ => return None,
        };
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let execution = Ref::new(namespace, &self.execution);
        let routed = app.view.read(|state| crate::resource::routed_models(state, &execution, self.agent.as_deref()));
        let (attrs, book, now) = (planning.attrs().ok()?, app.prices.load(), app.clock.now());
        let priced = routed.iter().filter_map(|(provider, model)| {
            let planned = Planned { provider, ..planning.planned(model, &attrs, namespace, self.team.as_deref()) };
            let worst = worst_case(&book, now, &planned)?;
            (worst <= room).then_some((worst, provider, model))
        });
        let (worst, provider, model) = priced.min()?;
        Some(json!({ "provider": provider, "model": model, "estimateUsd": worst }))
    }

    /// What a retry must repeat.
    fn hash(&self, tenant: &str) -> u64 {
        let planning = self.estimate.as_ref().map(|planning| {
            let Planning { provider, model, input_tokens, max_output_tokens, attrs } = planning;
            format!("{provider}\n{model}\n{input_tokens}\n{max_output_tokens}\n{attrs:?}")
        });
        let text = format!(
            "{tenant}\n{:?}\n{}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{planning:?}\n{:?}\n{:?}\n{:?}",
            self.namespace,
            self.execution,
            self.agent,
            self.team,
            self.environment,
            self.parent_execution,
            self.labels,
            self.estimate_usd.map(RawValue::get),
            self.tokens,
            self.tool_calls,
            self.model_calls,
        );
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Planning<'_> {
    fn attrs(&self) -> Result<Attrs, Problem> {
        if self.attrs.len() > ATTRS_MAX {
            let detail = format!("at most {ATTRS_MAX} attributes are read");
            return Err(Problem::bad_request("too_many", detail).at("/estimate/attrs"));
        }
        let mut attrs = Attrs::default();
        self.attrs.iter().for_each(|(key, value)| attrs.set(key, value));
        Ok(attrs)
    }

    fn planned<'p>(
        &'p self,
        model: &'p str,
        attrs: &'p Attrs,
        namespace: &'p str,
        team: Option<&'p str>,
    ) -> Planned<'p> {
        let Self { provider, input_tokens, max_output_tokens, .. } = self;
        Planned {
            provider,
            model,
            input_tokens: *input_tokens,
            max_output_tokens: *max_output_tokens,
            attrs,
            namespace,
            team,
        }
    }
}

impl Settle {
    pub(super) fn read(raw: &[u8]) -> Result<Self, Problem> {
        let expected = r#"expected {"cost_usd": "0.40"} or {"event": {…}}"#;
        let invalid = |detail: String| Problem::bad_request("invalid_settlement", format!("{expected}: {detail}"));
        let body: SettleBody<'_> = serde_json::from_slice(raw).map_err(|error| invalid(error.to_string()))?;
        let last = body.last.unwrap_or(true);
        if let Some(id) = &body.id {
            text("/id", id, ID_BYTES_MAX)?;
        }
        match (body.cost_usd, body.event) {
            (Some(cost), None) => {
                let arc = |name: Option<Cow<'_, str>>| name.as_deref().map(Arc::from);
                for (pointer, name) in [("/provider", &body.provider), ("/model", &body.model), ("/tool", &body.tool)] {
                    name.as_ref().map_or(Ok(()), |name| text(pointer, name, NAME_BYTES_MAX))?;
                }
                Ok(Self::Stated(Stated {
                    id: body.id.as_deref().map(Arc::from),
                    cost: amount("/cost_usd", cost)?,
                    last,
                    provider: arc(body.provider),
                    model: arc(body.model),
                    tool: arc(body.tool),
                }))
            }
            (None, Some(event)) => {
                let Batch { items } = json::decode(event.get().as_bytes(), BodyKind::Json)?;
                let item = items.into_iter().next().ok_or_else(|| invalid("the event is empty".to_owned()))?;
                let event = item.event.map_err(|rejection| {
                    Problem::bad_request(rejection.code, rejection.message).at(format!("/event{}", rejection.pointer))
                })?;
                Ok(Self::Event(Box::new(event), last))
            }
            (Some(_), Some(_)) => Err(invalid("both are given; which one counts?".to_owned())),
            (None, None) => Err(invalid("neither is given".to_owned())),
        }
    }
}

/// The `ttl` of an extension, if it has one.
pub(super) fn ttl_of(raw: &[u8]) -> Result<Option<u64>, Problem> {
    if raw.trim_ascii().is_empty() {
        return Ok(None);
    }
    let body: ExtendBody<'_> = serde_json::from_slice(raw)
        .map_err(|error| Problem::bad_request("invalid_extension", format!(r#"expected {{"ttl": "10m"}}: {error}"#)))?;
    body.ttl.as_deref().map(ttl).transpose()
}

fn ttl(given: &str) -> Result<u64, Problem> {
    let millis = duration_ms(given).filter(|millis| (1..=TTL_MS_MAX).contains(millis));
    millis.ok_or_else(|| {
        let detail = format!("{given:?} is no life of a reservation; write 30s, 10m, 2h, at most 24h");
        Problem::bad_request("invalid_ttl", detail).at("/ttl")
    })
}

/// An amount from its own digits, not negative.
fn amount(pointer: &str, raw: &RawValue) -> Result<Money, Problem> {
    let given = raw.get().trim_matches('"');
    match given.parse::<Money>() {
        Ok(amount) if !amount.is_negative() => Ok(amount),
        _ => {
            let detail = format!("{given:?} is no amount in US dollars; write a plain decimal such as \"0.42\"");
            Err(Problem::bad_request("invalid_amount", detail).at(pointer))
        }
    }
}

fn text(pointer: &str, given: &str, bytes_max: usize) -> Result<(), Problem> {
    if given.is_empty() || given.len() > bytes_max || given.chars().any(char::is_control) {
        let detail = format!("this is empty, longer than {bytes_max} bytes, or holds a control character");
        return Err(Problem::bad_request("invalid_value", detail).at(pointer));
    }
    Ok(())
}
