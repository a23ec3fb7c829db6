//! Commands against a daemon with TLS: the authority is named, or the connection is refused.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::harness::cli;
use crate::harness::daemon::Daemon;

/// An authority, and a certificate for this machine's loopback address, as PEM files.
fn papers(folder: &std::path::Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&params, &ca_key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn commands_speak_tls_to_a_daemon_whose_authority_they_know() {
    let daemon = Daemon::start_with(|folder| {
        papers(folder);
        "listen: { tls: { certFile: cert.pem, keyFile: key.pem } }\n".to_owned()
    });
    assert!(daemon.api().starts_with("https://"), "{}", daemon.api());
    let ca = daemon.folder().join("ca.pem").display().to_string();
    let get = |more: &[&str], env: Option<&str>| {
        let mut command = cli::meterd(&[&["get", "executions", "-o", "csv", "--url", daemon.api()], more].concat());
        command.envs(env.map(|file| ("METERD_CA", file)));
        let output = command.output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (fine, said) = get(&["--ca", &ca], None);
    assert!(fine && said.starts_with("namespace,"), "{said}");
    assert!(get(&[], Some(&ca)).0, "by the environment");
    let (fine, said) = get(&[], None);
    assert!(!fine && said.contains("cannot reach a daemon"), "an unknown authority: {said}");
    let wrong = daemon.folder().join("key.pem").display().to_string();
    let (fine, said) = get(&["--ca", &wrong], None);
    assert!(!fine && said.contains("there is no certificate in it"), "{said}");
}
