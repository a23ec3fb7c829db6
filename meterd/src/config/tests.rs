//! The shipped file, precedence, and problems with their places.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn environment_of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn yaml(text: &str) -> Result<Loaded, ConfigError> {
    resolve(Some((Path::new("meterd.yaml"), text)), &[], &[])
}

fn check_refused(text: &str, expected: &str) {
    assert_eq!(yaml(text).unwrap_err().to_string(), expected.trim(), "{text}");
}

#[test]
fn the_shipped_file_is_the_default() {
    let loaded = yaml(DEFAULT_YAML).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), warnings: Vec::new() });
    assert_eq!(resolve(None, &[], &[]).unwrap().config, Config::default());
    assert_eq!(yaml("").unwrap().config, Config::default());
    assert_eq!(yaml("# nothing\nlisten:\nprices: { dirs: }\n").unwrap().config, Config::default());
}

/// What `--print-config` prints, read back, is what was printed.
#[test]
fn the_shown_configuration_reads_back_to_itself() {
    let check = |config: Config| {
        let shown = config.to_yaml().unwrap();
        assert_eq!(yaml(&shown).map(|loaded| loaded.config), Ok(config), "{shown}");
    };
    check(Config::default());
    check(
        yaml(
            "dataDir: /var/lib/meterd\nprices: { dirs: [/etc/a, /etc/b], seed: false }\nresources: { dir: /etc/r }\n\
             signals: { allowedHosts: [hooks.example.com, joch.example.com], perSecondMax: 9 }\n\
             ingest: { dedupHorizon: 36h, futureSkewMax: 1500ms }\nserver: { headerTimeout: 90s }\n\
             listen: { otlpGrpc: '127.0.0.1:4317', tls: { certFile: /c, keyFile: /k } }\nauth:\n\
             \x20 tokens: [{ name: a, tokenEnv: T, roles: [ingest, kill], tenant: x, namespaces: [n-*], agents: [b], executions: [e],\
             requestsPerSecond: 5, burst: 9 }, { name: f, tokenFile: /t, roles: [admin] }]\n\
             \x20 unixPeers: [{ name: p, uid: 1, gid: 2, roles: [read] }]\n\
             \x20 mtls: { clientCaFile: /ca, required: true, clients: [{ name: m, san: s.example, roles: [reserve] }] }\n",
        )
        .unwrap()
        .config,
    );
}

/// The paths of all leaves of a document; empty lists and maps are leaves.
fn leaves(node: &pricing::document::Node, path: &str, out: &mut BTreeSet<String>) {
    match node.as_map() {
        Some(pairs) if !pairs.is_empty() => {
            for (key, value) in pairs {
                let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
                leaves(value, &path, out);
            }
        }
        _ => {
            out.insert(path.to_owned());
        }
    }
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let mut documented = BTreeSet::new();
    leaves(&pricing::document::parse(DEFAULT_YAML).unwrap()[0], "", &mut documented);
    let known: BTreeSet<String> = KEYS.iter().map(|spec| spec.path.to_owned()).collect();
    assert_eq!(documented, known);
    let lines: Vec<&str> = DEFAULT_YAML.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(": ") && !line.contains('#')) {
        let mut above = lines[..index].iter().rev().take_while(|line| !line.is_empty());
        assert!(above.any(|line| line.trim_start().starts_with('#')), "no comment above {line:?}");
    }
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = Some((
        Path::new("/etc/meterd/meterd.yaml"),
        "listen: { api: 127.0.0.1:1, metrics: 127.0.0.1:2 }\ndataDir: ./d\nprices: { dirs: [p, ./q, /r] }\n",
    ));
    let environment = environment_of(&[
        ("METERD_LISTEN_API", "127.0.0.1:3"),
        ("METERD_DATA_DIR", ""),
        ("METERD_INGEST_QUEUE_EVENTS_MAX", "7"),
        ("METERD_SERVICE_HOST", "10.0.0.1"),
        ("HOME", "/root"),
    ]);
    let flags = [("listen.metrics", "[::1]:4".to_owned())];
    let Loaded { config, warnings } = resolve(file, &environment, &flags).unwrap();
    assert_eq!(warnings, Vec::new());
    assert_eq!((config.listen.api.port(), config.listen.metrics.to_string()), (3, "[::1]:4".to_owned()));
    assert_eq!(config.ingest.queue_events_max, 7);
    assert_eq!(config.data_dir, Path::new("/etc/meterd/d"), "relative to the file's folder");
    assert_eq!(config.prices.dirs, [Path::new("/etc/meterd/p"), Path::new("/etc/meterd/q"), Path::new("/r")]);
    let environment = environment_of(&[("METERD_PRICES_DIRS", "a:/b"), ("METERD_PRICES_SEED", "False")]);
    let prices = resolve(file, &environment, &[]).unwrap().config.prices;
    assert_eq!((prices.dirs, prices.seed), (vec![PathBuf::from("a"), PathBuf::from("/b")], false));
}

#[test]
fn variables_are_named_after_their_keys() {
    let names: Vec<(&str, String)> = keys().collect();
    let name = |path: &str| names.iter().find(|(key, _)| *key == path).map(|(_, name)| name.as_str());
    assert_eq!(name("dataDir"), Some("METERD_DATA_DIR"));
    assert_eq!(name("listen.api"), Some("METERD_LISTEN_API"));
    assert_eq!(name("metrics.modelsPerProviderMax"), Some("METERD_METRICS_MODELS_PER_PROVIDER_MAX"));
    assert_eq!(names.iter().map(|(_, name)| name).collect::<BTreeSet<_>>().len(), KEYS.len());
}

#[test]
fn every_problem_is_named_at_once() {
    check_refused(
        "listen: { api: localhost:80, metrics: [1], tls: { cert: x } }
ingst: {}
ingest: { dedupHorizon: 35, futureSkewMax: 2d, queueEventsMax: 0, bodyBytesMax: 4MiB, sources: { a: 1 } }
prices: { dirs: /p, seed: maybe }
dataDir: ''
auth: { tokens: [x] }
sinks: { clickhouse: { url: x } }
---
kind: Budget
",
        r#"
meterd.yaml:1:16: error: "localhost:80" is no socket address (listen.api)
  hint: write an address and a port, such as 127.0.0.1:80
meterd.yaml:1:39: error: must be a single value, not a list (listen.metrics)
meterd.yaml:1:49: error: needs the path of a PEM file (listen.tls.certFile)
meterd.yaml:1:49: error: needs the path of a PEM file (listen.tls.keyFile)
meterd.yaml:1:51: error: unknown key (listen.tls.cert)
  hint: known keys here: certFile, keyFile
meterd.yaml:2:1: error: unknown key (ingst)
  hint: did you mean "ingest"?
meterd.yaml:3:25: error: "35" is not a duration (ingest.dedupHorizon)
  hint: write a number and a unit: 500ms, 10s, 5m, 2h, 35d
meterd.yaml:3:44: error: 2d is not between 1s and 1d (ingest.futureSkewMax)
meterd.yaml:3:64: error: 0 is not between 1 and 16777216 (ingest.queueEventsMax)
meterd.yaml:3:81: error: "4MiB" is not a whole number (ingest.bodyBytesMax)
  hint: write digits only, such as 65536
meterd.yaml:3:101: error: must be a mapping of keys to values, not a number (ingest.sources.a)
meterd.yaml:4:17: error: must be a list of paths (prices.dirs)
  hint: write [/p]
meterd.yaml:4:27: error: "maybe" is neither true nor false (prices.seed)
meterd.yaml:5:10: error: the path is empty (dataDir)
meterd.yaml:6:18: error: must be a mapping of keys to values, not text (auth.tokens[0])
meterd.yaml:7:29: error: "x" is no URL of ClickHouse's HTTP interface (sinks.clickhouse.url)
  hint: write http://HOST:8123 or https://HOST:8443
meterd.yaml:9:1: error: the configuration is one document; this is a second
  hint: resources go to resources.dir, price tables to prices.dirs
"#,
    );
    check_refused(
        "listen: { api: 127.0.0.1:9460 }",
        "meterd.yaml:1:16: error: listen.api and listen.metrics are both 127.0.0.1:9460 (listen.api)\n  hint: give each listener a port of its own",
    );
    check_refused("- a", "meterd.yaml:1:1: error: must be a mapping of keys to values, not a list");
    check_refused(
        "prices: { unmatched: { tool: free, toool: 1 } }",
        "meterd.yaml:1:30: error: unknown word \"free\" (prices.unmatched.tool)\n  hint: write quarantine, or zero_with_flag to book nothing for it\nmeterd.yaml:1:36: error: unknown key (prices.unmatched.toool)\n  hint: did you mean \"tool\"?",
    );
    assert!(yaml("a: [").unwrap_err().to_string().starts_with("meterd.yaml:"));
}

#[test]
fn problems_from_outside_the_file_name_their_variable_or_flag() {
    let environment =
        environment_of(&[("METERD_LISTEN_API", "x"), ("METERD_AUTH_TOKENS", "secret"), ("METERD_DATADIR", "y")]);
    let flags = [("listen.metrics", "z".to_owned())];
    let expected = r#"--metrics-listen: error: "z" is no socket address (listen.metrics)
  hint: write an address and a port, such as 127.0.0.1:7460
METERD_AUTH_TOKENS: error: must be a list, not text (auth.tokens)
METERD_DATADIR: warning: no setting has this variable, so it has no effect
  hint: did you mean METERD_DATA_DIR?
METERD_LISTEN_API: error: "x" is no socket address (listen.api)
  hint: write an address and a port, such as 127.0.0.1:7460"#;
    assert_eq!(resolve(None, &environment, &flags).unwrap_err().to_string(), expected);
}

#[test]
fn files_are_read_with_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meterd.yaml");
    let missing = load(Some(&path), &[], &[]).unwrap_err().to_string();
    assert!(
        missing.contains("meterd.yaml: error: cannot be read: ") && missing.ends_with("hint: check the path"),
        "{missing}"
    );
    std::fs::write(&path, "dataDir: d\n").unwrap();
    assert_eq!(load(Some(&path), &[], &[]).unwrap().config.data_dir, dir.path().join("d"));
    std::fs::write(&path, b"\xff").unwrap();
    assert!(load(Some(&path), &[], &[]).unwrap_err().to_string().contains("write it in UTF-8"));
    assert!(read_bounded(&path, 0).unwrap_err().is_error());
}
