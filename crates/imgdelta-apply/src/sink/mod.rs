//! Where a finished image goes: an OCI layout, an archive, or nothing at all.
//!
//! A sink takes blobs, several at once, and shows none before it was given proof that its bytes are
//! right; the image as a whole appears last, in one step. Never checks a digest itself, save of
//! what it finds already there.

mod archive;
mod layout;
mod memory;
mod nothing;
mod tar;
mod temporary;

pub use memory::MemorySink;
pub use nothing::Nothing;

use imgdelta_core::{Error, Limits, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::{Reference, reference::ImageName, store::Descriptor};
use std::{fmt, path::PathBuf};

/// A place that takes one image.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Returns how errors name this place.
    fn place(&self) -> String;

    /// Returns what its layers must be.
    fn wants(&self) -> Wants;

    /// Says what will come, before any blob does. Whatever can be refused is refused here.
    fn begin(&mut self, image: Outgoing) -> Result<()>;

    /// Whether the place has one of the layers' blobs already, whole and right.
    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool>;

    /// Opens one of the layers' blobs for writing. Each is opened once, however many layers name
    /// it.
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>>;

    /// Ends: the image becomes visible. All its layers were written or there.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// What a sink's layers must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The blobs that the manifest names.
    Blobs,
    /// Streams, uncompressed.
    Streams,
    /// Blobs where they can be made, else streams: it keeps none.
    Either,
}

/// A blob on its way into a sink.
pub trait BlobWriter: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the blob visible, against proof that what was written has its digest and size.
    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()>;
}

/// An image about to be written: its documents, and the names of its layers' blobs.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The manifest's media type, digest and size.
    pub manifest: Descriptor,
    /// The manifest, byte for byte.
    pub manifest_bytes: Vec<u8>,
    /// The config's.
    pub config: Descriptor,
    /// The config, byte for byte.
    pub config_bytes: Vec<u8>,
    /// The layers, lowest first; where streams are wanted, named by those.
    pub layers: Vec<Descriptor>,
}

/// Opens the place that a reference names for writing; a layout may exist or not.
pub fn create(reference: &Reference, limits: &Limits) -> Result<Box<dyn Sink>> {
    let tag = |name: &Option<ImageName>| match name {
        None => Ok(None),
        Some(ImageName::Tag(tag)) => Ok(Some(tag.clone())),
        Some(ImageName::Digest(_) | ImageName::Ordinal(_)) => {
            Err(Error::bad_input(reference, "an image is written under a tag or without a name"))
        }
    };
    match reference {
        Reference::Layout { directory, name } => {
            Ok(Box::new(layout::LayoutSink::create(directory, tag(name)?, limits)?))
        }
        Reference::OciArchive { file, name } => {
            Ok(Box::new(archive::ArchiveSink::oci(file, tag(name)?)?))
        }
        Reference::DockerArchive { file, name } => {
            Ok(Box::new(archive::ArchiveSink::docker(file, tag(name)?)?))
        }
        Reference::Registry(_) => {
            Err(Error::bad_input(reference, "a registry cannot be written here"))
        }
        Reference::Bare(_) => Err(Error::bad_input(
            reference,
            "say what to write: oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]",
        )),
    }
}

/// The path of a blob in a layout.
fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}

/// The entry of `index.json` that names an image.
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

/// The directory that a file lies in, also where its path is a bare name.
fn parent(path: &std::path::Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const LAYOUT_VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[cfg(test)]
mod tests;
