//! The manifest of a delta in a registry, parsed.
//!
//! Checks the structure and nothing that the manifest only claims.

use super::{
    layer_set::LayerSet,
    media::{
        ARTIFACT_TYPE, BASE_ANNOTATION, COMPRESSES_ANNOTATION, CREATOR_ANNOTATION, FRONT_TYPE,
        MAX_PARTS, RECIPE_TYPE, SOURCES_ANNOTATION, TARGET_ANNOTATION,
    },
};
use crate::repository::Manifest;
use imgdelta_core::{BlobDigest, DiffId, Error, Result, limits::Ceiling};
use imgdelta_image::store::Descriptor;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A delta in a registry, by its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Artifact {
    /// The manifest.
    pub descriptor: Descriptor,
    /// The front's blob.
    pub front: Descriptor,
    /// Recipes, in the file's order.
    pub recipes: Vec<RecipeBlob>,
    /// Carried blobs, in the file's order.
    pub carried: Vec<Descriptor>,
    /// The manifest of the base, if the annotation names it.
    pub base: Option<BlobDigest>,
    /// The layers whose blobs it makes from their streams, if the annotation names them.
    pub compresses: Option<LayerSet>,
    /// The program that pushed it, if the annotation names one. Text of a stranger.
    pub creator: Option<String>,
    /// The manifest of the target.
    pub subject: Option<BlobDigest>,
}

/// A recipe in a registry, with the claims of its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecipeBlob {
    /// The blob.
    pub blob: Descriptor,
    /// The stream that it makes, if the annotation names it.
    pub target: Option<DiffId>,
    /// The streams that it needs.
    pub sources: Vec<DiffId>,
}

impl Artifact {
    /// Parses an artifact's manifest, which was compared with its digest.
    pub fn parse(manifest: &Manifest, place: &str) -> Result<Self> {
        let place = format!("{place}, delta {}", manifest.descriptor.digest);
        let invalid = |what: &str| Error::bad_input(&place, what);
        let document: ArtifactDocument = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| Error::bad_input_because(&place, "not a manifest", error))?;
        if document.config.descriptor.media_type() != ARTIFACT_TYPE {
            return Err(invalid("the type of its config is not that of a delta"));
        }
        let count = document.layers.len() as u64;
        Ceiling::fixed(MAX_PARTS).admit(count, "count of parts", &place)?;
        let mut parts = document.layers.into_iter();
        let front = parts.next().filter(|first| first.descriptor.media_type() == FRONT_TYPE);
        let front = front.ok_or_else(|| invalid("its first part is not a front"))?.descriptor;
        let (mut recipes, mut carried) = (Vec::new(), Vec::new());
        for AnnotatedDescriptor { descriptor, annotations } in parts {
            if descriptor.media_type() != RECIPE_TYPE {
                carried.push(descriptor);
                continue;
            }
            let of = |name| annotations.get(name).map_or("", String::as_str);
            // An annotation that does not parse counts as missing.
            let sources = of(SOURCES_ANNOTATION).split(' ').filter_map(|one| one.parse().ok());
            recipes.push(RecipeBlob {
                blob: descriptor,
                target: of(TARGET_ANNOTATION).parse().ok(),
                sources: sources.collect(),
            });
        }
        let base = document.annotations.get(BASE_ANNOTATION).and_then(|base| base.parse().ok());
        let compresses = document.annotations.get(COMPRESSES_ANNOTATION);
        let compresses = compresses.and_then(|text| LayerSet::parse(text));
        let creator = document.annotations.get(CREATOR_ANNOTATION);
        let creator = creator.filter(|name| (1..=MAX_CREATOR_BYTES).contains(&name.len())).cloned();
        let subject = document.subject.map(|subject| subject.digest);
        let descriptor = manifest.descriptor.clone();
        Ok(Self { descriptor, front, recipes, carried, base, compresses, creator, subject })
    }
}

#[derive(Deserialize)]
struct ArtifactDocument {
    config: AnnotatedDescriptor,
    layers: Vec<AnnotatedDescriptor>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AnnotatedDescriptor {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Bytes of a program's name and version; a longer text counts as missing.
const MAX_CREATOR_BYTES: usize = 100;
