//! Which attributes of spans and resources are kept, and what they mean: the alias table, as data.
//!
//! The table is the allow-list. Whatever it does not name, above all message content, is dropped at the door.

use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashMap;

use Field as F;

/// Longest text of one attribute that is kept; the rest is cut off. Ids and names are far shorter.
const TEXT_BYTES_MAX: usize = 4096;

/// What an attribute says, whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    // What kind of span it is.
    Operation,
    OpenInferenceKind,
    AiOperation,
    LangfuseType,
    LlmRequestType,
    TraceloopKind,
    TraceloopEntity,
    McpMethod,
    ErrorType,
    // What was called.
    Provider,
    RequestModel,
    ResponseModel,
    ResponseId,
    ServiceTier,
    Tool,
    ToolCall,
    McpServer,
    // How much of it.
    InputTokens,
    CacheRead,
    CacheWrite,
    CacheWrite5m,
    CacheWrite1h,
    InputAudio,
    OutputTokens,
    OutputAudio,
    Reasoning,
    TotalTokens,
    CompactionInput,
    CompactionOutput,
    UsageDetails,
    ReportedCost,
    CostDetails,
    // For whom.
    Execution,
    Reservation,
    Conversation,
    Agent,
    Namespace,
    Team,
    Environment,
    ServiceName,
}

/// For each field its attribute names; the first that is present wins.
pub(super) const ALIASES: &[(Field, &[&str])] = &[
    (F::Operation, &["gen_ai.operation.name"]),
    (F::OpenInferenceKind, &["openinference.span.kind"]),
    (F::AiOperation, &["ai.operationId"]),
    (F::LangfuseType, &["langfuse.observation.type"]),
    (F::LlmRequestType, &["llm.request.type"]),
    (F::TraceloopKind, &["traceloop.span.kind"]),
    (F::TraceloopEntity, &["traceloop.entity.name"]),
    (F::McpMethod, &["mcp.method.name"]),
    (F::ErrorType, &["error.type"]),
    (F::Provider, &["gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"]),
    (F::RequestModel, &["gen_ai.request.model", "llm.request.model_name", "ai.model.id"]),
    (
        F::ResponseModel,
        &[
            "gen_ai.response.model",
            "llm.response.model_name",
            "llm.model_name",
            "ai.response.model",
            "langfuse.observation.model.name",
            "embedding.model_name",
        ],
    ),
    (F::ResponseId, &["gen_ai.response.id", "ai.response.id"]),
    (
        F::ServiceTier,
        &["openai.response.service_tier", "gen_ai.openai.response.service_tier", "anthropic.response.service_tier"],
    ),
    (F::Tool, &["joch.tool.name", "gen_ai.tool.name", "tool.name", "ai.toolCall.name"]),
    (F::ToolCall, &["joch.toolcall.id", "gen_ai.tool.call.id", "ai.toolCall.id", "tool.id"]),
    (F::McpServer, &["mcp.server.name", "gen_ai.tool.mcp_server.name"]),
    (
        F::InputTokens,
        &[
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
            "ai.usage.tokens",
        ],
    ),
    (
        F::CacheRead,
        &[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.prompt_tokens_details.cached_tokens",
        ],
    ),
    (
        F::CacheWrite,
        &[
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "gen_ai.usage.details.cache_write_tokens",
        ],
    ),
    (F::CacheWrite5m, &["anthropic.usage.cache_creation.ephemeral_5m_input_tokens"]),
    (F::CacheWrite1h, &["anthropic.usage.cache_creation.ephemeral_1h_input_tokens"]),
    (F::InputAudio, &["llm.token_count.prompt_details.audio", "gen_ai.usage.details.input_audio_tokens"]),
    (
        F::OutputTokens,
        &[
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "ai.usage.outputTokens",
            "ai.usage.completionTokens",
        ],
    ),
    (F::OutputAudio, &["llm.token_count.completion_details.audio", "gen_ai.usage.details.output_audio_tokens"]),
    (
        F::Reasoning,
        &[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
        ],
    ),
    (
        F::TotalTokens,
        &["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens"],
    ),
    (F::CompactionInput, &["anthropic.usage.compaction.input_tokens"]),
    (F::CompactionOutput, &["anthropic.usage.compaction.output_tokens"]),
    (F::UsageDetails, &["langfuse.observation.usage_details"]),
    (
        F::ReportedCost,
        &["joch.modelcall.cost_usd", "gen_ai.cost.total_cost", "operation.cost", "gen_ai.usage.cost", "llm.cost.total"],
    ),
    (F::CostDetails, &["langfuse.observation.cost_details"]),
    (
        F::Execution,
        &[
            "joch.execution.id",
            "ai.telemetry.metadata.executionId",
            "traceloop.association.properties.joch.execution.id",
            "traceloop.association.properties.execution_id",
            "traceloop.association.properties.executionId",
            "traceloop.association.properties.execution",
        ],
    ),
    (F::Reservation, &["joch.reservation.id", "meterd.reservation.id"]),
    (F::Conversation, &["gen_ai.conversation.id", "session.id"]),
    (F::Agent, &["joch.agent.name", "gen_ai.agent.name", "agent.name"]),
    (F::Namespace, &["joch.agent.namespace", "service.namespace", "k8s.namespace.name"]),
    (F::Team, &["joch.team"]),
    (F::Environment, &["joch.environment", "deployment.environment.name", "deployment.environment"]),
    (F::ServiceName, &["service.name"]),
];

static BY_NAME: LazyLock<FxHashMap<&'static str, (Field, u8)>> = LazyLock::new(|| {
    let ranked =
        ALIASES.iter().flat_map(|(field, names)| names.iter().zip(0u8..).map(|(name, rank)| (*name, (*field, rank))));
    ranked.collect()
});

/// The names that are kept: the table's, and the configured ones for the execution, which come after the table's.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Configured attribute names of the execution.
    pub(super) execution_keys: &'a [Arc<str>],
}

impl Wanted<'_> {
    /// What this attribute says and its rank among its aliases; `None` if it is not kept.
    pub(super) fn find(self, name: &str) -> Option<(Field, u8)> {
        BY_NAME.get(name).copied().or_else(|| {
            let place = self.execution_keys.iter().position(|key| **key == *name)?;
            Some((Field::Execution, 128u8.saturating_add(u8::try_from(place).unwrap_or(u8::MAX))))
        })
    }
}

/// A scalar attribute. Arrays, maps and bytes say nothing that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text.
    Text(Box<str>),
    /// An integer.
    Int(i64),
    /// A double, as some clients send integers and costs.
    Double(f64),
    /// A boolean.
    Bool(bool),
}

impl Value {
    /// Text, cut to its bound.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Box::from(cut(text, TEXT_BYTES_MAX)))
    }
}

/// The longest prefix of whole characters within `bytes_max`.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// The kept attributes of one span or resource: for each field the first alias that was present.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<(Field, u8, Value)>);

impl Attributes {
    /// Keeps a value unless a better alias is there already. Empty text is how some clients write null.
    pub(super) fn offer(&mut self, (field, rank): (Field, u8), value: Value) {
        if matches!(&value, Value::Text(text) if text.is_empty()) {
            return;
        }
        match self.0.binary_search_by_key(&field, |entry| entry.0) {
            Ok(found) => {
                if let Some(entry) = self.0.get_mut(found).filter(|entry| rank < entry.1) {
                    *entry = (field, rank, value);
                }
            }
            Err(gap) => self.0.insert(gap, (field, rank, value)),
        }
    }

    /// The value of a field.
    pub(super) fn get(&self, field: Field) -> Option<&Value> {
        let found = self.0.binary_search_by_key(&field, |entry| entry.0).ok()?;
        self.0.get(found).map(|entry| &entry.2)
    }

    /// Is the field there?
    pub(super) fn has(&self, field: Field) -> bool {
        self.get(field).is_some()
    }

    /// The text of a field.
    pub(super) fn text(&self, field: Field) -> Option<&str> {
        match self.get(field) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The text of a field, or the text of its number: some clients send ids as integers.
    pub(super) fn name(&self, field: Field) -> Option<Arc<str>> {
        match self.get(field)? {
            Value::Text(text) => Some(Arc::from(&**text)),
            Value::Int(number) => Some(Arc::from(number.to_string())),
            Value::Double(_) | Value::Bool(_) => None,
        }
    }

    /// The attribute name under which a field came in.
    pub(super) fn source_name(&self, field: Field) -> &'static str {
        let rank = self.0.binary_search_by_key(&field, |entry| entry.0).ok().and_then(|found| self.0.get(found));
        let names = ALIASES.iter().find(|(known, _)| *known == field).map(|(_, names)| *names).unwrap_or_default();
        rank.and_then(|entry| names.get(usize::from(entry.1))).copied().unwrap_or_default()
    }
}
