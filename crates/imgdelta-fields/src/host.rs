//! The services that a caller may offer while a member is encoded or decoded.
//! Never needed: without them one thread does all work, and no memory is given back early.

#[cfg(feature = "encode")]
use std::sync::{Mutex, PoisonError};

/// The caller's services.
///
/// They change time and memory, never bytes.
pub trait Host: Sync {
    /// Calls `work` with every number below `count`, in any order and on any threads, and returns
    /// when all calls have returned.
    fn each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(work);
    }

    /// Gives back memory of base and target that is read again when it is needed, such as pages of
    /// a mapped file. Called after about 16 MiB were read.
    fn release(&self) {}
}

/// No services.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {}

/// Does `work` with every number below `count`, and returns the results in their order.
#[cfg(feature = "encode")]
pub fn map<R: Send>(host: &dyn Host, count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = (0..count).map(|_| Mutex::new(None)).collect();
    host.each(count, &|number| {
        let result = work(number);
        *results[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    let done = results.into_iter().map(|r| r.into_inner().unwrap_or_else(PoisonError::into_inner));
    done.map(|result| result.expect("a host does all of the work")).collect()
}

/// Bytes that are read between two calls of [`Host::release`].
pub const RELEASED_BYTES: usize = 16 << 20;
