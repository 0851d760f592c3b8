//! QUIC connections (RFC 9000), by quinn, over the TLS configuration TCP connections have too.
//!
//! Every connection has a UDP socket of its own, with the socket options of its user. The tasks
//! that drive it end, and the socket is closed, as soon as the connection is dropped and the peer
//! has been told (RFC 9000, section 10.2, allows to close early if late packets provoke no answer).

mod crypto;
mod drivers;
mod error;
mod path;
mod socket;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, ConnectionError, VarInt, ZeroRttAccepted};
use rustls::pki_types::CertificateDer;

use super::{Address, SocketOption, posix};
use crate::config::{Http3Config, LEAST_STREAM_WINDOW};
use crate::error::Error;

pub(crate) use crypto::Prepared;
use drivers::Drivers;
use error::lost;
use path::Path;

/// A QUIC connection over which HTTP/3 was agreed on.
///
/// Dropping it closes the connection: the peer is told, then the socket is closed. Whoever holds
/// clones of [`Quic::connection`], or its streams, keeps this value until it is done with them.
pub struct Quic {
    /// First, so that it is dropped first.
    guard: Guard,
    connection: Connection,
    early: Option<ZeroRttAccepted>,
}

/// Takes a connection apart when dropped.
struct Guard {
    drivers: Arc<Drivers>,
    path: Arc<Path>,
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic")
            .field("peer", &self.connection.remote_address())
            .finish_non_exhaustive()
    }
}

impl Quic {
    /// The connection, to open and accept streams on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether data can be sent before the handshake is complete, and is being sent so until the
    /// future resolves: to `false` if the server did not take it, or the handshake failed. `None`
    /// if the handshake is complete, and on the second call.
    pub fn take_early(&mut self) -> Option<ZeroRttAccepted> {
        self.early.take()
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer_address(&self) -> Address {
        Address::Ip(self.connection.remote_address())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// [`Error::Posix`].
    pub fn local_address(&self) -> Result<Address, Error> {
        self.guard.path.local_address().map(Address::Ip).map_err(|error| posix(&error))
    }

    /// Moves the connection to a new socket, and so to the local address the system chooses now.
    /// The peer is asked to follow as soon as the next packet is sent (RFC 9000, section 9). This
    /// is done unasked when the system refuses to send from the old address.
    ///
    /// # Errors
    /// [`Error::Posix`]; the connection stays where it is.
    pub fn migrate(&self) -> Result<(), Error> {
        self.guard.path.renew().map_err(|error| posix(&error))
    }

    /// The certificate of the peer, in DER.
    ///
    /// # Errors
    /// [`Error::NoPeerCertificate`] if there is none, or none yet.
    pub fn peer_certificate(&self) -> Result<Vec<u8>, Error> {
        self.connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|chain| chain.first().map(|certificate| certificate.to_vec()))
            .ok_or(Error::NoPeerCertificate)
    }

    /// Whether the connection is open, as far as this end knows.
    ///
    /// # Errors
    /// Why it is not: [`Error::Posix`] if data was sent ahead of the handshake and the system learned
    /// that nobody is there, otherwise as [`lost`] names it.
    pub fn check(&self) -> Result<(), Error> {
        self.connection.close_reason().map_or(Ok(()), |reason| Err(self.loss(&reason)))
    }

    /// What the end of the connection for this reason is called.
    pub(crate) fn loss(&self, reason: &ConnectionError) -> Error {
        match (reason, self.guard.path.unreachable()) {
            (ConnectionError::LocallyClosed, Some(error)) => error.clone(),
            _ => lost(reason),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.path.close();
        self.drivers.finish();
    }
}

/// Opens a connection to `address`, for which `server_name` is the name or address to verify.
/// Takes as long as the server does, once it has said something: callers bound it. With early data allowed, and a session to
/// resume with a server that was reached at this very address before, it is open before the server
/// has said anything.
///
/// # Errors
/// [`Error::Tls`], [`Error::Posix`], also if the system learns that nobody is there,
/// [`Error::Timeout`], also if nothing has come for four seconds, and what else [`lost`] may say.
pub(crate) async fn connect(
    address: SocketAddr,
    options: &[SocketOption],
    tls: &Arc<Prepared>,
    server_name: &str,
    config: &Http3Config,
) -> Result<Quic, Error> {
    let drivers = Drivers::new();
    let path = Path::open(address, options, &drivers).map_err(|error| posix(&error))?;
    let guard = Guard { drivers, path };
    // Taken, so that a server that is silent now is not trusted to be there a second time.
    let early = config.early_data && tls.take_reached(server_name, address);
    let (client, failure) = tls.client(transport(config), early);
    let mut connecting = guard
        .path
        .endpoint()
        .connect_with(client, address, server_name)
        .map_err(|refused| error::of_attempt(&refused))?;
    let reached = {
        let (tls, name) = (tls.clone(), server_name.to_owned());
        move || tls.set_reached(&name, address)
    };
    if early {
        connecting = match connecting.into_0rtt() {
            Ok((connection, early)) => {
                guard.drivers.attend(guard.path.clone().await_first(reached));
                return Ok(Quic { guard, connection, early: Some(early) });
            }
            Err(connecting) => connecting,
        };
    }
    let connected = tokio::select! {
        connected = connecting => connected,
        error = guard.path.trouble() => return Err(posix(&error)),
        () = guard.path.silence() => return Err(Error::Timeout),
    };
    match connected {
        Ok(connection) => {
            reached();
            guard.drivers.attend(guard.path.clone().follow());
            Ok(Quic { guard, connection, early: None })
        }
        Err(reason) => Err(failure.take().unwrap_or_else(|| error::of_handshake(&reason))),
    }
}

fn transport(config: &Http3Config) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    let idle = config.idle_timeout.and_then(|idle| idle.try_into().ok());
    transport
        .max_idle_timeout(idle)
        .keep_alive_interval(config.keep_alive_interval)
        // It is that of the server's own streams too.
        .stream_receive_window(config.stream_window.max(LEAST_STREAM_WINDOW).into())
        // Only servers answer on such streams (RFC 9114, section 6.1).
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        // The three a server opens, and some whose type is unknown (RFC 9114, section 6.2).
        .max_concurrent_uni_streams(VarInt::from_u32(16))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}
