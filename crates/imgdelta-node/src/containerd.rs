//! containerd as the runtime of the mirror.

use crate::{config::Config, directory::FRAMES, runtime::Runtime};
use imgdelta_apply::sink::Sink;
use imgdelta_core::Result;
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, RepositoryName},
    store::Store,
};
use imgdelta_runtimes::containerd::{
    Containerd, ContainerdOptions, ContainerdSink, ContainerdStore, StagingOptions,
};
use imgdelta_runtimes::frames::{FrameLimits, FrameStore};
use std::{collections::HashSet, sync::Arc};

/// A containerd of this machine.
#[derive(Debug)]
pub struct ContainerdRuntime {
    containerd: Containerd,
    store: Arc<dyn Store>,
    staging: StagingOptions,
    frames: FrameStore,
}

impl ContainerdRuntime {
    /// Connects to the containerd of a configuration, and opens the frames of staged layers.
    pub fn connect(config: &Config) -> Result<Self> {
        let frames = config.rebuild.directory.join(FRAMES);
        let config = &config.containerd;
        let options = ContainerdOptions::default()
            .socket(&config.socket)
            .namespace(&config.namespace)
            .snapshotter(&config.snapshotter);
        let containerd = Containerd::connect(options)?;
        let lease = config.lease.get_ref().duration();
        let staging = StagingOptions::default().lease_duration(lease);
        let frames = FrameStore::open(&frames, FrameLimits::default())?;
        let store = ContainerdStore::new(containerd.clone()).frames(frames.clone());
        // Frames of layers that are gone serve nobody; what is not swept now is swept later.
        if let Err(error) = store.sweep_frames() {
            tracing::debug!(%error, "frames were not swept");
        }
        Ok(Self { containerd, store: Arc::new(store), staging, frames })
    }

    /// Returns true if the blobs or the streams of all layers are here. Layers that containerd pulled
    /// and whose blobs it discarded have neither, and a delta would be downloaded in vain.
    fn has_layers(&self, image: &Image) -> bool {
        // The store was asked for the streams of layers without blobs when the image was opened.
        let mut with_blob = image.layers.iter().filter(|layer| layer.has_blob());
        with_blob.all(|layer| self.store.open(&layer.descriptor).is_ok())
    }
}

impl ContainerdRuntime {
    /// Removes the leases of staged layers; returns their number.
    pub(crate) fn remove_staged(&self) -> Result<usize> {
        self.containerd.remove_staged()
    }
}

impl Runtime for ContainerdRuntime {
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>> {
        let prefix = format!("{registry}/{repository}");
        let mut seen = HashSet::new();
        let mut images = Vec::new();
        // Versions sort by their names; the latest is last.
        for image in self.containerd.images()?.into_iter().rev() {
            let rest = image.name.strip_prefix(&prefix);
            let is_of_repository = rest.is_some_and(|rest| rest.starts_with([':', '@']));
            if !is_of_repository || !seen.insert(image.target.digest) {
                continue;
            }
            let name = ImageName::Tag(image.name);
            match Image::open(Arc::clone(&self.store), Some(&name), options) {
                Ok(image) if self.has_layers(&image) => images.push(image),
                Ok(_) => tracing::debug!(image = %name, "not a base: containerd lacks its layers"),
                Err(error) => tracing::debug!(image = %name, %error, "not a base"),
            }
            if images.len() == MOST_BASES {
                break;
            }
        }
        Ok(images)
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        let sink = ContainerdSink::new(self.containerd.clone(), self.staging.clone());
        Ok(Box::new(sink.frames(self.frames.clone())))
    }
}

/// A node has the current version of an image, the one before, and a few more.
const MOST_BASES: usize = 8;
