//! Configuration → registry: reads the secrets that it refers to, hashes them, and forgets them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::registry::{TokenHash, hash};
use super::{Principal, Registry};
use crate::config::auth::{Auth as Settings, Grant, LOCAL_TENANT, Role, Secret, Token};
use crate::config::{FileProblem, read_bounded};

/// Longest file of a secret.
const SECRET_BYTES_MAX: u64 = 16 << 10;
/// Shortest token: what is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Most tokens of one principal: the one in use, and those that take turns with it.
const TOKENS_PER_PRINCIPAL_MAX: usize = 8;
/// What a line begins with that holds a hash.
const HASHED: &str = "sha256:";

/// Why no registry could be made: every problem, each with its file or variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LoadError(pub Vec<FileProblem>);

/// Reads the secrets of these settings. `owner` is the daemon's own user.
pub fn load(settings: &Settings, owner: u32) -> Result<Registry, LoadError> {
    if settings.is_open() {
        return Ok(Registry::open());
    }
    let mut problems = Vec::new();
    let mut registry = Registry::default();
    for token in &settings.tokens {
        let principal = Arc::new(Principal::new(token.grant.clone()));
        match hashes(token) {
            Ok(hashes) => registry.tokens.extend(hashes.into_iter().map(|hash| (hash, Arc::clone(&principal)))),
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(name) = shared(&registry.tokens) {
        let message = format!("the token of {name} is another principal's too; each needs its own");
        problems.push(FileProblem::of_file(Path::new("auth.tokens"), message, None));
    }
    let named = |grant: &Grant| Arc::new(Principal::new(grant.clone()));
    registry.peers = settings.unix_peers.iter().map(|peer| (peer.uid, peer.gid, named(&peer.grant))).collect();
    if let Some(mtls) = &settings.mtls {
        registry.certificates =
            mtls.clients.iter().map(|client| (Arc::clone(&client.san), named(&client.grant))).collect();
    }
    registry.owner = Some((owner, Arc::new(Principal::new(owner_grant()))));
    if problems.is_empty() { Ok(registry) } else { Err(LoadError(problems)) }
}

/// The files that decide: a change in one is a reason to load again.
#[must_use]
pub fn files(settings: &Settings, config: Option<&Path>) -> Vec<PathBuf> {
    let secrets = settings.tokens.iter().filter_map(|token| match &token.secret {
        Secret::File(file) => Some(file.as_path()),
        Secret::Env(_) => None,
    });
    config.into_iter().chain(secrets).map(Path::to_owned).collect()
}

/// Whoever runs the daemon can read and write all that it has.
fn owner_grant() -> Grant {
    Grant {
        name: Arc::from("owner"),
        tenant: Arc::from(LOCAL_TENANT),
        roles: vec![Role::Admin],
        namespaces: Vec::new(),
        agents: Vec::new(),
        executions: Vec::new(),
        requests_per_second: None,
        burst: None,
    }
}

fn hashes(token: &Token) -> Result<Vec<TokenHash>, FileProblem> {
    let (place, text) = match &token.secret {
        Secret::File(file) => (file.clone(), read_bounded(file, SECRET_BYTES_MAX)?),
        Secret::Env(name) => {
            let place = PathBuf::from(name);
            let refused = |why| FileProblem::of_file(&place, why, Some("set the variable where the daemon starts"));
            let value = std::env::var(name).map_err(|_| refused("is not set, or is not text"))?;
            (place, value)
        }
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let refuse = |why: String, hint| Err(FileProblem::of_file(&place, why, Some(hint)));
    if lines.is_empty() || lines.len() > TOKENS_PER_PRINCIPAL_MAX {
        let why = format!("must hold one to {TOKENS_PER_PRINCIPAL_MAX} tokens of {}, one a line", token.grant.name);
        return refuse(why, "write the token, or sha256: and the hexadecimal hash of it");
    }
    let mut hashes = Vec::with_capacity(lines.len());
    for line in lines {
        match line.strip_prefix(HASHED) {
            Some(hex) => match from_hex(hex.trim()) {
                Some(hash) => hashes.push(hash),
                None => {
                    return refuse(
                        "sha256: is not followed by 64 hexadecimal digits".to_owned(),
                        "sha256sum writes them",
                    );
                }
            },
            None if line.len() < TOKEN_BYTES_MIN => {
                let why = format!("holds a token of fewer than {TOKEN_BYTES_MIN} characters");
                return refuse(why, "a token is random: openssl rand -hex 32");
            }
            None => hashes.push(hash(line)),
        }
    }
    Ok(hashes)
}

fn from_hex(text: &str) -> Option<TokenHash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0u8; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn shared(tokens: &[(TokenHash, Arc<Principal>)]) -> Option<Arc<str>> {
    let mut sorted: Vec<&(TokenHash, Arc<Principal>)> = tokens.iter().collect();
    sorted.sort_by_key(|(hash, _)| *hash);
    sorted.windows(2).find_map(|pair| match pair {
        [one, other] if one.0 == other.0 && !Arc::ptr_eq(&one.1, &other.1) => Some(Arc::clone(one.1.name())),
        _ => None,
    })
}
