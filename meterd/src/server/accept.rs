//! Where connections come from: TCP, and TCP with TLS. Each tells who is at the other end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::peer::Peer;
use super::tls::Tls;

/// A listener: connections come in raw, and are made ready away from the accept loop.
pub trait Accept: Send + Sync + 'static {
    /// A connection as it comes in.
    type Raw: Send + 'static;
    /// A connection that can be read.
    type Ready: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Raw, Peer)>> + Send;

    /// Shakes hands, where that is needed.
    fn ready(&self, raw: Self::Raw, peer: Peer) -> impl Future<Output = io::Result<(Self::Ready, Peer)>> + Send;
}

async fn tcp(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, address) = listener.accept().await?;
    // Small answers must not wait for more: a reply is latency that an agent feels.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    Ok((stream, Peer::tcp(address)))
}

impl Accept for TcpListener {
    type Raw = TcpStream;
    type Ready = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        tcp(self).await
    }

    async fn ready(&self, raw: TcpStream, peer: Peer) -> io::Result<(TcpStream, Peer)> {
        Ok((raw, peer))
    }
}

/// TCP with TLS.
#[derive(Debug)]
pub struct TlsListener {
    /// The socket.
    pub tcp: TcpListener,
    /// Its certificates.
    pub tls: Tls,
}

impl Accept for TlsListener {
    type Raw = (TcpStream, SocketAddr);
    type Ready = tokio_rustls::server::TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Raw, Peer)> {
        let (stream, peer) = tcp(&self.tcp).await?;
        let address = stream.peer_addr()?;
        Ok(((stream, address), peer))
    }

    async fn ready(&self, (stream, address): Self::Raw, _: Peer) -> io::Result<(Self::Ready, Peer)> {
        let (stream, certificate) = self.tls.accept(stream).await?;
        Ok((stream, Peer::Tcp { address, certificate: Arc::clone(&certificate) }))
    }
}
