//! Model and tool names: normalisation and match precedence. Never a price.
//!
//! Precedence for one name: exact > alias > longest prefix > longest glob > longest regex. Two entries of equal rank that could both
//! answer are refused when the table is read, so the order of entries in a file never decides.

mod glob;
mod names;
mod regex;
pub(crate) mod region;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use glob::Glob;
pub use names::Rank;
pub(crate) use names::{Answer, Clash, Names};
pub(crate) use regex::Regex;

/// Other people's names for providers, and the ids that price tables use.
///
/// OpenTelemetry's GenAI values, LiteLLM's prefixes and common spellings. Only names that mean the same price list are
/// here: Azure, Bedrock and resellers have lists of their own and are never taken for the model's maker.
const PROVIDER_ALIASES: &[(&str, &str)] = &[
    ("xai", "x-ai"),
    ("x_ai", "x-ai"),
    ("grok", "x-ai"),
    ("gemini", "google"),
    ("vertex_ai", "google"),
    ("vertex_ai_beta", "google"),
    ("vertexai", "google"),
    ("vertex", "google"),
    ("google_genai", "google"),
    ("google_vertexai", "google"),
    ("google-vertex", "google"),
    ("google-gla", "google"),
    ("gcp.gemini", "google"),
    ("gcp.vertex_ai", "google"),
    ("gcp.gen_ai", "google"),
    ("claude", "anthropic"),
    ("mistral_ai", "mistral"),
    ("mistralai", "mistral"),
    ("codestral", "mistral"),
    ("azure_ai", "azure"),
    ("azure_openai", "azure"),
    ("azure.ai.openai", "azure"),
    ("azure.ai.inference", "azure"),
    ("az.ai.openai", "azure"),
    ("az.ai.inference", "azure"),
    ("bedrock", "aws"),
    ("bedrock_converse", "aws"),
    ("amazon_bedrock", "aws"),
    ("aws.bedrock", "aws"),
    ("together_ai", "together"),
    ("togetherai", "together"),
    ("fireworks_ai", "fireworks"),
    ("fireworks-ai", "fireworks"),
    ("github_copilot", "github-copilot"),
    ("moonshot", "moonshotai"),
    ("moonshot_ai", "moonshotai"),
    ("voyage", "voyageai"),
    ("z-ai", "zai"),
    ("z.ai", "zai"),
    ("cohere_chat", "cohere"),
    ("openai_chat", "openai"),
    ("open_ai", "openai"),
];

/// Routers without a price list of their own: the provider stands in front of the model's name (`openai/gpt-5`).
const ROUTERS: &[&str] = &["litellm", "litellm_proxy"];

/// Is this a router, whose model names begin with the provider?
pub(crate) fn is_router(provider: &str) -> bool {
    ROUTERS.contains(&provider)
}

/// The id that price tables use for a provider that is known under other names; `None` if there is none.
///
/// A table may price a provider under any name: the name itself is tried first, this second.
#[must_use]
pub fn canonical_provider(name: &str) -> Option<&'static str> {
    PROVIDER_ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, id)| *id)
}

/// Every name that [`canonical_provider`] knows, with its answer.
pub(crate) fn provider_aliases() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROVIDER_ALIASES.iter().copied()
}

/// Lower case without spaces around; allocates only where that changes something.
#[must_use]
pub fn normal(name: &str) -> Cow<'_, str> {
    // Nearly every name is so already, and all its bytes together are seen faster than characters one by one.
    if name.bytes().fold(true, |normal, byte| normal & byte.is_ascii_graphic() & !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let name = name.trim();
    if name.chars().any(char::is_uppercase) { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
}

/// The spellings of one normalised model name, in the order in which they are looked up: as it is, without the path in
/// front (`models/`, `publishers/google/models/`), without `@version`, without a date at the end.
///
/// Lazy: most names are found as they are.
pub(crate) fn spellings(name: &str) -> impl Iterator<Item = &str> {
    let steps: [fn(&str) -> &str; 4] = [|name| name, without_path, without_version, without_date];
    let (mut name, mut last) = (name, "");
    steps.into_iter().filter_map(move |step| {
        name = step(name);
        let is_new = name != last;
        last = name;
        (is_new && !name.is_empty()).then_some(name)
    })
}

fn without_path(name: &str) -> &str {
    // One sign is faster to look for than a word.
    if !name.contains('/') {
        return name;
    }
    name.rsplit_once("models/").filter(|(path, _)| is_path(path)).map_or(name, |(_, bare)| bare)
}

fn without_version(name: &str) -> &str {
    name.rsplit_once('@').filter(|(head, _)| !head.is_empty()).map_or(name, |(head, _)| head)
}

/// Nothing in front of `models/`, or a path that ends in a slash.
fn is_path(path: &str) -> bool {
    path.is_empty() || path.ends_with('/')
}

/// Without `-20260205` or `-2026-02-05` at the end.
fn without_date(name: &str) -> &str {
    let is_digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((head, tail)) = name.rsplit_once('-') else { return name };
    if is_digits(tail, 8) && tail.starts_with("20") {
        return head;
    }
    let parts = head.rsplit_once('-').and_then(|(head, month)| Some((head.rsplit_once('-')?, month)));
    match parts {
        Some(((head, year), month))
            if is_digits(tail, 2) && is_digits(month, 2) && is_digits(year, 4) && year.starts_with("20") =>
        {
            head
        }
        _ => name,
    }
}
