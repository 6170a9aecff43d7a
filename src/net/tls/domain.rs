//! Whose certificate it is (RFC 5922): that of a SIP domain says `sip:domain` as a URI, or its name as a DNS name. Names are
//! compared whole: a wildcard is nobody's domain.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use webpki::EndEntityCert;

/// Believes the certificates of these roots, each for the domains in it.
#[derive(Debug)]
pub(super) struct ByDomain {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// For addresses, and for signatures.
    usual: Arc<WebPkiServerVerifier>,
}

impl ByDomain {
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<ByDomain, String> {
        let roots = Arc::new(roots);
        let usual = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        Ok(ByDomain {
            usual: usual.build().map_err(|e| e.to_string())?,
            roots,
            provider,
        })
    }
}

/// Whether a certificate is for this SIP domain (section 7.1): if it names any in URIs, DNS names do not count.
fn is_for(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return false;
    };
    let mut domains = certificate.valid_uri_names().filter_map(sip_domain).peekable();
    if domains.peek().is_some() {
        return domains.any(|named| named.eq_ignore_ascii_case(domain));
    }
    certificate
        .valid_dns_names()
        .any(|named| named.eq_ignore_ascii_case(domain))
}

/// The domain of `sip:domain`; a URI with a user is a person's.
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, domain) = uri.split_once(':')?;
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !domain.contains(['@', ';', '?']);
    is_domain.then_some(domain)
}

impl ServerCertVerifier for ByDomain {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ServerName::DnsName(domain) = name else {
            return self.usual.verify_server_cert(certificate, between, name, ocsp, now);
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)?;
        match is_for(certificate, domain.as_ref()) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(names: &[SanType]) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn a_domain_is_named_by_uri_or_if_none_is_by_dns_name() {
        let by_uri = certificate(&[uri("sip:example.com"), dns("other.example.com")]);
        assert!(is_for(&by_uri, "Example.com"));
        assert!(
            !is_for(&by_uri, "other.example.com"),
            "URIs make DNS names count no more"
        );
        let by_dns = certificate(&[dns("example.com"), uri("https://example.org")]);
        assert!(is_for(&by_dns, "example.com") && !is_for(&by_dns, "example.org"));
    }

    #[test]
    fn a_wildcard_a_person_or_another_domain_is_not_it() {
        let wild = certificate(&[dns("*.example.com")]);
        assert!(!is_for(&wild, "sip.example.com") && !is_for(&wild, "example.com"));
        let person = certificate(&[uri("sip:kate@example.com")]);
        assert!(!is_for(&person, "example.com"));
        assert!(!is_for(&certificate(&[dns("example.com.evil.example")]), "example.com"));
    }
}
