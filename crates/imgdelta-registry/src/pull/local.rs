//! Layers that are on this machine: at the destination, and in the bases.
//!
//! Reads manifests only, and trusts digests that will be checked later.

use imgdelta_apply::sink::{AcceptedForm, Sink};
use imgdelta_core::{BlobDigest, DiffId, Result, progress::Progress};
use imgdelta_image::image::Image;
use std::collections::{HashMap, HashSet, hash_map::Entry};

/// Blobs and streams on this machine.
#[derive(Debug)]
pub(super) struct LocalContent {
    /// True if layers are written uncompressed: a stream is enough, and is not compressed.
    pub takes_streams: bool,
    /// For each layer of the target, true if the destination has it.
    pub destination: Vec<bool>,
    /// Blobs of the bases' layers; not of layers of which a base has the stream only.
    pub blobs: HashSet<BlobDigest>,
    /// Streams of the bases' layers.
    pub streams: HashSet<DiffId>,
    /// Manifests of the bases.
    pub manifests: HashSet<BlobDigest>,
}

impl LocalContent {
    /// Returns the content without that of the bases.
    pub fn without_bases(&self) -> Self {
        Self {
            takes_streams: self.takes_streams,
            destination: self.destination.clone(),
            blobs: HashSet::new(),
            streams: HashSet::new(),
            manifests: HashSet::new(),
        }
    }

    pub fn find(
        target: &Image,
        bases: &[Image],
        sink: &dyn Sink,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let layers =
            || bases.iter().flat_map(|image| &image.layers).filter(|layer| !layer.is_absent());
        let mut local = Self {
            takes_streams: sink.accepts() == AcceptedForm::Streams,
            destination: Vec::new(),
            blobs: (layers().filter(|layer| layer.has_blob()))
                .map(|layer| layer.descriptor.digest)
                .collect(),
            streams: layers().map(|layer| layer.diff_id).collect(),
            manifests: bases.iter().map(|image| image.digest).collect(),
        };
        if local.takes_streams {
            let diff_ids: Vec<DiffId> = target.layers.iter().map(|layer| layer.diff_id).collect();
            local.destination = sink.has_layers(&diff_ids)?;
            return Ok(local);
        }
        let mut there: HashMap<BlobDigest, bool> = HashMap::new();
        for layer in &target.layers {
            let is_there = match there.entry(layer.descriptor.digest) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(sink.has(&layer.descriptor, progress)?),
            };
            local.destination.push(is_there);
        }
        Ok(local)
    }
}
