//! Documents and deltas of an image, kept for a second pull of it to another destination.
//!
//! A node first stages the layers of an image and later completes its blobs. The second plan
//! downloads nothing; blobs that the first pull downloaded are in the cache of its store.

use super::{
    cost::CostModel,
    destination::PullDestination,
    layers::{FailedSources, KnownDeltas, PullDelta, choose_sources, fetch_bytes, plain_sources},
    local::LocalContent,
    options::PullOptions,
    plan::PullPlan,
    source::PullSource,
    ways::ChainStep,
};
use imgdelta::Session;
use imgdelta_core::Result;
use imgdelta_image::image::Image;

/// Documents of an image and its deltas, without layers and recipes. Cloning it is cheap.
///
/// Holds the authorization that the first plan used, and blobs that were downloaded, as temporary
/// files.
#[derive(Clone, Debug)]
pub struct PullMaterial {
    source: PullSource,
    deltas: Vec<PullDelta>,
    steps: Vec<ChainStep>,
}

impl PullPlan {
    /// Returns the documents, for a second pull of the same image.
    pub fn material(&self) -> PullMaterial {
        let (deltas, steps) = (self.deltas.clone(), self.steps.clone());
        PullMaterial { source: self.source.clone(), deltas, steps }
    }
}

impl PullMaterial {
    /// Returns the image as the registry has it.
    pub fn image(&self) -> &Image {
        &self.source.image
    }

    /// Decides the source of each layer for another destination and other bases, with the deltas
    /// that were chosen before. Downloads nothing.
    pub fn plan_to(
        &self,
        session: &Session,
        bases: Vec<Image>,
        output: PullDestination,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        let (context, image) = (session.context(), &self.source.image);
        let sink = output.open(context)?;
        let local = LocalContent::find(image, &bases, &*sink, &*context.progress)?;
        let costs = CostModel(options.link);
        let (deltas, steps, failed) = (&self.deltas, &self.steps, FailedSources::default());
        let known =
            KnownDeltas { deltas, steps, failed: &failed, depth: options.recipes_in_sequence() };
        let plain_layers_bytes = fetch_bytes(&plain_sources(image, &local, costs));
        let documents = (image.manifest.len() + image.config_bytes.len()) as u64;
        Ok(PullPlan {
            layers: choose_sources(image, &local, known, costs),
            deltas: self.deltas.clone(),
            steps: self.steps.clone(),
            candidates: Vec::new(),
            rest_searches: 0,
            plain_bytes: documents + plain_layers_bytes,
            decided_bytes: 0,
            notes: Vec::new(),
            source: self.source.again(),
            bases,
            output,
            options: options.clone(),
            context: context.clone(),
            local,
            failed,
            rest_bytes: plain_layers_bytes,
        })
    }
}
