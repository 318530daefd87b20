//! Threads for the network, and blocking on their tasks from any thread.
//!
//! Futures run on the network's own threads while the calling thread sleeps. So a blocking call
//! also works inside a task of another runtime, where tokio's `block_on` panics.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
    thread::{self, Thread},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinError, JoinHandle},
};

/// A runtime for requests. Clones share it; the last one that is dropped ends it.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    handle: Handle,
    /// The runtime, if it is not the caller's.
    _owned: Option<Arc<OwnedRuntime>>,
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

impl From<Handle> for Network {
    /// Uses a runtime of the caller's.
    fn from(handle: Handle) -> Self {
        Self { handle, _owned: None }
    }
}

impl Network {
    /// Starts threads of its own.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok(Self { handle, _owned: Some(Arc::new(OwnedRuntime(Some(runtime)))) })
    }

    /// Runs a future and blocks the calling thread until it ends.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        block_on(self.begin(future))
    }

    /// Runs futures at the same time and blocks the calling thread until all of them end.
    pub(crate) fn wait_all<T: Send + 'static>(
        &self,
        futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let tasks: Vec<_> = futures.into_iter().map(|future| self.begin(future)).collect();
        tasks.into_iter().map(block_on).collect()
    }

    /// Runs a future, independent of the caller's executor. It stops when the caller is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.begin(future).await
    }

    /// Runs blocking work on a thread that may block.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let output: Arc<Mutex<Option<T>>> = Arc::default();
        let slot = Arc::clone(&output);
        let work: Box<dyn FnOnce() + Send> = Box::new(move || put(&slot, work()));
        OutputTask { ended: self.handle.spawn_blocking(work), output }.await
    }

    /// Starts a task and does not wait for it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let future: UnitFuture = Box::pin(future);
        self.handle.spawn(future);
    }

    /// Starts a task that ends with its caller.
    fn begin<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> OutputTask<T> {
        let output: Arc<Mutex<Option<T>>> = Arc::default();
        let slot = Arc::clone(&output);
        let future: UnitFuture = Box::pin(async move { put(&slot, future.await) });
        OutputTask { ended: self.handle.spawn(future), output }
    }
}

/// A future of the one type that the runtime runs: its code for each further type takes two kilobytes of the program.
type UnitFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task with an output, which ends with its caller. A panic in it goes on in the caller.
struct OutputTask<T> {
    ended: JoinHandle<()>,
    output: Arc<Mutex<Option<T>>>,
}

impl<T> Future for OutputTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        check(ready!(Pin::new(&mut self.ended).poll(context)));
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner).take();
        Poll::Ready(output.expect("a task ends with its output, which is taken once"))
    }
}

impl<T> Drop for OutputTask<T> {
    fn drop(&mut self) {
        self.ended.abort();
    }
}

/// Hands over the output of a task.
fn put<T>(slot: &Mutex<Option<T>>, output: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
}

/// Continues a task's panic in the caller.
fn check(ended: Result<(), JoinError>) {
    let Err(error) = ended else { return };
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("the runtime ended while a caller waited: {error}"),
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

    // Inside a task, tokio lets a future make a limited number of steps before the task must yield.
    // This task cannot yield, so that the limit would never be lifted.
    let mut future = pin!(tokio::task::unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Transfers wait more than they compute.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::channel, time::Duration};
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn waiting_inside_a_task_of_another_runtime_works() {
        let network = Network::start().unwrap();
        let answer = network.wait(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            42
        });
        assert_eq!(answer, 42);
        // The runtime ends inside of this task.
        drop(network);
    }

    #[tokio::test]
    async fn a_task_may_wait_any_number_of_times() {
        let network = Network::start().unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        network.spawn(async move {
            for number in 0..1000 {
                sender.send(number).await.unwrap();
            }
        });
        let mut sum = 0;
        while let Some(number) = block_on(receiver.recv()) {
            sum += number + network.wait(async { 1 });
        }
        assert_eq!(sum, 999 * 1000 / 2 + 1000);
    }

    #[test]
    fn the_runtime_lives_as_long_as_its_last_clone() {
        let network = Network::start().unwrap();
        let clone = network.clone();
        drop(network);
        assert_eq!(clone.wait(async { 7 }), 7);
    }

    #[tokio::test]
    async fn a_future_that_is_dropped_ends_its_task() {
        struct Report(std::sync::mpsc::Sender<()>);
        impl Drop for Report {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let network = Network::start().unwrap();
        let (ended, wait) = channel();
        let report = Report(ended);
        let work = network.run(async move {
            let _report = report;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), work).await.is_err());
        wait.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
