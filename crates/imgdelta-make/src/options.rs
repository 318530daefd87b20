//! Options for making a delta, each with the reason for its default.
//! Never checks a value.

use crate::archives::ArchiveOptions;
use imgdelta_apply::{
    delta::{Delta, Envelope, LayerBody, LayerCost, StoredRecipe},
    rebuild::LayerForm,
};
use imgdelta_core::{BlobDigest, Result};
use std::collections::{BTreeMap, HashMap, btree_map::Entry};

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
    /// Envelopes from earlier deltas, by the blobs that they make; those of layers that both images
    /// have are used instead of searched for. None.
    pub known_envelopes: HashMap<BlobDigest, Envelope>,
    /// Envelopes of layers that both images have. Included: an old image without the compressed
    /// layers is then enough.
    pub kept_envelopes: KeptEnvelopes,
}

/// Envelopes of layers that both images have, which serve bases that have a layer's stream and not
/// its blob. Finding one takes about as long as compressing the layer once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeptEnvelopes {
    /// Included, except with [`Preset::Fast`].
    #[default]
    ByPreset,
    /// Included.
    Included,
    /// Left out: only a base with the blobs makes the exact image.
    Omitted,
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

    /// Offers envelopes from earlier deltas, by the blobs that they make.
    #[must_use]
    pub fn known_envelopes(mut self, envelopes: HashMap<BlobDigest, Envelope>) -> Self {
        self.known_envelopes = envelopes;
        self
    }

    /// Sets the treatment of envelopes of layers that both images have.
    #[must_use]
    pub fn kept_envelopes(mut self, kept: KeptEnvelopes) -> Self {
        self.kept_envelopes = kept;
        self
    }

    /// Offers all recipes and envelopes of an earlier delta, in addition to others.
    pub fn reuse(mut self, delta: &Delta) -> Result<Self> {
        let costs = delta.cost()?.unwrap_or_default();
        let mut recipes: BTreeMap<u32, ReusableRecipe> = BTreeMap::new();
        for (ordinal, layer) in delta.layers().iter().enumerate() {
            if layer.envelope.recipe().is_some() {
                self.known_envelopes.insert(layer.blob, layer.envelope.clone());
            }
            let LayerBody::Recipe(number) = layer.body else { continue };
            let offer = match recipes.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(ReusableRecipe {
                    recipe: delta.recipe(number)?,
                    envelopes: HashMap::new(),
                    archive_milliseconds: layer.archive_milliseconds,
                    cost: costs.get(ordinal).cloned().unwrap_or_default(),
                }),
            };
            offer.envelopes.insert(layer.blob, layer.envelope.clone());
        }
        self.reusable.extend(recipes.into_values());
        Ok(self)
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
    /// The time for closing archives that the earlier delta reported.
    pub archive_milliseconds: u64,
    /// The cost that the earlier delta reported.
    pub cost: LayerCost,
}
