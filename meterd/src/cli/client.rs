//! A small HTTP client for the daemon's own API: one request, one answer; or one stream of signals.

mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Where a daemon listens unless told otherwise.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:7460";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Speaks to one daemon.
#[derive(Clone, Debug)]
pub(super) struct Client {
    base: String,
    /// Or why there can be no connection.
    http: Result<Http<HttpsConnector<HttpConnector>, Full<Bytes>>, Arc<str>>,
    /// `Bearer …`, where `METERD_TOKEN` is set.
    authorization: Option<HeaderValue>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    /// Trusts the certificates of the file that `METERD_CA` names, else the system's.
    pub(super) fn new(base: &str) -> Self {
        let ca = std::env::var_os("METERD_CA").filter(|file| !file.is_empty()).map(PathBuf::from);
        Self::trusting(base, ca.as_deref())
    }

    /// Trusts the certificates of a file, else the system's.
    pub(super) fn trusting(base: &str, ca: Option<&Path>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let http = tls::connector(tcp, base.starts_with("https:"), ca)
            .map(|connector| Http::builder(TokioExecutor::new()).build(connector))
            .map_err(|error| Arc::from(format!("{error:#}")));
        let token = std::env::var("METERD_TOKEN").ok().filter(|token| !token.trim().is_empty());
        let authorization = token.and_then(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { base: base.trim_end_matches('/').to_owned(), http, authorization }
    }

    fn http(&self) -> anyhow::Result<&Http<HttpsConnector<HttpConnector>, Full<Bytes>>> {
        self.http.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn signed(&self, request: request::Builder) -> request::Builder {
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Is a daemon there and well?
    pub(super) async fn is_up(&self) -> bool {
        let asked = tokio::time::timeout(Duration::from_secs(1), self.send(Method::GET, "/readyz", None)).await;
        matches!(asked, Ok(Ok(answer)) if answer.status == StatusCode::OK && answer.body.starts_with(b"{\"entries\""))
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await?.taken()
    }

    /// A question whose answer takes long.
    pub(super) async fn get_within(&self, path: &str, max: Duration) -> anyhow::Result<Answer> {
        self.send_within(Method::GET, path, None, max).await?.taken()
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::DELETE, path, None).await?.taken()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(("application/json", body.to_string()))).await?.taken()
    }

    /// A request whose answer takes long.
    pub(super) async fn post_within(&self, path: &str, body: &Value, max: Duration) -> anyhow::Result<Answer> {
        self.send_within(Method::POST, path, Some(("application/json", body.to_string())), max).await?.taken()
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(Method::PUT, path, Some(("application/json", body.to_string()))).await?.taken()
    }

    pub(super) async fn post_text(
        &self,
        path: &str,
        content_type: &'static str,
        text: String,
    ) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some((content_type, text))).await?.taken()
    }

    /// Opens the stream of signals to a run, after the last one seen.
    pub(super) async fn signals(&self, path: &str, last_id: Option<u64>) -> anyhow::Result<Response<Incoming>> {
        let mut request =
            self.signed(Request::get(format!("{}{path}", self.base))).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = self.http()?.request(request.body(Full::default())?).await?;
        if response.status() != StatusCode::OK {
            bail!("{path} answered {}", response.status());
        }
        Ok(response)
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&'static str, String)>) -> anyhow::Result<Answer> {
        self.send_within(method, path, body, TIMEOUT).await
    }

    async fn send_within(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
        max: Duration,
    ) -> anyhow::Result<Answer> {
        let mut request = self.signed(Request::builder().method(method).uri(format!("{}{path}", self.base)));
        let mut bytes = Bytes::new();
        if let Some((content_type, text)) = body {
            request = request.header("content-type", content_type);
            bytes = Bytes::from(text);
        }
        let ask = async {
            let response = self.http()?.request(request.body(Full::new(bytes))?).await?;
            let status = response.status();
            Ok::<_, anyhow::Error>(Answer { status, body: response.into_body().collect().await?.to_bytes() })
        };
        let answer =
            tokio::time::timeout(max, ask).await.with_context(|| format!("{} did not answer in time", self.base));
        answer?.with_context(|| {
            format!("cannot reach a daemon at {}: start one with `meterd serve`, or name another with --url", self.base)
        })
    }
}

impl Answer {
    /// Turns a problem into an error that says what the daemon said.
    fn taken(self) -> anyhow::Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut message = format!("{} {}: {}", self.status.as_u16(), text("code"), text("detail"));
        for fault in problem.get("problems").and_then(Value::as_array).into_iter().flatten() {
            message.push_str(&fault_line(fault));
        }
        bail!("{message}")
    }

    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the daemon's answer is not JSON")
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One problem of a refused document, as the daemon lists it.
fn fault_line(fault: &Value) -> String {
    let text = |name: &str| fault.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| fault.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut line = format!("\n  {}:{}: {}: {}", number("line"), number("column"), text("severity"), text("message"));
    if let Some(path) = fault.get("path").and_then(Value::as_str).filter(|path| !path.is_empty()) {
        line.push_str(&format!(" ({path})"));
    }
    if let Some(hint) = fault.get("hint").and_then(Value::as_str) {
        line.push_str(&format!("\n    hint: {hint}"));
    }
    line
}

/// A path segment, escaped.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

/// The path of an execution, with what follows it.
pub(super) fn execution_path(namespace: &str, name: &str, rest: &str) -> String {
    format!("/v1/namespaces/{}/executions/{}{rest}", segment(namespace), segment(name))
}

/// Where the daemon that owns `dir` says it listens.
pub(super) fn announced(dir: &Path) -> Option<String> {
    let text = std::fs::read(dir.join("endpoints.json")).ok()?;
    let endpoints: Value = serde_json::from_slice(&text).ok()?;
    endpoints.get("api")?.as_str().map(str::to_owned)
}
