//! TLS inside QUIC, with the errors TLS over TCP has.
//!
//! quinn passes on the alert rustls sends and a text. The alert OTP would send depends on why a
//! certificate was refused, which is learned here from the verifier itself.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::crypto::{
    ClientConfig as CryptoConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
    Session as CryptoSession,
};
use quinn::{ConnectError, ConnectionId, NoneTokenStore, Side, TokenMemoryCache, TokenStore};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::error::Error;
use crate::transport::tls::alert;

/// TLS options, prepared for use by any number of QUIC connections.
pub(crate) struct Prepared {
    crypto: Arc<QuicClientConfig>,
    /// The same with the same sessions, for connections that send data ahead of the handshake. To
    /// offer that and then not do it is something servers are not used to.
    early: Arc<QuicClientConfig>,
    /// Address validation tokens (RFC 9000, section 8.1.3): they let a server recognise a client
    /// as session tickets do, and are kept apart as those are.
    tokens: Arc<dyn TokenStore>,
    /// Where servers were reached last, by name. A session says nothing of the address, port or
    /// family it was made over.
    reached: Mutex<HashMap<String, SocketAddr>>,
}

/// How many servers are remembered in [`Prepared::reached`], as many as have sessions.
const MOST_REACHED: usize = 128;

impl Prepared {
    /// `config` must offer TLS 1.3 and nothing else.
    pub(crate) fn new(
        mut config: ClientConfig,
        verifier: Arc<dyn ServerCertVerifier>,
        resumption: bool,
    ) -> Result<Self, Error> {
        let unsupported =
            || Error::Option { name: "ciphers".into(), reason: "none is for QUIC".into() };
        // Packets of the first flight have this suite, whatever is agreed on for the others (RFC
        // 9001, section 5.2).
        let initial = TLS13_AES_128_GCM_SHA256
            .tls13()
            .and_then(|suite| suite.quic_suite())
            .ok_or_else(unsupported)?;
        config.dangerous().set_certificate_verifier(Arc::new(Recorder(verifier)));
        let with = |config| {
            QuicClientConfig::with_initial(Arc::new(config), initial)
                .map(Arc::new)
                .map_err(|_| unsupported())
        };
        let crypto = with(config.clone())?;
        config.enable_early_data = true;
        let early = with(config)?;
        let tokens: Arc<dyn TokenStore> = if resumption {
            Arc::new(TokenMemoryCache::default())
        } else {
            Arc::new(NoneTokenStore)
        };
        Ok(Self { crypto, early, tokens, reached: Mutex::default() })
    }

    /// Where the server of this name was reached last.
    pub(crate) fn reached(&self, server_name: &str) -> Option<SocketAddr> {
        self.lock_reached().get(server_name).copied()
    }

    pub(super) fn set_reached(&self, server_name: &str, address: SocketAddr) {
        let mut reached = self.lock_reached();
        if reached.len() >= MOST_REACHED && !reached.contains_key(server_name) {
            reached.clear();
        }
        reached.insert(server_name.to_owned(), address);
    }

    /// Whether the server was reached there last; it is not for whoever asks again.
    pub(super) fn take_reached(&self, server_name: &str, address: SocketAddr) -> bool {
        let mut reached = self.lock_reached();
        let known = reached.get(server_name) == Some(&address);
        if known {
            reached.remove(server_name);
        }
        known
    }

    fn lock_reached(&self) -> MutexGuard<'_, HashMap<String, SocketAddr>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one connection is made with, and where its handshake leaves why it failed.
    pub(super) fn client(
        &self,
        transport: Arc<quinn::TransportConfig>,
        early: bool,
    ) -> (quinn::ClientConfig, Failure) {
        let failure = Failure::default();
        let inner = if early { self.early.clone() } else { self.crypto.clone() };
        let crypto = Recorded { inner, failure: failure.clone() };
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(transport).token_store(self.tokens.clone());
        (client, failure)
    }
}

/// Why a handshake failed, if it was this side that refused.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

thread_local! {
    /// Why the verifier refused. One verifier serves all connections of a configuration (tickets
    /// are bound to it), but it is called by the very thread that reads a handshake, within that
    /// call: so this names the connection.
    static REFUSAL: RefCell<Option<rustls::Error>> = const { RefCell::new(None) };
}

/// Leaves the refusals of a verifier for [`Session`].
#[derive(Debug)]
struct Recorder(Arc<dyn ServerCertVerifier>);

fn record<T>(verdict: Result<T, rustls::Error>) -> Result<T, rustls::Error> {
    if let Err(error) = &verdict {
        REFUSAL.set(Some(error.clone()));
    }
    verdict
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        record(self.0.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        record(self.0.verify_tls12_signature(message, certificate, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        record(self.0.verify_tls13_signature(message, certificate, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Makes sessions that keep why they failed.
struct Recorded {
    inner: Arc<QuicClientConfig>,
    failure: Failure,
}

impl CryptoConfig for Recorded {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn CryptoSession>, ConnectError> {
        let inner = self.inner.clone().start_session(version, server_name, parameters)?;
        Ok(Box::new(Session { inner, failure: self.failure.clone() }))
    }
}

/// A TLS session that keeps why it failed.
struct Session {
    inner: Box<dyn CryptoSession>,
    failure: Failure,
}

impl CryptoSession for Session {
    fn read_handshake(&mut self, data: &[u8]) -> Result<bool, TransportError> {
        REFUSAL.take();
        let read = self.inner.read_handshake(data);
        if read.is_err()
            && let Some(refusal) = REFUSAL.take()
        {
            self.failure.set(alert::from_rustls(&refusal));
        }
        read
    }

    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(destination, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, data: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(data)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}
