//! What a connection is opened, dialled and secured with. The maps are made by `hansom_options`,
//! with every key present; the reasons for a refusal name the key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hansom_engine::transport::{
    Carrier, Descriptor, Family, Identity, PrivateKey, Roots, Sni, SocketOption, TlsClient,
    TlsOptions, TlsVersion,
};
use hansom_engine::{
    Config, Dial, Error, Http2Config, Http3Config, Limits, MaxStreams, QuicDial, TransportKind,
};
use rustler::{Atom, Binary, Decoder, Encoder, Env, ResourceArc, Term};

use super::request::send_timeout;
use super::{proper_list, timeout};
use crate::descriptor::duplicate;
use crate::pipe::PipeResource;
use crate::{atoms, encode};

/// A map and its keys. Every `Err` is the reason in `{error, Reason}`.
#[derive(Clone, Copy)]
struct Settings<'a> {
    env: Env<'a>,
    map: Term<'a>,
}

impl<'a> Settings<'a> {
    fn term(self, key: Atom) -> Result<Term<'a>, Term<'a>> {
        self.map.map_get(key).map_err(|_| bad_option(self.env, key))
    }

    fn read<T>(self, key: Atom, read: impl FnOnce(Term<'a>) -> Option<T>) -> Result<T, Term<'a>> {
        read(self.term(key)?).ok_or_else(|| bad_option(self.env, key))
    }

    fn value<T: Decoder<'a>>(self, key: Atom) -> Result<T, Term<'a>> {
        self.read(key, |term| term.decode().ok())
    }

    fn timeout(self, key: Atom) -> Result<Option<Duration>, Term<'a>> {
        self.read(key, timeout)
    }

    fn bytes(self, key: Atom) -> Result<Vec<u8>, Term<'a>> {
        self.read(key, bytes)
    }

    fn text(self, key: Atom) -> Result<String, Term<'a>> {
        text(self.env, key, self.term(key)?)
    }

    /// An integer, or the largest for `infinity`.
    fn limit(self, key: Atom) -> Result<u64, Term<'a>> {
        self.read(
            key,
            |term| {
                if atoms::infinity() == term { Some(u64::MAX) } else { term.decode().ok() }
            },
        )
    }

    fn limit_in_memory(self, key: Atom) -> Result<usize, Term<'a>> {
        self.limit(key).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// The map of `hansom_nif:open/1`.
pub(crate) fn config<'a>(env: Env<'a>, map: Term<'a>) -> Result<Config, Term<'a>> {
    let settings = Settings { env, map };
    let limits = Settings { env, map: settings.term(atoms::limits())? };
    Ok(Config {
        recv_timeout: settings.timeout(atoms::recv_timeout())?,
        idle_timeout: settings.timeout(atoms::idle_timeout())?,
        send_timeout: settings.timeout(atoms::send_timeout())?,
        pooled: settings.value(atoms::pooled())?,
        no_reuse: settings.value(atoms::no_reuse())?,
        truncated_body_ok: settings.value(atoms::truncated_body_ok())?,
        drop_unpulled: settings.value(atoms::drop_unpulled())?,
        host_header: settings.bytes(atoms::host_header())?,
        user_agent: settings.bytes(atoms::user_agent())?,
        alt_svc: settings.value(atoms::alt_svc())?,
        limits: Limits {
            header_bytes: limits.limit_in_memory(atoms::max_header_bytes())?,
            headers: limits.limit_in_memory(atoms::max_headers())?,
            interim_responses: limits.limit_in_memory(atoms::max_interim_responses())?,
            chunk_extension_bytes: limits.limit_in_memory(atoms::max_chunk_extension_bytes())?,
            trailer_bytes: limits.limit_in_memory(atoms::max_trailer_bytes())?,
            body_bytes: limits.limit(atoms::max_body_bytes())?,
            decompressed_bytes: limits.limit(atoms::max_decompressed_bytes())?,
            decompress_ratio: limits.limit(atoms::max_decompress_ratio())?,
        },
        push_allowance: settings.value(atoms::push_allowance())?,
        trailers: settings.value(atoms::trailers())?,
        http2: http2(Settings { env, map: settings.term(atoms::http2())? })?,
        http3: http3(Settings { env, map: settings.term(atoms::http3())? })?,
    })
}

fn http2(settings: Settings<'_>) -> Result<Http2Config, Term<'_>> {
    Ok(Http2Config {
        connection_window: settings.value(atoms::connection_window())?,
        stream_window: settings.value(atoms::stream_window())?,
        max_streams: settings.read(atoms::max_streams(), max_streams)?,
        send_timeout: settings.read(atoms::send_timeout(), send_timeout)?,
        ping_interval: settings.timeout(atoms::ping_interval())?,
        ping_timeout: settings.timeout(atoms::ping_timeout())?.unwrap_or(Duration::MAX),
        drain_on_goaway: settings.value(atoms::drain_on_goaway())?,
    })
}

fn http3(settings: Settings<'_>) -> Result<Http3Config, Term<'_>> {
    Ok(Http3Config {
        stream_window: settings.value(atoms::stream_window())?,
        idle_timeout: settings.timeout(atoms::idle_timeout())?,
        keep_alive_interval: settings.timeout(atoms::keep_alive_interval())?,
        early_data: settings.value(atoms::early_data())?,
        max_streams: settings.read(atoms::max_streams(), max_streams)?,
        send_timeout: settings.read(atoms::send_timeout(), send_timeout)?,
    })
}

/// The map of `{connect, DialMap}`.
pub(super) fn dial<'a>(env: Env<'a>, map: Term<'a>) -> Result<Dial, Term<'a>> {
    let settings = Settings { env, map };
    Ok(Dial {
        transport: settings.read(atoms::transport(), transport)?,
        host: settings.text(atoms::host())?,
        port: settings.read(atoms::port(), unsigned16)?,
        socket_options: socket_options(env, settings.term(atoms::socket_options())?)?,
        tls: optional_tls(env, settings.term(atoms::tls())?)?,
        server_name: settings.text(atoms::server_name())?,
        carrier: settings.read(atoms::carrier(), |term| {
            if atoms::undefined() == term { Some(None) } else { carrier(term).map(Some) }
        })?,
        descriptor: descriptor(env, settings.term(atoms::descriptor())?)?,
        connect_timeout: settings.timeout(atoms::connect_timeout())?,
        h2c: settings.value(atoms::h2c())?,
        quic: settings.read(atoms::quic(), quic)?,
        quic_tls: optional_tls(env, settings.term(atoms::quic_tls())?)?,
    })
}

fn max_streams(term: Term<'_>) -> Option<MaxStreams> {
    if atoms::wait() == term {
        Some(MaxStreams::Wait)
    } else {
        (atoms::error() == term).then_some(MaxStreams::Fail)
    }
}

fn quic(term: Term<'_>) -> Option<QuicDial> {
    if atoms::never() == term {
        Some(QuicDial::Never)
    } else if atoms::first() == term {
        Some(QuicDial::First)
    } else if atoms::race() == term {
        Some(QuicDial::Race)
    } else {
        None
    }
}

fn optional_tls<'a>(env: Env<'a>, map: Term<'a>) -> Result<Option<Arc<TlsClient>>, Term<'a>> {
    if atoms::undefined() == map { Ok(None) } else { tls(env, map).map(Some) }
}

fn transport(term: Term<'_>) -> Option<TransportKind> {
    if atoms::tcp() == term {
        Some(TransportKind::Tcp)
    } else if atoms::tls() == term {
        Some(TransportKind::Tls)
    } else if atoms::unix() == term {
        Some(TransportKind::Unix)
    } else if atoms::carried() == term {
        Some(TransportKind::Carried)
    } else if atoms::carried_tls() == term {
        Some(TransportKind::CarriedTls)
    } else if atoms::adopted() == term {
        Some(TransportKind::Adopted)
    } else {
        None
    }
}

/// The engine's view of a pipe.
pub(super) fn carrier(term: Term<'_>) -> Option<Carrier> {
    let pipe: ResourceArc<PipeResource> = term.decode().ok()?;
    Some(pipe.carrier.clone())
}

/// `undefined`, or `{Number, Unread}` of an open socket, which is duplicated.
fn descriptor<'a>(env: Env<'a>, term: Term<'a>) -> Result<Option<Descriptor>, Term<'a>> {
    if atoms::undefined() == term {
        return Ok(None);
    }
    let (number, unread): (i32, Binary<'a>) =
        term.decode().map_err(|_| bad_option(env, atoms::descriptor()))?;
    duplicate(number)
        .map_err(Error::from)
        .and_then(|descriptor| Descriptor::new(descriptor, unread.to_vec()))
        .map(Some)
        .map_err(|error| encode::reason(env, &error))
}

/// A list of normalised socket options.
pub(super) fn socket_options<'a>(
    env: Env<'a>,
    list: Term<'a>,
) -> Result<Vec<SocketOption>, Term<'a>> {
    proper_list(list)
        .map(|option| match option {
            Some(option) => socket_option(option).ok_or_else(|| unsupported(env, option)),
            None => Err(bad_option(env, atoms::socket_options())),
        })
        .collect()
}

fn socket_option(option: Term<'_>) -> Option<SocketOption> {
    type Read = fn(Term<'_>) -> Option<SocketOption>;

    let (name, value): (Atom, Term<'_>) = option.decode().ok()?;
    let readers: [(Atom, Read); 13] = [
        (atoms::nodelay(), |value| value.decode().ok().map(SocketOption::NoDelay)),
        (atoms::keepalive(), |value| value.decode().ok().map(SocketOption::KeepAlive)),
        (atoms::linger(), |value| {
            let (on, seconds): (bool, u32) = value.decode().ok()?;
            Some(SocketOption::Linger(on.then(|| Duration::from_secs(seconds.into()))))
        }),
        (atoms::sndbuf(), |value| value.decode().ok().map(SocketOption::SendBuffer)),
        (atoms::recbuf(), |value| value.decode().ok().map(SocketOption::ReceiveBuffer)),
        (atoms::reuseaddr(), |value| value.decode().ok().map(SocketOption::ReuseAddress)),
        (atoms::tos(), |value| value.decode().ok().map(SocketOption::Tos)),
        (atoms::tclass(), |value| value.decode().ok().map(SocketOption::TrafficClass)),
        (atoms::priority(), |value| value.decode().ok().map(SocketOption::Priority)),
        (atoms::ip(), |value| ip_address(value).map(SocketOption::BindAddress)),
        (atoms::port(), |value| unsigned16(value).map(SocketOption::BindPort)),
        (atoms::bind_to_device(), |value| {
            String::from_utf8(bytes(value)?).ok().map(SocketOption::BindDevice)
        }),
        (atoms::family(), |value| family(value).map(SocketOption::Family)),
    ];
    let (_, read) = readers.into_iter().find(|(known, _)| *known == name)?;
    read(value)
}

fn family(term: Term<'_>) -> Option<Family> {
    if atoms::inet() == term {
        Some(Family::V4)
    } else if atoms::inet6() == term {
        Some(Family::V6)
    } else {
        None
    }
}

/// Decoding directly into 16 bits would cut off what does not fit.
fn unsigned16(term: Term<'_>) -> Option<u16> {
    term.decode::<u32>().ok().and_then(|number| number.try_into().ok())
}

fn ip_address(term: Term<'_>) -> Option<IpAddr> {
    let parts = rustler::types::tuple::get_tuple(term).ok()?;
    let parts: Vec<u16> = parts.into_iter().map(unsigned16).collect::<Option<_>>()?;
    if let Ok(segments) = <[u16; 8]>::try_from(&parts[..]) {
        return Some(Ipv6Addr::from(segments).into());
    }
    let octets = <[u16; 4]>::try_from(&parts[..]).ok()?;
    let mut address = [0; 4];
    for (byte, octet) in address.iter_mut().zip(octets) {
        *byte = octet.try_into().ok()?;
    }
    Some(Ipv4Addr::from(address).into())
}

/// TLS options. They are only copied here; preparing them is for the runtime's threads.
pub(super) fn tls<'a>(env: Env<'a>, map: Term<'a>) -> Result<Arc<TlsClient>, Term<'a>> {
    let settings = Settings { env, map };
    Ok(TlsClient::lazy(TlsOptions {
        verify: settings.value(atoms::verify())?,
        check_hostname: true,
        roots: settings.read(atoms::roots(), roots)?,
        depth: settings.read(atoms::depth(), |depth| {
            if atoms::infinity() == depth { Some(None) } else { depth.decode().ok().map(Some) }
        })?,
        identity: settings.read(atoms::identity(), |list| each(list, identity))?,
        versions: settings.read(atoms::versions(), |list| each(list, version))?,
        cipher_suites: settings.read(atoms::cipher_suites(), numbers)?,
        groups: settings.read(atoms::groups(), numbers)?,
        signature_schemes: settings.read(atoms::signature_schemes(), numbers)?,
        sni: if settings.value(atoms::sni())? { Sni::Default } else { Sni::Disabled },
        alpn: settings.read(atoms::alpn(), |list| each(list, bytes))?,
        resumption: settings.value(atoms::resumption())?,
        key_log: settings.value(atoms::key_log())?,
    }))
}

fn roots(term: Term<'_>) -> Option<Roots> {
    if atoms::mozilla() == term {
        return Some(Roots::Mozilla);
    }
    if atoms::system() == term {
        return Some(Roots::System);
    }
    let (der, certificates): (Atom, Term<'_>) = term.decode().ok()?;
    (der == atoms::der()).then_some(())?;
    each(certificates, bytes).map(Roots::Der)
}

fn identity(term: Term<'_>) -> Option<Identity> {
    let (chain, (format, key)): (Term<'_>, (Atom, Term<'_>)) = term.decode().ok()?;
    let key = bytes(key)?;
    let key = if format == atoms::pkcs8() {
        PrivateKey::Pkcs8(key)
    } else if format == atoms::pkcs1() {
        PrivateKey::Pkcs1(key)
    } else if format == atoms::sec1() {
        PrivateKey::Sec1(key)
    } else {
        return None;
    };
    Some(Identity { chain: each(chain, bytes)?, key })
}

fn version(term: Term<'_>) -> Option<TlsVersion> {
    if atoms::tlsv1_3() == term {
        Some(TlsVersion::Tls13)
    } else if atoms::tlsv1_2() == term {
        Some(TlsVersion::Tls12)
    } else {
        None
    }
}

/// `default` or a list of IANA numbers.
fn numbers(term: Term<'_>) -> Option<Option<Vec<u16>>> {
    if atoms::default() == term { Some(None) } else { each(term, unsigned16).map(Some) }
}

fn each<'a, T>(list: Term<'a>, read: impl Fn(Term<'a>) -> Option<T>) -> Option<Vec<T>> {
    proper_list(list).map(|element| read(element?)).collect()
}

fn bytes(term: Term<'_>) -> Option<Vec<u8>> {
    Binary::from_term(term).ok().map(|binary| binary.to_vec())
}

/// The UTF-8 text in a binary.
pub(super) fn text<'a>(env: Env<'a>, key: Atom, term: Term<'a>) -> Result<String, Term<'a>> {
    bytes(term).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| bad_option(env, key))
}

/// `{options, Key}`.
fn bad_option<'a>(env: Env<'a>, key: Atom) -> Term<'a> {
    (atoms::options(), key).encode(env)
}

/// `{options, {unsupported, Option}}`.
fn unsupported<'a>(env: Env<'a>, option: Term<'a>) -> Term<'a> {
    (atoms::options(), (atoms::unsupported(), option)).encode(env)
}
