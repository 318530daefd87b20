//! Layers that are on this machine: at the destination, and in the bases.
//!
//! Reads manifests only, and trusts digests that will be checked later.

use imgdelta_apply::sink::Sink;
use imgdelta_core::{BlobDigest, DiffId, Result, progress::Progress};
use imgdelta_image::image::Image;
use std::collections::HashSet;

/// Blobs and streams on this machine.
#[derive(Debug)]
pub(super) struct LocalContent {
    /// Blobs of the target's layers at the destination.
    pub destination: HashSet<BlobDigest>,
    /// Blobs of the bases' layers; not of layers of which a base has the stream only.
    pub blobs: HashSet<BlobDigest>,
    /// Streams of the bases' layers.
    pub streams: HashSet<DiffId>,
    /// Manifests of the bases.
    pub manifests: HashSet<BlobDigest>,
}

impl LocalContent {
    pub fn find(
        target: &Image,
        bases: &[Image],
        sink: &dyn Sink,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let layers = || bases.iter().flat_map(|image| &image.layers);
        let mut local = Self {
            destination: HashSet::new(),
            blobs: (layers().filter(|layer| layer.has_blob()))
                .map(|layer| layer.descriptor.digest)
                .collect(),
            streams: layers().map(|layer| layer.diff_id).collect(),
            manifests: bases.iter().map(|image| image.digest).collect(),
        };
        for layer in &target.layers {
            let digest = layer.descriptor.digest;
            if !local.destination.contains(&digest) && sink.has(&layer.descriptor, progress)? {
                local.destination.insert(digest);
            }
        }
        Ok(local)
    }
}
