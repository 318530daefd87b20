//! The recipes of a delta, in waves whose tables fit in memory together.
//! Never does the work of a recipe.
//!
//! All recipes are read once and charged before any is used; only those of the first wave are kept.
//! Most deltas have one wave, so that their recipes are read once and their layers are made in
//! parallel. A delta with thousands of large recipes is made wave by wave.

use super::{LoadedRecipes, bill, table::PayloadTable};
use crate::delta::{Delta, StoredRecipe};
use imgdelta_core::{Context, DiffId, LimitName, Result, work::WorkMeter};
use imgdelta_image::volume::Volume;
use std::collections::BTreeSet;

/// Recipes that are charged and not loaded yet.
#[derive(Debug)]
pub(super) struct RecipeWaves {
    /// At least one; the first may be empty.
    waves: Vec<RecipeWave>,
    sources: BTreeSet<DiffId>,
}

/// Recipes that are loaded together.
#[derive(Debug, Default)]
struct RecipeWave {
    ordinals: Vec<u32>,
    memory_bytes: u64,
    /// The recipes, in the first wave; those of later waves are read again.
    recipes: Vec<StoredRecipe>,
}

impl RecipeWaves {
    /// Reads the recipes of these ordinals, and charges their work.
    pub(super) fn charge(
        delta: &Delta,
        ordinals: &BTreeSet<u32>,
        meter: &WorkMeter,
        context: &Context,
    ) -> Result<Self> {
        let mut waves = vec![RecipeWave::default()];
        let mut sources = BTreeSet::new();
        for &ordinal in ordinals {
            let recipe = delta.recipe(ordinal)?;
            let place = recipe_place(delta, ordinal);
            bill::charge_recipe(&recipe, &place, meter)?;
            let memory_bytes = recipe.memory_bytes();
            let limit = LimitName::RecipeMemory;
            context.limits.admit(limit, memory_bytes, "bytes of memory for a recipe", &place)?;
            sources.extend(recipe.sources.iter().map(|source| source.diff_id));
            let last = waves.last().expect("there is one from the start");
            if !last.ordinals.is_empty() && last.memory_bytes + memory_bytes > WAVE_BYTES {
                waves.push(RecipeWave::default());
            }
            let is_first = waves.len() == 1;
            let last = waves.last_mut().expect("pushed above if there was none");
            last.ordinals.push(ordinal);
            last.memory_bytes += memory_bytes;
            if is_first {
                last.recipes.push(recipe);
            }
        }
        Ok(Self { waves, sources })
    }

    /// Returns the base streams that the recipes need.
    pub(super) fn sources(&self) -> Vec<DiffId> {
        self.sources.iter().copied().collect()
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
                // Archives of one recipe are opened in parallel, so recipes are not.
                let base = PayloadTable::open_base(&recipe, &place, volume, context)?;
                tasks.push((ordinal, recipe, place, base));
            }
            let tables = context.workers.map(tasks, |(ordinal, recipe, place, base)| {
                Ok((ordinal, PayloadTable::new(recipe, place, base, meter, context)?))
            })?;
            make(&LoadedRecipes { volume, tables: tables.into_iter().collect() })?;
        }
        Ok(())
    }
}

fn recipe_place(delta: &Delta, ordinal: u32) -> String {
    format!("{}, recipe {ordinal}", delta.place())
}

/// Memory for the tables of one wave: those of half a million changed files.
const WAVE_BYTES: u64 = 64 << 20;
