//! TLS in front of a plain server on loopback, with a certificate of an authority of its own. Ends with its owner.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// A front that decrypts and passes on.
pub(crate) struct TlsFront {
    address: SocketAddr,
    folder: TempDir,
    _runtime: Runtime,
}

impl TlsFront {
    #[track_caller]
    pub(crate) fn start(target: String) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca_params = CertificateParams::new(Vec::new()).expect("parameters");
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), ca.pem()).expect("a new file");
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&ca_params, &ca_key);
        let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = names.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.expect("protocols").with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a pair");
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        runtime.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), target));
        Self { address, folder, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The authority that signed its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, target: String) {
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, target) = (acceptor.clone(), target.clone());
        tokio::spawn(async move {
            // A client that does not trust the certificate goes away; so does one whose target is not there.
            let (Ok(mut client), Ok(mut server)) = (acceptor.accept(client).await, TcpStream::connect(target).await)
            else {
                return;
            };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}
