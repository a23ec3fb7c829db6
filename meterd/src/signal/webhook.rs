//! Webhooks as Standard Webhooks describes them: an id that stays the same over all attempts, a timestamp, and one
//! signature for each secret, so that secrets can be changed without a gap.
//!
//! Pure but for reading the secrets, which come from files or the environment and are read anew for each message.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use hyper::header::HeaderValue;
use pricing::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::target::{Answer, Outgoing, Target, TargetError};

/// How a secret's text begins.
const PREFIX: &str = "whsec_";
/// Longest file with a secret.
const SECRET_BYTES_MAX: u64 = 4_096;

/// Where a secret or a token is: never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file; what surrounds it in white space does not count.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

/// What a webhook is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A run is fenced and must stop.
    Kill,
    /// A run has its last turn.
    WindDown,
    /// A counter reached its hard limit (joch's `BudgetExceeded`).
    BudgetExceeded,
}

/// A webhook that an operator configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is.
    pub target: Target,
    /// Secrets that sign: the newest first, older ones until every receiver has changed.
    pub secrets: Vec<Secret>,
    /// What it is told.
    pub topics: Vec<Topic>,
    /// Namespaces that it is told of; none: all.
    pub namespaces: Vec<String>,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Kill, Self::WindDown, Self::BudgetExceeded];

    /// `kill`, `wind_down`, `BudgetExceeded`: the message's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::WindDown => "wind_down",
            Self::BudgetExceeded => "BudgetExceeded",
        }
    }
}

impl Secret {
    /// Its text, read now.
    pub fn read(&self) -> Result<String, TargetError> {
        use std::io::Read as _;
        let text = match self {
            Self::File(path) => {
                let shown = path.display();
                let problem = |error: std::io::Error| TargetError::Secret(format!("{shown}: {error}"));
                let mut text = String::new();
                let file = std::fs::File::open(path).map_err(problem)?;
                file.take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(problem)?;
                text
            }
            Self::Env(name) => std::env::var(name).map_err(|error| TargetError::Secret(format!("${name}: {error}")))?,
        };
        let text = text.trim();
        if text.is_empty() { Err(TargetError::Secret(format!("{self} is empty"))) } else { Ok(text.to_owned()) }
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

impl Webhook {
    /// Is it told of this?
    #[must_use]
    pub fn wants(&self, topic: Topic, namespace: &str) -> bool {
        self.topics.contains(&topic)
            && (self.namespaces.is_empty() || self.namespaces.iter().any(|one| one == namespace))
    }

    /// Sends one message. `id` is the same for every attempt; the receiver tells repetitions by it.
    pub async fn send(&self, id: &str, topic: Topic, now: Timestamp, data: Value) -> Result<Answer, TargetError> {
        let body = json!({ "type": topic.as_str(), "timestamp": now, "data": data }).to_string();
        let seconds = now.millis().div_euclid(1_000).to_string();
        let secrets = self.secrets.iter().map(Secret::read).collect::<Result<Vec<_>, _>>()?;
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| TargetError::Secret(format!("a webhook's header: {error}")))
        };
        let headers = vec![
            ("webhook-id", header(id)?),
            ("webhook-timestamp", header(&seconds)?),
            ("webhook-signature", header(&signatures(&secrets, id, &seconds, &body)?)?),
        ];
        self.target.send(Outgoing { method: Method::POST, path: None, headers, body: Bytes::from(body) }).await
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for each secret.
fn signatures(secrets: &[String], id: &str, timestamp: &str, body: &str) -> Result<String, TargetError> {
    let mut all = Vec::new();
    for secret in secrets {
        let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).map_err(|_| {
            TargetError::Secret(
                "a webhook's secret is not base64; write whsec_ and base64 of 24 to 64 bytes".to_owned(),
            )
        })?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| TargetError::Secret(error.to_string()))?;
        for part in [id, ".", timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        all.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
    Ok(all.join(" "))
}
