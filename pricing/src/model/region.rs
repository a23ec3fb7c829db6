//! Regions in front of model names, as Bedrock and Azure write them: `us.anthropic.claude-…`, `eu/gpt-5`,
//! `us-east-1/anthropic.claude-…`. What stands there is where the call was served, not another model.

use super::canonical_provider;

/// The attribute that a price table asks for.
pub(crate) const ATTRIBUTE: &str = "region_prefix";
/// Bedrock's inference profiles and Azure's deployments.
const PREFIXES: &[&str] = &[
    "us",
    "us-gov",
    "eu",
    "apac",
    "global",
    "jp",
    "au",
    "ca",
    "sa",
    "me",
    "af",
    "in",
    "uk",
    "datazone",
    "global-standard",
];

/// The region in front of a normalised name and the name without it, with providers that write one.
pub(crate) fn split<'a>(provider: &str, name: &'a str) -> Option<(&'a str, &'a str)> {
    match canonical_provider(provider).unwrap_or(provider) {
        "aws" => dotted(name).or_else(|| slashed(name)),
        "azure" => slashed(name),
        _ => None,
    }
}

/// `eu.amazon.nova-pro-v1:0`: a maker's name must follow, or the dot is the model's own.
fn dotted(name: &str) -> Option<(&str, &str)> {
    let (prefix, bare) = name.split_once('.')?;
    (PREFIXES.contains(&prefix) && bare.contains('.')).then_some((prefix, bare))
}

/// `eu/gpt-5`, `us-east-1/anthropic.claude-v2`, `bedrock/us-east-1/…`.
fn slashed(name: &str) -> Option<(&str, &str)> {
    let (prefix, bare) = name.split_once('/')?;
    if matches!(canonical_provider(prefix).unwrap_or(prefix), "aws" | "azure") {
        return dotted(bare).or_else(|| slashed(bare));
    }
    ((PREFIXES.contains(&prefix) || is_region(prefix)) && !bare.is_empty()).then_some((prefix, bare))
}

/// `us-east-1`, `ap-southeast-2`.
fn is_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.clone().count() >= 2
        && parts.all(is_word)
}
