//! Work on several cores; the only module that uses rayon.
//!
//! Results come back in the order of the inputs, so they never depend on the number of threads.

mod line;

pub use line::Line;

use crate::Result;
use line::Board;
use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};

/// A fixed number of worker threads; without the `parallel` feature none, and the caller works.
#[derive(Debug)]
pub struct Workers {
    pool: Pool,
    board: Board,
}

impl Workers {
    /// Starts `threads` workers, or one per core for 0.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = Pool::new(threads)?;
        let board = Board::new(pool.count());
        Ok(Self { pool, board })
    }

    /// Returns the number of workers.
    pub fn count(&self) -> usize {
        self.pool.count()
    }

    /// Does `work` on every item and returns the results in the items' order.
    ///
    /// Items are begun in their order, each by the first worker that is free: put the longest first.
    /// A worker without an item helps with the parts in the other workers' [`Line`]s.
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
        let (has_failed, busy) = (AtomicBool::new(false), AtomicUsize::new(0));
        let done: Vec<Vec<(usize, Result<R>)>> = self.pool.everyone(|| {
            let mut outcomes = Vec::new();
            loop {
                let (next, leaving) = {
                    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    let next = if has_failed.load(Relaxed) { None } else { waiting.next() };
                    // Before others can find the list empty and nobody at work.
                    (next, Busy::new(&busy, &self.board))
                };
                let Some((place, item)) = next else { break };
                let outcome = work(item);
                has_failed.fetch_or(outcome.is_err(), Relaxed);
                outcomes.push((place, outcome));
                drop(leaving);
            }
            self.board.help_while(|| busy.load(SeqCst) > 0);
            outcomes
        });
        let mut sorted: Vec<Option<Result<R>>> = (0..count).map(|_| None).collect();
        for (place, outcome) in done.into_iter().flatten() {
            sorted[place] = Some(outcome);
        }
        sorted.into_iter().flatten().collect()
    }

    /// Calls `work` with every number below `count`, for use inside of [`Workers::map`]'s work.
    ///
    /// The caller works, and so do threads in the place of workers that are idle now. Their number is
    /// at most `most` with the caller.
    pub fn share(&self, count: usize, most: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let run = || {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    break;
                }
                work(number);
            }
        };
        let wanted = count.min(most).saturating_sub(1);
        let idle = if wanted == 0 { Vec::new() } else { self.board.take_idle(wanted) };
        std::thread::scope(|scope| {
            for place in idle {
                // Without another thread the caller does all.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                    run();
                    drop(place);
                });
            }
            run();
        });
    }

    /// Returns a line, for use inside of [`Workers::map`]'s work.
    pub fn line<R: Send + 'static>(&self) -> Line<'_, R> {
        Line::new(&self.board)
    }
}

/// Marks a worker as busy with an item; dropping it wakes the helpers, also after a panic.
struct Busy<'a> {
    count: &'a AtomicUsize,
    board: &'a Board,
}

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize, board: &'a Board) -> Self {
        count.fetch_add(1, SeqCst);
        Self { count, board }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, SeqCst);
        self.board.wake_all();
    }
}

#[cfg(feature = "parallel")]
use threads::Pool;

#[cfg(feature = "parallel")]
mod threads {
    use crate::{Error, Result};

    #[derive(Debug)]
    pub(super) struct Pool(rayon::ThreadPool);

    impl Pool {
        pub(super) fn new(threads: usize) -> Result<Self> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.map(Self)
                .map_err(|error| Error::io("worker threads")(std::io::Error::other(error)))
        }

        pub(super) fn count(&self) -> usize {
            self.0.current_num_threads()
        }

        /// Calls `work` once on every worker.
        pub(super) fn everyone<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
            self.0.broadcast(|_| work())
        }
    }
}

#[cfg(not(feature = "parallel"))]
use alone::CallerOnly as Pool;

#[cfg(not(feature = "parallel"))]
mod alone {
    use crate::Result;

    #[derive(Debug)]
    pub(super) struct CallerOnly;

    impl CallerOnly {
        #[expect(clippy::unnecessary_wraps, reason = "as the pool of threads")]
        pub(super) fn new(_: usize) -> Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "as the pool of threads")]
        pub(super) fn count(&self) -> usize {
            1
        }

        #[expect(clippy::unused_self, reason = "as the pool of threads")]
        pub(super) fn everyone<R>(&self, work: impl Fn() -> R) -> Vec<R> {
            vec![work()]
        }
    }
}

/// An amount of memory that workers share. Each takes its share before it allocates, and waits if
/// there is not enough.
///
/// Requests are served in order, so that small ones never starve a large one. A request above the
/// total is admitted alone. A worker that holds a share must not ask for another: two such workers
/// would wait for each other.
#[derive(Debug)]
pub struct Budget {
    total_bytes: u64,
    state: Mutex<Shares>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct Shares {
    taken_bytes: u64,
    /// The number the next request draws.
    drawn: u64,
    /// The number whose turn it is.
    served: u64,
}

impl Budget {
    /// Makes a budget of that many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            total_bytes: bytes,
            state: Mutex::new(Shares::default()),
            has_changed: Condvar::new(),
        }
    }

    /// Takes a share, and waits until there is enough. Dropping the share returns it.
    pub fn take(&self, bytes: u64) -> Share<'_> {
        let mut state = self.lock();
        let mine = state.drawn;
        state.drawn += 1;
        let fits = |state: &Shares| {
            let free = self.total_bytes.saturating_sub(state.taken_bytes);
            state.taken_bytes == 0 || bytes <= free
        };
        while state.served != mine || !fits(&state) {
            state = self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.served += 1;
        // Alone, a share may be larger than the whole; others then wait for its return.
        state.taken_bytes = state.taken_bytes.saturating_add(bytes);
        drop(state);
        self.has_changed.notify_all();
        Share { budget: self, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a [`Budget`], held until it is dropped.
#[derive(Debug)]
pub struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.lock().taken_bytes -= self.bytes;
        self.budget.has_changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_keep_the_items_order_for_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let workers = Workers::new(threads).unwrap();
            assert_eq!(workers.count(), if cfg!(feature = "parallel") { threads } else { 1 });
            let squares = workers.map((0..100u64).collect(), |n| Ok(n * n)).unwrap();
            assert_eq!(squares, (0..100u64).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn idle_workers_share_the_work_of_a_busy_one() {
        for threads in [1, 2, 4] {
            let workers = Workers::new(threads).unwrap();
            let done = workers.map(vec![(), ()], |()| {
                let sums = Mutex::new(vec![0; 100]);
                for most in [1, 2, 9] {
                    workers.share(100, most, &|number| sums.lock().unwrap()[number] += number);
                    workers.share(0, most, &|_| unreachable!("nothing to do"));
                }
                Ok(sums.into_inner().unwrap())
            });
            let expected: Vec<usize> = (0..100).map(|number| number * 3).collect();
            assert_eq!(done.unwrap(), [expected.clone(), expected]);
        }
    }

    #[test]
    fn an_error_stops_the_rest_and_is_returned() {
        let begun = AtomicUsize::new(0);
        let outcome = Workers::new(1).unwrap().map((0..1000).collect(), |n: u32| {
            begun.fetch_add(1, Relaxed);
            if n == 3 { Err(Error::bad_input("item", n)) } else { Ok(n) }
        });
        assert_eq!(outcome.unwrap_err().to_string(), "item: 3");
        assert!(begun.into_inner() < 1000);
    }

    #[test]
    fn shares_never_exceed_the_budget_unless_one_is_alone() {
        let budget = Budget::new(100);
        let (now, peak) = (std::sync::atomic::AtomicU64::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for worker in 0..8_u64 {
                let (budget, now, peak) = (&budget, &now, &peak);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let bytes = (worker * 31 + turn * 17) % 140;
                        let share = budget.take(bytes);
                        let all = now.fetch_add(bytes, Relaxed) + bytes;
                        peak.lock().unwrap().push((bytes, all));
                        now.fetch_sub(bytes, Relaxed);
                        drop(share);
                    }
                });
            }
        });
        for (bytes, all) in peak.into_inner().unwrap() {
            assert!(all <= 100 || all == bytes, "{bytes} of {all}");
        }
        assert_eq!(budget.lock().taken_bytes, 0);
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_small_ones() {
        let budget = Budget::new(10);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let first = budget.take(5);
            for bytes in [10, 1] {
                let (budget, order) = (&budget, &order);
                let drawn = budget.lock().drawn;
                scope.spawn(move || {
                    let _share = budget.take(bytes);
                    order.lock().unwrap().push(bytes);
                });
                // The next asks only once this one stands in line.
                while budget.lock().drawn == drawn {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [10, 1]);
    }
}
