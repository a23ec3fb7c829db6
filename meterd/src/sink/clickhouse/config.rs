//! From settings to a connection: TLS, user, password by file, compression, settings of every request.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use clickhouse::Compression;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::SinkError;
use crate::config::ClickHouse;

/// Longest password file.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// A connection as the settings say. Reads the password's file each time: secrets are rotated.
pub(super) fn connect(settings: &ClickHouse) -> Result<clickhouse::Client, SinkError> {
    let http = Http::builder(TokioExecutor::new()).pool_idle_timeout(std::time::Duration::from_secs(2)).build(
        HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp()),
    );
    let mut client = clickhouse::Client::with_http_client(http)
        .with_url(&settings.url)
        .with_user(&settings.user)
        .with_compression(if settings.compress { Compression::Lz4 } else { Compression::None })
        .with_product_info("meterd", env!("CARGO_PKG_VERSION"));
    if let Some(path) = &settings.password_file {
        client = client.with_password(password(path)?);
    }
    Ok(client)
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
    tcp
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SinkError> {
    let unusable = |what: &Path, error: String| SinkError::Setting { what: what.display().to_string(), error };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Path::new("TLS"), error.to_string()))?;
    let Some(path) = ca_file else {
        let builder = builder
            .with_native_roots()
            .map_err(|error| unusable(Path::new("the system's roots"), error.to_string()))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(path, error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(path, error.to_string()))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn password(path: &Path) -> Result<String, SinkError> {
    let read = || -> io::Result<String> {
        let text = fs::read_to_string(path)?;
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(io::Error::other("longer than a password"));
        }
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    };
    read().map_err(|error| SinkError::Setting { what: path.display().to_string(), error: error.to_string() })
}
