//! A delta put together here: of each layer what was chosen, whoever offered it.
//!
//! Recipes are those of the registry, byte for byte; all else says where blobs lie. What is put
//! together is opened like any delta, with all its checks.

use super::{Plan, Way};
use imgdelta::{
    Error, Result,
    delta::{Body, Delta, DeltaWriter, Envelope, LayerOutline, Outline},
    store::source::{RangeReader, ReadAt},
};
use std::{fs::File, io::BufWriter, sync::Arc};

/// A recipe that was fetched and had its digest.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Its number among the delta's.
    pub ordinal: usize,
    pub file: Arc<dyn ReadAt>,
}

/// Puts the delta together that does what the plan says.
pub(super) fn delta(plan: &Plan, recipes: &[Fetched]) -> Result<Delta> {
    let image = &plan.source.image;
    let mut order: Vec<usize> = Vec::new();
    let mut layers = Vec::new();
    for (ordinal, layer) in plan.layers.iter().enumerate() {
        let told = plan.delta.as_ref().map(|delta| &delta.front.outline.layers[ordinal]);
        let (body, envelope) = match (layer.way, told) {
            (Way::Recipe(recipe), Some(told)) => {
                let at = order.iter().position(|known| *known == recipe).unwrap_or_else(|| {
                    order.push(recipe);
                    order.len() - 1
                });
                let at = u32::try_from(at).expect("no more recipes than layers");
                (Body::Recipe(at), told.envelope.clone())
            }
            (Way::Remade, Some(told)) => (Body::Kept, told.envelope.clone()),
            _ => (Body::Kept, Envelope::Base),
        };
        // A blob that is copied is copied whatever its stream's length.
        let is_copied = envelope == Envelope::Base;
        let told = told.filter(|_| !is_copied);
        let stream_bytes = told.map_or(layer.blob.size_bytes, |told| told.stream_bytes);
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
    let file = plan.options.apply.scratch.file()?;
    let mut writer = DeltaWriter::new(BufWriter::new(file), &outline)?;
    for recipe in &order {
        let fetched = recipes.iter().find(|fetched| fetched.ordinal == *recipe);
        let fetched = fetched.expect("a layer whose recipe did not come is fetched whole");
        let bytes = fetched.file.size_bytes().map_err(Error::io(&image.name))?;
        let mut reader = RangeReader::new(Arc::clone(&fetched.file), 0, bytes);
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
fn check_sources(plan: &Plan, delta: &Delta) -> Result<()> {
    let layers = plan.bases.iter().flat_map(|image| &image.layers);
    let streams: std::collections::HashSet<_> = layers.map(|layer| layer.diff_id).collect();
    for ordinal in 0..delta.recipe_count() {
        let ordinal = u32::try_from(ordinal).expect("no more recipes than layers");
        let recipe = delta.recipe(ordinal)?;
        if let Some(absent) = recipe.sources.iter().find(|s| !streams.contains(&s.diff_id)) {
            let missing = vec![format!("stream {}", absent.diff_id)];
            return Err(Error::BaseMissing { place: delta.place().to_owned(), missing });
        }
    }
    Ok(())
}
