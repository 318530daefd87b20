//! The plan of a pull with the images of the node as bases, those without frames included.
//!
//! Whatever fails with frames, the runtime pulls the image whole.

use crate::{framed::FramedPull, pull::NodePull};
use imgdelta_core::{Error, Result};
use imgdelta_image::{image::Image, reference::RegistryReference};
use imgdelta_registry::{PullOptions, PullPlan, Registries, pull::PullDestination};

/// A pull of an image into the store of a runtime.
pub(crate) struct PullRequest<'a> {
    pub node: NodePull<'a>,
    pub registries: &'a Registries,
    /// The image, with the name that the runtime uses.
    pub image: &'a RegistryReference,
    pub options: &'a PullOptions,
}

impl PullRequest<'_> {
    /// Plans the pull with all bases, or without one by a delta that needs none; `None` if there is
    /// neither. Frames that the plan needs are fetched now.
    pub fn plan(&self, destination: &dyn Fn() -> PullDestination) -> Result<Option<PullPlan>> {
        let bases = self.node.bases(self.image)?;
        let has_bases = !bases.is_empty();
        let mut plan = None;
        if has_bases {
            let found = self.plan_with(bases, destination())?;
            if found.is_complete() || !found.deltas.is_empty() {
                return Ok(Some(found));
            }
            plan = Some(found);
        }
        match self.plan_with_frames(destination) {
            Ok(None) if !has_bases => {
                let found = self.plan_with(Vec::new(), destination())?;
                Ok(Some(found).filter(|found| found.is_complete() || !found.deltas.is_empty()))
            }
            Ok(None) => Ok(plan),
            Ok(with_frames) => Ok(with_frames),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                tracing::warn!(image = %self.image, %error, "bases without frames are not used");
                Ok(plan)
            }
        }
    }

    fn plan_with(&self, bases: Vec<Image>, destination: PullDestination) -> Result<PullPlan> {
        self.node.plan(self.registries, self.image, bases, destination, self.options)
    }

    fn plan_with_frames(
        &self,
        destination: &dyn Fn() -> PullDestination,
    ) -> Result<Option<PullPlan>> {
        let NodePull { runtime, session, .. } = self.node;
        let RegistryReference { host, repository, .. } = self.image;
        let images = runtime.unframed_images(host, repository, &self.node.open_options())?;
        let source = &self.node.at_address(self.image)?;
        let Self { registries, options, .. } = *self;
        FramedPull { session, registries, source, options }.plan(images, destination)
    }
}
