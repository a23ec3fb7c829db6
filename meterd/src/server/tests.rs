//! Connections: who is at the other end, over plain TCP, TLS with and without a client's certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::accept::TlsListener;
use super::peer::Peer;
use super::tls::{Files, Tls};
use super::{Limits, Protocol, serve};

const LIMITS: Limits =
    Limits { connections_max: 16, header_timeout: Duration::from_secs(5), drain_timeout: Duration::from_secs(5) };

fn router() -> Router {
    Router::new().route("/", get(|request: Request| async move { format!("{:?}", request.extensions().get::<Peer>()) }))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An authority, the server's certificate and a client's, all written as PEM.
struct Papers {
    folder: TempDir,
    ca: CertificateDer<'static>,
    client: (CertificateDer<'static>, Vec<u8>),
}

fn papers() -> Papers {
    let folder = TempDir::new().unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&ca_params, &ca_key);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    let client_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["worker.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://meterd/worker".try_into().unwrap()));
    let client = params.signed_by(&client_key, &issuer).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", ca.pem());
    write("cert.pem", server.pem());
    write("key.pem", server_key.serialize_pem());
    Papers { ca: ca.der().clone(), client: (client.der().clone(), client_key.serialize_der()), folder }
}

fn files(folder: &Path, client_ca: Option<bool>) -> Files {
    Files {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        client_ca: client_ca.map(|required| (folder.join("ca.pem"), required)),
        alpn: b"http/1.1",
    }
}

async fn over_tls(address: SocketAddr, papers: &Papers, with_client: bool) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(papers.ca.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = if with_client {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(papers.client.1.clone()));
        builder.with_client_auth_cert(vec![papers.client.0.clone()], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    ask(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?).await
}

#[tokio::test]
async fn a_clients_certificate_is_known_by_its_names() {
    let papers = papers();
    let stop = CancellationToken::new();
    for (required, without) in [(false, true), (true, false)] {
        let tls = Tls::load(files(papers.folder.path(), Some(required))).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        tokio::spawn(serve(TlsListener { tcp, tls }, Protocol::Http1, router(), LIMITS, stop.clone()));
        let answer = over_tls(address, &papers, true).await.unwrap();
        assert!(answer.contains(r#"certificate: ["worker.example", "spiffe://meterd/worker"]"#), "{answer}");
        let stranger = over_tls(address, &papers, false).await.unwrap_or_default();
        assert_eq!(stranger.contains("certificate: []"), without, "{stranger}");
    }
    stop.cancel();
}

#[tokio::test]
async fn bad_files_are_named_and_a_bad_reload_keeps_the_good_ones() {
    let papers = papers();
    let folder = papers.folder.path();
    let tls = Tls::load(files(folder, None)).unwrap();
    std::fs::write(folder.join("cert.pem"), "nothing").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("cert.pem: no certificate is in it"), "{error}");
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(TlsListener { tcp, tls }, Protocol::Http1, router(), LIMITS, stop.clone()));
    assert!(over_tls(address, &papers, false).await.unwrap().starts_with("HTTP/1.1 200"));
    stop.cancel();
}
