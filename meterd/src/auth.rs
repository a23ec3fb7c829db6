//! Who is asking, and what may they do: credentials → principals → roles and reach. Never what a route does with it.
//!
//! Secrets are kept as hashes and compared in constant time. A registry is a snapshot that is swapped whole: a bad reload
//! never replaces a good one (I12). Nothing is let in that no entry names.

mod load;
mod principal;
mod registry;
#[cfg(test)]
mod tests;

pub use load::{LoadError, files, load};
pub use principal::{Denied, Principal};
pub use registry::{Auth, Registry};

pub use crate::config::auth::{LOCAL_TENANT, Role};

/// Who is at the other end of a connection, as far as the connection itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The `authorization` header.
    pub authorization: Option<&'a str>,
    /// User and group of a Unix socket's peer.
    pub unix: Option<(u32, u32)>,
    /// Names in a client certificate that its authority has signed.
    pub certificate: &'a [String],
}

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No credential.
    #[error("no credential")]
    Missing,
    /// A credential that nobody knows.
    #[error("an unknown credential")]
    Invalid,
}

impl Unknown {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
        }
    }
}
