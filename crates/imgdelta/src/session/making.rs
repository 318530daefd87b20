//! The methods of a session that compare images and make deltas.
//! Never applies a delta.

use super::Session;
use imgdelta_core::Result;
use imgdelta_diff::{Diff, Ignore};
use imgdelta_image::{
    Reference,
    image::Image,
    survey::{self, SurveyOptions},
};
use imgdelta_make::{
    options::CreateOptions,
    pair::ImagePair,
    plan::Plan,
    proof::{SavedDelta, check_destination},
};
use imgdelta_patch::ComparedImages;
use std::path::{Path, PathBuf};

/// Options for comparing two images.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DiffOptions {
    /// Kinds of difference that are left out. None by default.
    pub ignore: Ignore,
    /// Directory of layer indexes, so that a layer is read once. None by default, since a library
    /// writes no files on its own.
    pub cache: Option<PathBuf>,
}

impl DiffOptions {
    /// Leaves out kinds of difference.
    #[must_use]
    pub fn ignore(mut self, ignore: Ignore) -> Self {
        self.ignore = ignore;
        self
    }

    /// Keeps layer indexes in a directory, which is created if it is missing.
    #[must_use]
    pub fn cache(mut self, directory: Option<PathBuf>) -> Self {
        self.cache = directory;
        self
    }
}

impl Session {
    /// Compares two images: layers, config, files, packages.
    pub fn diff(&self, old: &Reference, new: &Reference) -> Result<Diff> {
        self.diff_images(self.open_pair(old, new)?, &DiffOptions::default())
    }

    /// Compares two open images.
    pub fn diff_images(&self, images: [Image; 2], options: &DiffOptions) -> Result<Diff> {
        let survey = self.survey_options(options);
        let [base, target] = survey::both(images, &survey, &self.context)?;
        Diff::between(&base, &target, &options.ignore, &*self.context.progress)
    }

    /// Reads two open images to show the changes inside their files. Layers with a cached index are
    /// read only if they hold a file that is shown.
    pub fn read_images(&self, images: [Image; 2], options: &DiffOptions) -> Result<ComparedImages> {
        ComparedImages::read(images, self.survey_options(options), &self.context)
    }

    /// Reads two open images and keeps their streams in scratch files.
    ///
    /// One comparison and deltas in both directions then need no further reading.
    pub fn read_pair(&self, images: [Image; 2], options: &DiffOptions) -> Result<ImagePair> {
        ImagePair::read(images, &self.survey_options(options), &self.context)
    }

    /// Reads two images and decides how each layer of the new one is made from the old one.
    pub fn plan(&self, old: &Reference, new: &Reference, options: &CreateOptions) -> Result<Plan> {
        self.read_pair(self.open_pair(old, new)?, &DiffOptions::default())?.plan(options)
    }

    /// Opens an image, and as its base an image without layers: a delta from it serves receivers that
    /// have no earlier image.
    pub fn open_without_base(&self, target: &Reference) -> Result<[Image; 2]> {
        let target = self.open(target)?;
        let base = target.without_layers()?;
        Ok([base, target])
    }

    /// Makes a delta from one image to another, proves it by applying it, and saves it at `path`.
    ///
    /// The file appears complete or not at all. Fails if a plain pull is not larger.
    pub fn create(
        &self,
        old: &Reference,
        new: &Reference,
        path: impl AsRef<Path>,
    ) -> Result<SavedDelta> {
        check_destination(path.as_ref())?;
        // The cost is not reported, so package databases are not read.
        let images = self.open_pair(old, new)?;
        let pair = ImagePair::read(images, &SurveyOptions::default(), &self.context)?;
        pair.plan(&CreateOptions::default())?.encode()?.prove()?.save(path)
    }

    fn survey_options(&self, options: &DiffOptions) -> SurveyOptions {
        let survey = SurveyOptions::default().file_reader(imgdelta_packages::database_reader);
        match &options.cache {
            Some(directory) => survey.cache(directory, &self.context.limits),
            None => survey,
        }
    }
}
