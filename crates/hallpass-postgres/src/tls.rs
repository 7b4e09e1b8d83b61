//! TLS by rustls, with what libpq's `sslmode` says about certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is asked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Nothing: the line is encrypted, but to whom is not known (`prefer`, `require`).
    None,
    /// That a known authority issued it (`verify-ca`).
    Chain,
    /// That, and that it is for this host (`verify-full`).
    ChainAndName,
}

/// How to connect over TLS. Root certificates come from the file, or from the operating system.
pub(crate) fn connector(verification: Verification, roots: Option<&Path>) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let unnamed = |chain| Arc::new(NameIgnored { provider: Arc::clone(&provider), chain });
    let config = match verification {
        Verification::ChainAndName => builder.with_root_certificates(root_store(roots)?),
        Verification::None => builder.dangerous().with_custom_certificate_verifier(unnamed(None)),
        Verification::Chain => {
            let store = Arc::new(root_store(roots)?);
            let chain = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider)).build();
            let chain = chain.map_err(|error| error.to_string())?;
            builder.dangerous().with_custom_certificate_verifier(unnamed(Some(chain)))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn root_store(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(path) = file else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if store.is_empty() {
            Err(String::from("the operating system has no root certificates; name a file with sslrootcert"))
        } else {
            Ok(store)
        };
    };
    let bad = |what: &str| format!("sslrootcert {}: {what}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(&error.to_string()))?;
        store.add(certificate).map_err(|error| bad(&error.to_string()))?;
    }
    if store.is_empty() { Err(bad("it holds no certificate")) } else { Ok(store) }
}

/// Looks at the chain if there are roots, and never at the name. That the server holds the certificate's key is always checked.
#[derive(Debug)]
struct NameIgnored {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for NameIgnored {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, after the chain was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
