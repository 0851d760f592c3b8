//! Answers, messages, notices and errors to terms.
//!
//! Header fields and other short texts of a peer become binaries of their own: a part of a larger
//! binary would keep the whole head in memory for as long as any field lives.

use hansom_engine::transport::Address;
use hansom_engine::{
    Answer, Coding, Error, H2Code, HeaderList, HttpProtocol, Info, Limit, Message, Notice, State,
    StreamEvent, Totals,
};
use rustler::{Atom, Encoder, Env, LocalPid, NewBinary, Term};
use std::net::{IpAddr, SocketAddr};

use crate::notify::{Beam, Receiver};
use crate::{atoms, pipe};

/// The term an answer is delivered as, alone or as `{Ref, Answer}`.
pub(crate) fn answer<'a>(env: Env<'a>, answer: Answer<Beam>) -> Term<'a> {
    match answer {
        Answer::Ok => atoms::ok().to_term(env),
        Answer::Response { status, headers } => {
            (atoms::ok(), status, header_list(env, &headers)).encode(env)
        }
        Answer::Data(data) => (atoms::ok(), data.into_term(env)).encode(env),
        Answer::Done => atoms::done().to_term(env),
        Answer::Truncated(data) => {
            (atoms::error(), (atoms::closed(), data.into_term(env))).encode(env)
        }
        Answer::Headers(None) => atoms::undefined().to_term(env),
        Answer::Headers(Some(headers)) => header_list(env, &headers),
        Answer::Address(address) => (atoms::ok(), socket_address(env, &address)).encode(env),
        Answer::Certificate(der) => (atoms::ok(), binary(env, &der)).encode(env),
        Answer::Reuse { should_close, ready } => (atoms::reuse(), should_close, ready).encode(env),
        Answer::Full { status, headers, body } => {
            (atoms::ok(), status, header_list(env, &headers), body.into_term(env)).encode(env)
        }
        Answer::Protocol(spoken) => protocol(spoken).to_term(env),
        Answer::Stream { id } => (atoms::ok(), id).encode(env),
        Answer::AskTransport => atoms::ask_transport().to_term(env),
        Answer::Error(error) => error_tuple(env, &error),
    }
}

/// `{'$inform', Status, Reason, Headers}`.
pub(crate) fn inform<'a>(
    env: Env<'a>,
    status: u16,
    reason: &[u8],
    headers: &HeaderList,
) -> Term<'a> {
    (atoms::inform(), status, binary(env, reason), header_list(env, headers)).encode(env)
}

/// `{hackney_response, ConnPid, Payload}`, or `{h2, ConnPid, Event}` for a stream of the receiver's
/// own.
pub(crate) fn message<'a>(env: Env<'a>, connection: LocalPid, message: Message<Beam>) -> Term<'a> {
    let payload = match message {
        Message::Informational { status, reason, headers } => {
            (atoms::informational(), status, binary(env, &reason), header_list(env, &headers))
                .encode(env)
        }
        Message::Status { status, reason } => {
            (atoms::status(), status, binary(env, &reason)).encode(env)
        }
        Message::Headers(headers) => (atoms::headers(), header_list(env, &headers)).encode(env),
        Message::Data(data) => data.into_term(env),
        Message::Trailers(trailers) => (atoms::trailers(), header_list(env, &trailers)).encode(env),
        Message::Done => atoms::done().to_term(env),
        Message::Stream { id, event } => {
            return (atoms::h2(), connection, stream_event(env, id, event)).encode(env);
        }
        Message::Redirect { location, headers } => {
            (atoms::redirect(), binary(env, &location), header_list(env, &headers)).encode(env)
        }
        Message::SeeOther { location, headers } => {
            (atoms::see_other(), binary(env, &location), header_list(env, &headers)).encode(env)
        }
        Message::Error(error) => error_tuple(env, &error),
    };
    (atoms::hackney_response(), connection, payload).encode(env)
}

fn stream_event<'a>(env: Env<'a>, id: u64, event: StreamEvent<Beam>) -> Term<'a> {
    match event {
        StreamEvent::Informational { status, headers } => {
            (atoms::informational(), id, status, header_list(env, &headers)).encode(env)
        }
        StreamEvent::Response { status, headers } => {
            (atoms::response(), id, status, header_list(env, &headers)).encode(env)
        }
        StreamEvent::Data { data, end } => {
            (atoms::data(), id, data.into_term(env), end).encode(env)
        }
        StreamEvent::Trailers(trailers) => {
            (atoms::trailers(), id, header_list(env, &trailers)).encode(env)
        }
        StreamEvent::Reset(code) => (atoms::stream_reset(), id, code_term(env, code)).encode(env),
        StreamEvent::Goaway { last, code } => {
            (atoms::goaway(), last, code_term(env, code)).encode(env)
        }
        StreamEvent::Closed(reason) => (atoms::closed(), named_atom(env, reason)).encode(env),
    }
}

/// The atom of an HTTP/2 error code, or `{unknown, Code}`.
fn code_term<'a>(env: Env<'a>, code: u64) -> Term<'a> {
    match u32::try_from(code).ok().and_then(|code| H2Code(code).name()) {
        Some(name) => named_atom(env, name),
        None => (atoms::unknown(), code).encode(env),
    }
}

/// The atom of a protocol.
pub(crate) fn protocol(spoken: HttpProtocol) -> Atom {
    match spoken {
        HttpProtocol::Http1 => atoms::http1(),
        HttpProtocol::Http2 => atoms::http2(),
        HttpProtocol::Http3 => atoms::http3(),
    }
}

/// `{'$hansom', Notice}`.
pub(crate) fn notice<'a>(env: Env<'a>, notice: Notice<Beam>) -> Term<'a> {
    let notice = match notice {
        Notice::Closed => atoms::closed().to_term(env),
        Notice::Finished => atoms::finished().to_term(env),
        Notice::Released => atoms::released().to_term(env),
        Notice::Owner(receiver) => (atoms::owner(), receiver.pid_term(env)).encode(env),
        Notice::Flow(receiver) => (atoms::flow(), receiver.pid_term(env)).encode(env),
        Notice::AltSvc(headers) => (atoms::alt_svc(), header_list(env, &headers)).encode(env),
    };
    (atoms::hansom(), notice).encode(env)
}

/// `{'$hansom', {watch, RemotePid}}`: the death of this process of another node matters.
pub(crate) fn watch<'a>(env: Env<'a>, user: &Receiver) -> Term<'a> {
    (atoms::hansom(), (atoms::watch(), user.pid_term(env))).encode(env)
}

/// `{'$hansom', {relay, RemotePid, Message}}`: a message for a process of another node, which
/// only a process can send.
pub(crate) fn relay<'a>(env: Env<'a>, receiver: &Receiver, message: Term<'a>) -> Term<'a> {
    (atoms::hansom(), (atoms::relay(), receiver.pid_term(env), message)).encode(env)
}

/// `{error, Reason}`.
pub(crate) fn error_tuple<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    (atoms::error(), reason(env, error)).encode(env)
}

/// The reason in `{error, Reason}`.
pub(crate) fn reason<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    match error {
        Error::InvalidState => atoms::invalid_state().to_term(env),
        Error::Closed => atoms::closed().to_term(env),
        Error::Timeout => atoms::timeout().to_term(env),
        Error::NoSuchName => atoms::nxdomain().to_term(env),
        Error::Posix(name) => named_atom(env, name),
        Error::NotConnected => atoms::not_connected().to_term(env),
        Error::NotTls => atoms::not_ssl().to_term(env),
        Error::NoPeerCertificate => atoms::no_peercert().to_term(env),
        Error::NotSupported => atoms::not_supported().to_term(env),
        Error::BadRequest => atoms::bad_request().to_term(env),
        Error::LineTooLong => atoms::line_too_long().to_term(env),
        Error::NotHttp => (atoms::bad_response(), atoms::not_http()).encode(env),
        Error::InvalidChunkSize => atoms::invalid_chunk_size().to_term(env),
        Error::BadChunkEnd => atoms::poorly_formatted_chunked_size().to_term(env),
        Error::Limit(limit) => (atoms::limit_exceeded(), limit_name(*limit)).encode(env),
        Error::Decompress { coding, reason } => {
            (atoms::decompress_error(), coding_name(*coding), named_atom(env, reason)).encode(env)
        }
        Error::Tls { alert, text } => {
            (atoms::tls_alert(), (named_atom(env, alert.0), string(env, text))).encode(env)
        }
        Error::Option { name, reason } => {
            let name = option_name(env, name);
            if reason.is_empty() {
                (atoms::options(), (atoms::unsupported(), name)).encode(env)
            } else {
                (atoms::options(), (name, string(env, reason))).encode(env)
            }
        }
        Error::Foreign(reason) => pipe::foreign_reason(env, reason),
        Error::OutOfMemory => atoms::enomem().to_term(env),
        Error::StreamError(code) => {
            (atoms::stream_error(), code_term(env, code.0.into())).encode(env)
        }
        Error::Goaway(code) => (atoms::goaway(), code_term(env, code.0.into())).encode(env),
        Error::ClosedBy(reason) => (atoms::closed(), named_atom(env, reason)).encode(env),
        Error::MaxStreamsExceeded => atoms::max_streams_exceeded().to_term(env),
        Error::HeaderListTooLarge => atoms::header_list_too_large().to_term(env),
        Error::ProtocolError => atoms::protocol_error().to_term(env),
        Error::NoStream => atoms::no_stream().to_term(env),
        Error::SendBufferFull => atoms::send_buffer_full().to_term(env),
        Error::SendReset => atoms::stream_reset().to_term(env),
        Error::SendClosed => atoms::stream_closed().to_term(env),
        Error::StreamReset(code) => (atoms::stream_reset(), *code).encode(env),
        Error::ConnectionClosed(reason) => {
            (atoms::connection_closed(), named_atom(env, reason)).encode(env)
        }
        Error::TransportError { code, text } => {
            (atoms::transport_error(), *code, binary(env, text.as_bytes())).encode(env)
        }
        Error::EarlyDataRejected => atoms::early_data_rejected().to_term(env),
        Error::NoStatus => atoms::no_status().to_term(env),
    }
}

/// The atom of a state.
pub(crate) fn state(state: State) -> Atom {
    match state {
        State::Idle => atoms::idle(),
        State::Connecting => atoms::connecting(),
        State::Connected => atoms::connected(),
        State::StreamingBody => atoms::streaming_body(),
        State::Receiving => atoms::receiving(),
        State::Streaming => atoms::streaming(),
        State::StreamingOnce => atoms::streaming_once(),
        State::Closed => atoms::closed(),
    }
}

/// `[{Name, Value}]`, built from its end so that no array of terms is needed.
pub(crate) fn header_list<'a>(env: Env<'a>, headers: &HeaderList) -> Term<'a> {
    headers.iter().rev().fold(Term::list_new_empty(env), |list, (name, value)| {
        list.list_prepend((binary(env, name), binary(env, value)))
    })
}

/// A binary holding a copy of `bytes`.
pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

fn socket_address<'a>(env: Env<'a>, address: &Address) -> Term<'a> {
    match address {
        Address::Ip(SocketAddr::V4(address)) => {
            (ip_address(env, (*address.ip()).into()), address.port()).encode(env)
        }
        Address::Ip(SocketAddr::V6(address)) => {
            (ip_address(env, (*address.ip()).into()), address.port()).encode(env)
        }
        Address::Unix(path) => {
            let path = path.as_ref().map_or(&b""[..], |path| path.as_os_str().as_encoded_bytes());
            (atoms::local(), binary(env, path)).encode(env)
        }
    }
}

fn ip_address(env: Env<'_>, address: IpAddr) -> Term<'_> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            (a, b, c, d).encode(env)
        }
        IpAddr::V6(address) => {
            rustler::types::tuple::make_tuple(env, &address.segments().map(|part| part.encode(env)))
        }
    }
}

fn limit_name(limit: Limit) -> Atom {
    match limit {
        Limit::HeaderBytes => atoms::max_header_bytes(),
        Limit::Headers => atoms::max_headers(),
        Limit::InterimResponses => atoms::max_interim_responses(),
        Limit::ChunkExtensionBytes => atoms::max_chunk_extension_bytes(),
        Limit::TrailerBytes => atoms::max_trailer_bytes(),
        Limit::BodyBytes => atoms::max_body_bytes(),
    }
}

fn coding_name(coding: Coding) -> Atom {
    match coding {
        Coding::Gzip => atoms::gzip(),
        Coding::Deflate => atoms::deflate(),
        Coding::Brotli => atoms::br(),
        Coding::Zstd => atoms::zstd(),
    }
}

/// An atom out of one of the engine's own tables (POSIX errors, TLS alerts, zlib results): their
/// number is fixed when the library is built.
fn named_atom<'a>(env: Env<'a>, name: &'static str) -> Term<'a> {
    match Atom::from_str(env, name) {
        Ok(atom) => atom.to_term(env),
        Err(_) => binary(env, name.as_bytes()),
    }
}

/// An option's name: an atom if there is such an atom already, as there is for every option an
/// Erlang program could have given.
fn option_name<'a>(env: Env<'a>, name: &str) -> Term<'a> {
    match Atom::existing_from_str(env, name) {
        Ok(atom) => atom.to_term(env),
        Err(_) => binary(env, name.as_bytes()),
    }
}

/// A text as OTP writes texts in error reasons: a list of code points.
fn string<'a>(env: Env<'a>, text: &str) -> Term<'a> {
    text.chars()
        .rev()
        .fold(Term::list_new_empty(env), |list, char| list.list_prepend(u32::from(char)))
}

/// The map of `hansom_nif:info/1`.
pub(crate) fn info<'a>(env: Env<'a>, info: &Info) -> Term<'a> {
    let Info { state: current, tls, protocol: spoken, buffered_in, buffered_out, totals } = info;
    let map = put_totals(Term::map_new(env), totals);
    let map = put(map, atoms::state(), state(*current));
    let map = put(map, atoms::tls(), tls);
    let map = put(map, atoms::protocol(), protocol(*spoken));
    let map = put(map, atoms::buffered_in(), buffered_in);
    put(map, atoms::buffered_out(), buffered_out)
}

/// The map of `hansom_nif:stats/0`.
pub(crate) fn stats<'a>(
    env: Env<'a>,
    states: &[(State, u64)],
    totals: &Totals,
    threads: usize,
) -> Term<'a> {
    let connections = states
        .iter()
        .fold(Term::map_new(env), |map, (counted, count)| put(map, state(*counted), count));
    let map = put_totals(Term::map_new(env), totals);
    put(put(map, atoms::connections(), connections), atoms::threads(), threads)
}

fn put_totals<'a>(map: Term<'a>, totals: &Totals) -> Term<'a> {
    let Totals { sent, received, requests, reuses, connects, handshakes } = totals;
    [
        (atoms::sent(), sent),
        (atoms::received(), received),
        (atoms::requests(), requests),
        (atoms::reuses(), reuses),
        (atoms::connects(), connects),
        (atoms::handshakes(), handshakes),
    ]
    .into_iter()
    .fold(map, |map, (key, count)| put(map, key, count))
}

fn put<'a>(map: Term<'a>, key: Atom, value: impl Encoder) -> Term<'a> {
    // Only what is not a map refuses an entry.
    map.map_put(key, value).unwrap_or(map)
}
