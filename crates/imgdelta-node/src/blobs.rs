//! Blobs that were rebuilt and verified, kept for a while to be served.
//!
//! Each image has a directory with a layout of its own. The oldest images are removed when too many bytes
//! are kept. Who may read a blob is decided elsewhere, for each request.

use imgdelta_core::BlobDigest;
use imgdelta_image::{Reference, store::Descriptor};
use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Blobs of rebuilt images.
#[derive(Debug)]
pub(crate) struct RebuiltBlobs {
    directory: PathBuf,
    most_bytes: u64,
    next: AtomicU64,
    kept: Mutex<KeptImages>,
}

#[derive(Debug, Default)]
struct KeptImages {
    /// The oldest first.
    images: VecDeque<KeptImage>,
    bytes: u64,
}

#[derive(Debug)]
struct KeptImage {
    directory: PathBuf,
    blobs: HashMap<BlobDigest, u64>,
}

/// The directory of an image that is being rebuilt; removed unless it is kept.
#[derive(Debug)]
pub(crate) struct BlobDirectory {
    path: PathBuf,
}

impl RebuiltBlobs {
    /// Keeps blobs in an empty directory, which belongs to this process alone.
    pub fn new(directory: PathBuf, most_bytes: u64) -> Self {
        Self { directory, most_bytes, next: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Returns a new directory for an image.
    pub fn directory(&self) -> BlobDirectory {
        let number = self.next.fetch_add(1, Relaxed);
        BlobDirectory { path: self.directory.join(number.to_string()) }
    }

    /// Keeps the blobs of a finished image, and removes the oldest images beyond the limit.
    pub fn keep(&self, directory: BlobDirectory, blobs: impl IntoIterator<Item = Descriptor>) {
        let blobs: HashMap<_, _> =
            blobs.into_iter().map(|blob| (blob.digest, blob.size_bytes)).collect();
        let mut kept = self.kept();
        kept.bytes += blobs.values().sum::<u64>();
        let path = directory.path.clone();
        std::mem::forget(directory);
        kept.images.push_back(KeptImage { directory: path, blobs });
        while kept.bytes > self.most_bytes {
            let Some(oldest) = kept.images.pop_front() else { break };
            kept.bytes -= oldest.blobs.values().sum::<u64>();
            // A request that reads a blob has its file open.
            drop(fs::remove_dir_all(&oldest.directory));
        }
    }

    /// Opens a blob; returns its file and its length.
    pub fn file(&self, digest: &BlobDigest) -> Option<(File, u64)> {
        let kept = self.kept();
        kept.images.iter().rev().find_map(|image| {
            let bytes = *image.blobs.get(digest)?;
            let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
            let path = image.directory.join("blobs").join(algorithm).join(hex);
            let file = File::open(path).ok()?;
            // The file was complete when it became visible.
            (file.metadata().ok()?.len() == bytes).then_some((file, bytes))
        })
    }

    /// Returns the bytes that are kept.
    pub fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, KeptImages> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobDirectory {
    /// Returns the layout that takes the image.
    pub fn layout(&self) -> Reference {
        Reference::Layout { directory: self.path.clone(), name: None }
    }
}

impl Drop for BlobDirectory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(blobs: &RebuiltBlobs, digit: &str, size: u64) -> BlobDigest {
        let digest: BlobDigest = format!("sha256:{}", digit.repeat(64)).parse().unwrap();
        let directory = blobs.directory();
        let folder = directory.path.join("blobs/sha256");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(digit.repeat(64)), vec![7; usize::try_from(size).unwrap()]).unwrap();
        blobs.keep(directory, [Descriptor::new(None, digest, size)]);
        digest
    }

    #[test]
    fn the_latest_images_are_kept_within_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let blobs = RebuiltBlobs::new(place.path().to_owned(), 250);
        let digests = ["a", "b", "c"].map(|digit| image(&blobs, digit, 100));
        assert!(blobs.file(&digests[0]).is_none());
        assert_eq!(blobs.file(&digests[1]).unwrap().1, 100);
        assert_eq!(blobs.bytes(), 200);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }
}
