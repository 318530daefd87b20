//! Destinations for a finished image: an OCI layout, an archive, memory, or none.
//! Never checks a digest, except those of blobs that are already there.
//!
//! A sink takes several blobs at once. A blob becomes visible with a [`VerifiedBlob`], which proves
//! its digest. The image becomes visible last, in one step.

mod archive;
mod layout;
mod memory;
mod null;
mod tar;

pub use memory::MemorySink;
pub use null::NullSink;

use imgdelta_core::{
    Context, DiffId, Error, Result, destination::OutputTarget, progress::Progress,
    unfinished::UnfinishedKind, verify::VerifiedBlob,
};
use imgdelta_image::{Reference, image::Image, reference::ImageName, store::Descriptor};
use std::fmt;

/// A destination for one image.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Returns the name of this destination in errors.
    fn place(&self) -> String;

    /// Returns the form in which it takes layers.
    fn accepts(&self) -> AcceptedForm;

    /// Returns, for each layer of an image, the lowest first, true if the sink has it in this place
    /// and needs nothing for it. Asked before [`Sink::begin`], to save downloads. By default none.
    fn has_layers(&self, diff_ids: &[DiffId]) -> Result<Vec<bool>> {
        Ok(vec![false; diff_ids.len()])
    }

    /// Announces the image before its blobs. A sink refuses here what it cannot take.
    fn begin(&mut self, image: OutgoingImage) -> Result<()>;

    /// True if the blob of a layer is already there, with the right digest.
    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool>;

    /// Opens the blob of a layer for writing. A blob that several layers name is opened once.
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>>;

    /// Makes the image visible. All its layers were written, or were there already.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Form in which a sink takes layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedForm {
    /// The blobs that the manifest names.
    Blobs,
    /// Uncompressed streams.
    Streams,
    /// Blobs that can be made; streams for the other layers.
    Either,
}

/// Writes one blob into a sink.
pub trait BlobWriter: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the blob visible. `proof` shows that the written bytes have its digest and size.
    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()>;
}

/// An image that is going to be written: its documents, and the digests of its layers.
#[derive(Clone, Debug)]
pub struct OutgoingImage {
    /// The manifest's media type, digest and size.
    pub manifest: Descriptor,
    /// The manifest, byte for byte.
    pub manifest_bytes: Vec<u8>,
    /// The config's media type, digest and size.
    pub config: Descriptor,
    /// The config, byte for byte.
    pub config_bytes: Vec<u8>,
    /// The layers, lowest first; for a sink of streams, with the streams' digests and sizes.
    pub layers: Vec<Descriptor>,
}

/// Checks before any work that an image can be written to a destination. Creates nothing that stays.
pub fn check(reference: &Reference, context: &Context) -> Result<()> {
    match reference {
        Reference::OciArchive { file, .. } | Reference::DockerArchive { file, .. } => {
            OutputTarget::of(file)?.check(UnfinishedKind::Archive)
        }
        reference => create(reference, context).map(drop),
    }
}

/// Opens the destination that a reference names. A layout may exist already.
///
/// An archive for a device or pipe is complete in a scratch file before its first byte is written.
pub fn create(reference: &Reference, context: &Context) -> Result<Box<dyn Sink>> {
    let tag = |name: &Option<ImageName>| match name {
        None => Ok(None),
        Some(ImageName::Tag(tag)) => Ok(Some(tag.clone())),
        Some(ImageName::Digest(_) | ImageName::Ordinal(_)) => {
            Err(Error::bad_input(reference, "an image is written under a tag or without a name"))
        }
    };
    match reference {
        Reference::Layout { directory, name } => {
            Ok(Box::new(layout::LayoutSink::create(directory, tag(name)?, &context.limits)?))
        }
        Reference::OciArchive { file, name } => {
            Ok(Box::new(archive::ArchiveSink::oci(file, tag(name)?, &context.scratch)?))
        }
        Reference::DockerArchive { file, name } => {
            Ok(Box::new(archive::ArchiveSink::docker(file, tag(name)?, &context.scratch)?))
        }
        Reference::Directory { .. } => {
            Err(Error::bad_input(reference, "this directory can be read only; write oci:DIR[:TAG]"))
        }
        Reference::Registry(_) => {
            Err(Error::bad_input(reference, "a registry cannot be written here"))
        }
        Reference::Containerd(_) => Err(Error::bad_input(
            reference,
            "containerd cannot be written here; write an archive and import it with \
             `ctr images import FILE`",
        )),
        Reference::ContainersStorage(_) => Err(Error::bad_input(
            reference,
            "a storage cannot be written here; write an archive and load it with \
             `podman load -i FILE`",
        )),
        Reference::DockerDaemon(_) => Err(Error::bad_input(
            reference,
            "docker cannot be written here; write docker-archive:FILE and load it with \
             `docker load -i FILE`",
        )),
        Reference::Rootfs { .. } => Err(Error::bad_input(
            reference,
            "a root file system cannot be written; write oci:DIR[:TAG] and unpack it with another \
             program",
        )),
        Reference::Bare(_) => Err(Error::bad_input(
            reference,
            "say what to write: oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]",
        )),
    }
}

impl OutgoingImage {
    /// Describes an image whose layers are written uncompressed, by the descriptors of their streams.
    /// Its manifest is not written: it names the compressed layers.
    pub fn uncompressed(image: &Image, layers: Vec<Descriptor>) -> Self {
        let (manifest, config) = (&image.manifest, &image.config_bytes);
        let media_type = Some(image.media_type.as_str()).filter(|known| !known.is_empty());
        Self {
            manifest: Descriptor::new(media_type, image.digest, manifest.len() as u64),
            manifest_bytes: manifest.clone(),
            config: Descriptor::new(None, image.config_digest, config.len() as u64),
            config_bytes: config.clone(),
            layers,
        }
    }
}

/// Returns the path of a blob in a layout.
fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}

/// Returns the entry of `index.json` for an image.
fn index_entry(manifest: &Descriptor, tag: Option<&str>) -> serde_json::Value {
    let mut entry = serde_json::json!({
        "mediaType": manifest.media_type(),
        "digest": manifest.digest.to_string(),
        "size": manifest.size_bytes,
    });
    if let Some(tag) = tag {
        entry["annotations"] = serde_json::json!({ TAG_ANNOTATION: tag });
    }
    entry
}

const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const LAYOUT_VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[cfg(test)]
mod tests;
