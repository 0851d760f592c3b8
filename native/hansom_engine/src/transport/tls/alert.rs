//! TLS errors by the names OTP gives their alerts.

use rustls::{
    AlertDescription, CertificateError, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use super::verify::Refusal;
use crate::error::{Alert, Error};

/// The alert an error stands for: the one received, or the one OTP would send.
pub(crate) fn from_rustls(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::AlertReceived(description) => received(*description),
        error => sent(description(error), &detail(error)),
    }
}

/// An alert the server sent.
pub(crate) fn received(description: AlertDescription) -> Error {
    let (name, title) = names(description);
    let text = format!("TLS client: received SERVER ALERT: Fatal - {title}\n");
    Error::Tls { alert: Alert(name), text }
}

/// An alert this side sent, or OTP would send.
pub(crate) fn sent(description: AlertDescription, detail: &str) -> Error {
    let (name, title) = names(description);
    let text = format!("TLS client: generated CLIENT ALERT: Fatal - {title}\n {detail}");
    Error::Tls { alert: Alert(name), text }
}

fn detail(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.to_string(),
        // What is wrong with a chain is a `Refusal`. This is about the handshake, where a key that
        // is too short is not told apart.
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "wrong signature, or an RSA key of less than 2048 bits".into()
        }
        error => error.to_string(),
    }
}

fn description(error: &rustls::Error) -> AlertDescription {
    use AlertDescription as D;
    match error {
        rustls::Error::AlertReceived(description) => *description,
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => D::UnexpectedMessage,
        rustls::Error::InvalidMessage(error) => of_message(error),
        rustls::Error::NoCertificatesPresented => D::DecodeError,
        rustls::Error::DecryptError => D::BadRecordMac,
        rustls::Error::PeerIncompatible(error) => match error {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired => D::ProtocolVersion,
            _ => D::HandshakeFailure,
        },
        rustls::Error::PeerMisbehaved(error) => match error {
            PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
            | PeerMisbehaved::KeyEpochWithPendingFragment
            | PeerMisbehaved::MessageInterleavedWithHandshakeMessage
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived => D::UnexpectedMessage,
            PeerMisbehaved::UnsolicitedEncryptedExtension
            | PeerMisbehaved::UnsolicitedServerHelloExtension
            | PeerMisbehaved::UnsolicitedCertExtension => D::UnsupportedExtension,
            PeerMisbehaved::MissingKeyShare => D::MissingExtension,
            _ => D::IllegalParameter,
        },
        rustls::Error::PeerSentOversizedRecord => D::RecordOverflow,
        rustls::Error::NoApplicationProtocol => D::NoApplicationProtocol,
        _ => D::InternalError,
    }
}

fn of_message(error: &InvalidMessage) -> AlertDescription {
    use AlertDescription as D;
    match error {
        // Most often the server does not speak TLS at all.
        InvalidMessage::InvalidContentType | InvalidMessage::UnexpectedMessage(_) => {
            D::UnexpectedMessage
        }
        InvalidMessage::UnknownProtocolVersion => D::ProtocolVersion,
        InvalidMessage::MessageTooLarge => D::RecordOverflow,
        InvalidMessage::PreSharedKeyIsNotFinalExtension | InvalidMessage::DuplicateExtension(_) => {
            D::IllegalParameter
        }
        InvalidMessage::UnknownHelloRetryRequestExtension => D::UnsupportedExtension,
        _ => D::DecodeError,
    }
}

/// As OTP's path validation has it, which differs from what rustls sends for some.
fn of_certificate(error: &CertificateError) -> AlertDescription {
    use AlertDescription as D;
    match error {
        CertificateError::UnknownIssuer => D::UnknownCA,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => D::CertificateExpired,
        CertificateError::Revoked => D::CertificateRevoked,
        CertificateError::UnhandledCriticalExtension => D::UnsupportedCertificate,
        CertificateError::NotValidForName
        | CertificateError::NotValidForNameContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. } => D::HandshakeFailure,
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(Refusal::TooDeep) => D::HandshakeFailure,
            // OTP looks for an issuer that did sign it.
            Some(Refusal::NotSigned) => D::UnknownCA,
            Some(Refusal::SelfSigned | Refusal::Webpki(_)) | None => D::BadCertificate,
        },
        _ => D::BadCertificate,
    }
}

/// OTP's atom and title of an alert.
fn names(description: AlertDescription) -> (&'static str, &'static str) {
    use AlertDescription as D;
    match description {
        D::CloseNotify => ("close_notify", "Close Notify"),
        D::UnexpectedMessage => ("unexpected_message", "Unexpected Message"),
        D::BadRecordMac => ("bad_record_mac", "Bad Record MAC"),
        D::DecryptionFailed => ("decryption_failed_reserved", "Decryption Failed Reserved"),
        D::RecordOverflow => ("record_overflow", "Record Overflow"),
        D::DecompressionFailure => ("decompression_failure", "Decompression Failure"),
        D::HandshakeFailure => ("handshake_failure", "Handshake Failure"),
        D::NoCertificate => ("no_certificate_reserved", "No Certificate Reserved"),
        D::BadCertificate => ("bad_certificate", "Bad Certificate"),
        D::UnsupportedCertificate => ("unsupported_certificate", "Unsupported Certificate"),
        D::CertificateRevoked => ("certificate_revoked", "Certificate Revoked"),
        D::CertificateExpired => ("certificate_expired", "Certificate Expired"),
        D::CertificateUnknown => ("certificate_unknown", "Certificate Unknown"),
        D::IllegalParameter => ("illegal_parameter", "Illegal Parameter"),
        D::UnknownCA => ("unknown_ca", "Unknown CA"),
        D::AccessDenied => ("access_denied", "Access Denied"),
        D::DecodeError => ("decode_error", "Decode Error"),
        D::DecryptError => ("decrypt_error", "Decrypt Error"),
        D::ExportRestriction => ("export_restriction", "Export Restriction"),
        D::ProtocolVersion => ("protocol_version", "Protocol Version"),
        D::InsufficientSecurity => ("insufficient_security", "Insufficient Security"),
        D::InternalError => ("internal_error", "Internal Error"),
        D::InappropriateFallback => ("inappropriate_fallback", "Inappropriate Fallback"),
        D::UserCanceled => ("user_canceled", "User Canceled"),
        D::NoRenegotiation => ("no_renegotiation", "No Renegotiation"),
        D::MissingExtension => ("missing_extension", "Missing extension"),
        D::UnsupportedExtension => ("unsupported_extension", "Unsupported Extension"),
        D::CertificateUnobtainable => ("certificate_unobtainable", "Certificate Unobtainable"),
        D::UnrecognisedName => ("unrecognized_name", "Unrecognized Name"),
        D::BadCertificateStatusResponse => {
            ("bad_certificate_status_response", "Bad Certificate Status Response")
        }
        D::BadCertificateHashValue => ("bad_certificate_hash_value", "Bad Certificate Hash Value"),
        D::UnknownPSKIdentity => ("unknown_psk_identity", "Unknown Psk Identity"),
        D::CertificateRequired => ("certificate_required", "Certificate required"),
        D::NoApplicationProtocol => ("no_application_protocol", "No application protocol"),
        _ => ("unsupported/unknown_alert", "unsupported/unknown alert"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::OtherError;
    use std::sync::Arc;

    use super::*;

    fn alert_of(error: impl Into<rustls::Error>) -> &'static str {
        match from_rustls(&error.into()) {
            Error::Tls { alert, .. } => alert.0,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(refusal: Refusal) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(refusal)))
    }

    #[test]
    fn certificates_have_the_alerts_of_otp() {
        use CertificateError as C;
        assert_eq!(alert_of(C::UnknownIssuer), "unknown_ca");
        assert_eq!(alert_of(C::Expired), "certificate_expired");
        assert_eq!(alert_of(C::NotValidYet), "certificate_expired");
        assert_eq!(alert_of(C::NotValidForName), "handshake_failure");
        assert_eq!(alert_of(C::Revoked), "certificate_revoked");
        assert_eq!(alert_of(C::BadSignature), "bad_certificate");
        assert_eq!(alert_of(C::BadEncoding), "bad_certificate");
        assert_eq!(alert_of(C::UnhandledCriticalExtension), "unsupported_certificate");
        assert_eq!(alert_of(refusal(Refusal::SelfSigned)), "bad_certificate");
        assert_eq!(alert_of(refusal(Refusal::TooDeep)), "handshake_failure");
        assert_eq!(alert_of(refusal(Refusal::NotSigned)), "unknown_ca");
        let ca = refusal(Refusal::Webpki(webpki::Error::CaUsedAsEndEntity));
        assert_eq!(alert_of(ca), "bad_certificate");
    }

    #[test]
    fn the_text_says_who_sent_the_alert() {
        let sent = from_rustls(&CertificateError::UnknownIssuer.into());
        let Error::Tls { text, .. } = sent else { panic!("{sent:?}") };
        assert!(text.starts_with("TLS client: generated CLIENT ALERT: Fatal - Unknown CA\n"));
        let received = from_rustls(&rustls::Error::AlertReceived(AlertDescription::AccessDenied));
        let Error::Tls { text, alert } = received else { panic!("{received:?}") };
        assert_eq!(text, "TLS client: received SERVER ALERT: Fatal - Access Denied\n");
        assert_eq!(alert, Alert("access_denied"));
    }

    #[test]
    fn every_alert_has_a_name() {
        let known = (0..=u8::MAX)
            .filter(|number| {
                names(AlertDescription::from(*number)).0 != "unsupported/unknown_alert"
            })
            .count();
        assert_eq!(known, 34);
        assert_eq!(names(AlertDescription::from(120)).0, "no_application_protocol");
    }
}
