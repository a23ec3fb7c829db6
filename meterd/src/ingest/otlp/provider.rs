//! Provider names as clients write them → the ids that price tables use.

use std::sync::Arc;

/// A provider nobody named; its calls are unpriced and visible, never free.
pub(super) const UNKNOWN: &str = "unknown";

/// Spellings that differ from the table's id, lower case. What is not here is taken as it is.
const SPELLINGS: &[(&str, &str)] = &[
    ("amazon", "aws"),
    ("amazon-bedrock", "aws"),
    ("amazon_bedrock", "aws"),
    ("aws.bedrock", "aws"),
    ("bedrock", "aws"),
    ("az.ai.inference", "azure"),
    ("az.ai.openai", "azure"),
    ("azure-openai", "azure"),
    ("azure.ai.inference", "azure"),
    ("azure.ai.openai", "azure"),
    ("azure_ai", "azure"),
    ("azure_openai", "azure"),
    ("cohere_chat", "cohere"),
    ("fireworks_ai", "fireworks"),
    ("fireworksai", "fireworks"),
    ("gcp.gemini", "google"),
    ("gcp.gen_ai", "google"),
    ("gcp.vertex_ai", "google"),
    ("gemini", "google"),
    ("google-generative-ai", "google"),
    ("google-vertex", "google"),
    ("google_genai", "google"),
    ("google_vertexai", "google"),
    ("vertex", "google"),
    ("vertex_ai", "google"),
    ("vertexai", "google"),
    ("github_copilot", "github-copilot"),
    ("mistral-ai", "mistral"),
    ("mistral_ai", "mistral"),
    ("mistralai", "mistral"),
    ("moonshot", "moonshotai"),
    ("moonshot_ai", "moonshotai"),
    ("together_ai", "together"),
    ("togetherai", "together"),
    ("voyage", "voyageai"),
    ("voyage_ai", "voyageai"),
    ("x_ai", "x-ai"),
    ("xai", "x-ai"),
];

/// Whose model it is, where nobody says who served it: only names that one vendor alone has.
pub(super) fn of_model(model: &str) -> Option<&'static str> {
    const VENDORS: &[(&str, &[&str])] = &[
        ("openai", &["gpt-", "chatgpt-", "o1", "o3", "o4-", "text-embedding-", "codex-"]),
        ("anthropic", &["claude-"]),
        ("google", &["gemini-"]),
        ("mistral", &["mistral-", "magistral-", "codestral-", "ministral-", "pixtral-"]),
        ("cohere", &["command-"]),
        ("x-ai", &["grok-"]),
        ("deepseek", &["deepseek-"]),
    ];
    let lower = model.to_ascii_lowercase();
    VENDORS.iter().find(|(_, names)| names.iter().any(|name| lower.starts_with(name))).map(|(vendor, _)| *vendor)
}

/// The table's id for a provider. The AI SDK appends its API with a dot (`openai.chat`, `google.vertex.chat`); that is
/// cut off where the attribute comes from it.
pub(super) fn normalise(name: &str, from_ai_sdk: bool) -> Arc<str> {
    let lower = name.trim().to_ascii_lowercase();
    let spelled = |name: &str| SPELLINGS.iter().find(|(spelling, _)| *spelling == name).map(|(_, id)| *id);
    if let Some(id) = spelled(&lower) {
        return Arc::from(id);
    }
    if from_ai_sdk {
        let vendor = lower.split('.').next().unwrap_or(&lower);
        return Arc::from(spelled(vendor).unwrap_or(vendor));
    }
    Arc::from(&*lower)
}
