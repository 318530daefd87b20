//! A thread that yields to everything else on the machine.
//!
//! Knows nothing of its work.

use imgdelta_core::{Error, Result};
use rustix::process::setpriority_process;
use std::thread;
use tokio::sync::oneshot;

/// A thread of the lowest priority. Threads that its work starts have it, too.
pub(super) struct LowPriority;

impl LowPriority {
    /// Runs work on a new thread and waits for it.
    pub async fn run<T: Send + 'static>(
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let run = move || {
            // On Linux this concerns the calling thread alone. Raising the number is always allowed.
            if let Err(error) = setpriority_process(None, LOWEST) {
                tracing::debug!(%error, "the priority stays as it is");
            }
            drop(sender.send(work()));
        };
        let thread = thread::Builder::new().name("completion".into()).spawn(run);
        thread.map_err(Error::io("a thread to complete images"))?;
        let panicked = |_| Error::io("a thread to complete images")(std::io::Error::other("a bug"));
        receiver.await.map_err(panicked)?
    }
}

const LOWEST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[tokio::test]
    async fn work_has_the_lowest_priority_and_its_caller_keeps_its_own() {
        let before = getpriority_process(None).unwrap();
        let inside = LowPriority::run(|| {
            let of_a_thread = thread::spawn(|| getpriority_process(None).unwrap());
            Ok((getpriority_process(None).unwrap(), of_a_thread.join().unwrap()))
        });
        assert_eq!(inside.await.unwrap(), (LOWEST, LOWEST));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failure() {
        assert!(LowPriority::run(|| -> Result<()> { panic!("a bug") }).await.is_err());
    }
}
