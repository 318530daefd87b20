//! Two images, read so that the changes inside their files can be shown.
//! Never reads a layer twice.

use crate::patch::{PatchOptions, PatchSet};
use imgdelta_core::{Context, Result};
use imgdelta_diff::{Diff, FileChange, Ignore};
use imgdelta_image::{
    image::Image,
    survey::{self, Survey, SurveyOptions},
    volume::Volume,
};

/// Two images that were surveyed, with the streams of the layers that were read.
#[derive(Debug)]
#[non_exhaustive]
pub struct ComparedImages {
    /// The old image.
    pub base: Survey,
    /// The new image.
    pub target: Survey,
    volume: Volume,
}

impl ComparedImages {
    /// Surveys two images. Streams of layers that are read stay in scratch files; layers with a cached
    /// index are not read.
    pub fn read(images: [Image; 2], options: SurveyOptions, context: &Context) -> Result<Self> {
        let mut options = options;
        options.omits_cached_streams = true;
        let ([base, target], volume) = survey::both_with_streams(images, &options, context)?;
        Ok(Self { base, target, volume })
    }

    /// Compares the images.
    pub fn diff(&self, ignore: &Ignore, context: &Context) -> Result<Diff> {
        Diff::between(&self.base, &self.target, ignore, &*context.progress)
    }

    /// Looks into the files of `diff` for which `chooses` is true. Reads the layers that hold one and
    /// were not read before.
    pub fn patches(
        &self,
        diff: &Diff,
        chooses: &(dyn Fn(&FileChange) -> bool + Sync),
        options: PatchOptions,
        context: &Context,
    ) -> Result<PatchSet> {
        let surveys = [&self.base, &self.target];
        let missing = PatchSet::missing_streams(diff, surveys, &self.volume, chooses);
        let images = surveys.map(|survey| &survey.image);
        let late = Volume::extract(&images, &missing, context)?;
        PatchSet::between(diff, surveys, &[&self.volume, &late], chooses, options, context)
    }
}
