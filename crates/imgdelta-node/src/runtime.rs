//! The store of a container runtime: it has the bases, and takes the rebuilt layers.

use imgdelta_apply::sink::Sink;
use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::{ImageName, RepositoryName},
};
use imgdelta_runtimes::containerd::UnframedImage;
use std::fmt;

/// The store of a container runtime. Its methods block.
///
/// A runtime that implements the first three methods serves a mirror without compressed blobs.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Returns images of a repository of a registry, the latest first. An image that cannot be
    /// opened, such as one that is being pulled, is left out.
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>>;

    /// Returns the names of all images, with registry and tag or digest. Other names may be among them.
    fn names(&self) -> Result<Vec<String>>;

    /// Returns images of a repository whose layers are unpacked, and some of them have neither blobs nor
    /// frames; the latest first. By default there are none.
    fn unframed_images(
        &self,
        _registry: &str,
        _repository: &RepositoryName,
        _options: &OpenOptions,
    ) -> Result<Vec<UnframedImage>> {
        Ok(Vec::new())
    }

    /// Returns a sink that puts an image's layers into the store without making the image visible.
    /// The runtime finds them when it pulls the image, which waits for them.
    fn sink(&self) -> Result<Box<dyn Sink>>;

    /// Returns a sink as [`Runtime::sink`] does, for an image that may be pulled much later.
    fn staging_sink(&self) -> Result<Box<dyn Sink>> {
        self.sink()
    }

    /// Ends the protection of layers that were put into the store and that an image uses by now.
    /// Returns the number of images whose layers still wait for a pull.
    fn release_used(&self) -> Result<usize> {
        Ok(0)
    }

    /// Returns the state of an image, by the digest of its manifest.
    fn image_state(&self, _manifest: &BlobDigest, _options: &OpenOptions) -> Result<ImageState> {
        Ok(ImageState::Awaited)
    }

    /// Returns a sink that adds compressed blobs to an image that the runtime has pulled.
    fn blob_sink(&self, _registry: &str, _repository: &RepositoryName) -> Result<Box<dyn Sink>> {
        Err(Error::bad_input("the runtime's store", "it takes no blobs"))
    }
}

/// The state of an image in the store of a runtime.
#[derive(Debug)]
pub enum ImageState {
    /// It is not there, or is being pulled.
    Awaited,
    /// It is there, and the runtime keeps no compressed blobs of it.
    Discarding,
    /// It is there with all blobs.
    Complete,
    /// It is there without all blobs. Blobs that are added stay with it.
    Incomplete {
        /// The image, if the streams of all its layers can be read.
        image: Option<Box<Image>>,
    },
}

/// True if a runtime's name of an image is a tag or digest in this repository.
pub(crate) fn is_in_repository(name: &str, registry: &str, repository: &RepositoryName) -> bool {
    let rest = name.strip_prefix(&format!("{registry}/{repository}"));
    rest.is_some_and(|rest| rest.starts_with([':', '@']))
}

/// Opens images as bases, each manifest once, and leaves out those that cannot be opened.
pub(crate) fn open_bases(
    names: impl IntoIterator<Item = ImageName>,
    open: impl Fn(&ImageName) -> Result<Image>,
) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for name in names {
        match open(&name) {
            Ok(image) if images.iter().any(|other| other.digest == image.digest) => {}
            Ok(image) => images.push(image),
            Err(error) => tracing::debug!(image = %name, %error, "not a base"),
        }
        if images.len() == MOST_BASES {
            break;
        }
    }
    images
}

/// A node has the current version of an image, the one before, and a few more.
pub(crate) const MOST_BASES: usize = 8;
