//! A delta made but not yet written: recipes in memory, their groups in a scratch file, and what
//! each thing costs.
//!
//! Each layer comes about in the cheapest way that is exact: kept, by recipe, or carried whole. A
//! draft larger than a plain pull says so and is not written.

use crate::{
    plan::{Known, Plan, Way},
    sources::{Content, Place},
};
use imgdelta_apply::delta::{
    Body, DeltaWriter, Envelope, FileCost, How, LayerCost, LayerOutline, Outline, Recipe, RestCost,
    StoredRecipe,
};
use imgdelta_core::{Error, Result, path::LayerPath};
use imgdelta_image::volume::Spill;
use std::{collections::HashSet, io::Write, ops::Range};

/// What a plan came to.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What was decided.
    pub plan: &'a Plan<'a>,
    /// What becomes of each target layer.
    pub layers: Vec<LayerDraft>,
    recipes: Vec<Made>,
    /// Whether each layer's blob could be made from its stream.
    remade: Vec<bool>,
    spill: Spill,
}

/// What becomes of a target layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDraft {
    /// Where it comes from; recipes and carried blobs are counted in the delta's order.
    pub body: Body,
    /// How its blob is made from its stream.
    pub envelope: Envelope,
    /// What it costs.
    pub bytes: u64,
}

/// A recipe that goes into the delta.
#[derive(Debug)]
enum Made {
    Here(RecipeDraft),
    /// At hand, for the layer of this ordinal.
    Before {
        ordinal: usize,
        recipe: StoredRecipe,
        cost: LayerCost,
    },
}

impl Made {
    /// Returns its length in the delta.
    fn bytes(&self) -> u64 {
        match self {
            Self::Here(recipe) => recipe.bytes(),
            Self::Before { recipe, .. } => recipe.size_bytes(),
        }
    }
}

/// A layer that is rebuilt.
#[derive(Debug)]
pub(crate) struct RecipeDraft {
    /// Its place in the target image, from 0.
    pub(crate) ordinal: u32,
    pub(crate) recipe: Recipe,
    /// Which entry of the layer's index each payload of the recipe is, or lies in; none for bytes of
    /// no entry.
    pub(crate) payload_entries: Vec<Option<u32>>,
    pub(crate) groups: Vec<GroupDraft>,
}

impl RecipeDraft {
    /// Returns its length in the delta.
    fn bytes(&self) -> u64 {
        self.recipe.to_bytes().len() as u64 + self.recipe.group_bytes()
    }
}

/// A group's bytes in the scratch file, and whose they are.
#[derive(Debug)]
pub(crate) struct GroupDraft {
    pub(crate) range: Range<u64>,
    pub(crate) costs: Vec<MemberCost>,
}

/// What a member costs, by its share of the group's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberCost {
    /// Which payload it is of.
    pub(crate) payload: u32,
    /// Bytes of the packed group.
    pub(crate) bytes: u64,
}

impl<'a> Draft<'a> {
    /// Puts together what was made. `recipes` are those of the rebuilt layers in their order,
    /// `envelopes` one for each target layer; `is_exact` if blobs are to be made, not only streams.
    pub(crate) fn new(
        plan: &'a Plan<'a>,
        is_exact: bool,
        recipes: Vec<RecipeDraft>,
        envelopes: Vec<Envelope>,
        spill: Spill,
    ) -> Self {
        let mut draft =
            Self { plan, layers: Vec::new(), recipes: Vec::new(), remade: Vec::new(), spill };
        let mut made: Vec<Option<Made>> = plan.layers.iter().map(|_| None).collect();
        for recipe in recipes {
            let ordinal = recipe.ordinal as usize;
            made[ordinal] = Some(Made::Here(recipe));
        }
        let mut carried = Vec::new();
        for (ordinal, envelope) in envelopes.into_iter().enumerate() {
            let descriptor = &plan.target.image.layers[ordinal].descriptor;
            let envelope_bytes = envelope.recipe().map_or(0, <[u8]>::len) as u64;
            let is_made = !is_exact || envelope != Envelope::Unmade;
            draft.remade.push(is_made);
            let recipe = match &plan.layers[ordinal] {
                Way::Kept => None,
                Way::Rebuilt(_) => made[ordinal].take(),
                Way::Known(number) => {
                    let Known { recipe, cost, .. } = plan.known[*number].clone();
                    Some(Made::Before { ordinal, recipe, cost })
                }
                Way::Again(earlier) => match draft.layers[*earlier as usize].body {
                    Body::Recipe(_) if is_made => {
                        let body = draft.layers[*earlier as usize].body;
                        draft.layers.push(LayerDraft { body, envelope, bytes: envelope_bytes });
                        continue;
                    }
                    _ => None,
                },
            };
            let is_kept = plan.layers[ordinal] == Way::Kept;
            let recipe = recipe.map(|recipe| (recipe.bytes() + envelope_bytes, recipe));
            let layer = match recipe {
                None if is_kept && is_made => {
                    LayerDraft { body: Body::Kept, envelope, bytes: envelope_bytes }
                }
                Some((bytes, recipe)) if is_made && bytes < descriptor.size_bytes => {
                    let number = u32::try_from(draft.recipes.len()).expect("layers are limited");
                    draft.recipes.push(recipe);
                    LayerDraft { body: Body::Recipe(number), envelope, bytes }
                }
                _ => {
                    let known = carried.iter().position(|digest| *digest == descriptor.digest);
                    let number = known.unwrap_or(carried.len());
                    let bytes = if known.is_some() { 0 } else { descriptor.size_bytes };
                    if known.is_none() {
                        carried.push(descriptor.digest);
                    }
                    let number = u32::try_from(number).expect("layers are limited");
                    let (body, envelope) = (Body::Carried(number), Envelope::Unmade);
                    LayerDraft { body, envelope, bytes }
                }
            };
            draft.layers.push(layer);
        }
        draft
    }

    /// Returns whether a layer's blob can be made from its stream, or needs not be.
    pub(crate) fn is_remade(&self, ordinal: usize) -> bool {
        self.remade[ordinal]
    }

    /// Returns what a receiver of the base would pull without a delta: the blobs the base lacks.
    pub fn pull_bytes(&self) -> u64 {
        let base = &self.plan.base.image.layers;
        let mut seen: HashSet<_> = base.iter().map(|layer| layer.descriptor.digest).collect();
        let blobs = self.plan.target.image.layers.iter().map(|layer| &layer.descriptor);
        blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size_bytes).sum()
    }

    /// Writes the delta and returns its length.
    ///
    /// Refuses to where a plain pull is no larger: then there is nothing to gain.
    pub fn write(&self, out: &mut dyn Write) -> Result<u64> {
        let (layer_bytes, pull_bytes) =
            (self.layers.iter().map(|layer| layer.bytes).sum::<u64>(), self.pull_bytes());
        if layer_bytes >= pull_bytes && pull_bytes > 0 {
            let lost = (0..self.layers.len()).filter(|&layer| !self.is_remade(layer)).count();
            let why = match lost {
                0 => String::new(),
                _ => format!(
                    "; {lost} layers travel whole, as their compression cannot be made again: \
                     uncompressed layers might do"
                ),
            };
            return Err(Error::bad_input(
                format_args!("delta to {}", self.plan.target.image.name),
                format_args!(
                    "nothing is gained: its layers come to {layer_bytes} bytes, a plain pull to \
                     {pull_bytes}{why}"
                ),
            ));
        }
        self.write_to(out)
    }

    /// Writes the delta whatever its length.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> Result<u64> {
        let image = &self.plan.target.image;
        let mut writer = DeltaWriter::new(out, &self.outline())?;
        let (mut recipes, mut carried) = (0, 0);
        for (ordinal, layer) in self.layers.iter().enumerate() {
            match layer.body {
                Body::Recipe(number) if number == recipes => {
                    match &self.recipes[number as usize] {
                        Made::Here(RecipeDraft { recipe, groups, .. }) => {
                            let ranges = groups.iter().map(|group| group.range.clone()).collect();
                            writer.recipe(recipe, &mut self.spill.reader(ranges))?;
                        }
                        Made::Before { recipe, .. } => {
                            writer.stored_recipe(recipe.size_bytes(), &mut recipe.reader())?;
                        }
                    }
                    recipes += 1;
                }
                Body::Carried(number) if number == carried => {
                    let blob = &image.layers[ordinal].descriptor;
                    writer.carried(blob.size_bytes, &mut image.store().open(blob)?)?;
                    carried += 1;
                }
                _ => {}
            }
        }
        writer.cost(&self.told_costs())?;
        writer.finish().map(|(_, bytes)| bytes)
    }

    fn outline(&self) -> Outline {
        let image = &self.plan.target.image;
        let layers = self.layers.iter().zip(&self.plan.target.layers);
        Outline {
            algorithm: image.digest.algorithm(),
            media_type: image.media_type.clone(),
            manifest: image.manifest.clone(),
            config: image.config_bytes.clone(),
            platform: image.platform.to_string(),
            base: Some(self.plan.base.image.digest),
            layers: layers
                .map(|(layer, index)| LayerOutline {
                    stream_bytes: index.stream_bytes,
                    body: layer.body,
                    envelope: layer.envelope.clone(),
                })
                .collect(),
        }
    }

    /// Returns what each layer and file costs.
    pub fn costs(&self) -> Vec<LayerCost> {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(ordinal, layer)| match layer.body {
                // Of layers that share a recipe the first pays.
                Body::Recipe(number) => match &self.recipes[number as usize] {
                    Made::Here(recipe) if recipe.ordinal as usize == ordinal => self.cost(recipe),
                    Made::Before { ordinal: first, cost, .. } if *first == ordinal => cost.clone(),
                    _ => LayerCost::default(),
                },
                Body::Kept | Body::Carried(_) => LayerCost::default(),
            })
            .collect()
    }

    fn cost(&self, recipe: &RecipeDraft) -> LayerCost {
        let ordinal = recipe.ordinal as usize;
        let Way::Rebuilt(choices) = &self.plan.layers[ordinal] else {
            unreachable!("only rebuilt layers have recipes");
        };
        let entries = &self.plan.target.layers[ordinal].entries;
        // What lies in an archive counts for the archive.
        let mut spent = vec![0; entries.len()];
        for cost in recipe.groups.iter().flat_map(|group| &group.costs) {
            if let Some(entry) = recipe.payload_entries[cost.payload as usize] {
                spent[entry as usize] += cost.bytes;
            }
        }
        let headers = recipe.recipe.to_bytes().len() as u64;
        let mut cost = LayerCost { headers, ..LayerCost::default() };
        for ((entry, choice), spent) in entries.iter().zip(choices).zip(spent) {
            let how = match &choice.content {
                Content::Empty => continue,
                Content::Same(place) if self.base_path(*place) == &entry.path => How::KEPT,
                Content::Same(_) => How::MOVED,
                Content::Repeat(_) => How::REPEATED,
                Content::Built(places, _) if places.is_empty() => How::LITERAL,
                Content::Built(..) => How::PATCHED,
                Content::Opened | Content::Packed(_) => How::OPENED,
            };
            let target_bytes = entry.payload.end - entry.payload.start;
            let path = entry.path.as_bytes().to_vec();
            cost.files.push(FileCost { path, how, target_bytes, delta_bytes: spent });
        }
        cost
    }

    fn base_path(&self, place: Place) -> &LayerPath {
        &self.plan.base_entry(place).path
    }

    /// The costs a delta tells of itself: its dearest files by name, the others in sums. All of
    /// them would be a tenth of a small delta.
    fn told_costs(&self) -> Vec<LayerCost> {
        let mut costs = self.costs();
        let total: u64 = self.layers.iter().map(|layer| layer.bytes).sum();
        for cost in &mut costs {
            let mut rest = std::mem::take(&mut cost.rest);
            cost.files.retain(|file| {
                if file.delta_bytes > (total / TOLD_SHARE).max(TOLD_BYTES) {
                    return true;
                }
                let known = rest.iter_mut().find(|known| known.how == file.how);
                match known {
                    Some(known) => {
                        known.count += 1;
                        known.target_bytes += file.target_bytes;
                        known.delta_bytes += file.delta_bytes;
                    }
                    None => rest.push(RestCost {
                        how: file.how,
                        count: 1,
                        target_bytes: file.target_bytes,
                        delta_bytes: file.delta_bytes,
                    }),
                }
                false
            });
            rest.sort_by_key(|rest| rest.how);
            cost.rest = rest;
        }
        costs
    }
}

/// Files are told by name from one in so many bytes of the delta on: some hundred of them at most.
const TOLD_SHARE: u64 = 500;
/// A path costs some twenty bytes.
const TOLD_BYTES: u64 = 200;
