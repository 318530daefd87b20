//! Blocking on futures from any thread, also from one that runs an async task.
//!
//! The future runs on the threads of its own runtime; the calling thread sleeps. Tokio's own
//! `block_on` panics where a task calls it.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};
use tokio::runtime::Handle;

/// Runs `future` on a runtime of this crate and blocks until it is done.
pub(crate) fn wait<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    match block_on(handle.spawn(future)) {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("the runtime ended while a caller waited: {error}"),
        },
    }
}

/// Polls `future` on this thread, which sleeps in between. The future must not need a runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waiting_inside_a_task_of_another_runtime_works() {
        let builder = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (ours, callers) = (builder(), builder());
        let handle = ours.handle().clone();
        let answer = callers.block_on(async move {
            wait(&handle, async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                42
            })
        });
        assert_eq!(answer, 42);
        // A runtime is not dropped inside of a task.
        drop((ours, callers));
    }
}
