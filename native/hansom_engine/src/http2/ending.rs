//! What the errors of the protocol library are called.

use h2::Reason;

use super::wire::Line;
use crate::error::{Error, H2Code};

/// Why a stream failed.
pub(super) fn stream_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    match error.reason() {
        Some(reason) if error.is_reset() => Error::StreamError(H2Code(reason.into())),
        _ => connection_error(error, line, tls),
    }
}

/// Why a connection failed: the peer's GOAWAY, the name of an error of its that we found, or what
/// became of the link.
pub(super) fn connection_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    if let Some((_, code)) = line.peer().goaway {
        return Error::Goaway(H2Code(code));
    }
    match error.reason() {
        Some(reason) if error.is_remote() => Error::Goaway(H2Code(reason.into())),
        Some(reason) if reason != Reason::NO_ERROR => {
            Error::ClosedBy(H2Code(reason.into()).name().unwrap_or("protocol_error"))
        }
        _ => lost(line, tls),
    }
}

/// Why a request could not be sent.
pub(super) fn request_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    if error.is_io() || error.is_go_away() {
        connection_error(error, line, tls)
    } else {
        Error::ProtocolError
    }
}

/// Why a connection without a link was lost.
pub(super) fn lost(line: &Line, tls: bool) -> Error {
    if let Some((_, code)) = line.peer().goaway {
        return Error::Goaway(H2Code(code));
    }
    Error::ClosedBy(match line.failure() {
        Some(Error::Posix(name) | Error::ClosedBy(name)) => name,
        Some(Error::Tls { alert, .. }) => alert.0,
        _ if tls => "ssl_closed",
        _ => "tcp_closed",
    })
}
