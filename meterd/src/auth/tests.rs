//! Credentials find their principal, and no other; principals reach what their grant says, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Caller, Denied, Principal, Registry, Role, Unknown, load};
use crate::config;

const TOKEN: &str = "a-token-of-the-agent-alpha";
const ADMIN: &str = "another-token-for-the-admin";
/// sha256 of `ADMIN`, worked out with sha256sum.
const ADMIN_SHA256: &str = "sha256:db7f5f5d8f0cfdf1c20ed3e7b6e1c9c6c1bd0a9f";

fn registry(folder: &Path, auth: &str) -> Result<Registry, String> {
    let file = folder.join("meterd.yaml");
    let loaded = config::resolve(Some((&file, auth)), &[], &[]).map_err(|error| error.to_string())?;
    load(&loaded.config.auth, 4242).map_err(|error| error.to_string())
}

fn with_token(token: &str) -> String {
    format!("Bearer {token}")
}

fn bearer(registry: &Registry, authorization: &str) -> Result<String, Unknown> {
    let caller = Caller { authorization: Some(authorization), unix: None, certificate: &[] };
    registry.identify(&caller).map(|principal| principal.name().to_string())
}

fn two_tokens(folder: &TempDir) -> Registry {
    std::fs::write(folder.path().join("alpha"), format!("{TOKEN}\nsecond-token-in-rotation\n")).unwrap();
    std::fs::write(folder.path().join("admin"), ADMIN).unwrap();
    let text = "auth:\n  tokens:\n    - { name: alpha, tokenFile: alpha, roles: [ingest], namespaces: [ns-a], agents: [alpha] }\n\
                \x20   - { name: root, tokenFile: ./admin, roles: [admin] }\n";
    registry(folder.path(), text).unwrap()
}

#[test]
fn a_token_finds_its_principal_and_a_wrong_one_nobody() {
    let folder = TempDir::new().unwrap();
    let registry = two_tokens(&folder);
    assert_eq!(registry.len(), 3);
    assert_eq!(bearer(&registry, &with_token(TOKEN)), Ok("alpha".into()));
    assert_eq!(bearer(&registry, "bearer second-token-in-rotation"), Ok("alpha".into()));
    assert_eq!(bearer(&registry, &with_token(ADMIN)), Ok("root".into()));
    // `user:another-token-for-the-admin`, as SDKs with a key pair send it.
    let basic = "Basic dXNlcjphbm90aGVyLXRva2VuLWZvci10aGUtYWRtaW4=";
    assert_eq!(bearer(&registry, basic), Ok("root".into()));
    for wrong in ["Bearer", "Bearer ", "Bearer a-token-of-the-agent-alph", "Digest x", "Basic !!", TOKEN] {
        assert_eq!(bearer(&registry, wrong), Err(Unknown::Invalid), "{wrong}");
    }
    let nobody = Caller { authorization: None, unix: None, certificate: &[] };
    assert_eq!(registry.identify(&nobody).unwrap_err(), Unknown::Missing);
}

#[test]
fn a_file_may_hold_the_hash_of_a_token_instead() {
    let folder = TempDir::new().unwrap();
    let hash: String = super::registry::hash(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.path().join("hashed"), format!("sha256:{hash}\n")).unwrap();
    let text = "auth: { tokens: [{ name: a, tokenFile: hashed, roles: [read] }] }";
    assert_eq!(bearer(&registry(folder.path(), text).unwrap(), &with_token(TOKEN)), Ok("a".into()));
    // The hash itself is no token.
    assert_eq!(bearer(&registry(folder.path(), text).unwrap(), &with_token(&hash)), Err(Unknown::Invalid));
    std::fs::write(folder.path().join("hashed"), ADMIN_SHA256).unwrap();
    assert!(registry(folder.path(), text).unwrap_err().contains("64 hexadecimal digits"));
}

#[test]
fn peers_and_certificates_are_known_by_what_the_connection_proves() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("ca"), "").unwrap();
    let text = "listen: { tls: { certFile: c, keyFile: k } }\nauth:\n\
                \x20 unixPeers: [{ name: sidecar, uid: 1000, gid: 50, roles: [ingest] }, { name: group, gid: 60, roles: [read] }]\n\
                \x20 mtls: { clientCaFile: ca, clients: [{ name: gateway, san: spiffe://a/gw, roles: [ingest] }] }\n";
    let registry = registry(folder.path(), text).unwrap();
    let unix = |uid, gid| {
        let caller = Caller { authorization: None, unix: Some((uid, gid)), certificate: &[] };
        registry.identify(&caller).map(|principal| principal.name().to_string())
    };
    assert_eq!(unix(1000, 50), Ok("sidecar".into()));
    assert_eq!(unix(1000, 51), Err(Unknown::Invalid));
    assert_eq!(unix(7, 60), Ok("group".into()));
    assert_eq!(unix(4242, 4242), Ok("owner".into()), "whoever runs the daemon");
    let certificate = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let caller = Caller { authorization: None, unix: None, certificate: &names };
        registry.identify(&caller).map(|principal| principal.name().to_string())
    };
    assert_eq!(certificate(&["other.example", "spiffe://a/gw"]), Ok("gateway".into()));
    assert_eq!(certificate(&["spiffe://a/gw2"]), Err(Unknown::Invalid));
}

#[test]
fn a_principal_reaches_what_its_grant_names_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let registry = two_tokens(&folder);
    let header = with_token(TOKEN);
    let caller = Caller { authorization: Some(&header), unix: None, certificate: &[] };
    let alpha = registry.identify(&caller).unwrap();
    assert_eq!(alpha.may_charge("ns-a", "any", Some("alpha")), Ok(()));
    let denied = |what, value: &str| Err(Denied::Reach { name: Arc::from("alpha"), what, value: value.to_owned() });
    assert_eq!(alpha.may_charge("ns-a", "any", Some("beta")), denied("agent", "beta"));
    assert_eq!(alpha.may_charge("ns-a", "any", None), denied("agent", "(none)"));
    assert_eq!(alpha.may_charge("ns-b", "any", Some("alpha")), denied("namespace", "ns-b"));
    assert!(alpha.has_one_of(&[Role::Read, Role::Ingest]).is_ok());
    assert!(alpha.has_one_of(&[Role::Kill]).is_err() && alpha.everywhere().is_err());
    assert_eq!(alpha.only_agent().map(|agent| &**agent), Some("alpha"));
    let local = Principal::local();
    assert!(local.has_one_of(&[Role::Kill]).is_ok() && local.everywhere().is_ok() && local.sees("anything"));
}

#[test]
fn a_star_stands_for_any_rest() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("t"), TOKEN).unwrap();
    let text = "auth: { tokens: [{ name: a, tokenFile: t, roles: [ingest], tenant: acme, namespaces: [acme-*], executions: ['run-*'] }] }";
    let registry = registry(folder.path(), text).unwrap();
    let header = with_token(TOKEN);
    let caller = Caller { authorization: Some(&header), unix: None, certificate: &[] };
    let principal = registry.identify(&caller).unwrap();
    assert_eq!(&**principal.tenant(), "acme");
    assert!(principal.may_charge("acme-prod", "run-1", None).is_ok());
    assert!(principal.may_charge("acme", "run-1", None).is_err());
    assert!(principal.may_charge("acme-prod", "other", None).is_err());
    assert_eq!(principal.only_namespace(), None);
}

#[test]
fn too_many_requests_are_told_how_long_to_wait() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("t"), TOKEN).unwrap();
    let text = "auth: { tokens: [{ name: a, tokenFile: t, roles: [ingest], requestsPerSecond: 1, burst: 3 }] }";
    let registry = registry(folder.path(), text).unwrap();
    let header = with_token(TOKEN);
    let caller = Caller { authorization: Some(&header), unix: None, certificate: &[] };
    let principal = registry.identify(&caller).unwrap();
    for _ in 0..3 {
        assert_eq!(principal.take_turn(), Ok(()));
    }
    let wait = principal.take_turn().unwrap_err();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("short"), "abc").unwrap();
    std::fs::write(folder.path().join("t"), TOKEN).unwrap();
    let check = |text: &str, expected: &str| {
        let error = registry(folder.path(), text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    };
    let token = |rest: &str| format!("auth: {{ tokens: [{{ name: a, {rest} }}] }}");
    check(&token("tokenFile: short, roles: [read]"), "fewer than 16 characters");
    check(&token("tokenFile: gone, roles: [read]"), "cannot be read");
    check(&token("tokenEnv: METERD_NO_SUCH_VARIABLE, roles: [read]"), "is not set");
    check(&token("token: abc, roles: [read]"), "unknown key");
    check(&token("tokenFile: t"), "needs at least one role");
    check(&token("tokenFile: t, roles: [write]"), "is none of ingest, reserve, read, kill, admin");
    check(&token("tokenFile: t, roles: [read], namespaces: []"), "is empty");
    check(&token("tokenFile: t, roles: [read], tenant: acme"), "needs namespaces of its own");
    check(&token("tokenFile: t, roles: [read], agents: ['a*b']"), "at its end only");
    let twice =
        "auth: { tokens: [{ name: a, tokenFile: t, roles: [read] }, { name: b, tokenFile: t, roles: [admin] }] }";
    check(twice, "is another principal's too");
    let shared = "auth: { tokens: [{ name: a, tokenFile: t, roles: [read], tenant: x, namespaces: [ns-*] },\
                  { name: b, tokenEnv: B, roles: [read], tenant: y, namespaces: [ns-1] }] }";
    check(shared, "are of different tenants and share namespace");
    check("listen: { api: '0.0.0.0:7460' }", "nobody would have to say who they are");
    check("auth: { mtls: { clientCaFile: ca } }", "client certificates need TLS");
    assert!(registry(folder.path(), "listen: { api: '0.0.0.0:7460' }\nauth: { allowUnauthenticated: true }").is_ok());
}
