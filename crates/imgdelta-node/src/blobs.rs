//! Blobs that were rebuilt and verified, kept for a while to be served.
//!
//! Each image has a directory with a layout of its own. The oldest images are removed before the bytes of
//! another one would be too many. Who may read a blob is decided elsewhere, for each request.

use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_image::{Reference, store::Descriptor};
use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Blobs of rebuilt images.
#[derive(Debug)]
pub(crate) struct RebuiltBlobs {
    directory: PathBuf,
    most_bytes: u64,
    /// Bytes of images that are being written.
    reserved_bytes: Arc<AtomicU64>,
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
    is_kept: bool,
    reserved_bytes: AtomicU64,
    all_reserved_bytes: Arc<AtomicU64>,
}

impl RebuiltBlobs {
    /// Keeps blobs in an empty directory, which belongs to this process alone.
    pub fn new(directory: PathBuf, most_bytes: u64) -> Self {
        let (reserved_bytes, next) = (Arc::default(), AtomicU64::new(0));
        Self { directory, most_bytes, reserved_bytes, next, kept: Mutex::default() }
    }

    /// Returns a new directory for an image.
    pub fn directory(&self) -> BlobDirectory {
        let number = self.next.fetch_add(1, Relaxed);
        BlobDirectory {
            path: self.directory.join(number.to_string()),
            is_kept: false,
            reserved_bytes: AtomicU64::new(0),
            all_reserved_bytes: Arc::clone(&self.reserved_bytes),
        }
    }

    /// Removes the oldest images, so that the blobs of another one can be written within the limit.
    /// The room is free again when the directory is dropped. Fails if the image alone is too large, or
    /// together with others that are being written.
    pub fn make_room(&self, directory: &BlobDirectory, bytes: u64) -> Result<()> {
        let reserved = &self.reserved_bytes;
        let mut kept = self.kept();
        let needed = reserved.load(Relaxed).saturating_add(bytes);
        if needed > self.most_bytes {
            return Err(Error::OverLimit {
                place: "`disk` in [rebuild]".into(),
                what: "size of an image's blobs in bytes",
                name: None,
                found: needed,
                limit: self.most_bytes,
            });
        }
        reserved.store(needed, Relaxed);
        directory.reserved_bytes.fetch_add(bytes, Relaxed);
        while kept.bytes > self.most_bytes - needed {
            let Some(oldest) = kept.images.pop_front() else { break };
            kept.bytes -= oldest.blobs.values().sum::<u64>();
            // A request that reads a blob has its file open.
            drop(fs::remove_dir_all(&oldest.directory));
        }
        Ok(())
    }

    /// Keeps the blobs of a finished image.
    pub fn keep(&self, mut directory: BlobDirectory, blobs: impl IntoIterator<Item = Descriptor>) {
        let blobs: HashMap<_, _> =
            blobs.into_iter().map(|blob| (blob.digest, blob.size_bytes)).collect();
        let mut kept = self.kept();
        kept.bytes += blobs.values().sum::<u64>();
        kept.images.push_back(KeptImage { directory: directory.path.clone(), blobs });
        directory.is_kept = true;
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

    /// Removes all images that are kept. A request that reads a blob has its file open.
    pub fn clear(&self) {
        let mut kept = self.kept();
        for image in std::mem::take(&mut *kept).images {
            drop(fs::remove_dir_all(&image.directory));
        }
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
        if !self.is_kept {
            drop(fs::remove_dir_all(&self.path));
        }
        self.all_reserved_bytes.fetch_sub(*self.reserved_bytes.get_mut(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(blobs: &RebuiltBlobs, digit: &str, size: u64) -> BlobDigest {
        let digest: BlobDigest = format!("sha256:{}", digit.repeat(64)).parse().unwrap();
        let directory = blobs.directory();
        blobs.make_room(&directory, size).unwrap();
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
        blobs.clear();
        assert_eq!(blobs.bytes(), 0);
        assert!(blobs.file(&digests[2]).is_none());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn images_that_are_being_written_count_towards_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let blobs = RebuiltBlobs::new(place.path().to_owned(), 250);
        image(&blobs, "a", 100);
        let (one, two) = (blobs.directory(), blobs.directory());
        blobs.make_room(&one, 150).unwrap();
        assert_eq!(blobs.bytes(), 100);
        let error = blobs.make_room(&two, 101).unwrap_err().to_string();
        assert!(error.contains("`disk` in [rebuild]"), "{error}");
        blobs.make_room(&two, 100).unwrap();
        // Nothing that is kept and nothing that is being written exceeds the limit together.
        assert_eq!(blobs.bytes(), 0);
        drop((one, two));
        blobs.make_room(&blobs.directory(), 250).unwrap();
    }
}
