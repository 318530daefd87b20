//! A store in memory, for tests and for programs with their own source of images.
//!
//! Never checks a digest; readers do.

use super::{Descriptor, Store};
use crate::reference::ImageName;
use imgdelta_core::{Algorithm, BlobDigest, DiffId, Error, Result, verify::Hasher};
use std::{
    collections::{BTreeMap, HashMap},
    io::{Cursor, Read},
    sync::Arc,
};

/// Blobs by digest and images by tag, held in memory.
///
/// ```
/// use imgdelta_image::store::MemoryStore;
///
/// let mut store = MemoryStore::default();
/// let digest = store.insert(b"{}".to_vec());
/// assert!(digest.to_string().starts_with("sha256:44136fa3"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    blobs: HashMap<BlobDigest, Arc<[u8]>>,
    tags: BTreeMap<String, Descriptor>,
}

impl MemoryStore {
    /// Adds a blob and returns its digest.
    pub fn insert(&mut self, bytes: impl Into<Arc<[u8]>>) -> BlobDigest {
        let bytes = bytes.into();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&bytes);
        let digest = hasher.finish_blob();
        self.blobs.insert(digest, bytes);
        digest
    }

    /// Adds a blob under a digest that the caller has checked, such as one of another algorithm.
    pub fn insert_as(&mut self, digest: BlobDigest, bytes: impl Into<Arc<[u8]>>) {
        self.blobs.insert(digest, bytes.into());
    }

    /// Tags a manifest or index; moves the tag if it exists.
    pub fn tag(&mut self, tag: impl Into<String>, manifest: Descriptor) {
        self.tags.insert(tag.into(), manifest);
    }

    /// Removes a blob and returns it. With the layer's stream inserted instead, an image has the
    /// stream of that layer only.
    pub fn remove(&mut self, digest: &BlobDigest) -> Option<Arc<[u8]>> {
        self.blobs.remove(digest)
    }

    /// Returns a blob.
    pub fn blob(&self, digest: &BlobDigest) -> Option<&Arc<[u8]>> {
        self.blobs.get(digest)
    }
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        PLACE.into()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.tags.keys().cloned().collect())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let missing = |what: String| Error::NotFound {
            place: PLACE.into(),
            what,
            present: self.tags.keys().cloned().collect(),
        };
        match name {
            Some(ImageName::Tag(tag)) => {
                let found = self.tags.get(tag).cloned();
                Ok(vec![found.ok_or_else(|| missing(format!("tag {tag:?}")))?])
            }
            Some(ImageName::Digest(digest)) => {
                let tagged = self.tags.values().find(|descriptor| descriptor.digest == *digest);
                let found = tagged.cloned().or_else(|| {
                    let blob = self.blobs.get(digest)?;
                    Some(Descriptor::new(None, *digest, blob.len() as u64))
                });
                Ok(vec![found.ok_or_else(|| missing(format!("manifest {digest}")))?])
            }
            Some(ImageName::Ordinal(ordinal)) => {
                let found = self.tags.values().nth(*ordinal).cloned();
                Ok(vec![found.ok_or_else(|| missing(format!("image {ordinal}")))?])
            }
            None => match self.tags.len() {
                1 => Ok(self.tags.values().cloned().collect()),
                0 => Err(Error::bad_input(PLACE, "holds no image")),
                count => {
                    let tags: Vec<&str> = self.tags.keys().map(String::as_str).collect();
                    let what = format!("holds {count} images; name one of {}", tags.join(", "));
                    Err(Error::bad_input(PLACE, what))
                }
            },
        }
    }

    fn stored_stream(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        if self.blobs.contains_key(&blob.digest) {
            return Ok(None);
        }
        let stream = Descriptor::of_stream(diff_id, 0);
        let found = self.blobs.get(&stream.digest);
        Ok(found.map(|bytes| Descriptor { size_bytes: bytes.len() as u64, ..stream }))
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let found = self.blobs.get(&blob.digest).cloned().ok_or_else(|| Error::NotFound {
            place: PLACE.into(),
            what: format!("blob {}", blob.digest),
            present: Vec::new(),
        })?;
        Ok(Box::new(Cursor::new(found)))
    }
}

const PLACE: &str = "memory";
