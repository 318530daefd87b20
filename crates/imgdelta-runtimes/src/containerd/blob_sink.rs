//! containerd as the destination of compressed blobs, for an image whose layers it has unpacked.
//! Never creates an image, and never deletes or replaces a blob.
//!
//! A pull that finds all layers unpacked fetches none of their blobs. The manifest refers to them all
//! the same, so that blobs which are added later stay as long as the image. A lease keeps them while
//! the image is completed.

use super::{
    Containerd,
    connection::Connection,
    content, leases,
    pieces::{BlobPieces, stream_label},
    store::ContainerdStore,
};
use imgdelta_apply::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{BlobDigest, DiffId, Error, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, RepositoryName},
    store::Descriptor,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Writes the compressed blobs of one image into containerd's content store.
///
/// A sink that is dropped before it is finished leaves only blobs that an image uses.
#[derive(Debug)]
pub struct ContainerdBlobSink {
    containerd: Containerd,
    /// The label that names the repository of the blobs.
    origin: Option<(String, String)>,
    /// `None` before the image began and after it was finished.
    begun: Option<BlobLease>,
}

#[derive(Debug)]
struct BlobLease {
    /// Its calls are under the lease.
    connection: Connection,
    lease: String,
    layers: Vec<Descriptor>,
    streams: HashMap<BlobDigest, DiffId>,
}

impl ContainerdBlobSink {
    /// Makes a sink; sends nothing.
    pub fn new(containerd: Containerd) -> Self {
        Self { containerd, origin: None, begun: None }
    }

    /// Labels the blobs with the registry and the repository that have them, as a pull does.
    /// Programs that pass images on to other nodes look for this label.
    #[must_use]
    pub fn origin(mut self, registry: &str, repository: &RepositoryName) -> Self {
        let host = host_without_port(registry);
        self.origin = Some((format!("{ORIGIN_LABEL}.{host}"), repository.to_string()));
        self
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let digest = blob.digest;
        let size = self.containerd.connection.call(|connection| content::size(connection, digest));
        Ok(size? == Some(blob.size_bytes))
    }

    fn begun(&self) -> &BlobLease {
        self.begun.as_ref().expect("`begin` comes first")
    }
}

impl Sink for ContainerdBlobSink {
    fn place(&self) -> String {
        self.containerd.connection.place().to_owned()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        let store = Arc::new(ContainerdStore::new(self.containerd.clone()));
        let name = ImageName::Digest(image.manifest.digest);
        let pulled = Image::open(store, Some(&name), &OpenOptions::default())?;
        let layers = pulled.layers.iter();
        let streams = layers.map(|layer| (layer.descriptor.digest, layer.diff_id)).collect();
        let lease = self
            .containerd
            .connection
            .call(|connection| async move { leases::create(connection, "blobs", LONGEST).await })?;
        let connection = self.containerd.connection.with_lease(&lease);
        self.begun = Some(BlobLease { connection, lease, layers: image.layers, streams });
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        progress.check()?;
        self.has_blob(blob)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let begun = self.begun();
        let pieces = BlobPieces::open(begun.connection.clone(), blob)?;
        let stream = begun.streams.get(&blob.digest).map(stream_label);
        let labels = stream.into_iter().chain(self.origin.clone()).collect();
        Ok(Box::new(ImageBlobWriter { blob: blob.digest, pieces, labels }))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for (at, layer) in self.begun().layers.iter().enumerate() {
            if !self.has_blob(layer)? {
                let what = format!("the blob of layer {} was not written", at + 1);
                return Err(Error::bad_input(self.place(), what));
            }
        }
        let Some(BlobLease { lease, .. }) = self.begun.take() else { return Ok(()) };
        let connection = &self.containerd.connection;
        connection.call(|connection| async move { leases::end(&connection, lease).await })
    }
}

impl Drop for ContainerdBlobSink {
    fn drop(&mut self) {
        let Some(BlobLease { lease, .. }) = self.begun.take() else { return };
        // Best effort: the lease ends by itself.
        let _ = self.containerd.connection.call(|connection| leases::delete(connection, lease));
    }
}

/// Writes one blob of the image.
struct ImageBlobWriter {
    blob: BlobDigest,
    pieces: BlobPieces,
    labels: HashMap<String, String>,
}

impl BlobWriter for ImageBlobWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pieces.write(bytes).map(drop)
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        assert_eq!(proof.digest(), self.blob, "the proof is of another blob");
        self.pieces.commit(self.labels).map(drop)
    }
}

/// Returns the host as containerd writes it into the label: without port and brackets.
fn host_without_port(registry: &str) -> &str {
    match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split_once(':').map_or(registry, |(host, _)| host),
    }
}

const ORIGIN_LABEL: &str = "containerd.io/distribution.source";
/// Time after which the lease ends if the process was killed. Compression at low priority takes
/// minutes for an image of some hundred megabytes; finished blobs no longer need the lease.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_the_origin_has_no_port() {
        let hosts = ["r.test", "r.test:5000", "[::1]:5000", "[::1]", "127.0.0.1:80"];
        let expected = ["r.test", "r.test", "::1", "::1", "127.0.0.1"];
        assert_eq!(hosts.map(host_without_port), expected);
    }
}
