//! Whom to trust: the system's certificates, the given ones instead, or everybody.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::error::BuildError;

/// What the handshake checks. Nothing process-wide is installed or asked for.
pub(super) enum Trust<'a> {
    /// The certificates of the operating system.
    System,
    /// A PEM file, in place of the system's.
    Only(&'a Path),
    /// `verify_server_cert=false`
    Everybody,
    /// No TLS is spoken.
    Nobody,
}

pub(super) fn client_config(trust: Trust<'_>) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(ring::default_provider());
    let tls = |error: rustls::Error| BuildError::Client { source: Box::new(error) };
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(tls)?;
    let builder = match trust {
        Trust::System => builder.with_platform_verifier().map_err(tls)?,
        Trust::Only(file) => builder.with_root_certificates(roots(file)?),
        Trust::Everybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider))),
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: &Path) -> Result<RootCertStore, BuildError> {
    let path = || file.to_owned();
    let invalid = |reason: String| BuildError::CaCertInvalid { path: path(), reason };
    let pem = fs::read(file).map_err(|source| BuildError::CaCertUnreadable { path: path(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(invalid("there is no certificate in it".to_owned())),
        false => Ok(roots),
    }
}

/// Signatures are still checked: the other side must own the certificate that it shows, whoever issued it.
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
