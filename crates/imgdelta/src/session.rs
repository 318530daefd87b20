//! A session: the short path through the library.
//! Never contains logic of its own.
//!
//! Each method opens images or deltas and calls the crate that does the work.

mod applying;
#[cfg(feature = "make")]
mod making;

use imgdelta_core::{
    Context, Limits, Result, parallel::Workers, progress::Progress, scratch::Scratch,
};
use imgdelta_image::{
    Reference,
    image::{self, Image, OpenOptions, Platform},
    reference::ImageName,
    store::{self, Store},
};
#[cfg(feature = "make")]
pub use making::DiffOptions;
use std::{fmt, path::Path, sync::Arc};

/// Scratch directory, worker threads, limits and stores, which all methods share.
///
/// A session is cheap to clone. Its methods block; an async program calls them from
/// `tokio::task::spawn_blocking` or a thread of its own.
///
/// ```no_run
/// use imgdelta::Session;
///
/// # fn main() -> imgdelta::Result<()> {
/// let session = Session::new("/var/tmp")?;
/// let (old, new) = ("oci:images:old".parse()?, "oci:images:new".parse()?);
/// println!("{}", session.diff(&old, &new)?);
/// session.create(&old, &new, "up.imgdelta")?;
/// session.apply("up.imgdelta", &[old], &"oci:node:new".parse()?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    context: Context,
    /// None: the stores that are files.
    stores: Option<Arc<StoreOpener>>,
    platform: Option<Platform>,
}

/// Function that opens the store of a reference, and returns the image's name in it.
pub type StoreOpener =
    dyn Fn(&Reference, &Limits) -> Result<(Arc<dyn Store>, Option<ImageName>)> + Send + Sync;

impl Session {
    /// Starts a session with one worker per core and the default limits.
    ///
    /// `scratch` is a directory for temporary files, which have no names and vanish when closed. They
    /// need about the uncompressed size of the layers that are read. Choose a disk, since `/tmp` is
    /// memory on many systems.
    pub fn new(scratch: impl AsRef<Path>) -> Result<Self> {
        Self::in_scratch(Scratch::new(scratch.as_ref()))
    }

    /// Starts a session whose temporary files count towards the ceiling of `scratch`, too.
    pub fn in_scratch(scratch: Scratch) -> Result<Self> {
        let context = Context::new(scratch)?;
        Ok(Self { context, stores: None, platform: None })
    }

    /// Sets the number of worker threads; 0 is one per core. Results do not depend on it.
    pub fn threads(mut self, threads: usize) -> Result<Self> {
        self.context = self.context.workers(Arc::new(Workers::new(threads)?));
        Ok(self)
    }

    /// Sets the ceilings for images and deltas.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.context = self.context.limits(limits);
        self
    }

    /// Sets the memory for all workers together. The default is 128 MiB to apply a delta. To create
    /// one it is 400 MiB, and up to 1 GiB for a program that needs more.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.context = self.context.memory_bytes(Some(bytes));
        self
    }

    /// Sets the listener that is informed of progress and may cancel.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.context = self.context.progress(progress);
        self
    }

    /// Sets the function that opens stores, for registries and for the caller's own stores.
    #[must_use]
    pub fn stores(
        mut self,
        open: impl Fn(&Reference, &Limits) -> Result<(Arc<dyn Store>, Option<ImageName>)>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.stores = Some(Arc::new(open));
        self
    }

    /// Returns the function that opens stores, for one that adds a kind of store to those here.
    pub fn store_opener(&self) -> Arc<StoreOpener> {
        if let Some(stores) = &self.stores {
            return Arc::clone(stores);
        }
        let scratch = self.context.scratch.clone();
        Arc::new(move |reference, limits| store::open_in(reference, limits, &scratch))
    }

    /// Sets the platform for multi-platform images.
    ///
    /// By default two images are opened for a platform that both have, the host's if possible.
    #[must_use]
    pub fn platform(mut self, platform: Option<Platform>) -> Self {
        self.platform = platform;
        self
    }

    /// Returns the platform that was set, if any.
    pub fn requested_platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Returns the resources that the session passes to every step.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Opens an image: reads and verifies its manifest and config, and no layer.
    pub fn open(&self, reference: &Reference) -> Result<Image> {
        self.open_for(reference, self.platform.clone())
    }

    /// Opens two images for the same platform.
    pub fn open_pair(&self, base: &Reference, target: &Reference) -> Result<[Image; 2]> {
        image::open_pair_by(
            base,
            target,
            &self.options(self.platform.clone()),
            &*self.store_opener(),
        )
    }

    fn open_for(&self, reference: &Reference, platform: Option<Platform>) -> Result<Image> {
        image::open_by(reference, &self.options(platform), &*self.store_opener())
    }

    fn options(&self, platform: Option<Platform>) -> OpenOptions {
        OpenOptions::default().limits(self.context.limits.clone()).platform(platform)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("context", &self.context)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}
