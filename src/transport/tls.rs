//! TLS settings: trusted certificates and the cryptography provider.
//!
//! This crate enables no provider of rustls on its own: a second provider makes `ClientConfig::builder()` panic in a
//! service that relies on the only one. The provider is looked up when a connection is made, because a service can
//! install its default at any time.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

use super::HttpVersion;
use crate::error::BuildError;

/// How often a connection that waits for a provider looks for one.
const LOOK_FOR_PROVIDER: Duration = Duration::from_millis(100);

/// The certificates that a handshake trusts.
#[derive(Debug)]
pub(crate) enum Trust {
    /// The certificates of the operating system.
    System,
    /// These certificates in place of the system's.
    Only(Arc<RootCertStore>),
    /// Every certificate: `verify_server_cert=false`.
    Everyone,
}

/// TLS settings of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trust: Trust,
    version: HttpVersion,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(trust: Trust, version: HttpVersion) -> Self {
        Self { inner: Arc::new(Inner { trust, version, config: OnceLock::new() }) }
    }

    /// Returns whether a connection could use TLS now.
    pub(crate) fn has_provider() -> bool {
        provider().is_some()
    }

    /// Returns rustls's configuration, which is made for the first connection. Waits while there is no provider.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, Box<dyn Error + Send + Sync>> {
        if let Some(config) = self.inner.config.get() {
            return Ok(config.clone());
        }
        let provider = loop {
            match provider() {
                Some(provider) => break provider,
                None => tokio::time::sleep(LOOK_FOR_PROVIDER).await,
            }
        };
        let inner = self.inner.clone();
        // reads the system's certificates from files
        let made = tokio::task::spawn_blocking(move || inner.make(provider)).await??;
        Ok(self.inner.config.get_or_init(|| Arc::new(made)).clone())
    }
}

impl Inner {
    fn make(&self, provider: Arc<CryptoProvider>) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.trust {
            Trust::System => builder.with_platform_verifier()?,
            Trust::Only(roots) => builder.with_root_certificates(roots.clone()),
            Trust::Everyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider))),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![self.version.alpn().to_vec()];
        Ok(config)
    }
}

/// Returns the provider that a feature of this crate enables, or else the default of the process.
fn provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "tls-aws-lc-rs")]
    let ours = Some(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
    let ours = Some(rustls::crypto::ring::default_provider());
    #[cfg(not(any(feature = "tls-aws-lc-rs", feature = "tls-ring")))]
    let ours: Option<CryptoProvider> = None;
    ours.map(Arc::new).or_else(|| CryptoProvider::get_default().cloned())
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// When the file cannot be read, or holds no usable certificate.
pub(crate) fn read_certificates(file: &Path) -> Result<RootCertStore, BuildError> {
    let path = || file.to_owned();
    let invalid = |reason: String| BuildError::CaCertInvalid { path: path(), reason };
    let pem = fs::read(file).map_err(|source| BuildError::CaCertUnreadable { path: path(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(invalid("the file contains no certificate".to_owned())),
        false => Ok(roots),
    }
}

/// Accepts every certificate. Signatures are still checked: the server must own the certificate that it presents.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
