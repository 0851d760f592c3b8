//! Error codes (RFC 9114, section 8.1; RFC 9204, section 6).

use crate::error::Error;

/// Why a connection or a stream is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    pub(super) const NO_ERROR: Self = Self(0x100);
    pub(super) const STREAM_CREATION_ERROR: Self = Self(0x103);
    pub(super) const CLOSED_CRITICAL_STREAM: Self = Self(0x104);
    pub(super) const FRAME_UNEXPECTED: Self = Self(0x105);
    pub(super) const FRAME_ERROR: Self = Self(0x106);
    pub(super) const EXCESSIVE_LOAD: Self = Self(0x107);
    pub(super) const ID_ERROR: Self = Self(0x108);
    pub(super) const SETTINGS_ERROR: Self = Self(0x109);
    pub(super) const MISSING_SETTINGS: Self = Self(0x10a);
    pub(super) const REQUEST_CANCELLED: Self = Self(0x10c);
    pub(super) const MESSAGE_ERROR: Self = Self(0x10e);
    pub(super) const QPACK_DECOMPRESSION_FAILED: Self = Self(0x200);
    pub(super) const QPACK_ENCODER_STREAM_ERROR: Self = Self(0x201);
    pub(super) const QPACK_DECODER_STREAM_ERROR: Self = Self(0x202);

    pub(super) fn value(self) -> u64 {
        self.0.into()
    }
}

/// A violation that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: Code,
    pub(super) text: &'static str,
}

impl Violation {
    pub(super) const fn new(code: Code, text: &'static str) -> Self {
        Self { code, text }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::TransportError { code: violation.code.value(), text: violation.text.into() }
    }
}

/// Why nothing more can be read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection cannot go on.
    Connection(Violation),
    /// The stream alone failed.
    Stream(Error),
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Connection(violation)
    }
}

/// A malformed message (RFC 9114, section 4.1.2).
pub(super) const MALFORMED: Error = Error::StreamReset(0x10e);
