//! A sink in memory, for tests and for programs that pass images on.
//! Never writes a file.

use super::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{Error, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::store::{Descriptor, MemoryStore};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Takes one image into a [`MemoryStore`], where it appears under a tag when it is complete.
///
/// Clones share the store: a caller keeps one and passes the other to `apply`.
#[derive(Clone, Debug)]
pub struct MemorySink {
    tag: String,
    store: Arc<Mutex<MemoryStore>>,
    image: Option<OutgoingImage>,
}

impl MemorySink {
    /// Returns a sink with an empty store.
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), store: Arc::default(), image: None }
    }

    /// Returns a copy of the store; its blobs are shared, not copied.
    pub fn store(&self) -> MemoryStore {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, MemoryStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn place(&self) -> String {
        format!("memory:{}", self.tag)
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        self.image = Some(image);
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        // The store has verified blobs only.
        Ok(self.locked().blob(&blob.digest).is_some())
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(MemoryWriter { sink: self, bytes: Vec::new() }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Some(image) = &self.image else {
            return Err(Error::bad_input(self.place(), "it was finished before it was begun"));
        };
        let mut store = self.locked();
        store.insert_as(image.config.digest, image.config_bytes.clone());
        store.insert_as(image.manifest.digest, image.manifest_bytes.clone());
        store.tag(self.tag.clone(), image.manifest.clone());
        Ok(())
    }
}

struct MemoryWriter<'a> {
    sink: &'a MemorySink,
    bytes: Vec<u8>,
}

impl BlobWriter for MemoryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        self.sink.locked().insert_as(proof.digest(), self.bytes);
        Ok(())
    }
}
