//! A delta put together here: of each layer what was chosen, whoever offered it.
//!
//! Recipes are those of the registry, byte for byte; all else says where blobs lie. What is put
//! together is opened like any delta, with all its checks.

use super::PullPlan;
use imgdelta_apply::delta::{Body, Delta, DeltaWriter, Envelope, LayerOutline, Outline};
use imgdelta_core::{BlobDigest, Error, MissingLayer, Result};
use imgdelta_image::store::source::{RangeReader, ReadAt};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::BufWriter,
    sync::Arc,
};

/// Recipes that were fetched and had their digests.
pub(super) type Recipes = HashMap<BlobDigest, Arc<dyn ReadAt>>;

/// Puts the delta together that does what the plan says, for the layers that are `wanted`. Blobs of
/// all others are left to the base.
pub(super) fn delta(
    plan: &PullPlan,
    recipes: &Recipes,
    wanted: &dyn Fn(usize) -> bool,
) -> Result<Delta> {
    let image = &plan.source.image;
    let mut order: Vec<BlobDigest> = Vec::new();
    let mut layers = Vec::new();
    for (ordinal, layer) in plan.layers.iter().enumerate() {
        let told = layer.way.delta().filter(|_| wanted(ordinal));
        let told = told.map(|delta| &plan.deltas[delta].front.outline.layers[ordinal]);
        let Some(told) = told else {
            // A blob that is copied is copied whatever its stream's length.
            let stream_bytes = layer.blob.size_bytes;
            layers.push(LayerOutline { stream_bytes, body: Body::Kept, envelope: Envelope::Base });
            continue;
        };
        let body = match plan.recipe(layer.way) {
            Some(recipe) => {
                let at = order.iter().position(|known| *known == recipe.digest);
                let at = at.unwrap_or_else(|| {
                    order.push(recipe.digest);
                    order.len() - 1
                });
                Body::Recipe(u32::try_from(at).expect("no more recipes than layers"))
            }
            None => Body::Kept,
        };
        let (stream_bytes, envelope) = (told.stream_bytes, told.envelope.clone());
        layers.push(LayerOutline { stream_bytes, body, envelope });
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
    let file = plan.context.scratch.file()?;
    let mut writer = DeltaWriter::new(BufWriter::new(file), &outline)?;
    for recipe in &order {
        let file = recipes.get(recipe);
        let file = file.expect("a layer whose recipe did not come has another way");
        let bytes = file.size_bytes().map_err(Error::io(&image.name))?;
        let mut reader = RangeReader::new(Arc::clone(file), 0, bytes);
        writer.stored_recipe(bytes, &mut reader)?;
    }
    let (out, _) = writer.finish()?;
    let file: File =
        out.into_inner().map_err(|error| Error::io(&image.name)(error.into_error()))?;
    let delta = Delta::open(Arc::new(file), format_args!("to {}", image.name), plan.limits())?;
    check_sources(plan, &delta)?;
    Ok(delta)
}

/// A recipe whose sources are not what was said of it would have whole layers fetched to serve as
/// its base.
fn check_sources(plan: &PullPlan, delta: &Delta) -> Result<()> {
    let layers = plan.bases.iter().flat_map(|image| &image.layers);
    let streams: HashSet<_> = layers.map(|layer| layer.diff_id).collect();
    for ordinal in 0..delta.recipe_count() {
        let ordinal = u32::try_from(ordinal).expect("no more recipes than layers");
        let recipe = delta.recipe(ordinal)?;
        if let Some(absent) = recipe.sources.iter().find(|s| !streams.contains(&s.diff_id)) {
            let diff_id = absent.diff_id;
            let missing = vec![MissingLayer::Stream { diff_id, layers: Vec::new() }];
            return Err(Error::BaseMissing { place: delta.place().to_owned(), missing });
        }
    }
    Ok(())
}
