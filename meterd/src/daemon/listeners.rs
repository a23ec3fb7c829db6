//! Every listener of the daemon: bound before anything starts, served until the end, with certificates that follow their files.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::api::{self, App};
use crate::config::{self, Config};
use crate::ingest::otlp;
use crate::server::accept::TlsListener;
use crate::server::tls::{Files, Tls, TlsError};
use crate::server::{self, Limits, Protocol};
use crate::watch::{self, WatchError, WatchGuard};

/// Bound, and not yet served.
pub(super) struct Listeners {
    api: TcpListener,
    metrics: TcpListener,
    grpc: Option<TcpListener>,
    /// The Unix socket, in the data directory once that is ours.
    pub(super) socket: Option<UnixListener>,
    tls: Option<Certificates>,
}

/// Where the listeners are.
pub(super) struct Addresses {
    pub(super) api: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) grpc: Option<SocketAddr>,
}

struct Certificates {
    api: Tls,
    grpc: Tls,
}

impl Listeners {
    /// Opens the sockets and reads the certificates.
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        let grpc = match config.listen.otlp_grpc {
            Some(address) => Some(server::bind("OTLP/gRPC", "listen.otlpGrpc", address).await?),
            None => None,
        };
        let tls = match &config.listen.tls {
            Some(tls) => Some(certificates(config, tls)?),
            None => None,
        };
        Ok(Self {
            api: server::bind("the API", "--listen", config.listen.api).await?,
            metrics: server::bind("the metrics page", "--metrics-listen", config.listen.metrics).await?,
            grpc,
            socket: None,
            tls,
        })
    }

    /// Where they listen.
    pub(super) fn addresses(&self, config: &Config) -> Addresses {
        let of = |listener: &TcpListener, configured| listener.local_addr().unwrap_or(configured);
        Addresses {
            api: of(&self.api, config.listen.api),
            metrics: of(&self.metrics, config.listen.metrics),
            grpc: self.grpc.as_ref().and_then(|listener| listener.local_addr().ok()),
        }
    }

    /// Is the API's listener encrypted?
    pub(super) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads certificates again when their files change; what is wrong leaves the old ones.
    pub(super) fn watch(&self, app: &App) -> Result<Option<WatchGuard>, WatchError> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let files = Arc::new(Mutex::new(tls.api.files()));
        let (api, grpc, app) = (tls.api.clone(), tls.grpc.clone(), app.clone());
        let guard =
            watch::spawn_files(files, watch::DEBOUNCE, move || match api.reload().and_then(|()| grpc.reload()) {
                Ok(()) => {
                    app.readiness.clear("tls");
                    tracing::info!("certificates reloaded");
                }
                Err(error) => {
                    tracing::error!("certificates not reloaded, the last good ones stay in force: {error}");
                    app.readiness.warn("tls", error.to_string());
                }
            })?;
        Ok(Some(guard))
    }

    /// Serves all of them.
    pub(super) fn serve(self, app: &App, config: &Config, stop: &CancellationToken, servers: &mut JoinSet<()>) {
        let limits = Limits {
            connections_max: config.server.connections_max,
            header_timeout: config.server.header_timeout,
            drain_timeout: config.server.drain_timeout,
        };
        let Self { api, metrics, grpc, socket, tls } = self;
        if let Some(socket) = socket {
            servers.spawn(server::unix::serve(socket, api::router(app.clone()), limits, stop.clone()));
        }
        let (api_tls, grpc_tls) = match tls {
            Some(Certificates { api, grpc }) => (Some(api), Some(grpc)),
            None => (None, None),
        };
        let mut spawn = |tcp: TcpListener, tls: Option<Tls>, protocol, router| {
            match tls {
                Some(tls) => {
                    servers.spawn(server::serve(TlsListener { tcp, tls }, protocol, router, limits, stop.clone()))
                }
                None => servers.spawn(server::serve(tcp, protocol, router, limits, stop.clone())),
            };
        };
        spawn(api, api_tls, Protocol::Http1, api::router(app.clone()));
        spawn(metrics, None, Protocol::Http1, api::metrics_router(app.clone()));
        if let Some(grpc) = grpc {
            spawn(grpc, grpc_tls, Protocol::Http2, api::grpc_router(app.clone()));
        }
    }
}

fn certificates(config: &Config, tls: &config::auth::Tls) -> Result<Certificates, TlsError> {
    let mtls = config.auth.mtls.as_ref();
    let files = |alpn| Files {
        cert: tls.cert_file.clone(),
        key: tls.key_file.clone(),
        client_ca: mtls.map(|mtls| (mtls.client_ca_file.clone(), mtls.required)),
        alpn,
    };
    Ok(Certificates { api: Tls::load(files(b"http/1.1"))?, grpc: Tls::load(files(b"h2"))? })
}

/// What is configured of sources of telemetry, as their decoders take it.
pub(super) fn sources(config: &Config) -> otlp::Defaults {
    let sources = &config.ingest.sources;
    let mut execution_keys: Vec<Arc<str>> = sources.iter().flat_map(|source| source.execution_keys.clone()).collect();
    let mut seen = std::collections::HashSet::new();
    execution_keys.retain(|key| seen.insert(Arc::clone(key)));
    let rule = |source: &config::sources::Source| otlp::Rule {
        service: Arc::clone(&source.name),
        metrics_only: source.metrics_only,
        namespace: source.namespace.clone(),
        team: source.team.clone(),
        agent: source.agent.clone(),
    };
    otlp::Defaults { execution_keys, rules: sources.iter().map(rule).collect(), ..otlp::Defaults::default() }
}
