//! Who is at the other end of a connection, as a request extension: what the connection proves, never what a request claims.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// Its address.
        address: SocketAddr,
        /// DNS names and URIs in its client certificate, if it has shown one that its authority signed.
        certificate: Arc<[String]>,
    },
    /// Over a Unix socket, with the credentials that the kernel tells.
    Unix {
        /// Its process, where the kernel knows it.
        pid: Option<u32>,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Peer {
    /// Over plain TCP.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp { address, certificate: Arc::from([]) }
    }

    /// The address of the machine at the other end, over TCP.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { address, .. } => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }

    /// User and group of a Unix socket's peer.
    #[must_use]
    pub const fn unix(&self) -> Option<(u32, u32)> {
        match self {
            Self::Unix { uid, gid, .. } => Some((*uid, *gid)),
            Self::Tcp { .. } => None,
        }
    }

    /// Names in its certificate.
    #[must_use]
    pub fn certificate(&self) -> &[String] {
        match self {
            Self::Tcp { certificate, .. } => certificate,
            Self::Unix { .. } => &[],
        }
    }
}
