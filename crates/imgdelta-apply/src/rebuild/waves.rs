//! The recipes of a delta, in waves whose tables fit in memory together.
//! Never does the work of a recipe.
//!
//! All recipes are read once and charged before any is used; only those of the first wave are kept.
//! Most deltas have one wave, so that their recipes are read once and their layers are made in
//! parallel. A delta with thousands of large recipes is made wave by wave. Recipes of which one reads
//! the stream of another are in one wave.

use super::{
    LoadedRecipes, bill,
    table::{PayloadTable, RecipeBase},
};
use crate::delta::{Delta, LayerBody, StoredRecipe};
use imgdelta_core::{Context, DiffId, LimitName, Result, work::WorkMeter};
use imgdelta_image::volume::Volume;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Recipes that are charged and not loaded yet.
#[derive(Debug)]
pub(super) struct RecipeWaves {
    /// At least one; the first may be empty.
    waves: Vec<RecipeWave>,
    sources: BTreeSet<DiffId>,
    carried: BTreeSet<u32>,
}

/// Recipes that are loaded together.
#[derive(Debug, Default)]
struct RecipeWave {
    ordinals: Vec<u32>,
    memory_bytes: u64,
    /// The recipes, in the first wave; those of later waves are read again.
    recipes: Vec<StoredRecipe>,
}

/// A recipe with its base, before its payloads are located.
struct RecipeTask {
    ordinal: u32,
    recipe: StoredRecipe,
    place: String,
    base: RecipeBase,
    /// For each source, the recipe of the same delta that makes it, if any.
    makers: Vec<Option<u32>>,
}

impl RecipeWaves {
    /// Reads the recipes of these ordinals, and charges their work.
    ///
    /// The recipes that make streams which these read must be among them.
    pub(super) fn charge(
        delta: &Delta,
        ordinals: &BTreeSet<u32>,
        meter: &WorkMeter,
        context: &Context,
    ) -> Result<Self> {
        let last_users = last_users(delta, ordinals)?;
        let mut waves = vec![RecipeWave::default()];
        let (mut sources, mut carried) = (BTreeSet::new(), BTreeSet::new());
        // The last recipe that reads a stream of the present wave.
        let mut linked_to = None;
        for &ordinal in ordinals {
            let recipe = delta.recipe(ordinal)?;
            let place = recipe_place(delta, ordinal);
            bill::charge_recipe(&recipe, &place, meter)?;
            let limit = LimitName::RecipeMemory;
            let mut memory_bytes = recipe.memory_bytes();
            context.limits.admit(limit, memory_bytes, "bytes of memory for a recipe", &place)?;
            for source in &recipe.sources {
                match delta.target_source(ordinal, source) {
                    None => drop(sources.insert(source.diff_id)),
                    Some(LayerBody::Carried(blob)) => drop(carried.insert(blob)),
                    Some(LayerBody::Recipe(_) | LayerBody::Kept) => {}
                }
            }
            let last = waves.last().expect("there is one from the start");
            let is_full =
                !last.ordinals.is_empty() && last.memory_bytes + memory_bytes > WAVE_BYTES;
            if is_full && linked_to < Some(ordinal) {
                waves.push(RecipeWave::default());
            }
            let is_first = waves.len() == 1;
            let last = waves.last_mut().expect("pushed above if there was none");
            memory_bytes += last.memory_bytes;
            if linked_to >= Some(ordinal) {
                let what = "bytes of memory for recipes that read each other's streams";
                context.limits.admit(limit, memory_bytes, what, &place)?;
            }
            linked_to = linked_to.max(last_users.get(&ordinal).copied());
            last.ordinals.push(ordinal);
            last.memory_bytes = memory_bytes;
            if is_first {
                last.recipes.push(recipe);
            }
        }
        Ok(Self { waves, sources, carried })
    }

    /// Returns the base streams that the recipes need.
    pub(super) fn sources(&self) -> Vec<DiffId> {
        self.sources.iter().copied().collect()
    }

    /// Returns the carried blobs whose streams the recipes need.
    pub(super) fn carried(&self) -> Vec<u32> {
        self.carried.iter().copied().collect()
    }

    /// Loads wave after wave, and passes each to `make`.
    pub(super) fn run(
        self,
        delta: &Delta,
        volume: &Volume,
        meter: &WorkMeter,
        context: &Context,
        make: &mut dyn FnMut(&LoadedRecipes<'_>) -> Result<()>,
    ) -> Result<()> {
        for wave in self.waves {
            let mut tasks = Vec::new();
            let mut kept = wave.recipes.into_iter();
            for ordinal in wave.ordinals {
                let recipe = kept.next().map_or_else(|| delta.recipe(ordinal), Ok)?;
                let place = recipe_place(delta, ordinal);
                let makers = recipe.sources.iter().map(|source| {
                    match delta.target_source(ordinal, source) {
                        Some(LayerBody::Recipe(maker)) => Some(maker),
                        _ => None,
                    }
                });
                let makers: Vec<Option<u32>> = makers.collect();
                // Archives of one recipe are opened in parallel, so recipes are not.
                let base = PayloadTable::open_base(&recipe, &makers, &place, volume, context)?;
                tasks.push(RecipeTask { ordinal, recipe, place, base, makers });
            }
            let tables = locate(tasks, meter, context)?;
            make(&LoadedRecipes { volume, tables })?;
        }
        Ok(())
    }
}

/// Locates the payloads of recipes: first of those that read base streams only, then of those that
/// read the streams of these.
fn locate(
    mut tasks: Vec<RecipeTask>,
    meter: &WorkMeter,
    context: &Context,
) -> Result<BTreeMap<u32, Arc<PayloadTable>>> {
    let mut tables = BTreeMap::new();
    while !tasks.is_empty() {
        // The recipe of the lowest ordinal is among them, since it reads none of the others.
        let is_there = |maker: &u32| tables.contains_key(maker);
        let (now, later) =
            tasks.into_iter().partition(|task| task.makers.iter().flatten().all(is_there));
        tasks = later;
        let located = context.workers.map(now, |task: RecipeTask| {
            let RecipeTask { ordinal, recipe, place, base, makers } = task;
            let made = |maker: u32| Arc::clone(&tables[&maker]);
            let made = makers.into_iter().map(|maker| maker.map(made)).collect();
            let table = PayloadTable::new(ordinal, recipe, place, base, made, meter, context)?;
            Ok((ordinal, Arc::new(table)))
        })?;
        tables.extend(located);
    }
    Ok(tables)
}

/// Returns for each recipe the last one that reads its stream.
fn last_users(delta: &Delta, ordinals: &BTreeSet<u32>) -> Result<BTreeMap<u32, u32>> {
    let mut last = BTreeMap::new();
    for &ordinal in ordinals {
        for source in delta.recipe_sources(ordinal)? {
            if let Some(LayerBody::Recipe(maker)) = delta.target_source(ordinal, &source) {
                last.insert(maker, ordinal);
            }
        }
    }
    Ok(last)
}

fn recipe_place(delta: &Delta, ordinal: u32) -> String {
    format!("{}, recipe {ordinal}", delta.place())
}

/// Memory for the tables of one wave: those of half a million changed files.
const WAVE_BYTES: u64 = 64 << 20;
