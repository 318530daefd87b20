//! A pull on a node, put together: the registry that is asked, the bases that the runtime has, the link.
//!
//! The mirror, `node stage` and the completion of blobs pull through this. Decides nothing, and holds no
//! login of its own.

use crate::{
    config::{Config, RegistryConfig},
    runtime::Runtime,
};
use imgdelta::Session;
use imgdelta_core::{Error, Result};
use imgdelta_image::{
    Reference,
    image::{Image, OpenOptions},
    reference::RegistryReference,
};
use imgdelta_registry::{
    PullOptions, PullPlan, Registries,
    pull::{LinkSpeed, PullDestination},
};
use std::sync::Arc;

/// The parts of pulls on this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodePull<'a> {
    pub config: &'a Config,
    pub runtime: &'a Arc<dyn Runtime>,
    pub session: &'a Session,
}

impl NodePull<'_> {
    /// Returns the configuration of an image's registry.
    pub fn registry(&self, image: &RegistryReference) -> Result<&RegistryConfig> {
        self.config.registry(Some(&image.host)).ok_or_else(|| {
            let what = "its registry is none of the configuration: add it as [[registry]]";
            Error::bad_input(Reference::Registry(image.clone()), what)
        })
    }

    /// Returns the images of the same repository that the runtime has.
    pub fn bases(&self, image: &RegistryReference) -> Result<Vec<Image>> {
        self.runtime.images(&image.host, &image.repository, &self.open_options())
    }

    /// Returns the options for opening an image of the runtime.
    pub fn open_options(&self) -> OpenOptions {
        OpenOptions::default().limits(self.session.context().limits.clone())
    }

    /// Returns options for choosing by time on a link with so many bits per second.
    pub fn by_time(&self, bits_per_second: u64) -> PullOptions {
        let workers = self.session.context().workers.count();
        PullOptions::default().link(Some(LinkSpeed::new(bits_per_second, workers)))
    }

    /// Returns an image at the address of its registry that is asked. `image` has the name that runtimes
    /// use; the configuration may name another address.
    pub fn at_address(&self, image: &RegistryReference) -> Result<RegistryReference> {
        let host = self.registry(image)?.address().to_owned();
        Ok(RegistryReference { host, ..image.clone() })
    }

    /// Decides the source of each layer.
    pub fn plan(
        &self,
        registries: &Registries,
        image: &RegistryReference,
        bases: Vec<Image>,
        destination: PullDestination,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        let source = Reference::Registry(self.at_address(image)?);
        registries.plan_pull_to(self.session, &source, bases, destination, options)
    }
}

/// Returns the store of a runtime as the destination of layers.
pub(crate) fn runtime_store(runtime: &Arc<dyn Runtime>) -> PullDestination {
    let runtime = Arc::clone(runtime);
    PullDestination::sink("the runtime's store", move || runtime.sink())
}
