//! Options for making a delta, each with the reason for its default.
//! Never checks a value.

use crate::archives::ArchiveOptions;
use imgdelta_apply::{
    delta::{Envelope, LayerCost, StoredRecipe},
    rebuild::LayerForm,
};
use imgdelta_core::BlobDigest;
use std::collections::HashMap;

/// Amount of time to spend on a smaller delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preset {
    /// For deltas that are made while somebody waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}

/// Options for making a delta.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Time to spend. The default preset.
    pub preset: Preset,
    /// Form of the layers that the delta makes. Exact blobs: only they keep the image's digest.
    pub layers: LayerForm,
    /// Treatment of archives inside layers.
    pub archives: ArchiveOptions,
    /// Recipes from earlier deltas; those that fit are used instead of made again. None.
    pub reusable: Vec<ReusableRecipe>,
}

impl CreateOptions {
    /// Sets the time to spend.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets the form of the layers that the delta makes.
    #[must_use]
    pub fn layers(mut self, layers: LayerForm) -> Self {
        self.layers = layers;
        self
    }

    /// Sets the treatment of archives inside layers.
    #[must_use]
    pub fn archives(mut self, archives: ArchiveOptions) -> Self {
        self.archives = archives;
        self
    }

    /// Offers recipes from earlier deltas.
    #[must_use]
    pub fn reusable(mut self, recipes: Vec<ReusableRecipe>) -> Self {
        self.reusable = recipes;
        self
    }
}

/// A recipe from an earlier delta. The caller states the effort with which it was made; a plan checks
/// only that the base has its sources. Proving the new delta proves the recipe and its envelopes.
#[derive(Clone, Debug)]
pub struct ReusableRecipe {
    /// The recipe.
    pub recipe: StoredRecipe,
    /// For each blob with this stream, the envelope that makes it.
    pub envelopes: HashMap<BlobDigest, Envelope>,
    /// The cost that the earlier delta reported.
    pub cost: LayerCost,
}
