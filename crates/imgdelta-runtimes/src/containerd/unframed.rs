//! Images whose layers are unpacked here, while some layers have neither blobs nor frames.
//! Never fetches frames: the caller brings them. Keeps no frames without proof.

use super::{ContainerdStore, view::SnapshotView};
use crate::chain::ChainId;
use imgdelta_core::{DiffId, Error, Result, progress::Progress, verify::BlobCheck};
use imgdelta_frames::{FrameStore, UnprovedFrames};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, Store},
};
use std::{collections::HashMap, io::Read, sync::Arc};

/// An image that becomes a base as soon as the frames of some layers are here.
#[derive(Debug)]
pub struct UnframedImage {
    store: Arc<ContainerdStore>,
    frames: FrameStore,
    name: ImageName,
    image: Image,
    /// Layers without blob and frames, with the names of their snapshots.
    lacking: HashMap<DiffId, String>,
}

impl UnframedImage {
    /// Opens an image; `None` if it needs no frames, or if frames do not help.
    pub fn find(
        store: &Arc<ContainerdStore>,
        name: &ImageName,
        options: &OpenOptions,
    ) -> Result<Option<Self>> {
        let Some(frames) = store.frame_store().cloned() else { return Ok(None) };
        let image = Image::open(Arc::clone(store) as Arc<dyn Store>, Some(name), options)?;
        let diff_ids: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let mut lacking = HashMap::new();
        for (layer, chain) in image.layers.iter().zip(ChainId::of_layers(&diff_ids)) {
            if !store.lacks(layer)? {
                continue;
            }
            // A layer that is not unpacked either may be pulled at this moment.
            if !store.containerd().has_snapshot(&chain)? {
                return Ok(None);
            }
            lacking.insert(layer.diff_id, chain.to_string());
        }
        let Some(snapshot) = lacking.values().next() else { return Ok(None) };
        // Without access to the files, frames would be fetched in vain.
        if SnapshotView::open(store.containerd(), snapshot)?.directory().is_err() {
            return Ok(None);
        }
        Ok(Some(Self { store: Arc::clone(store), frames, name: name.clone(), image, lacking }))
    }

    /// Returns the image, whose layers without blobs cannot be read.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// True if the frames of a layer are needed to read it.
    pub fn lacks(&self, diff_id: &DiffId) -> bool {
        self.lacking.contains_key(diff_id)
    }

    /// Opens the image as a base. The caller keeps the frames of each promised stream before it is
    /// read; lengths of streams are compared when they are.
    pub fn open(&self, promised: HashMap<DiffId, u64>, options: &OpenOptions) -> Result<Image> {
        let store = ContainerdStore::new(self.store.containerd().clone())
            .frames(self.frames.clone())
            .promised(promised);
        Image::open(Arc::new(store), Some(&self.name), options)
    }

    /// Starts to receive the frames of a layer that lacks them.
    pub fn receive(&self, diff_id: &DiffId, stream_bytes: u64) -> Result<UnprovedFrames> {
        let Some(snapshot) = self.lacking.get(diff_id) else {
            return Err(Error::bad_input(diff_id, "a layer that needs no frames"));
        };
        self.frames.receive(diff_id, snapshot, stream_bytes)
    }

    /// Puts the layer's stream together, compares its digest, and keeps the frames.
    pub fn keep(
        &self,
        diff_id: &DiffId,
        mut received: UnprovedFrames,
        progress: &dyn Progress,
    ) -> Result<()> {
        let reader = received.reader()?;
        let stream = Descriptor::of_stream(diff_id, reader.stream_bytes());
        let view = SnapshotView::open(self.store.containerd(), reader.snapshot())?;
        let mut assembled = reader.assemble(view.directory()?);
        let mut check = BlobCheck::new(stream.digest, stream.size_bytes);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            progress.check()?;
            let count = assembled.read(&mut piece).map_err(Error::io(check.place()))?;
            if count == 0 {
                break;
            }
            check.update(&piece[..count])?;
        }
        check.finish()?;
        received.publish()?;
        self.frames.trim()
    }
}

const PIECE_BYTES: usize = 128 << 10;
