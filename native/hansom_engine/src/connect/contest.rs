//! QUIC and TCP, of which one is needed.

use std::future::Future;
use std::time::Duration;

use crate::error::Error;

/// Returns what is ready first, abandoning the other. `quic` has a head start: `tcp` begins when
/// that is over, or at once when `quic` has failed. A failure of one leaves it to the other, which
/// has to end in time by itself.
pub(super) async fn first_ready<T>(
    quic: impl Future<Output = Result<T, Error>>,
    tcp: impl Future<Output = Result<T, Error>>,
    head_start: Duration,
) -> Result<T, Error> {
    tokio::pin!(quic, tcp);
    let failed = tokio::select! {
        biased;
        result = &mut quic => match result {
            Ok(ready) => return Ok(ready),
            Err(error) => Some(error),
        },
        () = tokio::time::sleep(head_start) => None,
    };
    if let Some(error) = failed {
        return tcp.await.map_err(|other| clearer(error, other));
    }
    tokio::select! {
        biased;
        result = &mut quic => match result {
            Ok(ready) => Ok(ready),
            Err(error) => tcp.await.map_err(|other| clearer(error, other)),
        },
        result = &mut tcp => match result {
            Ok(ready) => Ok(ready),
            Err(error) => quic.await.map_err(|other| clearer(other, error)),
        },
    }
}

/// What is to be said when both have failed.
fn clearer(of_quic: Error, of_tcp: Error) -> Error {
    match (&of_quic, &of_tcp) {
        // Whoever came as far as an alert knows more of what is wrong.
        (_, Error::Tls { .. }) => of_tcp,
        (Error::Tls { .. }, _) => of_quic,
        // One that ran out of time knows nothing.
        (_, Error::Timeout) => of_quic,
        _ => of_tcp,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const REFUSED: Error = Error::Posix("econnrefused");
    const LOST: Error = Error::ConnectionClosed("timeout");

    async fn after<T>(milliseconds: u64, result: T) -> T {
        sleep(Duration::from_millis(milliseconds)).await;
        result
    }

    fn alert() -> Error {
        Error::Tls { alert: crate::error::Alert("unknown_ca"), text: String::new() }
    }

    /// The result, and after how many milliseconds.
    async fn contest(
        quic: impl Future<Output = Result<&'static str, Error>>,
        tcp: impl Future<Output = Result<&'static str, Error>>,
        head_start: u64,
    ) -> (Result<&'static str, Error>, u128) {
        let begin = Instant::now();
        let result = first_ready(quic, tcp, Duration::from_millis(head_start)).await;
        (result, begin.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn quic_is_alone_for_its_head_start() {
        let tcp = || async { panic!("tcp was tried") };
        assert_eq!(contest(after(900, Ok("quic")), tcp(), 1000).await, (Ok("quic"), 900));
    }

    #[tokio::test(start_paused = true)]
    async fn tcp_joins_when_the_head_start_is_over() {
        let silent = std::future::pending;
        assert_eq!(contest(silent(), after(10, Ok("tcp")), 1000).await, (Ok("tcp"), 1010));
        let both = contest(after(1005, Ok("quic")), after(10, Ok("tcp")), 1000);
        assert_eq!(both.await, (Ok("quic"), 1005));
    }

    #[tokio::test(start_paused = true)]
    async fn tcp_follows_a_failure_at_once() {
        let failing = contest(after(20, Err(LOST)), after(10, Ok("tcp")), 1000);
        assert_eq!(failing.await, (Ok("tcp"), 30));
        let later = contest(after(1020, Err(LOST)), after(30, Ok("tcp")), 1000);
        assert_eq!(later.await, (Ok("tcp"), 1030));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_tcp_leaves_it_to_quic() {
        let failing = contest(after(500, Ok("quic")), after(10, Err(REFUSED)), 0);
        assert_eq!(failing.await, (Ok("quic"), 500));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clearer_error_is_told() {
        let both = async |quic, tcp| contest(after(10, Err(quic)), after(10, Err(tcp)), 0).await.0;
        assert_eq!(both(LOST, REFUSED).await, Err(REFUSED));
        assert_eq!(both(alert(), REFUSED).await, Err(alert()));
        assert_eq!(both(LOST, alert()).await, Err(alert()));
        assert_eq!(both(Error::Timeout, REFUSED).await, Err(REFUSED));
        assert_eq!(both(REFUSED, Error::Timeout).await, Err(REFUSED));
        assert_eq!(both(alert(), Error::Timeout).await, Err(alert()));
        assert_eq!(both(Error::Timeout, Error::Timeout).await, Err(Error::Timeout));
        assert_eq!(
            contest(after(50, Err(alert())), after(1, Err(REFUSED)), 0).await.0,
            Err(alert())
        );
    }
}
