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

/// Returns a port of this machine that is free now; another process may take it at any moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

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
}
