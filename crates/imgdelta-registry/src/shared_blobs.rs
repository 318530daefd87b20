//! Blobs that many images share, downloaded once: a bounded cache by digest, in temporary files.
//!
//! Threads that want one blob at the same time wait for the first one's download. A blob is kept once
//! its digest is compared. The blobs that were used least recently go first. Never downloads.

use imgdelta_core::{BlobDigest, Result, scratch::Scratch};
use imgdelta_image::store::source::ReadAt;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Blobs of any repositories. Clones share them.
#[derive(Clone)]
pub struct SharedBlobs(Arc<BlobShelf>);

struct BlobShelf {
    scratch: Scratch,
    limit_bytes: u64,
    state: Mutex<ShelfState>,
    /// Wakes those who wait for a download.
    changed: Condvar,
    patience: Duration,
}

#[derive(Default)]
struct ShelfState {
    kept: HashMap<BlobDigest, KeptBlob>,
    kept_bytes: u64,
    /// Counts uses, as a clock for the blobs.
    uses: u64,
    /// Bytes so far of each download.
    downloads: HashMap<BlobDigest, u64>,
}

struct KeptBlob {
    file: Arc<dyn ReadAt>,
    bytes: u64,
    last_use: u64,
}

/// Answer to somebody who wants a blob.
pub(crate) enum BlobAnswer {
    /// The blob is here.
    Kept(Arc<dyn ReadAt>),
    /// The caller downloads it for all.
    Download(SharedDownload),
    /// The caller downloads it for itself: it is too large to keep, or another download stands still.
    Alone,
}

/// A download that others wait for. They look again when it is dropped.
#[derive(Debug)]
pub(crate) struct SharedDownload {
    blobs: SharedBlobs,
    digest: BlobDigest,
}

impl SharedBlobs {
    /// Keeps at most `limit_bytes` of blobs. Files of blobs that are in use and no longer kept vanish
    /// after their last use.
    pub fn new(scratch: Scratch, limit_bytes: u64) -> Self {
        Self::with_patience(scratch, limit_bytes, PATIENCE)
    }

    fn with_patience(scratch: Scratch, limit_bytes: u64, patience: Duration) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(BlobShelf { scratch, limit_bytes, state, changed, patience }))
    }

    /// Returns the bytes of the kept blobs.
    pub fn kept_bytes(&self) -> u64 {
        self.state().kept_bytes
    }

    pub(crate) fn scratch(&self) -> Result<imgdelta_core::scratch::ScratchFile> {
        self.0.scratch.file()
    }

    /// Returns a blob, or the right to download it. Blocks while another thread downloads it.
    pub(crate) fn want(&self, digest: &BlobDigest, bytes: u64) -> BlobAnswer {
        if bytes > self.0.limit_bytes {
            return BlobAnswer::Alone;
        }
        let mut state = self.state();
        loop {
            if let Some(file) = state.used(digest) {
                return BlobAnswer::Kept(file);
            }
            let Some(before) = state.downloads.get(digest).copied() else {
                state.downloads.insert(*digest, 0);
                let (blobs, digest) = (self.clone(), *digest);
                return BlobAnswer::Download(SharedDownload { blobs, digest });
            };
            let waited = self.0.changed.wait_timeout(state, self.0.patience);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            // Its reader may wait for this one: two that wait for each other would wait for ever.
            if timeout.timed_out() && state.downloads.get(digest) == Some(&before) {
                return BlobAnswer::Alone;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ShelfState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShelfState {
    fn used(&mut self, digest: &BlobDigest) -> Option<Arc<dyn ReadAt>> {
        self.uses += 1;
        let kept = self.kept.get_mut(digest)?;
        kept.last_use = self.uses;
        Some(Arc::clone(&kept.file))
    }

    fn keep(&mut self, digest: BlobDigest, file: Arc<dyn ReadAt>, bytes: u64, limit_bytes: u64) {
        self.uses += 1;
        let kept = KeptBlob { file, bytes, last_use: self.uses };
        self.kept_bytes += bytes;
        if let Some(replaced) = self.kept.insert(digest, kept) {
            self.kept_bytes -= replaced.bytes;
        }
        while self.kept_bytes > limit_bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.last_use);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else { return };
            if let Some(kept) = self.kept.remove(&oldest) {
                self.kept_bytes -= kept.bytes;
            }
        }
    }
}

impl SharedDownload {
    /// Counts bytes that arrived.
    pub fn progress(&self, bytes: usize) {
        if let Some(sum) = self.blobs.state().downloads.get_mut(&self.digest) {
            *sum += bytes as u64;
        }
    }

    /// Keeps the blob, whose digest the caller has compared.
    pub fn finish(self, file: Arc<dyn ReadAt>, bytes: u64) {
        let limit_bytes = self.blobs.0.limit_bytes;
        self.blobs.state().keep(self.digest, file, bytes, limit_bytes);
    }
}

impl Drop for SharedDownload {
    fn drop(&mut self) {
        self.blobs.state().downloads.remove(&self.digest);
        self.blobs.0.changed.notify_all();
    }
}

impl fmt::Debug for SharedBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBlobs")
            .field("limit_bytes", &self.0.limit_bytes)
            .finish_non_exhaustive()
    }
}

/// A download without a new byte for this long may never end.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn digest(number: u8) -> BlobDigest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    fn shelf(limit_bytes: u64, patience: Duration) -> SharedBlobs {
        SharedBlobs::with_patience(Scratch::new("/tmp"), limit_bytes, patience)
    }

    fn file() -> Arc<dyn ReadAt> {
        Arc::new(File::open("/dev/null").unwrap())
    }

    fn put(blobs: &SharedBlobs, number: u8, bytes: u64) {
        let BlobAnswer::Download(download) = blobs.want(&digest(number), bytes) else {
            panic!("{number} is new")
        };
        download.finish(file(), bytes);
    }

    fn has(blobs: &SharedBlobs, number: u8) -> bool {
        matches!(blobs.want(&digest(number), 1), BlobAnswer::Kept(_))
    }

    #[test]
    fn blobs_that_were_not_used_for_the_longest_time_go_first() {
        let blobs = shelf(10, PATIENCE);
        put(&blobs, 1, 4);
        put(&blobs, 2, 4);
        assert!(has(&blobs, 1));
        put(&blobs, 3, 4);
        assert_eq!(blobs.kept_bytes(), 8);
        assert!(has(&blobs, 1) && has(&blobs, 3) && !has(&blobs, 2));
        put(&blobs, 4, 10);
        assert_eq!(blobs.kept_bytes(), 10);
        assert!(has(&blobs, 4) && !has(&blobs, 1));
        assert!(matches!(blobs.want(&digest(5), 11), BlobAnswer::Alone), "never kept");
    }

    #[test]
    fn a_blob_is_downloaded_by_one_thread_and_by_the_next_if_that_fails() {
        let blobs = shelf(10, Duration::from_secs(3600));
        let BlobAnswer::Download(first) = blobs.want(&digest(1), 1) else { panic!() };
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| match blobs.want(&digest(1), 1) {
                BlobAnswer::Download(second) => second.finish(file(), 1),
                _ => panic!("the first download failed"),
            });
            drop(first);
            waiting.join().unwrap();
        });
        assert!(has(&blobs, 1));
    }

    #[test]
    fn nobody_waits_for_a_download_that_stands_still() {
        let blobs = shelf(10, Duration::from_millis(1));
        let BlobAnswer::Download(first) = blobs.want(&digest(1), 1) else { panic!() };
        assert!(matches!(blobs.want(&digest(1), 1), BlobAnswer::Alone));
        first.finish(file(), 1);
        assert!(has(&blobs, 1));
    }
}
