//! containerd as the runtime of the mirror.

use crate::{config::ContainerdConfig, runtime::Runtime};
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
use std::{collections::HashSet, sync::Arc};

/// A containerd of this machine.
#[derive(Debug)]
pub struct ContainerdRuntime {
    containerd: Containerd,
    store: Arc<dyn Store>,
    staging: StagingOptions,
}

impl ContainerdRuntime {
    /// Connects to the containerd of a configuration.
    pub fn connect(config: &ContainerdConfig) -> Result<Self> {
        let options = ContainerdOptions::default()
            .socket(&config.socket)
            .namespace(&config.namespace)
            .snapshotter(&config.snapshotter);
        let containerd = Containerd::connect(options)?;
        let lease = config.lease.get_ref().duration();
        let staging = StagingOptions::default().lease_duration(lease);
        let store = Arc::new(ContainerdStore::new(containerd.clone()));
        Ok(Self { containerd, store, staging })
    }

    /// Returns true if the blobs of all layers are here: those of staged and of discarded layers are
    /// not, and a delta would be downloaded in vain.
    fn has_blobs(&self, image: &Image) -> bool {
        image.layers.iter().all(|layer| self.store.open(&layer.descriptor).is_ok())
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
                Ok(image) if self.has_blobs(&image) => images.push(image),
                Ok(_) => tracing::debug!(image = %name, "not a base: containerd lacks its blobs"),
                Err(error) => tracing::debug!(image = %name, %error, "not a base"),
            }
            if images.len() == MOST_BASES {
                break;
            }
        }
        Ok(images)
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ContainerdSink::new(self.containerd.clone(), self.staging.clone())))
    }
}

/// A node has the current version of an image, the one before, and a few more.
const MOST_BASES: usize = 8;
