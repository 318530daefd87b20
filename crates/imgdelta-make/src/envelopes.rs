//! The envelopes of all target layers: known ones first, then those that a search finds.
//! Never searches.
//!
//! A layer that the base has needs no envelope where the base has its blob, too. With one, a base
//! that has only the stream gives the exact image. So it must be small, and the search may fail.

use crate::{
    options::ReusableRecipe,
    pair::FoundEnvelopes,
    plan::{LayerPlan, Plan},
};
use imgdelta_apply::{
    delta::Envelope,
    rebuild::{LayerForm, compression_nanoseconds},
};
use imgdelta_core::BlobDigest;
use imgdelta_image::image::Layer;
use std::{collections::HashSet, sync::PoisonError};

/// An envelope for each target layer.
#[derive(Debug)]
pub(crate) struct PlannedEnvelopes {
    /// The envelopes; unknown ones are [`Envelope::Unmade`] before the search.
    pub envelopes: Vec<Envelope>,
    /// For each layer, true if its envelope came from an earlier delta and is not proved.
    pub is_reused: Vec<bool>,
    /// For each layer, true if its envelope only serves a base without the blob.
    pub is_kept: Vec<bool>,
}

/// A search for an envelope.
pub(crate) struct WantedEnvelope<'a> {
    pub layer: &'a Layer,
    /// Most bytes of the envelope's recipe.
    pub most_bytes: u64,
}

impl PlannedEnvelopes {
    /// Takes the envelopes that are known without a search.
    pub(crate) fn of(plan: &Plan) -> Self {
        let layers = &plan.target.image.layers;
        let is_exact = plan.form == LayerForm::Exact;
        let (mut envelopes, mut is_reused) = (Vec::new(), Vec::new());
        let in_base = layers.iter().map(|layer| plan.is_in_base(&layer.descriptor.digest));
        let is_kept: Vec<bool> = in_base.collect();
        for (layer, &is_kept) in layers.iter().zip(&is_kept) {
            let mut reused = None;
            let known = if is_kept && !(is_exact && plan.has_kept_envelopes) {
                Envelope::Base
            } else if !is_exact {
                Envelope::Unmade
            } else if is_stream(layer) {
                Envelope::Stored
            } else if let Some(found) = lookup(&plan.found_envelopes, &layer.descriptor.digest)
                && (!is_kept || is_cheap(plan, layer, &found))
            {
                found
            } else {
                reused = offered(plan, layer).filter(|it| !is_kept || is_cheap(plan, layer, it));
                reused.clone().unwrap_or(Envelope::Unmade)
            };
            envelopes.push(known);
            is_reused.push(reused.is_some());
        }
        Self { envelopes, is_reused, is_kept }
    }

    /// Returns the searches for the unknown ones, one for each blob.
    pub(crate) fn wanted<'a>(&self, plan: &'a Plan) -> Vec<WantedEnvelope<'a>> {
        if plan.form != LayerForm::Exact {
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let layers = plan.target.image.layers.iter().filter(|layer| {
            self.envelopes[layer.ordinal] == Envelope::Unmade
                && seen.insert(layer.descriptor.digest)
        });
        let wanted = layers.map(|layer| WantedEnvelope {
            layer,
            most_bytes: if self.is_kept[layer.ordinal] {
                most_kept_bytes(layer)
            } else {
                most_bytes(layer)
            },
        });
        wanted.collect()
    }

    /// Sets the result of a search, for all layers with the blob.
    pub(crate) fn found(&mut self, plan: &Plan, ordinal: usize, envelope: Envelope) {
        let layers = &plan.target.image.layers;
        let blob = layers[ordinal].descriptor.digest;
        let is_kept = self.is_kept[ordinal];
        let envelope = match envelope {
            Envelope::Unmade if is_kept => Envelope::Base,
            found if is_kept && !is_cheap(plan, &layers[ordinal], &found) => Envelope::Base,
            found => found,
        };
        if envelope.recipe().is_some() {
            let mut found = plan.found_envelopes.lock().unwrap_or_else(PoisonError::into_inner);
            found.insert(blob, envelope.clone());
        }
        for layer in layers.iter().filter(|layer| layer.descriptor.digest == blob) {
            self.envelopes[layer.ordinal] = envelope.clone();
        }
    }
}

/// Returns the envelope of an earlier delta for a layer.
fn offered(plan: &Plan, layer: &Layer) -> Option<Envelope> {
    let blob = &layer.descriptor.digest;
    let with_recipe = match &plan.layers[layer.ordinal] {
        LayerPlan::Reused(number) => {
            let ReusableRecipe { envelopes, .. } = &plan.reusable[*number];
            envelopes.get(blob)
        }
        _ => None,
    };
    let offered = with_recipe.or_else(|| plan.known_envelopes.get(blob));
    // This base may lack a blob that the earlier delta's base had.
    offered.filter(|envelope| envelope.recipe().is_some()).cloned()
}

fn lookup(found: &FoundEnvelopes, blob: &BlobDigest) -> Option<Envelope> {
    found.lock().unwrap_or_else(PoisonError::into_inner).get(blob).cloned()
}

/// Returns true if an envelope of a kept layer is worth its bytes, and costs a reader less work than
/// the limit allows.
fn is_cheap(plan: &Plan, layer: &Layer, envelope: &Envelope) -> bool {
    let bytes = envelope.recipe().map_or(0, <[u8]>::len) as u64;
    let stream_bytes = plan.target.layers[layer.ordinal].stream_bytes;
    let work = compression_nanoseconds(envelope, stream_bytes);
    let most_work = stream_bytes.saturating_mul(MOST_WORK_PER_BYTE);
    bytes <= most_kept_bytes(layer) && work.is_some_and(|work| work <= most_work + FREE_WORK)
}

/// Returns the most bytes of a kept layer's envelope. Every receiver gets it, and few need it.
fn most_kept_bytes(layer: &Layer) -> u64 {
    layer.descriptor.size_bytes / KEPT_SHARE + KEPT_BYTES
}

/// Returns the most bytes of a recipe that makes a blob.
pub(crate) fn most_bytes(layer: &Layer) -> u64 {
    (layer.descriptor.size_bytes / 2).min(RECORD_BYTES)
}

/// True if the blob is the stream, since both have the same digest.
pub(crate) fn is_stream(layer: &Layer) -> bool {
    let blob = layer.descriptor.digest;
    blob.algorithm() == layer.diff_id.algorithm() && blob.as_bytes() == layer.diff_id.as_bytes()
}

/// Most bytes of a recipe, since recipes are read whole.
const RECORD_BYTES: u64 = 64 << 20;
/// Known encoders need a thousandth of the blob; records of unknown encoders need several percent, and
/// four thousandths leave room for many small members.
const KEPT_SHARE: u64 = 250;
/// Room for the recipe of a small layer.
const KEPT_BYTES: u64 = 512;
/// Nanoseconds for each byte of a stream: half of what a reader allows, for the slowest encoders.
const MOST_WORK_PER_BYTE: u64 = 750;
/// Nanoseconds to prepare an encoder.
const FREE_WORK: u64 = 200_000_000;
