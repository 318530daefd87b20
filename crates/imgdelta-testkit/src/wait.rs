//! Waiting with a deadline, for conditions that another process or thread makes true.
//!
//! Never waits longer than it was asked to: a missed condition fails the test by name.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// Polls `condition` until it holds; panics with `what` once `limit` has passed.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Polls an async `condition` until it holds; panics with `what` after [`WAIT_LIMIT`].
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let outcome = tokio::time::timeout(WAIT_LIMIT, poll).await;
    assert!(outcome.is_ok(), "waited {WAIT_LIMIT:?} in vain: {what}");
}

/// Returns a port of this machine that is free now; another process may take it at any moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

/// Far more than a busy machine needs for what a test of a service waits for.
pub const WAIT_LIMIT: Duration = Duration::from_secs(180);

/// Short against what tests wait for, long against one look at a directory.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_becomes_true_ends_the_wait() {
        let mut looks = 0;
        wait_until("three looks", Duration::from_secs(60), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "in vain: a condition that is never true")]
    fn a_wait_ends_at_its_deadline() {
        wait_until("a condition that is never true", Duration::from_millis(60), || false);
    }
    #[tokio::test]
    async fn an_async_condition_is_asked_again_until_it_holds() {
        let mut looks = 0;
        eventually("three looks", async || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }
}
