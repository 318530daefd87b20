//! References between blobs and snapshots, by which garbage collection keeps the parts of an image.
//! Never changes one.

use super::{Containerd, content, leases};
use crate::chain::ChainId;
use imgdelta_core::{BlobDigest, Result};

impl Containerd {
    /// True if the config of an image refers to the snapshot of its layers. From then on the image
    /// keeps the layers, and their leases are not needed.
    pub fn uses_snapshot(&self, config: &BlobDigest, chain: &ChainId) -> Result<bool> {
        self.refers(config, &[chain.to_string()])
    }

    /// True if a manifest refers to all of these blobs, so that they stay as long as the manifest. It
    /// does not if containerd discards the blobs of layers after unpacking.
    pub fn keeps_blobs(&self, manifest: &BlobDigest, blobs: &[BlobDigest]) -> Result<bool> {
        let names: Vec<String> = blobs.iter().map(ToString::to_string).collect();
        self.refers(manifest, &names)
    }

    /// Ends a lease of this program; containerd collects later what only it kept.
    pub fn end_lease(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.connection.call(|connection| async move { leases::end(&connection, id).await })
    }

    /// True if a blob is here and its labels name all of these blobs or snapshots.
    fn refers(&self, blob: &BlobDigest, names: &[String]) -> Result<bool> {
        let digest = *blob;
        let found = self.connection.call(|connection| content::references(connection, digest))?;
        Ok(found.is_some_and(|found| names.iter().all(|name| found.contains(name))))
    }
}
