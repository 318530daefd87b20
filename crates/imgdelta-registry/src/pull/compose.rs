//! A delta that makes the planned layers, put together from the recipes of several deltas.
//!
//! Recipes are those of the registry, byte for byte; all other layers are blobs of the base. The
//! result is opened like any delta, with all checks.

use super::plan::PullPlan;
use imgdelta_apply::delta::{Delta, DeltaWriter, Envelope, LayerBody, LayerOutline, Outline};
use imgdelta_core::{BlobDigest, Context, Error, MissingLayer, Result};
use imgdelta_image::{
    image::Image,
    store::source::{RangeReader, ReadAt},
};
use std::{
    collections::{HashMap, HashSet},
    io::BufWriter,
    sync::Arc,
};

/// A recipe in a scratch file.
pub(super) type RecipeFile = Arc<dyn ReadAt>;

/// Recipes that were downloaded and have their digests.
pub(super) type RecipeFiles = HashMap<BlobDigest, RecipeFile>;

/// Makes the delta of a plan for the layers for which `is_wanted` returns true. The blobs of all
/// others are taken from the base. `bases` have the streams that recipes read.
pub(super) fn delta(
    plan: &PullPlan,
    recipes: &RecipeFiles,
    bases: &[Image],
    is_wanted: &dyn Fn(usize) -> bool,
    context: &Context,
) -> Result<Delta> {
    let image = &plan.source.image;
    let mut order: Vec<BlobDigest> = Vec::new();
    let mut layers = Vec::new();
    for (ordinal, layer) in plan.layers.iter().enumerate() {
        let delta = layer.source.delta().filter(|_| is_wanted(ordinal));
        let outline = delta.map(|delta| &plan.deltas[delta].front.outline.layers[ordinal]);
        let Some(outline) = outline else {
            // The length of the stream does not matter for a blob that is copied. For a layer that is
            // written uncompressed, all deltas of the image state it.
            let known = plan.deltas.first().filter(|_| plan.local.takes_streams);
            let known = known.map(|delta| delta.front.outline.layers[ordinal].stream_bytes);
            let stream_bytes = known.unwrap_or(layer.blob.size_bytes);
            layers.push(LayerOutline {
                stream_bytes,
                body: LayerBody::Kept,
                envelope: Envelope::Base,
                archive_milliseconds: 0,
            });
            continue;
        };
        let body = match layer.last_recipe() {
            Some(recipe) => {
                let at = order.iter().position(|digest| *digest == recipe.digest);
                let at = at.unwrap_or_else(|| {
                    order.push(recipe.digest);
                    order.len() - 1
                });
                LayerBody::Recipe(u32::try_from(at).expect("no more recipes than layers"))
            }
            None => LayerBody::Kept,
        };
        layers.push(LayerOutline { body, ..outline.clone() });
    }
    let outline = Outline {
        algorithm: image.digest.algorithm(),
        media_type: image.media_type.clone(),
        manifest: image.manifest.clone(),
        config: image.config_bytes.clone(),
        platform: image.platform.to_string(),
        base: None,
        layers,
    };
    let place = format!("to {}", image.name);
    // Whole layers need no room for temporary files.
    if order.is_empty() {
        let (bytes, _) = DeltaWriter::new(Vec::new(), &outline)?.finish()?;
        return Delta::open(Arc::new(bytes), place, &context.limits);
    }
    let file = context.scratch.file()?;
    let mut writer = DeltaWriter::new(BufWriter::new(file), &outline)?;
    for recipe in &order {
        let file = recipes.get(recipe);
        let file = file.expect("a layer whose recipe failed has another source");
        let bytes = file.size_bytes().map_err(Error::io(&image.name))?;
        context.scratch.raise(bytes);
        let mut reader = RangeReader::new(Arc::clone(file), 0, bytes);
        writer.stored_recipe(bytes, &mut reader)?;
    }
    let (out, _) = writer.finish()?;
    let file = out.into_inner().map_err(|error| Error::io(&image.name)(error.into_error()))?;
    let delta = Delta::open(Arc::new(file), place, &context.limits)?;
    check_sources(bases, &delta)?;
    Ok(delta)
}

/// Checks that the bases have the sources of all recipes. A recipe with other sources than its
/// annotation would have whole layers downloaded as its base.
fn check_sources(bases: &[Image], delta: &Delta) -> Result<()> {
    let layers = bases.iter().flat_map(|image| &image.layers);
    let mut streams: HashSet<_> = layers.map(|layer| layer.diff_id).collect();
    for ordinal in 0..delta.recipe_count() {
        let ordinal = u32::try_from(ordinal).expect("no more recipes than layers");
        let recipe = delta.recipe(ordinal)?;
        // Later recipes may read what this one makes.
        let target = recipe.target.diff_id;
        if let Some(absent) = recipe.sources.iter().find(|s| !streams.contains(&s.diff_id)) {
            let diff_id = absent.diff_id;
            let missing = vec![MissingLayer::Stream { diff_id, layers: Vec::new() }];
            return Err(Error::BaseMissing { place: delta.place().to_owned(), missing });
        }
        streams.insert(target);
    }
    Ok(())
}
