//! containerd as the runtime of the mirror.

use crate::{
    config::Config,
    directory::FRAMES,
    runtime::{ImageState, MOST_BASES, Runtime, is_in_repository, open_bases},
    staged::AwaitedPulls,
};
use imgdelta_apply::sink::Sink;
use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, RepositoryName},
    store::Store,
};
use imgdelta_runtimes::containerd::{
    ChainId, Containerd, ContainerdBlobSink, ContainerdOptions, ContainerdSink, ContainerdStore,
    StagingOptions, UnframedImage,
};
use imgdelta_runtimes::frames::{FrameLimits, FrameStore};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// A containerd of this machine.
#[derive(Debug)]
pub struct ContainerdRuntime {
    containerd: Containerd,
    store: Arc<ContainerdStore>,
    frames: FrameStore,
    /// Time that layers of a rebuild stay for their pull.
    lease: Duration,
    /// Time that layers stay which were staged before anything pulls them.
    stage_lease: Duration,
    awaited: AwaitedPulls,
}

impl ContainerdRuntime {
    /// Connects to the containerd of a configuration, and opens the frames of staged layers.
    pub fn connect(config: &Config) -> Result<Self> {
        let frames = config.rebuild.directory.join(FRAMES);
        let config = &config.containerd;
        let options = ContainerdOptions::default()
            .socket(&config.socket)
            .socket_setting("[containerd] socket")
            .namespace(&config.namespace)
            .snapshotter(&config.snapshotter);
        let containerd = Containerd::connect(options)?;
        let lease = config.lease.get_ref().duration();
        let stage_lease = config.stage_lease.get_ref().duration();
        let frames = FrameStore::open(&frames, FrameLimits::default())?;
        let store = ContainerdStore::new(containerd.clone()).frames(frames.clone());
        // Frames of layers that are gone serve nobody; what is not swept now is swept later.
        if let Err(error) = store.sweep_frames() {
            tracing::debug!(%error, "frames were not swept");
        }
        let awaited = AwaitedPulls::default();
        Ok(Self { containerd, store: Arc::new(store), frames, lease, stage_lease, awaited })
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
    fn layer_sink(&self, lease: Duration) -> ContainerdSink {
        let options = StagingOptions::default().lease_duration(lease);
        ContainerdSink::new(self.containerd.clone(), options).frames(self.frames.clone())
    }

    /// True if the namespace has a blob.
    fn has_blob(&self, blob: &BlobDigest) -> bool {
        self.store.find(Some(&ImageName::Digest(*blob))).is_ok()
    }

    /// Removes the leases of staged layers; returns their number.
    pub(crate) fn remove_staged(&self) -> Result<usize> {
        self.containerd.remove_staged()
    }
}

impl ContainerdRuntime {
    /// Returns the images of a repository by their names, the latest first, each manifest once.
    fn names_of(&self, registry: &str, repository: &RepositoryName) -> Result<Vec<ImageName>> {
        let mut seen = HashSet::new();
        let mut images = self.containerd.images()?;
        images.retain(|image| is_in_repository(&image.name, registry, repository));
        // Versions sort by their names; the latest is last.
        images.reverse();
        images.retain(|image| seen.insert(image.target.digest));
        Ok(images.into_iter().map(|image| ImageName::Tag(image.name)).collect())
    }
}

impl Runtime for ContainerdRuntime {
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>> {
        Ok(open_bases(self.names_of(registry, repository)?, |name| {
            let store = Arc::clone(&self.store) as Arc<dyn Store>;
            let image = Image::open(store, Some(name), options)?;
            if !self.has_layers(&image) {
                return Err(Error::bad_input(name, "containerd lacks layers of it"));
            }
            Ok(image)
        }))
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.containerd.images()?.into_iter().map(|image| image.name).collect())
    }

    fn unframed_images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<UnframedImage>> {
        let mut images = Vec::new();
        for name in self.names_of(registry, repository)?.into_iter().take(MOST_BASES) {
            match UnframedImage::find(&self.store, &name, options) {
                Ok(image) => images.extend(image),
                Err(error) => tracing::debug!(image = %name, %error, "not a base"),
            }
            if images.len() == MOST_UNFRAMED {
                break;
            }
        }
        Ok(images)
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        let sink = self.layer_sink(self.lease);
        self.awaited.add(sink.status());
        Ok(Box::new(sink))
    }

    fn staging_sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.layer_sink(self.stage_lease)))
    }

    fn release_used(&self) -> Result<usize> {
        self.awaited.release_used(&self.containerd, self.lease.saturating_add(LONGEST_REBUILD))
    }

    fn image_state(&self, manifest: &BlobDigest, options: &OpenOptions) -> Result<ImageState> {
        let name = ImageName::Digest(*manifest);
        let image =
            match Image::open(Arc::clone(&self.store) as Arc<dyn Store>, Some(&name), options) {
                Err(Error::NotFound { .. }) => return Ok(ImageState::Awaited),
                image => image?,
            };
        let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let Some(chain) = ChainId::of_layers(&diff_ids).pop() else {
            return Ok(ImageState::Complete);
        };
        if !self.containerd.uses_snapshot(&image.config_digest, &chain)? {
            return Ok(ImageState::Awaited);
        }
        let blobs: Vec<_> = image.layers.iter().map(|layer| layer.descriptor.digest).collect();
        if blobs.iter().all(|blob| self.has_blob(blob)) {
            return Ok(ImageState::Complete);
        }
        if !self.containerd.keeps_blobs(manifest, &blobs)? {
            return Ok(ImageState::Discarding);
        }
        let image = Some(image).filter(|image| self.has_layers(image)).map(Box::new);
        Ok(ImageState::Incomplete { image })
    }

    fn blob_sink(&self, registry: &str, repository: &RepositoryName) -> Result<Box<dyn Sink>> {
        let sink = ContainerdBlobSink::new(self.containerd.clone());
        Ok(Box::new(sink.origin(registry, repository)))
    }
}

/// Time from the begin of a rebuild to its staged layers, after which its lease is left to itself.
const LONGEST_REBUILD: Duration = Duration::from_secs(3600);
/// Each of these costs requests to the registry: the version before, and one more.
const MOST_UNFRAMED: usize = 2;
