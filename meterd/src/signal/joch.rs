//! joch's cancel: `POST /v1/namespaces/{ns}/executions/{name}/cancel` with a bearer token, and the phase that its control
//! plane then shows.
//!
//! Knows joch's API, not when it is asked.

use budget::Ref;
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::target::{Answer, Outgoing, Target, TargetError};
use super::webhook::Secret;

/// A joch control plane that an operator configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joch {
    /// Where its API is.
    pub target: Target,
    /// The bearer token; `None` for one that asks for none.
    pub token: Option<Secret>,
}

impl Joch {
    /// Asks for a run to be cancelled; is it over already?
    pub async fn cancel(&self, execution: &Ref, kill: &str, message: &str) -> Result<bool, TargetError> {
        let body = json!({ "reason": message, "kill": kill }).to_string();
        let answer = self.send(Method::POST, execution, "/cancel", Some(kill), Bytes::from(body)).await?;
        Ok(is_over(&answer))
    }

    /// Does joch say that a run is over?
    pub async fn is_over(&self, execution: &Ref) -> Result<bool, TargetError> {
        let answer = self.send(Method::GET, execution, "", None, Bytes::new()).await?;
        Ok(is_over(&answer))
    }

    async fn send(
        &self,
        method: Method,
        execution: &Ref,
        rest: &str,
        kill: Option<&str>,
        body: Bytes,
    ) -> Result<Answer, TargetError> {
        let mut headers = Vec::new();
        let header = |text: &str| {
            // The value may be the token: the error does not show it.
            HeaderValue::from_str(text).map_err(|_| TargetError::Secret("joch's token is no header value".to_owned()))
        };
        if let Some(token) = &self.token {
            let mut value = header(&format!("Bearer {}", token.read()?))?;
            value.set_sensitive(true);
            headers.push(("authorization", value));
        }
        if let Some(kill) = kill {
            headers.push(("idempotency-key", header(kill)?));
        }
        let path = format!(
            "{}/v1/namespaces/{}/executions/{}{rest}",
            self.target.path(),
            escaped(&execution.namespace),
            escaped(&execution.name)
        );
        self.target.send(Outgoing { method, path: Some(path), headers, body }).await
    }
}

/// A terminal phase in the answer.
fn is_over(answer: &Answer) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let phase = body.pointer("/status/phase").or_else(|| body.get("phase")).and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed" | "Cancelled"))
}

/// A name as one segment of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
