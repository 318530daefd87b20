//! The store of a container runtime: it has the bases, and takes the rebuilt layers.

use imgdelta_apply::sink::Sink;
use imgdelta_core::Result;
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::RepositoryName,
};
use std::fmt;

/// The store of a container runtime. Its methods block.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Returns images of a repository of a registry, the latest first. An image that cannot be
    /// opened, such as one that is being pulled, is left out.
    fn images(
        &self,
        registry: &str,
        repository: &RepositoryName,
        options: &OpenOptions,
    ) -> Result<Vec<Image>>;

    /// Returns a sink that puts an image's layers into the store without making the image visible.
    /// The runtime finds them when it pulls the image.
    fn sink(&self) -> Result<Box<dyn Sink>>;
}
