//! The destination of a pull: a place that a reference names, or a sink of the caller's.
//!
//! A sink is made for each attempt, since a failed attempt has used its sink.

use imgdelta_apply::sink::{self, Sink};
use imgdelta_core::{Context, Result};
use imgdelta_image::Reference;
use std::{fmt, sync::Arc};

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

    /// Returns true if it keeps blobs while the image is incomplete.
    pub(crate) fn keeps_blobs(&self) -> bool {
        matches!(self.0, Destination::Reference(Reference::Layout { .. }))
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
