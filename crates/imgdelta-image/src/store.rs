//! Places that hold images: blobs by digest, and images by name.
//!
//! A store returns bytes as they are: the reader of a blob compares it with its digest (see
//! [`read_blob`] and `envelope`). Nothing here unpacks or writes.

mod bare;
pub mod descriptor;
pub mod directory;
pub mod docker_archive;
mod files;
mod generated;
pub mod layout;
mod members;
mod memory;
mod roots;
mod spool;

pub use descriptor::{Descriptor, PlatformFields};
pub use generated::GeneratedManifest;
pub use imgdelta_core::source;
pub use memory::MemoryStore;

use crate::reference::{ImageName, Reference};
use directory::DirectoryImage;
use docker_archive::DockerArchive;
use files::open_archive;
use imgdelta_core::{
    Context, DiffId, Error, Limits, Result, limits::Ceiling, scratch, scratch::Scratch,
    verify::BlobCheck,
};
use layout::OciLayout;
use source::ReadAt;
use std::{fmt, io::Read, path::PathBuf, sync::Arc};

/// A place that holds images.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns the name of this place in errors.
    fn place(&self) -> String;

    /// Returns the names of its images, for a person to choose from.
    fn names(&self) -> Result<Vec<String>>;

    /// Returns the manifest or index of a name; without a name, that of the only image.
    ///
    /// Several descriptors are one image for several platforms, and the platform chooses.
    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>>;

    /// Opens a blob at its first byte; the bytes are not verified.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// Returns the uncompressed stream of a layer, if the store lacks the layer's blob and has the
    /// stream; [`Descriptor::of_stream`] describes it, and [`Store::open`] opens it.
    ///
    /// By default none: most stores have blobs. A runtime that discards blobs after unpacking has
    /// streams only. Reads no layer.
    fn stored_stream(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        let _ = (blob, diff_id);
        Ok(None)
    }

    /// Returns false if the store names a layer and has neither its blob nor its stream, such as one
    /// that a runtime discarded after unpacking. True by default: the reader of a layer finds out.
    fn has_layer(&self, blob: &Descriptor) -> Result<bool> {
        let _ = blob;
        Ok(true)
    }

    /// Opens an uncompressed stream to be read at any offset: in the unpacked files that hold it, or
    /// in a blob that is not compressed.
    ///
    /// Nothing is compared with a digest. `None` if the store can only read it front to back.
    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let _ = (stream, context);
        Ok(None)
    }

    /// Returns the temporary file with a stream of [`Store::stored_stream`], if this process made it
    /// and compared its digest. It is read in place. By default none.
    fn finished_stream(&self, stream: &Descriptor) -> Option<Arc<scratch::ScratchFile>> {
        let _ = stream;
        None
    }

    /// Returns the file that holds a blob, for errors; `None` if no file holds exactly the blob.
    fn blob_file(&self, blob: &Descriptor) -> Option<PathBuf> {
        let _ = blob;
        None
    }
}

/// A store, and the name of an image in it.
type OpenStore = (Arc<dyn Store>, Option<ImageName>);

/// Opens the store that a reference names; returns it with the image's name there.
///
/// Archives are read in place, so that a compressed one and a pipe are refused: see [`open_in`].
pub fn open(reference: &Reference, limits: &Limits) -> Result<(Arc<dyn Store>, Option<ImageName>)> {
    open_with(reference, limits, None)
}

/// Opens a store as [`open`] does. Copies an archive that is compressed, a pipe or standard input
/// (`-`) to a temporary file first.
pub fn open_in(
    reference: &Reference,
    limits: &Limits,
    scratch: &Scratch,
) -> Result<(Arc<dyn Store>, Option<ImageName>)> {
    open_with(reference, limits, Some(scratch))
}

fn open_with(
    reference: &Reference,
    limits: &Limits,
    scratch: Option<&Scratch>,
) -> Result<(Arc<dyn Store>, Option<ImageName>)> {
    match reference {
        Reference::Layout { directory, name } => {
            Ok((Arc::new(OciLayout::open_directory(directory, limits)?), name.clone()))
        }
        Reference::OciArchive { file, name } => {
            let (source, place) = open_archive("oci-archive:", file, scratch)?;
            Ok((Arc::new(OciLayout::open_archive(source, place, limits)?), name.clone()))
        }
        Reference::DockerArchive { file, name } => {
            let (source, place) = open_archive("docker-archive:", file, scratch)?;
            Ok((Arc::new(DockerArchive::open(source, place, limits)?), name.clone()))
        }
        Reference::Directory { directory } => {
            Ok((Arc::new(DirectoryImage::open(directory, limits)?), None))
        }
        Reference::Registry(_) => Err(Error::bad_input(
            reference,
            "this store opens files only; the crate imgdelta-registry opens registries",
        )),
        Reference::Containerd(_) => Err(Error::bad_input(
            reference,
            "this store opens files only; the crate imgdelta-runtimes opens containerd",
        )),
        Reference::ContainersStorage(_) | Reference::DockerDaemon(_) | Reference::Rootfs { .. } => {
            Err(Error::bad_input(
                reference,
                "this store opens files only; the crate imgdelta-runtimes opens engines and rootfs:",
            ))
        }
        Reference::Bare(text) => bare::open(text, limits, scratch),
    }
}

/// Reads a whole blob into memory, and compares it with its digest and size.
pub fn read_blob(
    store: &dyn Store,
    blob: &Descriptor,
    ceiling: Ceiling,
    what: &'static str,
) -> Result<Vec<u8>> {
    let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
    ceiling.admit(blob.size_bytes, what, check.place())?;
    let mut bytes = Vec::new();
    // One byte more than the size: a longer blob fails the check.
    let mut reader = store.open(blob)?.take(blob.size_bytes + 1);
    reader.read_to_end(&mut bytes).map_err(Error::io(check.place()))?;
    check.update(&bytes)?;
    check.finish()?;
    Ok(bytes)
}
