//! The Unix socket: the same API for processes of this machine, each known by its credentials from the kernel.
//!
//! Knows sockets and credentials, not what is served. Who may do what is decided behind it.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::peer::Peer;

/// The longest path that a socket's address holds.
pub const PATH_BYTES_MAX: usize = 107;
/// Reachable for the owner and the group; the folder around it narrows that further.
const MODE: u32 = 0o660;

/// The process at the other end of a connection: an extension of every request that came through the socket, beside the
/// [`Peer`] that every request has.
#[derive(Clone, Debug)]
pub struct PeerProcess {
    /// Its process when it connected.
    pub pid: Pid,
    /// Its effective user.
    pub uid: u32,
    /// Holds the process's identity from the accept on: a pid that is reused later is not this one.
    pub pidfd: Arc<OwnedFd>,
}

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// The path does not fit into an address.
    #[error(
        "the path of the Unix socket is longer than {PATH_BYTES_MAX} bytes: {0}; set listen.unixSocket to a shorter one, or to off"
    )]
    TooLong(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no socket; move it away, or set listen.unixSocket to another path")]
    NoSocket(PathBuf),
    /// Somebody listens there already.
    #[error("somebody listens on {0} already; stop it, or set listen.unixSocket to another path")]
    InUse(PathBuf),
    /// Anything else.
    #[error("cannot listen on {0}: {1}; set listen.unixSocket to another path, or to off")]
    Other(PathBuf, io::Error),
}

/// Opens the socket. One that a daemon left behind when it was killed is replaced; one that is in use is not.
pub async fn bind(path: &Path) -> Result<UnixListener, UnixError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(UnixError::TooLong(path.to_owned()));
    }
    let other = |error| UnixError::Other(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(UnixError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(UnixError::InUse(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(other)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(other)?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(other)?;
    Ok(listener)
}

/// Serves `router` until `stop`, then lets requests under way finish within the drain time.
pub async fn serve(listener: UnixListener, router: Router, limits: Limits, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed on the Unix socket");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some((peer, process)) = peer(&stream) else {
            tracing::debug!("a peer of the Unix socket was gone before it was known");
            continue;
        };
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone().layer(Extension(peer)).layer(Extension(process))),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await;
}

/// The peer by its credentials, which the kernel took when it connected, and held from now on.
fn peer(stream: &UnixStream) -> Option<(Peer, PeerProcess)> {
    let credentials = socket_peercred(stream).ok()?;
    let (pid, uid, gid) = (credentials.pid, credentials.uid.as_raw(), credentials.gid.as_raw());
    let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::empty()).ok()?);
    let number = u32::try_from(pid.as_raw_nonzero().get()).ok();
    Some((Peer::Unix { pid: number, uid, gid }, PeerProcess { pid, uid, pidfd }))
}
