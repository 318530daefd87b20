//! The destination of a pull: a place that a reference names, or a sink of the caller's.
//!
//! A sink is made for each attempt, since a failed attempt has used its sink.

use crate::store::BlobKeeping;
use imgdelta_apply::sink::{self, Sink};
use imgdelta_core::{Context, Result, partial::PartialBlob, scratch::Scratch};
use imgdelta_image::Reference;
use std::{fmt, path::PathBuf, sync::Arc};

/// The destination of a pull.
#[derive(Clone)]
pub struct PullDestination(Destination);

#[derive(Clone)]
enum Destination {
    Reference(Reference),
    Sink { name: String, open: Arc<SinkOpener> },
}

type SinkOpener = dyn Fn() -> Result<Box<dyn Sink>> + Send + Sync;

impl PullDestination {
    /// A sink of the caller's, which `open` makes for each attempt; reports call it `name`.
    ///
    /// A sink that takes streams gets layers uncompressed. It says which ones it has already by
    /// [`Sink::has_layers`], before anything is downloaded for them.
    pub fn sink(
        name: impl Into<String>,
        open: impl Fn() -> Result<Box<dyn Sink>> + Send + Sync + 'static,
    ) -> Self {
        Self(Destination::Sink { name: name.into(), open: Arc::new(open) })
    }

    /// Opens the sink of an attempt.
    pub(super) fn open(&self, context: &Context) -> Result<Box<dyn Sink>> {
        match &self.0 {
            Destination::Reference(reference) => sink::create(reference, context),
            Destination::Sink { open, .. } => open(),
        }
    }

    /// Returns the place for layers that are downloaded whole: a layout keeps complete ones, and the
    /// beginnings of others; for other destinations a cache keeps them until all are there.
    pub(crate) fn keeping(&self, scratch: &Scratch) -> BlobKeeping {
        match self.blobs_directory() {
            Some(directory) => BlobKeeping::Partial(directory),
            None => BlobKeeping::Scratch(scratch.clone()),
        }
    }

    /// Removes the beginnings of layers, after the whole image is there.
    pub(super) fn sweep(&self) {
        if let Some(directory) = self.blobs_directory() {
            PartialBlob::sweep(&directory);
        }
    }

    fn blobs_directory(&self) -> Option<PathBuf> {
        match &self.0 {
            Destination::Reference(Reference::Layout { directory, .. }) => {
                Some(directory.join("blobs"))
            }
            _ => None,
        }
    }
}

impl From<Reference> for PullDestination {
    fn from(reference: Reference) -> Self {
        Self(Destination::Reference(reference))
    }
}

impl From<&Reference> for PullDestination {
    fn from(reference: &Reference) -> Self {
        reference.clone().into()
    }
}

impl fmt::Display for PullDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Destination::Reference(reference) => reference.fmt(f),
            Destination::Sink { name, .. } => f.write_str(name),
        }
    }
}

impl fmt::Debug for PullDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PullDestination({self})")
    }
}
