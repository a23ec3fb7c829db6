//! Where webhooks and joch's cancel go, and the guard in front of it: targets that an operator wrote, hosts that are
//! allowed, one resolution whose address is checked and used, no redirect, no proxy, caps on time and size.
//!
//! Knows HTTP and TLS, not what is sent.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One request takes at most so long, from the look-up to the end of the answer.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Longer answers are not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A place that an operator configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
    /// Loopback and private addresses, and plain HTTP, are meant.
    allow_private: bool,
    /// The authorities that may sign its certificate, as PEM; without it the system's.
    ca_file: Option<PathBuf>,
}

/// What is sent.
pub struct Outgoing {
    /// Method.
    pub method: Method,
    /// Path and query; `None`: those of the target.
    pub path: Option<String>,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// Body, JSON; empty for none.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Body, as far as it was within the cap.
    pub body: Bytes,
}

/// Why nothing was sent, or nothing came back. The first word is one of the closed reasons of the metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The guard forbids it.
    #[error("not_permitted: {0}")]
    Forbidden(String),
    /// No connection, or it broke.
    #[error("refused: {0}")]
    Refused(String),
    /// It took too long.
    #[error("timeout: no answer from {0} in time")]
    Timeout(String),
    /// The answer was no success.
    #[error("bad_status: {0} answered {1}")]
    Status(String, u16),
    /// A secret or token could not be read.
    #[error("other: {0}")]
    Secret(String),
}

impl Target {
    /// Reads a target; the message says what is wrong with it.
    pub fn parse(text: &str, allow_private: bool, hosts: &[String]) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{text:?} is no URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if allow_private => false,
            Some("http") => return Err("plain http is for targets with allowPrivate: true; write https://".to_owned()),
            _ => return Err(format!("{text:?} is no http or https URL")),
        };
        let authority = uri.authority().ok_or_else(|| format!("{text:?} names no host"))?;
        if authority.as_str().contains('@') {
            return Err("a URL with credentials in it ends up in logs; use secretFile or tokenFile".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        if !hosts.is_empty() && !hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host)) {
            return Err(format!("{host} is not in signals.allowedHosts"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { host, port, tls, allow_private, ca_file: None, uri })
    }

    /// The same, with the authorities of this file in the place of the system's.
    #[must_use]
    pub fn trusting(self, ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, ..self }
    }

    /// The file of the authorities that may sign its certificate, where it names one.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Is it spoken to over TLS?
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// `host:port`, for logs and records: never the path, which may hold a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The whole URL, as configured.
    #[must_use]
    pub fn url(&self) -> String {
        self.uri.to_string()
    }

    /// Are loopback and private addresses meant?
    #[must_use]
    pub const fn allow_private(&self) -> bool {
        self.allow_private
    }

    /// The path of the target without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }

    /// Sends one request and reads the answer. Never follows a redirect, never asks a proxy.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, TargetError> {
        let sent = tokio::time::timeout(REQUEST_MAX, self.exchange(outgoing)).await;
        let answer = sent.map_err(|_| TargetError::Timeout(self.shown()))??;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(TargetError::Status(self.shown(), answer.status.as_u16()))
        }
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Answer, TargetError> {
        let address = self.resolve().await?;
        let refused = |error: &dyn std::fmt::Display| TargetError::Refused(format!("{}: {error}", self.shown()));
        let stream = TcpStream::connect(address).await.map_err(|error| refused(&error))?;
        stream.set_nodelay(true).map_err(|error| refused(&error))?;
        if !self.tls {
            return self.over(TokioIo::new(stream), outgoing).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| refused(&error))?;
        let connector = TlsConnector::from(tls(self.ca_file()).map_err(|error| refused(&error))?);
        let untrusted = |error: std::io::Error| {
            let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match of_tls {
                Some(rustls::Error::InvalidCertificate(why)) => refused(&format!(
                    "its certificate is not trusted ({why:?}); caFile names the authority that signed it"
                )),
                _ => refused(&error),
            }
        };
        let stream = connector.connect(name, stream).await.map_err(untrusted)?;
        self.over(TokioIo::new(stream), outgoing).await
    }

    /// The address that is connected to: looked up once, checked, and used as it is.
    async fn resolve(&self) -> Result<SocketAddr, TargetError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| TargetError::Refused(format!("{}: {error}", self.shown())))?;
        let mut first = None;
        for address in found {
            if !is_allowed(address.ip(), self.allow_private) {
                let way_out = if is_private(address.ip()) { "; allowPrivate: true permits it" } else { "" };
                return Err(TargetError::Forbidden(format!(
                    "{} is {}, which webhooks do not go to{way_out}",
                    self.shown(),
                    address.ip()
                )));
            }
            first = first.or(Some(address));
        }
        first.ok_or_else(|| TargetError::Refused(format!("{} has no address", self.shown())))
    }

    async fn over(
        &self,
        io: impl Read + Write + Unpin + Send + 'static,
        outgoing: Outgoing,
    ) -> Result<Answer, TargetError> {
        let refused = |error: &dyn std::fmt::Display| TargetError::Refused(format!("{}: {error}", self.shown()));
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| refused(&error))?;
        let driver = tokio::spawn(connection);
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let own = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = outgoing.path.as_deref().unwrap_or(own);
        let mut request = Request::builder()
            .method(outgoing.method)
            .uri(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("meterd/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(outgoing.body)).map_err(|error| refused(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| refused(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            // What is longer than the cap is not needed: the status has said what matters.
            Ok(Answer { status, body: body.map(http_body_util::Collected::to_bytes).unwrap_or_default() })
        };
        let answer = answer.await;
        driver.abort();
        answer
    }
}

/// Trust in the system's certificates, read once, or in those of a file, read anew each time: it may be changed.
fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    static SYSTEM: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let builder = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.map_err(|error| error.to_string())
    };
    let Some(path) = ca_file else {
        let build = || {
            let roots =
                builder()?.with_native_roots().map_err(|error| format!("the system's certificates: {error}"))?;
            Ok(Arc::new(roots.with_no_client_auth()))
        };
        return SYSTEM.get_or_init(build).clone();
    };
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"there is no certificate in it"));
    }
    Ok(Arc::new(builder()?.with_root_certificates(roots).with_no_client_auth()))
}

/// May a signal go there? Link-local addresses, where clouds keep their metadata, never.
#[must_use]
pub fn is_allowed(ip: IpAddr, allow_private: bool) -> bool {
    let ip = ip.to_canonical();
    let never = match ip {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets().first() == Some(&0)
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || v6 == METADATA_V6 || embeds(v6)
        }
    };
    !never && (allow_private || !is_private(ip))
}

/// Amazon's metadata address of the sixth version.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Addresses of the sixth version that a gateway turns into one of the fourth: it might lead anywhere.
const fn embeds(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, ..] | [0x2002, ..])
        || (matches!(ip.segments(), [0, 0, 0, 0, 0, 0, ..]) && !ip.is_loopback())
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            let shared = first == 100 && (64..128).contains(&second);
            let benchmarks = first == 198 && (18..20).contains(&second);
            let protocol = first == 192 && second == 0 && third == 0;
            v4.is_loopback()
                || v4.is_private()
                || v4.is_documentation()
                || shared
                || benchmarks
                || protocol
                || first >= 240
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}
