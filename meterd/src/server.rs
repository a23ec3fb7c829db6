//! Sockets and their bounds: the accept loop, a cap on connections, timeouts on header and body, a bounded drain.
//!
//! Knows HTTP, not what is served: routes live in `api`. `problem` is the only place that turns errors into answers.

pub mod accept;
pub mod body;
pub mod peer;
pub mod problem;
pub mod tls;
pub mod unix;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::accept::Accept;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// A request's head must be there in this time.
    pub header_timeout: Duration,
    /// At a stop, requests under way get so long.
    pub drain_timeout: Duration,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error(
        "{what} cannot listen on {address}: the port is in use; stop what listens there, or choose another with {flag}"
    )]
    InUse {
        /// Which listener.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// Anything else.
    #[error("{what} cannot listen on {address}: {source}; choose another address with {flag}")]
    Other {
        /// Which listener.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Opens a listener. `what` and `flag` are for the message when that fails.
pub async fn bind(what: &'static str, flag: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == std::io::ErrorKind::AddrInUse {
            BindError::InUse { what, address, flag }
        } else {
            BindError::Other { what, address, flag, source }
        }
    })
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC needs it.
    Http2,
}

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of one HTTP/2 request's headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Serves `router` until `stop`, then lets requests under way finish within the drain time. Each request has its
/// connection's [`peer::Peer`] as an extension.
pub async fn serve<L: Accept>(
    listener: L,
    protocol: Protocol,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let listener = Arc::new(listener);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&connections).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (raw, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back rather than spin.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (listener, router, watcher) = (Arc::clone(&listener), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            // A peer that does not shake hands holds its permit no longer than one that sends no head.
            match tokio::time::timeout(limits.header_timeout, listener.ready(raw, peer)).await {
                Ok(Ok((io, peer))) => connection(io, peer, protocol, router, limits, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
                Err(_) => tracing::debug!("no handshake in time"),
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            seconds = limits.drain_timeout.as_secs(),
            "requests still under way at the end of the drain time"
        );
    }
}

async fn connection<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: I,
    peer: peer::Peer,
    protocol: Protocol,
    router: Router,
    limits: Limits,
    watcher: Watcher,
) {
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        inner.call(request)
    });
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .serve_connection(TokioIo::new(io), service);
            watcher.watch(connection).await
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADER_LIST_BYTES_MAX)
                .keep_alive_interval(Some(limits.header_timeout))
                .keep_alive_timeout(limits.header_timeout)
                .serve_connection(TokioIo::new(io), service);
            watcher.watch(connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests;
