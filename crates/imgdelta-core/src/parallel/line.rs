//! Parts of a long item, shared with idle workers; results come back in order.
//!
//! A worker with a long item puts parts of it in a line. Idle workers help; without any, the owner
//! does all parts itself at no cost. The number of parts in all lines is bounded, which bounds
//! memory. Never starts a thread, and never lets an owner wait while a part of its own is free.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Parts of one item's work, in order. Dropping the line cancels the parts that are left.
pub struct Line<'a, R> {
    board: &'a Board,
    slots: VecDeque<Arc<Slot<R>>>,
}

impl<'a, R: Send + 'static> Line<'a, R> {
    pub(super) fn new(board: &'a Board) -> Self {
        Self { board, slots: VecDeque::new() }
    }

    /// Returns true if another part may be added. There is always room for one.
    pub fn has_room(&self) -> bool {
        self.slots.is_empty() || self.board.lock().parts < self.board.most_parts
    }

    /// Returns how many parts have not been taken back.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns true if all parts were taken back.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Puts a part at the end.
    pub fn put(&mut self, work: impl FnOnce() -> R + Send + 'static) {
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Waiting(Box::new(work))),
            has_changed: Condvar::new(),
        });
        let mut shared = self.board.lock();
        shared.parts += 1;
        shared.waiting.push_back(slot.clone());
        drop(shared);
        self.board.has_changed.notify_one();
        self.slots.push_back(slot);
    }

    /// Takes back the first part if it is done already.
    pub fn take_done(&mut self) -> Option<R> {
        let is_done = matches!(*self.slots.front()?.lock(), State::Done(_));
        if is_done { self.take() } else { None }
    }

    /// Takes back the first part; the caller works until it is done.
    pub fn take(&mut self) -> Option<R> {
        let first = self.slots.front()?.clone();
        loop {
            {
                let mut state = first.lock();
                match mem::replace(&mut *state, State::Gone) {
                    State::Done(result) => {
                        drop(state);
                        self.slots.pop_front();
                        self.board.lock().parts -= 1;
                        return Some(result);
                    }
                    State::Gone => panic!("a worker panicked over a part of this work"),
                    other => *state = other,
                }
            }
            let next = self.slots.iter().find(|slot| slot.is_waiting());
            if let Some(slot) = next {
                self.board.forget(slot);
                slot.run();
            } else {
                let mut state = first.lock();
                while matches!(*state, State::Running) {
                    state = first.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl<R> Drop for Line<'_, R> {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut shared = self.board.lock();
        shared.parts -= self.slots.len();
        for slot in &self.slots {
            let own: *const Slot<R> = Arc::as_ptr(slot);
            shared.waiting.retain(|other| !std::ptr::addr_eq(Arc::as_ptr(other), own));
        }
    }
}

impl<R> fmt::Debug for Line<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line of {}", self.slots.len())
    }
}

/// The waiting parts of all lines.
pub(super) struct Board {
    shared: Mutex<Shared>,
    has_changed: Condvar,
    most_parts: usize,
}

#[derive(Default)]
struct Shared {
    waiting: VecDeque<Arc<dyn Part>>,
    /// Parts that were put in a line and not taken back.
    parts: usize,
    /// Workers that wait for a part.
    idle: usize,
    /// Threads that work in the place of such workers.
    replaced: usize,
}

/// The place of an idle worker, taken by another thread.
pub(super) struct IdlePlace<'a> {
    board: &'a Board,
}

impl Drop for IdlePlace<'_> {
    fn drop(&mut self) {
        self.board.lock().replaced -= 1;
    }
}

impl Board {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shared: Mutex::new(Shared::default()),
            has_changed: Condvar::new(),
            most_parts: workers * PARTS_A_WORKER,
        }
    }

    /// Does parts, or waits for some, as long as `others_work`; what ends that calls [`Self::wake_all`].
    pub(super) fn help_while(&self, others_work: impl Fn() -> bool) {
        let mut shared = self.lock();
        while others_work() {
            if let Some(part) = shared.waiting.pop_front() {
                drop(shared);
                part.run();
                shared = self.lock();
            } else {
                shared.idle += 1;
                shared = self.has_changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
                shared.idle -= 1;
            }
        }
    }

    /// Takes the places of at most `most` idle workers; dropping a place returns it.
    pub(super) fn take_idle(&self, most: usize) -> Vec<IdlePlace<'_>> {
        let mut shared = self.lock();
        let free = shared.idle.saturating_sub(shared.replaced);
        let taken = free.min(most);
        shared.replaced += taken;
        (0..taken).map(|_| IdlePlace { board: self }).collect()
    }

    /// Wakes all waiting workers to look again.
    pub(super) fn wake_all(&self) {
        // With the lock held, so that nobody is between looking and waiting.
        let _shared = self.lock();
        self.has_changed.notify_all();
    }

    fn forget<R: Send + 'static>(&self, slot: &Arc<Slot<R>>) {
        let own: *const Slot<R> = Arc::as_ptr(slot);
        self.lock().waiting.retain(|other| !std::ptr::addr_eq(Arc::as_ptr(other), own));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Board of {} parts", self.lock().parts)
    }
}

/// A part with any result.
trait Part: Send + Sync {
    /// Does it, unless someone has begun.
    fn run(&self);
}

struct Slot<R> {
    state: Mutex<State<R>>,
    has_changed: Condvar,
}

enum State<R> {
    Waiting(Box<dyn FnOnce() -> R + Send>),
    Running,
    Done(R),
    /// Taken back, or ended in a panic.
    Gone,
}

impl<R> Slot<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Waiting(_))
    }

    fn set(&self, state: State<R>) {
        *self.lock() = state;
        self.has_changed.notify_all();
    }
}

/// Says that a part ended in a panic, lest its owner waits for ever.
struct Ending<'a, R>(Option<&'a Slot<R>>);

impl<R> Drop for Ending<'_, R> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.set(State::Gone);
        }
    }
}

impl<R: Send> Part for Slot<R> {
    fn run(&self) {
        let work = {
            let mut state = self.lock();
            if !matches!(*state, State::Waiting(_)) {
                return;
            }
            match mem::replace(&mut *state, State::Running) {
                State::Waiting(work) => work,
                State::Running | State::Done(_) | State::Gone => unreachable!("looked above"),
            }
        };
        let mut ending = Ending(Some(self));
        let result = work();
        ending.0 = None;
        self.set(State::Done(result));
    }
}

/// One that is done by each worker, and one that waits for it.
const PARTS_A_WORKER: usize = 2;

#[cfg(test)]
mod tests {
    use crate::parallel::Workers;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    #[test]
    fn results_come_back_in_order_for_any_number_of_threads_and_items() {
        for threads in [1, 2, 5] {
            let workers = Workers::new(threads).unwrap();
            for items in [1, 2, 9_u64] {
                let (now, most) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
                let sums = workers.map((0..items).collect(), |item| {
                    let mut line = workers.line();
                    let mut seen = Vec::new();
                    for part in 0..100_u64 {
                        while !line.has_room() {
                            seen.extend(line.take());
                            now.fetch_sub(1, SeqCst);
                        }
                        let count = now.fetch_add(1, SeqCst) + 1;
                        most.fetch_max(count, SeqCst);
                        line.put(move || (0..=part * 50).fold(item, u64::wrapping_add));
                    }
                    while let Some(sum) = line.take() {
                        seen.push(sum);
                        now.fetch_sub(1, SeqCst);
                    }
                    let wanted: Vec<u64> =
                        (0..100).map(|n| item + n * 50 * (n * 50 + 1) / 2).collect();
                    assert_eq!(seen, wanted);
                    Ok(seen.len())
                });
                assert_eq!(sums.unwrap(), vec![100; usize::try_from(items).unwrap()]);
                // Each owner may look and put at the same time as the others.
                let bound = 2 * workers.count() + workers.count();
                assert!(most.into_inner() <= bound, "{threads} threads, {items} items");
            }
        }
    }

    #[cfg(feature = "parallel")]
    #[test]
    fn a_worker_without_an_item_helps() {
        let workers = Workers::new(2).unwrap();
        let helped = workers.map(vec![()], |()| {
            let mut line = workers.line();
            let owner = std::thread::current().id();
            let (begun, wait) = std::sync::mpsc::channel();
            line.put(move || {
                let _ = begun.send(());
                std::thread::current().id()
            });
            // Only another can begin it: this one does nothing but wait.
            wait.recv().unwrap();
            Ok(line.take().unwrap() != owner)
        });
        assert_eq!(helped.unwrap(), [true]);
    }

    #[test]
    fn a_dropped_line_leaves_nothing_behind() {
        let workers = Workers::new(1).unwrap();
        let outcome = workers.map(vec![0, 1], |item| {
            let mut line = workers.line();
            line.put(move || item);
            if item == 0 {
                return Ok(0);
            }
            line.put(move || item + 1);
            assert!(!line.has_room());
            Ok(line.take().unwrap() + line.take().unwrap())
        });
        assert_eq!(outcome.unwrap(), [0, 3]);
        assert_eq!(format!("{:?}", workers.line::<()>().board), "Board of 0 parts");
    }

    #[test]
    fn a_panic_in_a_part_is_not_waited_for() {
        let workers = Workers::new(2).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = workers.map(vec![()], |()| {
                let mut line = workers.line::<()>();
                line.put(|| panic!("on purpose"));
                line.take();
                Ok(())
            });
        }));
        assert!(outcome.is_err());
    }
}
