//! One `StandardLoggingPayload`: the fields that are read, and the native event that they make.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pricing::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::event::Rejection;
use crate::ingest::amount;
use crate::ingest::otlp::provider_id;

type Raw<'a> = Option<&'a RawValue>;
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The fields that are read. Everything is optional, as LiteLLM's versions differ.
#[derive(Debug, Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    litellm_call_id: Raw<'a>,
    #[serde(borrow, default)]
    trace_id: Raw<'a>,
    #[serde(borrow, default)]
    session_id: Raw<'a>,
    #[serde(borrow, default)]
    call_type: Raw<'a>,
    #[serde(borrow, default)]
    cache_hit: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
    #[serde(borrow, default)]
    custom_llm_provider: Raw<'a>,
    #[serde(borrow, default, rename = "startTime")]
    start_time: Raw<'a>,
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    metadata: Raw<'a>,
    #[serde(borrow, default)]
    response: Raw<'a>,
    #[serde(borrow, default)]
    response_cost: Raw<'a>,
    #[serde(borrow, default)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow, default)]
    completion_tokens: Raw<'a>,
    #[serde(borrow, default)]
    request_tags: Raw<'a>,
}

/// Text that says something: neither null nor empty.
fn text(raw: Raw<'_>) -> Option<String> {
    let text: String = serde_json::from_str(raw?.get()).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn members(raw: Raw<'_>) -> Members<'_> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A whole count; `2048` and `2048.0` alike.
fn count(raw: Raw<'_>) -> Option<u64> {
    let literal = raw?.get();
    let digits = literal.strip_suffix(".0").unwrap_or(literal);
    digits.parse().ok()
}

/// Parts of the input and of the output: in the chat API's words, then in the responses API's.
const PROMPT: [&str; 2] = ["prompt_tokens_details", "input_tokens_details"];
const COMPLETION: [&str; 2] = ["completion_tokens_details", "output_tokens_details"];

const CACHE_CREATION: &str = "cache_creation";
const SERVER_TOOLS: &str = "server_tool_use";

/// The members of a response's `usage`, and of the objects in it; each read once.
struct UsageObject<'a> {
    own: Members<'a>,
    nested: Vec<(&'static str, Members<'a>)>,
}

impl<'a> UsageObject<'a> {
    fn new(own: Members<'a>) -> Self {
        let objects = PROMPT.into_iter().chain(COMPLETION).chain([CACHE_CREATION, SERVER_TOOLS]);
        let nested = objects.filter_map(|name| Some((name, members(Some(own.get(name)?)))));
        Self { nested: nested.collect(), own }
    }

    fn get(&self, name: &str) -> Option<u64> {
        count(self.own.get(name).copied())
    }

    fn object(&self, name: &str) -> Option<&Members<'a>> {
        self.nested.iter().find(|(known, _)| *known == name).map(|(_, members)| members)
    }

    fn within(&self, objects: &[&str], name: &str) -> Option<u64> {
        objects.iter().find_map(|object| count(self.object(object)?.get(name).copied()))
    }

    /// Cache writes by their lifetime, as LiteLLM nests them or as Anthropic does.
    fn lifetime(&self, name: &str) -> Option<u64> {
        let nested = PROMPT.iter().find_map(|object| {
            let details = self.object(object)?.get("cache_creation_token_details")?;
            count(members(Some(details)).get(name).copied())
        });
        nested.or_else(|| self.within(&[CACHE_CREATION], name))
    }

    /// All prompt tokens. Anthropic's own usage, which a pass-through shows, counts cached ones beside its `input_tokens`.
    fn input(&self) -> Option<u64> {
        let beside = ["cache_read_input_tokens", "cache_creation_input_tokens"];
        self.get("prompt_tokens").or_else(|| {
            let cached = beside.iter().filter_map(|name| self.get(name)).fold(0, u64::saturating_add);
            self.get("input_tokens").map(|input| input.saturating_add(cached))
        })
    }
}

/// A payload's metadata, and what callers put into it; each read once.
struct Metadata<'a> {
    own: Members<'a>,
    callers: [Members<'a>; 3],
}

impl<'a> Metadata<'a> {
    fn new(raw: Raw<'a>) -> Self {
        let own = members(raw);
        let places = ["requester_metadata", "spend_logs_metadata", "user_api_key_auth_metadata"];
        let callers = places.map(|place| members(own.get(place).copied()));
        Self { own, callers }
    }

    /// What the caller put into the request's metadata.
    fn said(&self, name: &str) -> Option<String> {
        let inner = self.callers.iter().find_map(|place| text(place.get(name).copied()));
        inner.or_else(|| text(self.own.get(name).copied()))
    }
}

impl Payload<'_> {
    /// LiteLLM answered from its own cache: no provider was called.
    pub(super) fn is_from_cache(&self) -> bool {
        self.cache_hit.is_some_and(|hit| hit.get() == "true")
    }

    /// LiteLLM's id of the call.
    pub(super) fn id(&self) -> Option<String> {
        text(self.litellm_call_id).or_else(|| text(self.id))
    }

    /// The native event, as JSON.
    pub(super) fn draft(&self) -> Result<String, Rejection> {
        let id = self.id().ok_or_else(|| missing("litellm_call_id", "a payload needs its id"))?;
        let failed = text(self.status).as_deref() == Some("failure");
        let (tags, metadata) = (self.tags(), Metadata::new(self.metadata));
        let mut event = Map::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                event.insert(name.to_owned(), Value::String(value));
            }
        };
        put("source", Some("litellm".to_owned()));
        put("time", Some(self.time()?));
        put("execution", Some(self.execution(&metadata, &tags).unwrap_or_else(|| id.clone())));
        put("conversation", text(self.session_id));
        for name in ["namespace", "agent", "team", "environment", "reservation"] {
            put(name, named(name, &metadata, &tags));
        }
        put("outcome", failed.then(|| "error".to_owned()));
        put("reported_cost_usd", self.reported());
        // A retry keeps the id of the attempt that failed before it.
        put("id", Some(if failed { format!("{id}:failed:{}", self.start_time.map_or("", RawValue::get)) } else { id }));
        match self.tool(&metadata) {
            Some((tool, server)) => {
                put("kind", Some("tool".to_owned()));
                put("tool", Some(tool));
                put("mcp_server", server);
                event.insert("quantities".to_owned(), json!({ "calls": 1 }));
            }
            None => self.model_call(&mut event, &metadata, failed),
        }
        Ok(Value::Object(event).to_string())
    }

    fn model_call(&self, event: &mut Map<String, Value>, metadata: &Metadata<'_>, failed: bool) {
        let response = members(self.response);
        let asked = text(self.model).map(|model| bare(&model).to_owned());
        let served = text(response.get("model").copied()).map(|model| bare(&model).to_owned());
        let provider = text(self.custom_llm_provider).unwrap_or_else(|| "unknown".to_owned());
        event.insert("kind".to_owned(), json!("model"));
        event.insert("provider".to_owned(), json!(&*provider_id(&provider)));
        event.insert("model".to_owned(), json!(served.as_ref().or(asked.as_ref()).map_or("unknown", String::as_str)));
        if let Some(asked) = asked {
            event.insert("request_model".to_owned(), json!(asked));
        }
        // A failure has no response; its `id` is the request's, which its retries share.
        let response_id = text(self.id).filter(|_| !failed);
        if let Some(response_id) = response_id.or_else(|| text(response.get("id").copied())) {
            event.insert("response_id".to_owned(), json!(response_id));
        }
        if let Some(tier) = text(response.get("service_tier").copied()) {
            event.insert("attrs".to_owned(), json!({ "service_tier": tier }));
        }
        let usage = self.usage(&response, metadata, failed);
        if !usage.is_empty() {
            event.insert("usage".to_owned(), Value::Object(usage));
        }
    }

    /// The most detailed of the three places that tell it.
    fn usage(&self, response: &Members<'_>, metadata: &Metadata<'_>, failed: bool) -> Map<String, Value> {
        let object = [metadata.own.get("usage_object"), response.get("usage")];
        let object = object.into_iter().flatten().map(|raw| members(Some(raw))).find(|members| !members.is_empty());
        let told = UsageObject::new(object.unwrap_or_default());
        let (prompt, completion) = (&PROMPT, &COMPLETION);
        let output = told.get("completion_tokens").or_else(|| told.get("output_tokens"));
        // A failed call counts zeros where nothing was used.
        let own = |raw| count(raw).filter(|count| *count > 0 || !failed);
        let pairs = [
            ("input_tokens", told.input().or_else(|| own(self.prompt_tokens))),
            ("cache_read_tokens", told.within(prompt, "cached_tokens").or_else(|| told.get("cache_read_input_tokens"))),
            (
                "cache_write_tokens",
                told.within(prompt, "cache_creation_tokens")
                    .or_else(|| told.within(prompt, "cache_write_tokens"))
                    .or_else(|| told.get("cache_creation_input_tokens")),
            ),
            ("cache_write_5m_tokens", told.lifetime("ephemeral_5m_input_tokens")),
            ("cache_write_1h_tokens", told.lifetime("ephemeral_1h_input_tokens")),
            ("input_audio_tokens", told.within(prompt, "audio_tokens")),
            ("output_tokens", output.or_else(|| own(self.completion_tokens))),
            ("output_audio_tokens", told.within(completion, "audio_tokens")),
            ("output_reasoning_tokens", told.within(completion, "reasoning_tokens")),
            (
                "web_searches",
                told.within(&[SERVER_TOOLS], "web_search_requests")
                    .or_else(|| told.within(prompt, "web_search_requests"))
                    .filter(|count| *count > 0),
            ),
        ];
        let known = pairs.into_iter().filter_map(|(name, count)| Some((name.to_owned(), json!(count?))));
        // An embedding has no output, and says so with a zero.
        let embeds = text(self.call_type).is_some_and(|kind| kind.contains("embedding"));
        known.filter(|(name, count)| !(embeds && name.starts_with("output") && *count == json!(0))).collect()
    }

    /// An MCP tool that LiteLLM called.
    fn tool(&self, metadata: &Metadata<'_>) -> Option<(String, Option<String>)> {
        text(self.call_type).filter(|kind| kind == "call_mcp_tool")?;
        let call = members(metadata.own.get("mcp_tool_call_metadata").copied());
        let tool = text(call.get("name").copied()).unwrap_or_else(|| "unknown".to_owned());
        Some((tool, text(call.get("mcp_server_name").copied())))
    }

    /// Float seconds by their digits, or a text.
    fn time(&self) -> Result<String, Rejection> {
        let raw = self.start_time.ok_or_else(|| missing("startTime", "a payload needs the start of its call"))?;
        let invalid =
            || Rejection::new("invalid_time", "/startTime", "not seconds since 1970, and not an RFC 3339 time");
        if let Some(text) = text(self.start_time) {
            return text.parse::<Timestamp>().map(|time| time.to_string()).map_err(|_| invalid());
        }
        let (seconds, fraction) = raw.get().split_once('.').unwrap_or((raw.get(), ""));
        let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
        let (seconds, nanos) = (seconds.parse::<i64>().ok(), digits.parse::<i64>().ok());
        let total = seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000)).zip(nanos);
        let total = total.and_then(|(seconds, nanos)| seconds.checked_add(nanos)).filter(|nanos| *nanos > 0);
        total.map(|nanos| Timestamp::from_nanos(nanos).to_string()).ok_or_else(invalid)
    }

    fn reported(&self) -> Option<String> {
        let cost = amount::from_text(self.response_cost?.get())?;
        (!cost.is_negative()).then(|| cost.to_string())
    }

    /// `request_tags` of the form `key:value`.
    fn tags(&self) -> BTreeMap<String, String> {
        let tags: Vec<Value> =
            self.request_tags.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let pairs = tags.iter().filter_map(Value::as_str).filter_map(|tag| tag.split_once(':'));
        pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
    }

    fn execution(&self, metadata: &Metadata<'_>, tags: &BTreeMap<String, String>) -> Option<String> {
        let names = ["joch.execution.id", "execution", "execution_id"];
        let said = names.iter().find_map(|name| metadata.said(name).or_else(|| tags.get(*name).cloned()));
        said.or_else(|| text(self.trace_id)).or_else(|| text(self.session_id))
    }
}

fn named(name: &str, metadata: &Metadata<'_>, tags: &BTreeMap<String, String>) -> Option<String> {
    let said = metadata.said(name).or_else(|| tags.get(name).cloned()).filter(|name| !name.is_empty());
    said.or_else(|| match name {
        "team" => metadata.said("user_api_key_team_alias").or_else(|| metadata.said("user_api_key_team_id")),
        "agent" => metadata.said("user_api_key_alias"),
        _ => None,
    })
}

/// `openai/gpt-4o-mini` without the provider that LiteLLM puts before it.
fn bare(model: &str) -> &str {
    const PREFIXES: [&str; 6] = ["openai/", "anthropic/", "azure/", "gemini/", "vertex_ai/", "bedrock/"];
    PREFIXES.iter().find_map(|prefix| model.strip_prefix(prefix)).unwrap_or(model)
}

fn missing(name: &str, hint: &str) -> Rejection {
    Rejection::new("missing_field", format!("/{name}"), hint)
}
