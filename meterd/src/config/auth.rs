//! `auth` and `listen.tls`: who may do what, as written. Secrets are only referred to, by file or variable; nothing is read here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pricing::document::{Node, Value};

use crate::resource::fields::{Fields, Report, Unknown};

/// Most tokens, peers or client certificates of one list.
pub const PRINCIPALS_MAX: usize = 1_024;
/// Most namespaces, agents or executions that one principal names.
pub const NAMES_MAX: usize = 256;
/// Requests in a second, at most, that a limit can say.
const RATE_MAX: u64 = 1_000_000;
/// The tenant of callers whose credential names none.
pub const LOCAL_TENANT: &str = "local";

/// `auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Bearer tokens.
    pub tokens: Vec<Token>,
    /// Users of the Unix socket.
    pub unix_peers: Vec<UnixPeer>,
    /// Client certificates.
    pub mtls: Option<Mtls>,
    /// Without any of these, listen beyond loopback all the same.
    pub allow_unauthenticated: bool,
}

/// What a principal may do, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name, in logs and audit entries.
    pub name: Arc<str>,
    /// Its tenant; part of every event's identity.
    pub tenant: Arc<str>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// Namespaces that it may charge and read; none means all. A `*` at the end stands for any rest.
    pub namespaces: Vec<Arc<str>>,
    /// Agents that it may charge; none means all.
    pub agents: Vec<Arc<str>>,
    /// Executions that it may charge; none means all.
    pub executions: Vec<Arc<str>>,
    /// Requests in a second; `None` is no limit.
    pub requests_per_second: Option<u32>,
    /// Requests at once above that rate; as many as in a second unless set.
    pub burst: Option<u32>,
}

/// A role: a set of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends usage.
    Ingest,
    /// Holds and settles budget.
    Reserve,
    /// Reads what the daemon knows.
    Read,
    /// Kills runs.
    Kill,
    /// Everything, also resources, prices and corrections.
    Admin,
}

impl Role {
    /// Every role and its word.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ingest", Self::Ingest),
        ("reserve", Self::Reserve),
        ("read", Self::Read),
        ("kill", Self::Kill),
        ("admin", Self::Admin),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }
}

/// A bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is good for.
    pub grant: Grant,
    /// Where it is.
    pub secret: Secret,
}

/// Where a secret is; its text is a token, or `sha256:` and the hash of one, and a second line is a second token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

/// A user of the Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// What it is good for.
    pub grant: Grant,
    /// The user.
    pub uid: Option<u32>,
    /// The group; with a user, both must fit.
    pub gid: Option<u32>,
}

/// `auth.mtls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtls {
    /// Certificates that sign clients'.
    pub client_ca_file: PathBuf,
    /// Refuse connections without a client certificate.
    pub required: bool,
    /// Clients by a name in their certificate.
    pub clients: Vec<Client>,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// What it is good for.
    pub grant: Grant,
    /// A DNS name or URI of its subject alternative names.
    pub san: Arc<str>,
}

/// `listen.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

impl Auth {
    /// Does anybody have to say who they are?
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.unix_peers.is_empty() && self.mtls.is_none()
    }

    /// Everyone it names.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        let clients = self.mtls.iter().flat_map(|mtls| &mtls.clients).map(|client| &client.grant);
        let peers = self.unix_peers.iter().map(|peer| &peer.grant);
        self.tokens.iter().map(|token| &token.grant).chain(peers).chain(clients)
    }
}

/// Two principals of different tenants that may see one namespace, and which.
pub(super) fn shared_namespace(auth: &Auth) -> Option<(Arc<str>, Arc<str>, Arc<str>)> {
    let overlap = |a: &str, b: &str| match (a.strip_suffix('*'), b.strip_suffix('*')) {
        (None, None) => a == b,
        (Some(prefix), None) => b.starts_with(prefix),
        (None, Some(prefix)) => a.starts_with(prefix),
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
    };
    let grants: Vec<&Grant> = auth.grants().filter(|grant| !grant.namespaces.is_empty()).collect();
    grants.iter().enumerate().find_map(|(index, one)| {
        grants.iter().skip(index + 1).filter(|other| other.tenant != one.tenant).find_map(|other| {
            let shared = one.namespaces.iter().find(|a| other.namespaces.iter().any(|b| overlap(a, b)))?;
            Some((Arc::clone(&one.name), Arc::clone(&other.name), Arc::clone(shared)))
        })
    })
}

const GRANT_KEYS: [&str; 8] =
    ["name", "tenant", "roles", "namespaces", "agents", "executions", "requestsPerSecond", "burst"];

/// Reads nodes of one file; relative paths start at `base`.
pub(super) struct Read<'a> {
    pub(super) base: Option<&'a Path>,
    pub(super) report: &'a mut Report,
}

impl Read<'_> {
    /// `auth.tokens`.
    pub(super) fn tokens(&mut self, node: &Node, path: &str) -> Vec<Token> {
        self.list(node, path, |read, fields| {
            let grant = read.grant(fields, &["tokenFile", "tokenEnv"]);
            let file = read.path(fields, "tokenFile");
            let env = fields.text("tokenEnv", read.report).map(str::to_owned);
            let secret = match (file, env) {
                (Some(file), None) => Some(Secret::File(file)),
                (None, Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => Some(Secret::Env(name)),
                _ => {
                    let hint = "a token is never written here: name the file or the variable that holds it, \
                                such as tokenFile: /run/secrets/meterd-token";
                    let message = "needs exactly one of tokenFile and tokenEnv";
                    read.report.error(fields.place, &fields.path, message, Some(hint.to_owned()));
                    None
                }
            };
            Some(Token { grant: grant?, secret: secret? })
        })
    }

    /// `auth.unixPeers`.
    pub(super) fn unix_peers(&mut self, node: &Node, path: &str) -> Vec<UnixPeer> {
        self.list(node, path, |read, fields| {
            let grant = read.grant(fields, &["uid", "gid"]);
            let (uid, gid) = (read.id(fields, "uid"), read.id(fields, "gid"));
            if uid.is_none() && gid.is_none() {
                read.report.error(fields.place, &fields.path, "needs a uid, a gid, or both", None);
                return None;
            }
            Some(UnixPeer { grant: grant?, uid, gid })
        })
    }

    /// `auth.mtls`.
    pub(super) fn mtls(&mut self, node: &Node, path: &str) -> Option<Mtls> {
        let fields = Fields::of(node, path, self.report)?;
        fields.known(&["clientCaFile", "required", "clients"], Unknown::Refuse, self.report);
        let client_ca_file = self.required_path(&fields, "clientCaFile");
        let required = fields.flag("required", self.report).unwrap_or(false);
        let clients = match fields.get("clients") {
            None => Vec::new(),
            Some(node) => self.list(node, &fields.at("clients"), |read, fields| {
                let grant = read.grant(fields, &["san"]);
                let san = fields.text("san", read.report).filter(|san| !san.is_empty());
                if san.is_none() {
                    let hint = "a DNS name or URI of the certificate's subject alternative names".to_owned();
                    read.report.error(fields.place, &fields.at("san"), "needs the name in the certificate", Some(hint));
                }
                Some(Client { grant: grant?, san: Arc::from(san?) })
            }),
        };
        Some(Mtls { client_ca_file: client_ca_file?, required, clients })
    }

    /// `listen.tls`.
    pub(super) fn tls(&mut self, node: &Node, path: &str) -> Option<Tls> {
        let fields = Fields::of(node, path, self.report)?;
        fields.known(&["certFile", "keyFile"], Unknown::Refuse, self.report);
        let (cert_file, key_file) = (self.required_path(&fields, "certFile"), self.required_path(&fields, "keyFile"));
        Some(Tls { cert_file: cert_file?, key_file: key_file? })
    }

    fn list<T>(&mut self, node: &Node, path: &str, one: impl Fn(&mut Self, &Fields<'_>) -> Option<T>) -> Vec<T> {
        let Value::List(items) = &node.value else {
            self.report.error(node.place, path, format!("must be a list, not {}", node.kind_name()), None);
            return Vec::new();
        };
        if items.len() > PRINCIPALS_MAX {
            self.report.error(node.place, path, format!("has more than {PRINCIPALS_MAX} entries"), None);
            return Vec::new();
        }
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(fields) = Fields::of(item, &path, self.report) else { continue };
            read.extend(one(self, &fields));
        }
        read
    }

    fn grant(&mut self, fields: &Fields<'_>, more: &[&str]) -> Option<Grant> {
        let known: Vec<&str> = GRANT_KEYS.iter().chain(more).copied().collect();
        fields.known(&known, Unknown::Refuse, self.report);
        let name = fields.name("name", self.report);
        if fields.get("name").is_none() {
            self.report.error(fields.place, &fields.at("name"), "needs a name, for logs and audit entries", None);
        }
        let tenant = fields.name("tenant", self.report).unwrap_or_else(|| Arc::from(LOCAL_TENANT));
        let roles = self.roles(fields);
        let namespaces = self.names(fields, "namespaces");
        let (agents, executions) = (self.names(fields, "agents"), self.names(fields, "executions"));
        if &*tenant != LOCAL_TENANT && namespaces.is_empty() {
            let hint = "tenants are told apart by their namespaces: list those of this tenant".to_owned();
            let message = format!("tenant {tenant} needs namespaces of its own");
            self.report.error(fields.place, &fields.at("namespaces"), message, Some(hint));
        }
        let requests_per_second = self.rate(fields, "requestsPerSecond");
        let burst = self.rate(fields, "burst");
        if burst.is_some() && requests_per_second.is_none() {
            self.report.error(fields.place, &fields.at("burst"), "needs requestsPerSecond beside it", None);
        }
        Some(Grant { name: name?, tenant, roles, namespaces, agents, executions, requests_per_second, burst })
    }

    fn roles(&mut self, fields: &Fields<'_>) -> Vec<Role> {
        let words: Vec<&str> = Role::ALL.iter().map(|(word, _)| *word).collect();
        let mut roles = Vec::new();
        for name in fields.names("roles", self.report) {
            match Role::ALL.iter().find(|(word, _)| **word == *name) {
                Some((_, role)) if !roles.contains(role) => roles.push(*role),
                Some(_) => {}
                None => {
                    let message = format!("{name:?} is none of {}", words.join(", "));
                    self.report.error(fields.place, &fields.at("roles"), message, None);
                }
            }
        }
        if fields.get("roles").is_none() {
            let hint = format!("roles: [ingest]; there are {}", words.join(", "));
            self.report.error(fields.place, &fields.at("roles"), "needs at least one role", Some(hint));
        }
        roles
    }

    fn names(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Arc<str>> {
        let names = fields.names(key, self.report);
        if names.len() > NAMES_MAX {
            self.report.error(fields.place, &fields.at(key), format!("has more than {NAMES_MAX} names"), None);
        }
        // Written but empty would mean "all", which nobody means by it.
        if fields.get(key).is_some() && names.is_empty() {
            let hint = "leave it out to allow all".to_owned();
            self.report.error(fields.place, &fields.at(key), "is empty", Some(hint));
        }
        if names.iter().any(|name| name.find('*').is_some_and(|at| at + 1 != name.len())) {
            let message = "a `*` stands for the rest of a name, at its end only";
            self.report.error(fields.place, &fields.at(key), message, None);
        }
        names
    }

    fn rate(&mut self, fields: &Fields<'_>, key: &str) -> Option<u32> {
        let count = fields.count(key, self.report)?;
        if !(1..=RATE_MAX).contains(&count) {
            let message = format!("{count} is not between 1 and {RATE_MAX}");
            self.report.error(fields.place, &fields.at(key), message, None);
        }
        u32::try_from(count).ok()
    }

    fn id(&mut self, fields: &Fields<'_>, key: &str) -> Option<u32> {
        let count = fields.count(key, self.report)?;
        let id = u32::try_from(count).ok();
        if id.is_none() {
            self.report.error(fields.place, &fields.at(key), format!("{count} is no user or group id"), None);
        }
        id
    }

    fn path(&mut self, fields: &Fields<'_>, key: &str) -> Option<PathBuf> {
        let text = fields.text(key, self.report)?;
        let path = Path::new(text);
        let relative = path.strip_prefix(".").unwrap_or(path);
        Some(self.base.map_or_else(|| path.to_owned(), |base| base.join(relative)))
    }

    fn required_path(&mut self, fields: &Fields<'_>, key: &str) -> Option<PathBuf> {
        let path = self.path(fields, key);
        if fields.get(key).is_none() {
            self.report.error(fields.place, &fields.at(key), "needs the path of a PEM file", None);
        }
        path
    }
}
