//! POSIX error names, as OTP spells them.

use std::io;

use crate::error::Error;

/// A system error by its name. Errors without a number are named after their kind.
pub(crate) fn posix(error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => Error::OutOfMemory,
        Some(number) => Error::Posix(name(number)),
        None => match error.kind() {
            io::ErrorKind::TimedOut => Error::Timeout,
            io::ErrorKind::OutOfMemory => Error::OutOfMemory,
            io::ErrorKind::NotConnected => Error::Posix("enotconn"),
            io::ErrorKind::InvalidInput => Error::Posix("einval"),
            io::ErrorKind::Unsupported => Error::Posix("enotsup"),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Error::Closed,
            _ => Error::Posix("eio"),
        },
    }
}

macro_rules! names {
    ($number:expr, $($constant:ident => $name:literal),* $(,)?) => {
        $(if $number == libc::$constant { return $name; })*
    };
}

/// The name of an error number; `unknown` if it has none, as in OTP.
fn name(number: i32) -> &'static str {
    names!(number,
        E2BIG => "e2big", EACCES => "eacces", EADDRINUSE => "eaddrinuse",
        EADDRNOTAVAIL => "eaddrnotavail", EAFNOSUPPORT => "eafnosupport", EAGAIN => "eagain",
        EALREADY => "ealready", EBADF => "ebadf", EBADMSG => "ebadmsg", EBUSY => "ebusy",
        ECANCELED => "ecanceled", ECHILD => "echild", ECONNABORTED => "econnaborted",
        ECONNREFUSED => "econnrefused", ECONNRESET => "econnreset", EDEADLK => "edeadlk",
        EDESTADDRREQ => "edestaddrreq", EDOM => "edom", EDQUOT => "edquot", EEXIST => "eexist",
        EFAULT => "efault", EFBIG => "efbig", EHOSTDOWN => "ehostdown",
        EHOSTUNREACH => "ehostunreach", EIDRM => "eidrm", EILSEQ => "eilseq",
        EINPROGRESS => "einprogress", EINTR => "eintr", EINVAL => "einval", EIO => "eio",
        EISCONN => "eisconn", EISDIR => "eisdir", ELOOP => "eloop", EMFILE => "emfile",
        EMLINK => "emlink", EMSGSIZE => "emsgsize", EMULTIHOP => "emultihop",
        ENAMETOOLONG => "enametoolong", ENETDOWN => "enetdown", ENETRESET => "enetreset",
        ENETUNREACH => "enetunreach", ENFILE => "enfile", ENOBUFS => "enobufs",
        ENODEV => "enodev", ENOENT => "enoent", ENOEXEC => "enoexec", ENOLCK => "enolck",
        ENOLINK => "enolink", ENOMEM => "enomem", ENOMSG => "enomsg",
        ENOPROTOOPT => "enoprotoopt", ENOSPC => "enospc", ENOSYS => "enosys",
        ENOTBLK => "enotblk", ENOTCONN => "enotconn", ENOTDIR => "enotdir",
        ENOTEMPTY => "enotempty", ENOTSOCK => "enotsock", ENOTSUP => "enotsup",
        ENOTTY => "enotty", ENXIO => "enxio", EOPNOTSUPP => "eopnotsupp",
        EOVERFLOW => "eoverflow", EPERM => "eperm", EPFNOSUPPORT => "epfnosupport",
        EPIPE => "epipe", EPROTO => "eproto", EPROTONOSUPPORT => "eprotonosupport",
        EPROTOTYPE => "eprototype", ERANGE => "erange", EREMOTE => "eremote", EROFS => "erofs",
        ESHUTDOWN => "eshutdown", ESOCKTNOSUPPORT => "esocktnosupport", ESPIPE => "espipe",
        ESRCH => "esrch", ESTALE => "estale", ETIMEDOUT => "etimedout",
        ETOOMANYREFS => "etoomanyrefs", ETXTBSY => "etxtbsy", EUSERS => "eusers",
        EXDEV => "exdev",
    );
    #[cfg(target_os = "linux")]
    names!(number,
        EADV => "eadv", EBADE => "ebade", EBADFD => "ebadfd", EBADR => "ebadr",
        EBADRQC => "ebadrqc", EBADSLT => "ebadslt", EBFONT => "ebfont", ECHRNG => "echrng",
        ECOMM => "ecomm", EDOTDOT => "edotdot", EL2HLT => "el2hlt", EL2NSYNC => "el2nsync",
        EL3HLT => "el3hlt", EL3RST => "el3rst", ELIBACC => "elibacc", ELIBBAD => "elibbad",
        ELIBEXEC => "elibexec", ELIBMAX => "elibmax", ELIBSCN => "elibscn", ELNRNG => "elnrng",
        ENOANO => "enoano", ENOCSI => "enocsi", ENODATA => "enodata", ENOKEY => "enokey",
        ENONET => "enonet", ENOPKG => "enopkg", ENOSR => "enosr", ENOSTR => "enostr",
        ENOTNAM => "enotnam", ENOTUNIQ => "enotuniq", EREMCHG => "eremchg",
        EREMOTEIO => "eremoteio", ESRMNT => "esrmnt", EUCLEAN => "euclean", EUNATCH => "eunatch",
        EXFULL => "exfull",
    );
    "unknown"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_names() {
        let named = |number| posix(&io::Error::from_raw_os_error(number));
        assert_eq!(named(libc::ECONNREFUSED), Error::Posix("econnrefused"));
        assert_eq!(named(libc::EHOSTUNREACH), Error::Posix("ehostunreach"));
        assert_eq!(named(libc::EADDRNOTAVAIL), Error::Posix("eaddrnotavail"));
        assert_eq!(named(libc::EWOULDBLOCK), Error::Posix("eagain"));
        assert_eq!(named(libc::ENOMEM), Error::OutOfMemory);
        assert_eq!(named(99_999), Error::Posix("unknown"));
    }

    #[test]
    fn errors_without_a_number_have_a_name() {
        let named = |kind: io::ErrorKind| posix(&io::Error::from(kind));
        assert_eq!(named(io::ErrorKind::TimedOut), Error::Timeout);
        assert_eq!(named(io::ErrorKind::InvalidInput), Error::Posix("einval"));
        assert_eq!(named(io::ErrorKind::Other), Error::Posix("eio"));
    }
}
