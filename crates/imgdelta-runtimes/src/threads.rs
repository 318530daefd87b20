//! Threads for calls to a runtime, and blocking on a call from any thread.
//!
//! A call runs on the threads here while the calling thread sleeps. So a blocking method also works
//! inside a task of another executor, where tokio's `block_on` panics. Knows no runtime's interface.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, mpsc::sync_channel},
};
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for calls. Clones share them; the last one that is dropped ends them.
#[derive(Clone, Debug)]
pub(crate) struct CallThreads {
    handle: Handle,
    _runtime: Arc<OwnedRuntime>,
}

#[derive(Debug)]
struct OwnedRuntime(Option<Runtime>);

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        // A runtime that is dropped inside a task panics; this call does not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl CallThreads {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok(Self { handle, _runtime: Arc::new(OwnedRuntime(Some(runtime))) })
    }

    /// Runs a future and blocks the calling thread until it ends.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (sender, receiver) = sync_channel(1);
        // One type for all calls: the runtime's code for each further type takes two kilobytes.
        let call: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let _ = sender.send(future.await);
        });
        self.handle.spawn(call);
        receiver.recv().expect("a call ends with a value: its future does not panic")
    }

    /// Enters the runtime, for constructors that need one.
    pub(crate) fn enter<T>(&self, make: impl FnOnce() -> T) -> T {
        let _guard = self.handle.enter();
        make()
    }
}

/// Calls wait for the runtime, and only copy bytes themselves.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_inside_a_task_of_another_runtime_works() {
        let threads = CallThreads::start().unwrap();
        let answer = threads.wait(async {
            tokio::task::yield_now().await;
            42
        });
        assert_eq!(answer, 42);
        // The runtime ends inside of this task.
        drop(threads);
    }

    #[test]
    fn the_threads_live_as_long_as_their_last_clone() {
        let threads = CallThreads::start().unwrap();
        let clone = threads.clone();
        drop(threads);
        assert_eq!(clone.wait(async { 7 }), 7);
    }
}
