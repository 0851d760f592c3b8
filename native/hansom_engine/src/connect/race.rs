//! Happy Eyeballs (RFC 8305) over addresses already known.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::error::Error;

/// How long an attempt is alone before another joins it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the addresses and returns the first connection, abandoning the other attempts; or
/// the error of the attempt that failed last.
///
/// The first IPv6 address starts. An attempt that fails is followed at once by the next address of
/// its family, or of the other family if it was the last. Besides, every 250 ms one more attempt
/// joins, IPv4 and IPv6 in turn, so that no silent address holds up the rest.
pub(super) async fn first_connected<T, C, F>(
    v6: Vec<SocketAddr>,
    v4: Vec<SocketAddr>,
    connect: C,
) -> Result<T, Error>
where
    C: Fn(SocketAddr) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let mut waiting = Waiting([v6.into(), v4.into()]);
    let mut attempts: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut turn = IPV6;
    let mut last_error = Error::NoSuchName;
    if let Some((family, address)) = waiting.next(turn) {
        attempts.push((family, Box::pin(connect(address))));
    }
    let delay = tokio::time::sleep(ATTEMPT_DELAY);
    tokio::pin!(delay);
    while !attempts.is_empty() {
        let step = poll_fn(|cx| {
            for (index, (_, attempt)) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                    return Poll::Ready(Step::Ended(index, result));
                }
            }
            if waiting.is_empty() {
                return Poll::Pending;
            }
            delay.as_mut().poll(cx).map(|()| Step::Delayed)
        })
        .await;
        let next = match step {
            Step::Ended(_, Ok(connection)) => return Ok(connection),
            Step::Ended(index, Err(error)) => {
                last_error = error;
                let (family, _) = attempts.remove(index);
                waiting.next(family)
            }
            Step::Delayed => {
                let now = delay.deadline();
                delay.as_mut().reset(now + ATTEMPT_DELAY);
                turn = other(turn);
                waiting.next(turn)
            }
        };
        if let Some((family, address)) = next {
            attempts.push((family, Box::pin(connect(address))));
        }
    }
    Err(last_error)
}

enum Step<T> {
    Ended(usize, Result<T, Error>),
    Delayed,
}

const IPV6: usize = 0;

fn other(family: usize) -> usize {
    1 - family
}

/// Addresses not tried yet, IPv6 and IPv4.
struct Waiting([VecDeque<SocketAddr>; 2]);

impl Waiting {
    /// The next address, of `family` if there is one.
    fn next(&mut self, family: usize) -> Option<(usize, SocketAddr)> {
        [family, other(family)]
            .into_iter()
            .find_map(|family| Some((family, self.0[family].pop_front()?)))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::time::Instant;

    use super::*;

    const REFUSED: Error = Error::Posix("econnrefused");
    const UNREACHABLE: Error = Error::Posix("ehostunreach");

    /// What an address does, and after how many milliseconds.
    #[derive(Clone)]
    enum Fate {
        Accepts(u64),
        Fails(u64, Error),
        Silent,
    }
    use Fate::{Accepts, Fails, Silent};

    /// Runs the race in simulated time: who won, and who was tried at which millisecond.
    async fn race(v6: &[Fate], v4: &[Fate]) -> (Result<String, Error>, Vec<(String, u128)>) {
        let begin = Instant::now();
        let addresses = |fates: &[Fate], host: &str| -> Vec<SocketAddr> {
            (0..fates.len()).map(|n| format!("{host}:{}", n + 1).parse().unwrap()).collect()
        };
        let tried = Rc::new(RefCell::new(Vec::new()));
        let connect = |address: SocketAddr| {
            let number = usize::from(address.port());
            let (name, fates) = match address {
                SocketAddr::V6(_) => (format!("v6-{number}"), v6),
                SocketAddr::V4(_) => (format!("v4-{number}"), v4),
            };
            tried.borrow_mut().push((name.clone(), begin.elapsed().as_millis()));
            let fate = fates[number - 1].clone();
            async move {
                match fate {
                    Accepts(after) => {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        Ok(name)
                    }
                    Fails(after, error) => {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        Err(error)
                    }
                    Silent => std::future::pending().await,
                }
            }
        };
        let won =
            first_connected(addresses(v6, "[::1]"), addresses(v4, "127.0.0.1"), connect).await;
        let tried = tried.borrow().clone();
        (won, tried)
    }

    fn at(entries: &[(&str, u128)]) -> Vec<(String, u128)> {
        entries.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_goes_first_and_alone() {
        let (won, tried) = race(&[Accepts(100)], &[Accepts(0)]).await;
        assert_eq!(won, Ok("v6-1".into()));
        assert_eq!(tried, at(&[("v6-1", 0)]));
    }

    #[tokio::test(start_paused = true)]
    async fn ipv4_joins_after_the_delay() {
        let (won, tried) = race(&[Silent], &[Accepts(10)]).await;
        assert_eq!(won, Ok("v4-1".into()));
        assert_eq!(tried, at(&[("v6-1", 0), ("v4-1", 250)]));
    }

    #[tokio::test(start_paused = true)]
    async fn ipv4_starts_as_soon_as_ipv6_has_failed() {
        let (won, tried) = race(&[Fails(20, UNREACHABLE)], &[Accepts(10)]).await;
        assert_eq!(won, Ok("v4-1".into()));
        assert_eq!(tried, at(&[("v6-1", 0), ("v4-1", 20)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_is_tried_in_order() {
        let v6 = [Fails(10, REFUSED), Fails(10, REFUSED)];
        let (won, tried) = race(&v6, &[Fails(10, REFUSED), Accepts(10)]).await;
        assert_eq!(won, Ok("v4-2".into()));
        assert_eq!(tried, at(&[("v6-1", 0), ("v6-2", 10), ("v4-1", 20), ("v4-2", 30)]));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_addresses_do_not_hold_up_the_rest() {
        let (won, tried) = race(&[Silent, Silent], &[Silent, Accepts(0)]).await;
        assert_eq!(won, Ok("v4-2".into()));
        assert_eq!(tried, at(&[("v6-1", 0), ("v4-1", 250), ("v6-2", 500), ("v4-2", 750)]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_wins() {
        let (won, _) = race(&[Accepts(400)], &[Accepts(200)]).await;
        assert_eq!(won, Ok("v6-1".into()));
        let (won, _) = race(&[Accepts(500)], &[Accepts(200)]).await;
        assert_eq!(won, Ok("v4-1".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_reported() {
        let (won, _) = race(&[Fails(400, REFUSED)], &[Fails(100, UNREACHABLE)]).await;
        assert_eq!(won, Err(REFUSED));
        let (won, _) = race(&[Fails(100, REFUSED)], &[Fails(100, UNREACHABLE)]).await;
        assert_eq!(won, Err(UNREACHABLE));
        let (won, _) = race(&[], &[]).await;
        assert_eq!(won, Err(Error::NoSuchName));
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_family_needs_no_other() {
        let (won, tried) = race(&[], &[Fails(5, REFUSED), Accepts(5)]).await;
        assert_eq!(won, Ok("v4-2".into()));
        assert_eq!(tried, at(&[("v4-1", 0), ("v4-2", 5)]));
    }
}
