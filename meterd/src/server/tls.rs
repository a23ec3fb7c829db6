//! TLS on a listener: certificate and key from PEM files, client certificates where wanted, both swapped when the files change.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Certificates that sign clients', and whether a client must have one.
    pub client_ca: Option<(PathBuf, bool)>,
    /// Protocols offered: `http/1.1`, `h2`.
    pub alpn: &'static [u8],
}

/// Why a listener cannot have TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {why}; it should hold {expected} in PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The files do not go together.
    #[error("certificate and key cannot be used together: {0}")]
    Pair(String),
}

/// The TLS of one listener; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<Files>,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let config = config(&files)?;
        Ok(Self { files: Arc::new(files), config: Arc::new(ArcSwap::from_pointee(config)) })
    }

    /// Reads them again; what was there stays when anything is wrong.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(config(&self.files)?));
        Ok(())
    }

    /// Every file that matters.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let ca = self.files.client_ca.iter().map(|(path, _)| path.clone());
        [self.files.cert.clone(), self.files.key.clone()].into_iter().chain(ca).collect()
    }

    /// Shakes hands; the names in the client's certificate, if it has one.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Arc<[String]>)> {
        let stream = TlsAcceptor::from(self.config.load_full()).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let names = session.peer_certificates().and_then(|chain| chain.first()).map(names).unwrap_or_default();
        Ok((stream, Arc::from(names)))
    }
}

/// DNS names and URIs of a certificate that was verified already.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(entity) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = entity.valid_dns_names().map(str::to_owned);
    dns.chain(entity.valid_uri_names().map(str::to_owned)).collect()
}

fn config(files: &Files) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let pair = |error: rustls::Error| TlsError::Pair(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some((path, required)) => {
            let mut roots = RootCertStore::empty();
            let refuse = |why: String| TlsError::File { path: path.clone(), expected: "certificates", why };
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refuse(error.to_string()))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        path: files.key.clone(),
        expected: "a private key",
        why: error.to_string(),
    })?;
    let mut config = builder.with_single_cert(certificates(&files.cert)?, key).map_err(pair)?;
    config.alpn_protocols = vec![files.alpn.to_vec()];
    Ok(config)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |why: String| TlsError::File { path: path.clone(), expected: "certificates", why };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))?;
    if read.is_empty() { Err(refuse("no certificate is in it".to_owned())) } else { Ok(read) }
}
