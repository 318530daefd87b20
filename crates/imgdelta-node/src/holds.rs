//! Rebuilds in progress: one for each image, however many requests wait for it.
//!
//! A request waits a limited time, and a limited number of requests wait. The rebuild goes on when a
//! request stops waiting. Knows no registry and no runtime.

use imgdelta_core::BlobDigest;
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::watch;

/// The rebuilds in progress.
#[derive(Debug)]
pub(crate) struct Holds {
    limit: Duration,
    most_waiting: usize,
    waiting: AtomicUsize,
    running: Mutex<HashMap<BlobDigest, watch::Receiver<()>>>,
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldEnd {
    /// The rebuild ended, with or without success.
    Finished,
    /// The time was over, and the rebuild goes on.
    TimedOut,
    /// Too many requests wait, and the rebuild goes on.
    Crowded,
}

impl Holds {
    pub fn new(limit: Duration, most_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            most_waiting,
            waiting: AtomicUsize::new(0),
            running: Mutex::default(),
        })
    }

    /// Returns the number of requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Returns the number of images that are being rebuilt.
    pub fn running(&self) -> usize {
        self.table().len()
    }

    /// Waits for the rebuild of an image; starts it if none is in progress.
    pub async fn wait<Rebuild>(
        self: &Arc<Self>,
        image: BlobDigest,
        rebuild: impl FnOnce() -> Rebuild,
    ) -> HoldEnd
    where
        Rebuild: Future<Output = ()> + Send + 'static,
    {
        let mut end = self.join(image, rebuild);
        let place = WaitingPlace::take(self);
        if place.number > self.most_waiting {
            return HoldEnd::Crowded;
        }
        // The sender is dropped at the end of the rebuild, also if it panics.
        match tokio::time::timeout(self.limit, end.changed()).await {
            Ok(_) => HoldEnd::Finished,
            Err(_) => HoldEnd::TimedOut,
        }
    }

    fn join<Rebuild>(
        self: &Arc<Self>,
        image: BlobDigest,
        rebuild: impl FnOnce() -> Rebuild,
    ) -> watch::Receiver<()>
    where
        Rebuild: Future<Output = ()> + Send + 'static,
    {
        let mut running = self.table();
        if let Some(end) = running.get(&image) {
            return end.clone();
        }
        let (sender, end) = watch::channel(());
        running.insert(image, end.clone());
        drop(running);
        let entry = RunningEntry { holds: Arc::clone(self), image, _end: sender };
        let rebuild = rebuild();
        tokio::spawn(async move {
            rebuild.await;
            drop(entry);
        });
        end
    }

    fn table(&self) -> MutexGuard<'_, HashMap<BlobDigest, watch::Receiver<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of a rebuild in progress. Its end removes it and wakes the waiting requests.
struct RunningEntry {
    holds: Arc<Holds>,
    image: BlobDigest,
    _end: watch::Sender<()>,
}

impl Drop for RunningEntry {
    fn drop(&mut self) {
        self.holds.table().remove(&self.image);
    }
}

/// The place of a waiting request; freed when the client disconnects, too.
struct WaitingPlace<'a> {
    holds: &'a Holds,
    number: usize,
}

impl<'a> WaitingPlace<'a> {
    fn take(holds: &'a Holds) -> Self {
        Self { holds, number: holds.waiting.fetch_add(1, Relaxed) + 1 }
    }
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.holds.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    const LONG: Duration = Duration::from_secs(3600);

    fn digest(digit: &str) -> BlobDigest {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }

    #[tokio::test]
    async fn many_requests_for_an_image_share_one_rebuild() {
        let holds = Holds::new(LONG, 100);
        let (started, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let wait = |image| {
            let (holds, started, go) = (Arc::clone(&holds), Arc::clone(&started), Arc::clone(&go));
            tokio::spawn(async move {
                let rebuild = move || async move {
                    started.fetch_add(1, Relaxed);
                    go.notified().await;
                };
                holds.wait(image, rebuild).await
            })
        };
        let waits: Vec<_> = (0..30).map(|_| wait(digest("a"))).collect();
        let other = wait(digest("b"));
        while started.load(Relaxed) < 2 || holds.waiting() < 31 {
            tokio::task::yield_now().await;
        }
        assert_eq!((holds.running(), holds.waiting()), (2, 31));
        go.notify_one();
        go.notify_one();
        for wait in waits.into_iter().chain([other]) {
            assert_eq!(wait.await.unwrap(), HoldEnd::Finished);
        }
        assert_eq!((started.load(Relaxed), holds.running(), holds.waiting()), (2, 0, 0));
    }

    #[tokio::test]
    async fn a_request_waits_a_limited_time_and_the_rebuild_goes_on() {
        let holds = Holds::new(Duration::from_millis(1), 100);
        let go = Arc::new(Notify::new());
        let rebuild = {
            let go = Arc::clone(&go);
            move || async move { go.notified().await }
        };
        assert_eq!(holds.wait(digest("a"), rebuild).await, HoldEnd::TimedOut);
        assert_eq!(holds.running(), 1);
        go.notify_one();
        while holds.running() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_crowd_is_answered_at_once() {
        let holds = Holds::new(LONG, 0);
        assert_eq!(holds.wait(digest("a"), std::future::pending).await, HoldEnd::Crowded);
        assert_eq!(holds.waiting(), 0);
    }

    #[tokio::test]
    async fn a_rebuild_that_panics_ends_the_wait() {
        let holds = Holds::new(LONG, 100);
        let end = holds.wait(digest("a"), || async { panic!("a bug") }).await;
        assert_eq!(end, HoldEnd::Finished);
        assert_eq!(holds.running(), 0);
    }
}
