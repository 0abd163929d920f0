//! The signs that a provider is down for a moment.

use std::{error::Error, io};

use http::StatusCode;

use crate::call::sources;

/// Statuses of a server, or of a proxy in front of it, that fails for a moment.
pub(super) fn is_unavailable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504)
}

/// Returns whether an error shows that no connection was made, so that nothing was sent.
///
/// Only `connect` fails with these two kinds. Linux reports `HostUnreachable`, `NetworkUnreachable` and
/// `TimedOut` of established connections too (`tcp_write_err` in `net/ipv4/tcp_timer.c`), and `NotConnected`
/// after a reset. A failed look-up of a name has no kind of its own.
pub(super) fn was_not_sent(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| {
        let io = source.downcast_ref::<io::Error>();
        is_of_reqwest(source)
            || io.is_some_and(|io| {
                use io::ErrorKind::{AddrNotAvailable, ConnectionRefused};
                matches!(io.kind(), AddrNotAvailable | ConnectionRefused)
                    // The error in an I/O error is not its source.
                    || io.get_ref().is_some_and(|inner| was_not_sent(inner))
            })
    })
}

#[cfg(feature = "reqwest")]
fn is_of_reqwest(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(reqwest::Error::is_connect)
}

#[cfg(not(feature = "reqwest"))]
fn is_of_reqwest(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_in_an_io_error_counts() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(was_not_sent(&refused()));
        assert!(was_not_sent(&io::Error::other(refused())));
    }

    #[test]
    fn error_that_may_come_after_the_send_does_not_count() {
        for kind in [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::NotConnected,
            io::ErrorKind::Other,
            io::ErrorKind::TimedOut,
            io::ErrorKind::UnexpectedEof,
        ] {
            assert!(!was_not_sent(&io::Error::from(kind)), "{kind}");
        }
    }
}
