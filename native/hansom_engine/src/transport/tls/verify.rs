//! Verification of servers.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, VerifiedPath};

/// What makes a certificate acceptable.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: RootCertStore,
    pub(super) depth: Option<u32>,
    pub(super) check_hostname: bool,
}

/// Verifies certificate chains, names and handshake signatures.
pub(super) struct Verifier {
    /// None accepts every certificate.
    trust: Option<Trust>,
    schemes: Vec<SignatureScheme>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Those of `algorithms` that `schemes` stand for.
    chain_algorithms: Vec<&'static dyn SignatureVerificationAlgorithm>,
}

/// Why a certificate is refused, where rustls has no word of its own.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// Signed by itself, and not trusted.
    SelfSigned,
    /// More intermediate certificates than allowed.
    TooDeep,
    /// Names an issuer that is known, but whose key did not sign it.
    NotSigned,
    /// What webpki said.
    Webpki(webpki::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned => f.write_str("self-signed certificate"),
            Self::TooDeep => f.write_str("certificate chain is too long"),
            Self::NotSigned => f.write_str("not signed with the key of its issuer"),
            Self::Webpki(webpki::Error::CaUsedAsEndEntity) => {
                f.write_str("the server's certificate belongs to an authority (CA:TRUE)")
            }
            Self::Webpki(webpki::Error::UnsupportedCertVersion) => {
                f.write_str("not a certificate of X.509 version 3")
            }
            Self::Webpki(webpki::Error::UnsupportedSignatureAlgorithmContext(_)) => {
                f.write_str("signature algorithm, or its parameters, not supported")
            }
            Self::Webpki(error) => write!(f, "{error:?}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

impl Verifier {
    /// `schemes` must not be empty.
    pub(super) fn new(
        trust: Option<Trust>,
        schemes: Vec<SignatureScheme>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let chain_algorithms = algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| schemes.contains(scheme))
            .flat_map(|(_, algorithms)| algorithms.iter().copied())
            .collect();
        Self { trust, schemes, algorithms, chain_algorithms }
    }

    fn verify_chain(
        &self,
        trust: &Trust,
        certificate: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let too_deep = |path: &VerifiedPath<'_>| match trust.depth {
            Some(depth) => {
                let counted = path
                    .intermediate_certificates()
                    .filter(|certificate| certificate.subject() != certificate.issuer())
                    .count();
                if counted > usize::try_from(depth).unwrap_or(usize::MAX) {
                    Err(webpki::Error::MaximumPathDepthExceeded)
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        };
        certificate
            .verify_for_usage(
                &self.chain_algorithms,
                &trust.roots.roots,
                intermediates,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&too_deep),
            )
            .map(drop)
            .map_err(|error| match error {
                webpki::Error::UnknownIssuer if certificate.subject() == certificate.issuer() => {
                    Refusal::SelfSigned.into()
                }
                error => from_webpki(error),
            })
    }

    /// A handshake signature must use a scheme that was offered (RFC 8446, section 4.4.3).
    fn check_offered(&self, signed: &DigitallySignedStruct) -> Result<(), rustls::Error> {
        if self.schemes.contains(&signed.scheme) {
            Ok(())
        } else {
            Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
        }
    }

    /// The bare key of a certificate webpki cannot parse (such as one of X.509 version 1), which
    /// is good enough if every certificate is.
    fn bare_key(&self, certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'_>> {
        if self.trust.is_some() || EndEntityCert::try_from(certificate).is_ok() {
            return None;
        }
        public_key_info(certificate).map(|info| SubjectPublicKeyInfoDer::from(info.to_vec()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("verifies", &self.trust.is_some()).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            let certificate = EndEntityCert::try_from(end_entity).map_err(from_webpki)?;
            self.verify_chain(trust, &certificate, intermediates, now)?;
            if trust.check_hostname {
                certificate.verify_is_valid_for_subject_name(server_name).map_err(from_webpki)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_offered(signed)?;
        let Some(key) = self.bare_key(certificate) else {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        };
        let key = RawPublicKeyEntity::try_from(&key).map_err(from_webpki)?;
        // In TLS 1.2 a scheme leaves the curve open: any algorithm it maps to may be the one.
        self.algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .find(|algorithm| {
                key.verify_signature(**algorithm, message, signed.signature()).is_ok()
            })
            .map(|_| HandshakeSignatureValid::assertion())
            .ok_or_else(|| CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_offered(signed)?;
        match self.bare_key(certificate) {
            None => verify_tls13_signature(message, certificate, signed, &self.algorithms),
            Some(key) => {
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Puts webpki's errors in rustls's words, which choose the alert the server is sent.
fn from_webpki(error: webpki::Error) -> rustls::Error {
    use webpki::Error as Webpki;
    match error {
        Webpki::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }.into()
        }
        Webpki::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }.into()
        }
        Webpki::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        Webpki::CertNotValidForName(webpki::InvalidNameContext { expected, presented }) => {
            CertificateError::NotValidForNameContext { expected, presented }.into()
        }
        Webpki::CertRevoked => CertificateError::Revoked.into(),
        Webpki::InvalidSignatureForPublicKey => Refusal::NotSigned.into(),
        Webpki::BadDer | Webpki::BadDerTime | Webpki::TrailingData(_) => {
            CertificateError::BadEncoding.into()
        }
        Webpki::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension.into(),
        Webpki::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose.into(),
        Webpki::MaximumPathDepthExceeded => Refusal::TooDeep.into(),
        error => Refusal::Webpki(error).into(),
    }
}

/// The SubjectPublicKeyInfo of a certificate (RFC 5280, section 4.1), with nothing else looked at.
fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const EXPLICIT_VERSION: u8 = 0xa0;
    let (certificate, _) = Element::split(certificate)?;
    let (to_be_signed, _) = Element::split(certificate.content)?;
    let (first, after_first) = Element::split(to_be_signed.content)?;
    let mut rest = if first.tag == EXPLICIT_VERSION { after_first } else { to_be_signed.content };
    // serialNumber, signature, issuer, validity, subject
    for _ in 0..5 {
        rest = Element::split(rest)?.1;
    }
    let (info, _) = Element::split(rest)?;
    (info.tag == SEQUENCE).then_some(info.whole)
}

/// One DER element with a tag of one octet.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The first element and what follows it.
    fn split(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, after_tag) = input.split_first()?;
        let (&first, after_length) = after_tag.split_first()?;
        let (length, body) = match first {
            0..=0x7f => (usize::from(first), after_length),
            // Four octets of length are more than any handshake message has.
            0x81..=0x84 => {
                let (octets, body) = after_length.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
                (length, body)
            }
            _ => return None,
        };
        let (content, rest) = body.split_at_checked(length)?;
        let whole = input.get(..input.len() - rest.len())?;
        Some((Self { tag, content, whole }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let certificate = rcgen::generate_simple_self_signed(["a.test".into()]).unwrap();
        let der = certificate.cert.der();
        let expected = EndEntityCert::try_from(der).unwrap().subject_public_key_info();
        assert_eq!(public_key_info(der), Some(expected.as_ref()));
    }

    #[test]
    fn broken_certificates_have_no_key() {
        let certificate = rcgen::generate_simple_self_signed(["a.test".into()]).unwrap();
        let der = certificate.cert.der();
        for cut in 0..der.len() {
            assert_eq!(public_key_info(&der[..cut]), None);
        }
        assert_eq!(public_key_info(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1]), None);
        assert_eq!(public_key_info(&[0x30, 0x80]), None);
    }
}
