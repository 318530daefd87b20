//! Work on several cores; the only room that says rayon.
//!
//! Results come back in the order of the inputs, so they never depend on the number of threads.

use crate::{Error, Result};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// A fixed number of worker threads.
#[derive(Debug)]
pub struct Workers(rayon::ThreadPool);

impl Workers {
    /// Starts `threads` workers, or one per core for 0.
    pub fn new(threads: usize) -> Result<Self> {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map(Self).map_err(|source| {
            Error::Io { place: "worker threads".into(), source: std::io::Error::other(source) }
        })
    }

    /// Returns the number of workers.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Does `work` on every item and returns the results in the items' order.
    ///
    /// Items are begun in their order, each by the first worker that is free: put the longest first.
    /// After an error no further item is begun; the error returned is the first in the items' order
    /// among those met. Not to be called from inside `work`.
    pub fn map<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        // Rayon's own iterators halve the list, which puts the two longest items on one worker; a
        // list everyone takes the next from does not.
        let count = items.len();
        let waiting = Mutex::new(items.into_iter().enumerate());
        let has_failed = AtomicBool::new(false);
        let done: Vec<Vec<(usize, Result<R>)>> = self.0.broadcast(|_| {
            let mut outcomes = Vec::new();
            while !has_failed.load(Relaxed) {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((place, item)) = next else { break };
                let outcome = work(item);
                has_failed.fetch_or(outcome.is_err(), Relaxed);
                outcomes.push((place, outcome));
            }
            outcomes
        });
        let mut sorted: Vec<Option<Result<R>>> = (0..count).map(|_| None).collect();
        for (place, outcome) in done.into_iter().flatten() {
            sorted[place] = Some(outcome);
        }
        sorted.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_items_order_for_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let workers = Workers::new(threads).unwrap();
            assert_eq!(workers.count(), threads);
            let squares = workers.map((0..100u64).collect(), |n| Ok(n * n)).unwrap();
            assert_eq!(squares, (0..100u64).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_stops_the_rest_and_is_returned() {
        let begun = std::sync::atomic::AtomicUsize::new(0);
        let outcome = Workers::new(1).unwrap().map((0..1000).collect(), |n: u32| {
            begun.fetch_add(1, Relaxed);
            if n == 3 { Err(Error::bad_input("item", n)) } else { Ok(n) }
        });
        assert_eq!(outcome.unwrap_err().to_string(), "item: 3");
        assert!(begun.into_inner() < 1000);
    }
}
