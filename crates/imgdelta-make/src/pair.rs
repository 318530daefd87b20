//! The two images of a delta, with the streams of all their layers.
//! Never compares them.

use imgdelta_core::{Context, Result};
use imgdelta_image::{
    image::Image,
    survey::{self, Survey, SurveyOptions},
    volume::Volume,
};
use std::sync::Arc;

/// Two images and their streams, for deltas in both directions. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ImagePair {
    pub(crate) base: Arc<Survey>,
    pub(crate) target: Arc<Survey>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) context: Context,
}

impl ImagePair {
    /// Reads base and target. Their streams stay in scratch files until the pair is dropped.
    pub fn read(images: [Image; 2], options: &SurveyOptions, context: &Context) -> Result<Self> {
        let ([base, target], volume) = survey::both_with_streams(images, options, context)?;
        let (base, target, volume) = (Arc::new(base), Arc::new(target), Arc::new(volume));
        Ok(Self { base, target, volume, context: context.clone() })
    }

    /// Returns the image that the receiver has.
    pub fn base(&self) -> &Survey {
        &self.base
    }

    /// Returns the image that the delta makes.
    pub fn target(&self) -> &Survey {
        &self.target
    }

    /// Returns the pair for the delta in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { base: Arc::clone(&self.target), target: Arc::clone(&self.base), ..self.clone() }
    }
}
