//! A delta that is encoded and not proved yet.
//! Never makes a delta that is larger than a plain pull.
//!
//! Each layer is made in the cheapest exact way: kept, rebuilt by a recipe, or carried whole. Recipes
//! are in memory, their groups in a scratch file.

use crate::{
    envelopes::PlannedEnvelopes,
    options::ReusableRecipe,
    plan::{LayerPlan, Plan},
    sources::{EntryPlace, PayloadSource},
    spill::SpillFile,
};
use imgdelta_apply::{
    delta::{
        DeltaWriter, Envelope, FileCost, LayerBody, LayerCost, LayerOutline, Outline, Provenance,
        Recipe, RestCost, StoredRecipe,
    },
    rebuild::{LayerForm, rebuild_time},
};
use imgdelta_codec::CoderSizes;
use imgdelta_core::{
    Error, Result,
    path::{LayerPath, LayerPathRef},
    sort::SharedSort,
};
use std::{
    collections::{BTreeSet, HashSet},
    io::Write,
    ops::Range,
    time::Duration,
};

/// An encoded delta. [`Draft::prove`] makes it ready to be saved.
#[derive(Debug)]
pub struct Draft {
    /// The plan that was carried out.
    pub plan: Plan,
    /// The result for each target layer.
    pub layers: Vec<LayerDraft>,
    recipes: Vec<DraftRecipe>,
    /// For each layer, true if its blob can be made from its stream.
    remade: Vec<bool>,
    /// For each layer, true if its envelope came from an earlier delta.
    reused_envelopes: Vec<bool>,
    spill: SpillFile,
}

/// The result for one target layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerDraft {
    /// Source of its stream; recipes and carried blobs are counted in the delta's order.
    pub body: LayerBody,
    /// The way its blob is made from its stream.
    pub envelope: Envelope,
    /// Bytes that it adds to the delta.
    pub bytes: u64,
}

/// A recipe that goes into the delta.
#[derive(Debug)]
enum DraftRecipe {
    /// Encoded for this delta.
    Fresh(RecipeDraft),
    /// Taken from an earlier delta, for the layer of this ordinal.
    Reused { ordinal: usize, recipe: StoredRecipe, archive_milliseconds: u64, cost: LayerCost },
}

impl DraftRecipe {
    /// Returns its length in the delta.
    fn bytes(&self) -> u64 {
        match self {
            Self::Fresh(recipe) => recipe.bytes(),
            Self::Reused { recipe, .. } => recipe.size_bytes(),
        }
    }

    /// Returns the time that a receiver needs to close its archives and to unpack aligned codes.
    fn archive_milliseconds(&self) -> u64 {
        match self {
            Self::Fresh(recipe) => recipe.archive_milliseconds,
            Self::Reused { archive_milliseconds, .. } => *archive_milliseconds,
        }
    }
}

/// A layer that is rebuilt.
#[derive(Debug)]
pub(crate) struct RecipeDraft {
    /// Its place in the target image, from 0.
    pub(crate) ordinal: u32,
    pub(crate) recipe: Recipe,
    /// For each payload of the recipe, the entry of the layer that it belongs to, if any.
    pub(crate) payload_entries: Vec<Option<u32>>,
    pub(crate) groups: Vec<GroupDraft>,
    /// Time for one core of a receiver to close the archives and to unpack aligned codes.
    pub(crate) archive_milliseconds: u64,
    /// Programs that were matched in windows.
    pub(crate) large: Vec<LargeProgram>,
}

/// A program that was matched in windows: its references to other places were not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowedProgram {
    /// Its path.
    pub path: LayerPath,
    /// Memory with which its references are followed.
    pub memory_bytes: u64,
}

/// A program of a recipe that was matched in windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeProgram {
    /// Payload of the recipe.
    pub(crate) payload: u32,
    /// Memory that suffices.
    pub(crate) memory_bytes: u64,
}

impl RecipeDraft {
    /// Returns its length in the delta.
    fn bytes(&self) -> u64 {
        self.recipe.to_bytes().len() as u64 + self.recipe.group_bytes()
    }
}

/// A group in the scratch file, with the costs of its members.
#[derive(Debug)]
pub(crate) struct GroupDraft {
    pub(crate) range: Range<u64>,
    pub(crate) coders: CoderSizes,
    pub(crate) costs: Vec<MemberCost>,
}

/// Cost of a member: its share of the packed group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberCost {
    /// Payload that it makes.
    pub(crate) payload: u32,
    /// Bytes of the packed group.
    pub(crate) bytes: u64,
}

/// Returns true if a recipe is so much shorter than the blob that rebuilding the layer pays.
fn pays(recipe_bytes: u64, blob_bytes: u64) -> bool {
    recipe_bytes < blob_bytes - blob_bytes / LEAST_SAVING
}

/// Rebuilding a layer saves at least one byte in so many: it takes time, and the blob takes none.
const LEAST_SAVING: u64 = 64;

impl Draft {
    /// Chooses the cheapest exact way for each layer.
    ///
    /// `recipes` are those of the rebuilt layers, in order.
    pub(crate) fn new(
        plan: Plan,
        recipes: Vec<RecipeDraft>,
        planned: PlannedEnvelopes,
        spill: SpillFile,
    ) -> Self {
        let PlannedEnvelopes { envelopes, is_reused, is_kept } = planned;
        let (mut chosen, mut remade, mut layers) =
            (Vec::new(), Vec::new(), Vec::<LayerDraft>::new());
        let mut fresh: Vec<Option<DraftRecipe>> = plan.layers.iter().map(|_| None).collect();
        for recipe in recipes {
            let ordinal = recipe.ordinal as usize;
            fresh[ordinal] = Some(DraftRecipe::Fresh(recipe));
        }
        let mut carried = Vec::new();
        for (ordinal, envelope) in envelopes.into_iter().enumerate() {
            let descriptor = &plan.target.image.layers[ordinal].descriptor;
            let envelope_bytes = envelope.recipe().map_or(0, <[u8]>::len) as u64;
            let is_made = plan.form == LayerForm::Uncompressed || envelope != Envelope::Unmade;
            remade.push(is_made);
            let recipe = match &plan.layers[ordinal] {
                LayerPlan::Kept => None,
                LayerPlan::Rebuilt(_) => fresh[ordinal].take(),
                LayerPlan::Reused(number) => {
                    let ReusableRecipe { recipe, cost, archive_milliseconds, .. } =
                        plan.reusable[*number].clone();
                    Some(DraftRecipe::Reused { ordinal, recipe, archive_milliseconds, cost })
                }
                LayerPlan::Repeated(earlier) => match layers[*earlier as usize].body {
                    LayerBody::Recipe(_) if is_made => {
                        let body = layers[*earlier as usize].body;
                        layers.push(LayerDraft { body, envelope, bytes: envelope_bytes });
                        continue;
                    }
                    _ => None,
                },
            };
            let is_kept = plan.layers[ordinal] == LayerPlan::Kept;
            let recipe = recipe.map(|recipe| (recipe.bytes() + envelope_bytes, recipe));
            let layer = match recipe {
                None if is_kept && is_made => {
                    LayerDraft { body: LayerBody::Kept, envelope, bytes: envelope_bytes }
                }
                Some((bytes, recipe)) if is_made && pays(bytes, descriptor.size_bytes) => {
                    let number = u32::try_from(chosen.len()).expect("layers are limited");
                    chosen.push(recipe);
                    LayerDraft { body: LayerBody::Recipe(number), envelope, bytes }
                }
                _ => {
                    let known = carried.iter().position(|digest| *digest == descriptor.digest);
                    let number = known.unwrap_or(carried.len());
                    let bytes = if known.is_some() { 0 } else { descriptor.size_bytes };
                    if known.is_none() {
                        carried.push(descriptor.digest);
                    }
                    let number = u32::try_from(number).expect("layers are limited");
                    let (body, envelope) = (LayerBody::Carried(number), Envelope::Unmade);
                    LayerDraft { body, envelope, bytes }
                }
            };
            layers.push(layer);
        }
        let mut draft =
            Self { plan, layers, recipes: chosen, remade, reused_envelopes: is_reused, spill };
        // Such an envelope serves few bases, and must not make the delta useless for the others.
        if draft.layer_bytes() >= draft.pull_bytes() && draft.pull_bytes() > 0 {
            let kept = draft.layers.iter_mut().zip(is_kept);
            let kept = kept.filter(|(layer, is_kept)| *is_kept && layer.body == LayerBody::Kept);
            kept.for_each(|(layer, _)| (layer.envelope, layer.bytes) = (Envelope::Base, 0));
        }
        draft
    }

    fn layer_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Returns the target layers, counted from 0, whose envelope came from an earlier delta.
    pub fn reused_envelopes(&self) -> BTreeSet<usize> {
        let layers = self.reused_envelopes.iter().zip(&self.layers).enumerate();
        layers
            .filter(|(_, (is_reused, layer))| **is_reused && layer.envelope.recipe().is_some())
            .map(|(ordinal, _)| ordinal)
            .collect()
    }

    /// Returns true if a layer's blob can be made from its stream, or need not be.
    pub(crate) fn is_remade(&self, ordinal: usize) -> bool {
        self.remade[ordinal]
    }

    /// Returns the bytes of a plain pull by a node that has the base: all blobs that the base lacks.
    pub fn pull_bytes(&self) -> u64 {
        let base = &self.plan.base.image.layers;
        let mut seen: HashSet<_> = base.iter().map(|layer| layer.descriptor.digest).collect();
        let blobs = self.plan.target.image.layers.iter().map(|layer| &layer.descriptor);
        blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size_bytes).sum()
    }

    /// Writes the delta and returns its length. Fails if a plain pull is not larger.
    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<u64> {
        let (layer_bytes, pull_bytes) = (self.layer_bytes(), self.pull_bytes());
        if layer_bytes >= pull_bytes && pull_bytes > 0 {
            let lost = (0..self.layers.len()).filter(|&layer| !self.is_remade(layer)).count();
            let why = match lost {
                0 => String::new(),
                _ => format!(
                    "; {lost} layers are sent whole because their compression cannot be reproduced; \
                     a delta for uncompressed layers may be smaller"
                ),
            };
            return Err(Error::bad_input(
                format_args!("delta to {}", self.plan.target.image.name),
                format_args!(
                    "a delta saves nothing: its layers take {layer_bytes} bytes, a plain pull takes \
                     {pull_bytes}{why}"
                ),
            ));
        }
        self.write_to(out)
    }

    /// Writes the delta, even if a plain pull is not larger.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> Result<u64> {
        let image = &self.plan.target.image;
        let mut writer = DeltaWriter::new(out, &self.outline())?;
        let (mut recipes, mut carried) = (0, 0);
        for (ordinal, layer) in self.layers.iter().enumerate() {
            match layer.body {
                LayerBody::Recipe(number) if number == recipes => {
                    match &self.recipes[number as usize] {
                        DraftRecipe::Fresh(RecipeDraft { recipe, groups, .. }) => {
                            let ranges = groups.iter().map(|group| group.range.clone()).collect();
                            writer.recipe(recipe, &mut self.spill.reader(ranges))?;
                        }
                        DraftRecipe::Reused { recipe, .. } => {
                            writer.stored_recipe(recipe.size_bytes(), &mut recipe.reader())?;
                        }
                    }
                    recipes += 1;
                }
                LayerBody::Carried(number) if number == carried => {
                    let blob = &image.layers[ordinal].descriptor;
                    writer.carried(blob.size_bytes, &mut image.store().open(blob)?)?;
                    carried += 1;
                }
                _ => {}
            }
        }
        writer.cost(&self.reported_costs())?;
        writer.finish().map(|(_, bytes)| bytes)
    }

    fn outline(&self) -> Outline {
        let (image, base) = (&self.plan.target.image, &self.plan.base.image);
        Outline {
            algorithm: image.digest.algorithm(),
            media_type: image.media_type.clone(),
            manifest: image.manifest.clone(),
            config: image.config_bytes.clone(),
            platform: image.platform.to_string(),
            base: Some(base.digest).filter(|_| !base.layers.is_empty()),
            layers: self.layer_outlines().collect(),
        }
    }

    fn layer_outlines(&self) -> impl Iterator<Item = LayerOutline> {
        let layers = self.layers.iter().zip(&self.plan.target.layers);
        layers.map(|(layer, index)| LayerOutline {
            stream_bytes: index.stream_bytes,
            body: layer.body,
            envelope: layer.envelope.clone(),
            archive_milliseconds: match layer.body {
                LayerBody::Recipe(number) => self.recipes[number as usize].archive_milliseconds(),
                LayerBody::Kept | LayerBody::Carried(_) => 0,
            },
        })
    }

    /// Estimates the time that one core of a receiver needs to rebuild layers.
    pub(crate) fn rebuild_time(&self) -> Duration {
        rebuild_time(self.layer_outlines())
    }

    /// Returns the bytes of all groups by coder.
    pub(crate) fn coder_sizes(&self) -> Result<CoderSizes> {
        let mut sizes = CoderSizes::default();
        for recipe in &self.recipes {
            match recipe {
                DraftRecipe::Fresh(recipe) => {
                    recipe.groups.iter().for_each(|group| sizes += group.coders);
                }
                DraftRecipe::Reused { recipe, .. } => sizes += recipe.coder_sizes()?,
            }
        }
        Ok(sizes)
    }

    /// Returns the programs that were matched in windows.
    pub(crate) fn windowed(&self) -> Vec<WindowedProgram> {
        let mut windowed = Vec::new();
        for recipe in &self.recipes {
            let DraftRecipe::Fresh(recipe) = recipe else { continue };
            let entries = &self.plan.target.layers[recipe.ordinal as usize].entries;
            windowed.extend(recipe.large.iter().filter_map(|large| {
                let entry = recipe.payload_entries[large.payload as usize]?;
                let path = entries.at(entry as usize).path.to_path();
                Some(WindowedProgram { path, memory_bytes: large.memory_bytes })
            }));
        }
        windowed
    }

    /// Returns the costs of each layer and file.
    pub fn costs(&self) -> Vec<LayerCost> {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(ordinal, layer)| match layer.body {
                // If layers share a recipe, the first has the whole cost.
                LayerBody::Recipe(number) => match &self.recipes[number as usize] {
                    DraftRecipe::Fresh(recipe) if recipe.ordinal as usize == ordinal => {
                        self.recipe_cost(recipe)
                    }
                    DraftRecipe::Reused { ordinal: first, cost, .. } if *first == ordinal => {
                        cost.clone()
                    }
                    _ => LayerCost::default(),
                },
                LayerBody::Kept | LayerBody::Carried(_) => LayerCost::default(),
            })
            .collect()
    }

    fn recipe_cost(&self, recipe: &RecipeDraft) -> LayerCost {
        let ordinal = recipe.ordinal as usize;
        let LayerPlan::Rebuilt(choices) = &self.plan.layers[ordinal] else {
            unreachable!("only rebuilt layers have recipes");
        };
        let entries = &self.plan.target.layers[ordinal].entries;
        // Content of an archive counts as the archive.
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
                PayloadSource::Empty => continue,
                PayloadSource::Same(place) if self.base_path(*place) == entry.path => {
                    Provenance::KEPT
                }
                PayloadSource::Same(_) => Provenance::MOVED,
                PayloadSource::Repeat(_) | PayloadSource::Earlier(_) => Provenance::REPEATED,
                PayloadSource::Built(places, _) if places.is_empty() => Provenance::LITERAL,
                PayloadSource::Built(..) => Provenance::PATCHED,
                PayloadSource::Opened | PayloadSource::Packed(_) => Provenance::OPENED,
            };
            let target_bytes = entry.payload.end - entry.payload.start;
            let path = entry.path.as_bytes().to_vec();
            cost.files.push(FileCost { path, how, target_bytes, delta_bytes: spent });
        }
        cost
    }

    fn base_path(&self, place: EntryPlace) -> LayerPathRef<'_> {
        self.plan.base_entry(place).path
    }

    /// Returns the costs that the delta reports: the largest files by name, the others as sums.
    ///
    /// A full list would be a tenth of a small delta.
    fn reported_costs(&self) -> Vec<LayerCost> {
        let mut costs = self.costs();
        let total = self.layer_bytes();
        for cost in &mut costs {
            let mut rest = std::mem::take(&mut cost.rest);
            cost.files.retain(|file| {
                if file.delta_bytes > (total / NAMED_SHARE).max(NAMED_BYTES) {
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
            rest.shared_sort_by_key(|rest| rest.how);
            cost.rest = rest;
        }
        costs
    }
}

/// A file is named if it takes more than this fraction of the delta: a few hundred files at most.
const NAMED_SHARE: u64 = 500;
/// Least cost of a file that is named; the name itself takes some twenty bytes.
const NAMED_BYTES: u64 = 200;
