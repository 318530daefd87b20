//! A sink that keeps some layers of an image in temporary files, and the store that reads them.
//! Never takes a layer that nobody reads.

use crate::{
    delta::Delta,
    sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink},
};
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, Result,
    progress::Progress,
    scratch::{Scratch, ScratchFile},
    verify::VerifiedBlob,
};
use imgdelta_image::{
    image::{Image, Layer, OpenOptions},
    reference::ImageName,
    store::{
        Descriptor, Store,
        source::{RangeReader, ReadAt as _},
    },
};
use std::{
    collections::{HashMap, HashSet},
    io::{Cursor, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// A sink for the wanted layers of one image. Clones share the layers.
#[derive(Clone, Debug)]
pub(super) struct LayerKeeper {
    accepts: AcceptedForm,
    wanted: HashSet<BlobDigest>,
    scratch: Scratch,
    kept: Arc<Mutex<KeptLayers>>,
}

/// Files of layers by their digests, with their lengths.
type KeptLayers = HashMap<BlobDigest, (Arc<ScratchFile>, u64)>;

impl LayerKeeper {
    /// Keeps the layers with these digests: of streams, or of blobs.
    pub(super) fn new(
        accepts: AcceptedForm,
        wanted: HashSet<BlobDigest>,
        scratch: &Scratch,
    ) -> Self {
        Self { accepts, wanted, scratch: scratch.clone(), kept: Arc::default() }
    }

    /// Returns the image with the kept layers, and without its other layers.
    pub(super) fn image(self, document: &ImageDocument, context: &Context) -> Result<Image> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let there: HashSet<BlobDigest> = kept.keys().copied().collect();
        let store = KeptStore { document: document.clone(), kept };
        let options = OpenOptions::default().limits(context.limits.clone());
        let mut image = Image::open(Arc::new(store), None, &options)?;
        image.layers.retain(|layer: &Layer| there.contains(&layer.stored().digest));
        Ok(image)
    }
}

impl Sink for LayerKeeper {
    fn place(&self) -> String {
        self.scratch.place()
    }

    fn accepts(&self) -> AcceptedForm {
        self.accepts
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(!self.wanted.contains(&blob.digest))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        // The delta states the length, which was admitted with the delta.
        self.scratch.raise(blob.size_bytes);
        Ok(Box::new(KeptWriter { keeper: self, file: self.scratch.file()? }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct KeptWriter<'a> {
    keeper: &'a LayerKeeper,
    file: ScratchFile,
}

impl BlobWriter for KeptWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(self.keeper.scratch.place()))
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        let place = self.keeper.scratch.place();
        let bytes = self.file.size_bytes().map_err(Error::io(place))?;
        let mut kept = self.keeper.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(proof.digest(), (Arc::new(self.file), bytes));
        Ok(())
    }
}

/// The documents of an image on the way.
#[derive(Clone, Debug)]
pub(super) struct ImageDocument {
    place: String,
    manifest: (Descriptor, Vec<u8>),
    config: (BlobDigest, Vec<u8>),
}

impl ImageDocument {
    /// Takes the documents of a delta's target.
    pub(super) fn of(delta: &Delta) -> Self {
        let kind = Some(delta.media_type()).filter(|kind| !kind.is_empty());
        let manifest = delta.manifest().to_vec();
        let descriptor = Descriptor::new(kind, delta.digest(), manifest.len() as u64);
        Self {
            place: format!("target of {}", delta.place()),
            manifest: (descriptor, manifest),
            config: (delta.config_digest(), delta.config_bytes().to_vec()),
        }
    }
}

/// A store of one image, with its kept layers only.
#[derive(Debug)]
struct KeptStore {
    document: ImageDocument,
    kept: KeptLayers,
}

impl Store for KeptStore {
    fn place(&self) -> String {
        self.document.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn find(&self, _: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        Ok(vec![self.document.manifest.0.clone()])
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let (manifest, document) = &self.document.manifest;
        if let Some((file, bytes)) = self.kept.get(&blob.digest) {
            return Ok(Box::new(RangeReader::new(Arc::clone(file) as _, 0, *bytes)));
        }
        let config = &self.document.config;
        let documents = [(manifest.digest, document), (config.0, &config.1)];
        let found = documents.into_iter().find(|(digest, _)| *digest == blob.digest);
        let (_, found) = found.ok_or_else(|| Error::NotFound {
            place: self.place(),
            what: format!("blob {}", blob.digest),
            present: Vec::new(),
        })?;
        Ok(Box::new(Cursor::new(found.clone())))
    }

    fn stored_stream(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        let stream = Descriptor::of_stream(diff_id, 0);
        if self.kept.contains_key(&blob.digest) && blob.digest != stream.digest {
            return Ok(None);
        }
        let kept = self.kept.get(&stream.digest);
        Ok(kept.map(|(_, bytes)| Descriptor { size_bytes: *bytes, ..stream }))
    }

    fn finished_stream(&self, stream: &Descriptor) -> Option<Arc<ScratchFile>> {
        self.kept.get(&stream.digest).map(|(file, _)| Arc::clone(file))
    }
}
