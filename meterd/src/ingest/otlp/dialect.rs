//! What a span is, in each client's words: a model call, a tool call, an agent, or nothing that is paid for.
//!
//! A closed list: what is not named here is not billed. Aggregates (`invoke_agent`, chains, the AI SDK's outer spans) never
//! are, for their children are.

use super::attributes::Field;
use super::span::Span;

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// One call of a model that answers.
    Inference,
    /// One call of a model that embeds.
    Embedding,
    /// One call of a tool.
    Tool,
    /// An agent or workflow: not billed, but its name stands for the calls below it.
    Agent,
    /// Nothing that is metered.
    Other,
}

impl Class {
    /// Is it a call of a model?
    pub(super) const fn is_model(self) -> bool {
        matches!(self, Self::Inference | Self::Embedding)
    }
}

/// Classifies a span by the first vocabulary it speaks.
pub(super) fn classify(span: &Span) -> Class {
    let text = |field| span.attributes.text(field);
    // The AI SDK's own operation comes first: its outer spans may carry gen_ai attributes as well.
    if let Some(operation) = text(Field::AiOperation) {
        return ai_sdk(operation);
    }
    // An operation that the conventions do not know says nothing; another vocabulary may.
    if let Some(class) = text(Field::Operation).and_then(gen_ai) {
        return class;
    }
    if let Some(kind) = text(Field::OpenInferenceKind) {
        return open_inference(kind);
    }
    if let Some(kind) = text(Field::LangfuseType) {
        return langfuse(kind);
    }
    if let Some(kind) = text(Field::LlmRequestType) {
        return if kind.contains("embedding") { Class::Embedding } else { Class::Inference };
    }
    if let Some(kind) = text(Field::TraceloopKind) {
        return match kind {
            "tool" => Class::Tool,
            "agent" | "workflow" => Class::Agent,
            _ => Class::Other,
        };
    }
    match text(Field::McpMethod) {
        Some("tools/call") if span.attributes.has(Field::Tool) => Class::Tool,
        _ => Class::Other,
    }
}

fn gen_ai(operation: &str) -> Option<Class> {
    match operation {
        "chat" | "generate_content" | "text_completion" => Some(Class::Inference),
        "embeddings" => Some(Class::Embedding),
        "execute_tool" => Some(Class::Tool),
        "invoke_agent" | "invoke_workflow" | "create_agent" => Some(Class::Agent),
        "retrieval" => Some(Class::Other),
        _ => None,
    }
}

fn open_inference(kind: &str) -> Class {
    match kind.to_ascii_uppercase().as_str() {
        "LLM" => Class::Inference,
        "EMBEDDING" => Class::Embedding,
        "TOOL" => Class::Tool,
        "AGENT" => Class::Agent,
        _ => Class::Other,
    }
}

fn ai_sdk(operation: &str) -> Class {
    match operation {
        "ai.toolCall" => Class::Tool,
        _ if operation.ends_with(".doGenerate") || operation.ends_with(".doStream") => Class::Inference,
        _ if operation.ends_with(".doEmbed") => Class::Embedding,
        _ => Class::Other,
    }
}

fn langfuse(kind: &str) -> Class {
    match kind {
        "generation" => Class::Inference,
        "embedding" => Class::Embedding,
        "tool" => Class::Tool,
        "agent" => Class::Agent,
        _ => Class::Other,
    }
}
