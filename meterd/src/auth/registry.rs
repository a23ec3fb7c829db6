//! Everyone who is known, as one snapshot: bearer tokens by hash, Unix peers by user and group, certificates by name.

use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Caller, Principal, Unknown};

/// Refusals that become entries of the ledger; the log has all of them.
const REFUSALS_RECORDED_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// The hash of a token; the token itself is not kept.
pub(super) type TokenHash = [u8; 32];

/// The hash under which a token is known.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Everyone who may come in.
#[derive(Debug, Default)]
pub struct Registry {
    /// Nobody has to say who they are.
    pub(super) open: Option<Arc<Principal>>,
    pub(super) tokens: Vec<(TokenHash, Arc<Principal>)>,
    pub(super) peers: Vec<(Option<u32>, Option<u32>, Arc<Principal>)>,
    pub(super) certificates: Vec<(Arc<str>, Arc<Principal>)>,
    /// The daemon's own user, who owns everything it writes.
    pub(super) owner: Option<(u32, Arc<Principal>)>,
}

impl Registry {
    /// Everybody is this machine's user.
    #[must_use]
    pub fn open() -> Self {
        Self { open: Some(Arc::new(Principal::local())), ..Self::default() }
    }

    /// Must nobody say who they are?
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How many credentials are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len().saturating_add(self.peers.len()).saturating_add(self.certificates.len())
    }

    /// Is nobody known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who is it? A token that is sent decides alone: a wrong one is not made good by the connection.
    pub fn identify(&self, caller: &Caller<'_>) -> Result<Arc<Principal>, Unknown> {
        if let Some(local) = &self.open {
            return Ok(Arc::clone(local));
        }
        if let Some(authorization) = caller.authorization {
            return self.by_token(authorization).ok_or(Unknown::Invalid);
        }
        if let Some((uid, gid)) = caller.unix {
            let fits = |wanted: &Option<u32>, got: u32| wanted.is_none_or(|wanted| wanted == got);
            let named = self.peers.iter().find(|(user, group, _)| fits(user, uid) && fits(group, gid));
            let owner = self.owner.as_ref().filter(|(owner, _)| *owner == uid).map(|(_, principal)| principal);
            return named.map(|(_, _, principal)| principal).or(owner).map(Arc::clone).ok_or(Unknown::Invalid);
        }
        if !caller.certificate.is_empty() {
            let named = self.certificates.iter().find(|(san, _)| caller.certificate.iter().any(|name| **name == **san));
            return named.map(|(_, principal)| Arc::clone(principal)).ok_or(Unknown::Invalid);
        }
        Err(Unknown::Missing)
    }

    /// Every hash is compared, whichever fits, so that the time tells nothing.
    fn by_token(&self, authorization: &str) -> Option<Arc<Principal>> {
        let (scheme, token) = authorization.split_once(' ')?;
        // Some SDKs only know basic authentication; what stands for the password is the token.
        let token = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => token.trim().to_owned(),
            "basic" => password(token.trim())?,
            _ => return None,
        };
        let presented = hash(&token);
        let mut found = None;
        for (known, principal) in &self.tokens {
            if bool::from(known.ct_eq(&presented)) {
                found = Some(principal);
            }
        }
        found.map(Arc::clone)
    }
}

fn password(encoded: &str) -> Option<String> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// The registry in force; cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    registry: Arc<ArcSwap<Registry>>,
    refusals: Arc<DefaultDirectRateLimiter>,
}

impl Auth {
    /// Starts with this registry.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry: Arc::new(ArcSwap::from_pointee(registry)),
            refusals: Arc::new(RateLimiter::direct(Quota::per_second(REFUSALS_RECORDED_PER_SECOND))),
        }
    }

    /// The registry in force.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Swaps another one in.
    pub fn replace(&self, registry: Registry) {
        self.registry.store(Arc::new(registry));
    }

    /// Is there room for one more refusal in the ledger?
    #[must_use]
    pub fn may_record_refusal(&self) -> bool {
        self.refusals.check().is_ok()
    }
}
