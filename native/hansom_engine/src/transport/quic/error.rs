//! What the failures of QUIC connections are called.

use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;

use crate::error::Error;
use crate::transport::tls::alert;

/// `H3_NO_ERROR` (RFC 9114, section 8.1).
const H3_NO_ERROR: u64 = 0x100;

/// Why an open connection ended.
///
/// [`Error::ConnectionClosed`] says `normal` for a peer that closed without an error, `timeout`
/// for one that fell silent, `reset` for one that lost its state (a stateless reset), and
/// `version_mismatch` for one that does not speak QUIC version 1, which is learned in the handshake,
/// so after the opening only where data is sent ahead of that. Alerts are
/// [`Error::Tls`]: a server may refuse a client's certificate after the client's handshake is
/// complete. All else is [`Error::TransportError`].
pub(super) fn lost(reason: &ConnectionError) -> Error {
    match reason {
        // The second never befalls a client.
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Error::Closed,
        ConnectionError::TimedOut => Error::ConnectionClosed("timeout"),
        ConnectionError::Reset => Error::ConnectionClosed("reset"),
        ConnectionError::VersionMismatch => Error::ConnectionClosed("version_mismatch"),
        ConnectionError::ApplicationClosed(close) => {
            let code = close.error_code.into_inner();
            // A peer whose HTTP/3 never came to be closes with 0 as well.
            if code == H3_NO_ERROR || code == 0 {
                Error::ConnectionClosed("normal")
            } else {
                let text = String::from_utf8_lossy(&close.reason).into_owned();
                Error::TransportError { code, text }
            }
        }
        ConnectionError::ConnectionClosed(close) => match alert_in(close.error_code) {
            Some(description) => alert::received(description),
            None if close.error_code == TransportErrorCode::NO_ERROR => {
                Error::ConnectionClosed("normal")
            }
            None => Error::TransportError {
                code: close.error_code.into(),
                text: String::from_utf8_lossy(&close.reason).into_owned(),
            },
        },
        ConnectionError::TransportError(error) => match alert_in(error.code) {
            Some(description) => alert::sent(description, &error.reason),
            None => Error::TransportError { code: error.code.into(), text: error.reason.clone() },
        },
    }
}

/// Why a handshake failed.
pub(super) fn of_handshake(reason: &ConnectionError) -> Error {
    match reason {
        ConnectionError::TimedOut => Error::Timeout,
        reason => lost(reason),
    }
}

/// Why a handshake could not even begin.
pub(super) fn of_attempt(reason: &ConnectError) -> Error {
    match reason {
        // Port 0, or an address that cannot be one of a peer.
        ConnectError::InvalidRemoteAddress(_) => Error::Posix("eaddrnotavail"),
        ConnectError::InvalidServerName(_) => Error::Option {
            name: "server_name_indication".into(),
            reason: "neither a DNS name nor an address".into(),
        },
        _ => Error::Closed,
    }
}

/// The TLS alert an error code stands for (RFC 9001, section 4.8).
fn alert_in(code: TransportErrorCode) -> Option<AlertDescription> {
    let number: u8 = u64::from(code).checked_sub(0x100)?.try_into().ok()?;
    Some(AlertDescription::from(number))
}

#[cfg(test)]
mod tests {
    use quinn::{ApplicationClose, ConnectionClose, VarInt};
    use quinn_proto::TransportError;

    use super::*;
    use crate::error::Alert;

    fn application(code: u32) -> ConnectionError {
        let reason = b"why".as_slice().into();
        ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: VarInt::from_u32(code),
            reason,
        })
    }

    fn transport(error_code: TransportErrorCode) -> ConnectionError {
        let reason = b"why".as_slice().into();
        ConnectionError::ConnectionClosed(ConnectionClose { error_code, frame_type: None, reason })
    }

    #[test]
    fn a_clean_close_is_normal() {
        let normal = Error::ConnectionClosed("normal");
        assert_eq!(lost(&application(0)), normal);
        assert_eq!(lost(&application(0x100)), normal);
        assert_eq!(lost(&transport(TransportErrorCode::NO_ERROR)), normal);
    }

    #[test]
    fn other_codes_are_told() {
        let told = |code| Error::TransportError { code, text: "why".into() };
        assert_eq!(lost(&application(0x102)), told(0x102));
        assert_eq!(lost(&transport(TransportErrorCode::PROTOCOL_VIOLATION)), told(10));
        let own = ConnectionError::TransportError(TransportError {
            code: TransportErrorCode::FLOW_CONTROL_ERROR,
            frame: None,
            reason: "why".into(),
        });
        assert_eq!(lost(&own), told(3));
    }

    #[test]
    fn alerts_have_their_names() {
        let received = lost(&transport(TransportErrorCode::crypto(116)));
        let Error::Tls { alert, text } = received else { panic!("{received:?}") };
        assert_eq!(alert, Alert("certificate_required"));
        assert!(text.starts_with("TLS client: received SERVER ALERT"), "{text}");
        let own = ConnectionError::TransportError(TransportError {
            code: TransportErrorCode::crypto(120),
            frame: None,
            reason: "why".into(),
        });
        let sent = lost(&own);
        let Error::Tls { alert, text } = sent else { panic!("{sent:?}") };
        assert_eq!(alert, Alert("no_application_protocol"));
        assert!(text.ends_with(" why"), "{text}");
    }

    #[test]
    fn silence_is_a_timeout_of_the_dial_and_a_loss_later() {
        assert_eq!(of_handshake(&ConnectionError::TimedOut), Error::Timeout);
        assert_eq!(lost(&ConnectionError::TimedOut), Error::ConnectionClosed("timeout"));
    }
}
