//! joch's trace events as the data of CloudEvents: completed model and tool calls, and the beginning and end of executions.

use budget::Ref;
use budget::entry::Phase;
use serde_json::{Map, Value, json};

use super::{Envelope, Event, RunEvent, native, refused};
use crate::event::{DEFAULT_NAMESPACE, NAME_BYTES_MAX, Rejection};
use crate::ingest::otlp::provider_id;

/// The events that are metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ModelCall,
    ToolCall,
    Started,
    Ended(Phase),
    /// Of joch, and nothing that is metered.
    Unmetered,
}

impl Kind {
    /// By the last part of the type: `dev.joch.ModelCallCompleted`, `joch.ModelCallCompleted.v1`.
    pub(super) fn of(kind: &str) -> Option<Self> {
        kind.split(['.', '/']).rev().find_map(|part| match part {
            "ModelCallCompleted" => Some(Self::ModelCall),
            "ToolCallCompleted" => Some(Self::ToolCall),
            "ExecutionStarted" => Some(Self::Started),
            "ExecutionSucceeded" => Some(Self::Ended(Phase::Succeeded)),
            "ExecutionFailed" => Some(Self::Ended(Phase::Failed)),
            "ExecutionCancelled" => Some(Self::Ended(Phase::Cancelled)),
            "ExecutionCreated" | "ExecutionScheduled" | "ModelCallStarted" | "ToolCallRequested"
            | "ToolCallApproved" | "ProviderSwitched" | "AgBOMUpdated" | "BudgetExceeded" => Some(Self::Unmetered),
            _ => None,
        })
    }
}

pub(super) fn event(index: usize, kind: Kind, envelope: &Envelope, data: &str) -> Event {
    let data: Value = match serde_json::from_str(data) {
        Ok(data @ Value::Object(_)) => data,
        _ => return refused(index, &envelope.id, Rejection::new("invalid_type", "/data", "the data is a JSON object")),
    };
    let data = Data(&data);
    let Some(execution) = data.named(&["executionId", "executionRef", "execution"]) else {
        let message = "the event names no execution: executionId";
        return match kind {
            Kind::Unmetered => Event::Other,
            _ => refused(index, &envelope.id, Rejection::new("missing_field", "/data/executionId", message)),
        };
    };
    let namespace = data.namespace();
    let run = |name: &str| Ref::new(&namespace, name);
    if execution.len() > NAME_BYTES_MAX || namespace.len() > NAME_BYTES_MAX {
        let message = format!("a name has at most {NAME_BYTES_MAX} bytes");
        return refused(index, &envelope.id, Rejection::new("too_long", "/data/executionId", message));
    }
    match kind {
        Kind::Unmetered => Event::Other,
        Kind::Started => {
            let parent = data.named(&["parentExecutionId", "parentExecutionRef"]).map(|name| run(&name));
            let agent = data.named(&["agentRef", "agent"]).map(Into::into);
            Event::Run(index, RunEvent::Started { execution: run(&execution), agent, parent })
        }
        Kind::Ended(phase) => Event::Run(index, RunEvent::Ended { execution: run(&execution), phase }),
        Kind::ModelCall | Kind::ToolCall => {
            let draft = data.call(kind == Kind::ModelCall, envelope, &execution, &namespace);
            native(index, &envelope.id, &draft.to_string())
        }
    }
}

struct Data<'a>(&'a Value);

impl Data<'_> {
    /// The first of these that has text; of a reference its name.
    fn named(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| {
            let value = self.0.get(*key)?;
            let text = value.as_str().or_else(|| value.get("name").and_then(Value::as_str))?;
            (!text.trim().is_empty()).then(|| text.trim().to_owned())
        })
    }

    fn namespace(&self) -> String {
        let of = |key: &str| self.0.get(key).and_then(|value| value.get("namespace")).and_then(Value::as_str);
        let own = self.named(&["namespace", "agentNamespace"]);
        own.or_else(|| of("agentRef").or_else(|| of("executionRef")).map(str::to_owned))
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// The native event of a call. Its numbers go through as their literals.
    fn call(&self, is_model: bool, envelope: &Envelope, execution: &str, namespace: &str) -> Value {
        let mut event = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                event.insert(name.to_owned(), value);
            }
        };
        let text = |keys: &[&str]| self.named(keys).map(Value::String);
        put("id", Some(json!(envelope.id)));
        put("source", Some(json!(envelope.source)));
        put("time", text(&["timestamp", "startedAt"]).or_else(|| envelope.time.clone().map(Value::String)));
        put("execution", Some(json!(execution)));
        put("namespace", Some(json!(namespace)));
        put("agent", text(&["agentRef", "agent"]));
        put("team", text(&["team", "teamRef"]));
        put("environment", text(&["environment"]));
        put("conversation", text(&["conversationRef", "conversationId"]));
        put("parent_execution", text(&["parentExecutionId"]));
        put("reservation", text(&["reservation", "reservationId"]));
        put("reported_cost_usd", self.0.get("costUsd").filter(|cost| !cost.is_null()).cloned());
        let failed = self.named(&["error", "errorType"]).is_some()
            || self
                .named(&["status", "phase", "outcome"])
                .is_some_and(|word| matches!(word.to_ascii_lowercase().as_str(), "failed" | "error" | "failure"));
        put("outcome", failed.then(|| json!("error")));
        if !is_model {
            put("kind", Some(json!("tool")));
            put("tool", text(&["toolRef", "toolName", "tool", "toolId"]));
            put("mcp_server", text(&["mcpServerRef", "mcpServer"]));
            put("quantities", Some(json!({ "calls": 1 })));
            return Value::Object(event);
        }
        // `modelRef` may be `provider:model`.
        let reference = self.named(&["modelRef"]);
        let (before, after) = match reference.as_deref().and_then(|reference| reference.split_once(':')) {
            Some((provider, model)) => (Some(provider.to_owned()), Some(model.to_owned())),
            None => (None, reference),
        };
        let provider = self.named(&["provider"]).or(before).map(|provider| json!(&*provider_id(&provider)));
        put("kind", Some(json!("model")));
        put("provider", provider);
        put("model", self.named(&["model"]).or(after).map(Value::String));
        put("response_id", text(&["responseId"]));
        let usage = [
            ("input_tokens", "inputTokens"),
            ("output_tokens", "outputTokens"),
            ("cache_read_tokens", "cacheReadTokens"),
            ("cache_write_tokens", "cacheWriteTokens"),
            ("output_reasoning_tokens", "reasoningTokens"),
        ];
        let usage: Map<String, Value> = usage
            .into_iter()
            .filter_map(|(name, key)| Some((name.to_owned(), self.0.get(key).filter(|v| !v.is_null())?.clone())))
            .collect();
        put("usage", (!usage.is_empty()).then_some(Value::Object(usage)));
        Value::Object(event)
    }
}
