//! The two images of a delta, with the streams of all their layers.
//! Never compares them.

use imgdelta_apply::delta::Envelope;
use imgdelta_core::{BlobDigest, Context, Error, Result};
use imgdelta_image::{
    image::Image,
    survey::{self, Survey, SurveyOptions},
    volume::Volume,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Two images and their streams, for deltas in both directions. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ImagePair {
    pub(crate) base: Arc<Survey>,
    pub(crate) target: Arc<Survey>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) context: Context,
    pub(crate) found_envelopes: FoundEnvelopes,
}

/// Envelopes that were found and proved since the pair was read, by their blobs. Both directions
/// share them, since their layers are the same.
pub(crate) type FoundEnvelopes = Arc<Mutex<HashMap<BlobDigest, Envelope>>>;

impl ImagePair {
    /// Reads base and target. Their streams stay in scratch files until the pair is dropped.
    ///
    /// Refuses a target of which some layers are stored without their blobs.
    pub fn read(images: [Image; 2], options: &SurveyOptions, context: &Context) -> Result<Self> {
        check_target(&images[1])?;
        let ([base, target], volume) = survey::both_with_streams(images, options, context)?;
        let (base, target, volume) = (Arc::new(base), Arc::new(target), Arc::new(volume));
        let found_envelopes = FoundEnvelopes::default();
        Ok(Self { base, target, volume, context: context.clone(), found_envelopes })
    }

    /// Returns the image that the receiver has.
    pub fn base(&self) -> &Survey {
        &self.base
    }

    /// Returns the image that the delta makes.
    pub fn target(&self) -> &Survey {
        &self.target
    }

    /// Returns the streams of all layers.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Returns the pair for the delta in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { base: Arc::clone(&self.target), target: Arc::clone(&self.base), ..self.clone() }
    }
}

/// Refuses a target without the blobs of its layers, which a delta has to make.
pub(crate) fn check_target(target: &Image) -> Result<()> {
    let mut absent = target.layers.iter().filter(|layer| !layer.has_blob());
    let Some(first) = absent.next() else { return Ok(()) };
    let more = match absent.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    Err(Error::bad_input(
        &target.name,
        format_args!(
            "it has the uncompressed stream of layer {}{more} and not the blob {}, and a delta makes \
             the blobs of the new image; name a copy with them, such as a registry's",
            first.ordinal + 1,
            first.descriptor.digest
        ),
    ))
}
