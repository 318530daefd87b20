//! Recipes of an artifact, offered for other images that have the same layer.
//!
//! Compares the front with the manifests that name it. Does not prove that a recipe makes its
//! stream; only applying it does.

use crate::{
    artifact::{Artifact, Front, MAX_FRONT_BYTES},
    repository::{ManifestReference, Repository},
};
use imgdelta_apply::delta::{Envelope, LayerBody, LayerCost, Outline};
use imgdelta_core::{BlobDigest, DiffId, Error, Result, progress::Progress, scratch::Scratch};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, Store, source::ReadAt},
};
use std::{
    io::{Cursor, Read, Write},
    sync::Arc,
};

/// A recipe in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecipeOffer {
    /// The stream that it makes, by the config of the artifact's subject.
    pub target: DiffId,
    /// The streams that it needs, by its annotation. The recipe itself names them, too.
    pub sources: Vec<DiffId>,
    /// The recipe.
    pub blob: Descriptor,
    /// For each layer that uses the recipe: its blob, and the way from the stream to the blob.
    pub envelopes: Vec<(BlobDigest, Envelope)>,
    /// Its stated time for closing archives.
    pub archive_milliseconds: u64,
    /// Its stated cost.
    pub cost: LayerCost,
}

/// Content of an artifact that other deltas can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactOffer {
    /// Its recipes.
    pub recipes: Vec<RecipeOffer>,
    /// For each layer that it can compress, kept ones included: the blob, and the way from the
    /// stream to the blob.
    pub envelopes: Vec<(BlobDigest, Envelope)>,
}

/// Returns the recipes and envelopes of an artifact. Downloads its manifest and its front.
pub async fn offers(repository: &Repository, artifact: &BlobDigest) -> Result<ArtifactOffer> {
    let manifest = repository.manifest(&ManifestReference::Digest(*artifact)).await?;
    let artifact = Artifact::parse(&manifest, &repository.place())?;
    let front = front(repository, &artifact).await?;
    let place = place(repository, &artifact);
    let invalid = |what: &str| Error::bad_input(&place, what);
    let subject = artifact.subject.ok_or_else(|| invalid("it has no subject"))?;
    let Front { outline, costs, .. } = front;
    // The documents in the front count as those of the image only if they have its digests.
    let documents = FrontStore { place: place.clone(), subject, outline: outline.clone() };
    let name = ImageName::Digest(subject);
    let image = Image::open(Arc::new(documents), Some(&name), &OpenOptions::default())?;
    if image.layers.len() != outline.layers.len() {
        return Err(invalid("its number of layers differs from the image's"));
    }
    let mut offers: Vec<Option<RecipeOffer>> = vec![None; artifact.recipes.len()];
    let mut envelopes = Vec::new();
    for (layer, layer_outline) in image.layers.iter().zip(outline.layers) {
        if layer_outline.envelope.recipe().is_some() {
            envelopes.push((layer.descriptor.digest, layer_outline.envelope.clone()));
        }
        let LayerBody::Recipe(ordinal) = layer_outline.body else { continue };
        let recipe = &artifact.recipes[ordinal as usize];
        let offer = offers[ordinal as usize].get_or_insert_with(|| RecipeOffer {
            target: layer.diff_id,
            sources: recipe.sources.clone(),
            blob: recipe.blob.clone(),
            envelopes: Vec::new(),
            archive_milliseconds: layer_outline.archive_milliseconds,
            cost: costs.get(layer.ordinal).cloned().unwrap_or_default(),
        });
        if offer.target != layer.diff_id {
            return Err(invalid("two layers with different streams use the same recipe"));
        }
        offer.envelopes.push((layer.descriptor.digest, layer_outline.envelope));
    }
    Ok(ArtifactOffer { recipes: offers.into_iter().flatten().collect(), envelopes })
}

/// Downloads a recipe to a scratch file.
pub async fn fetch(
    repository: &Repository,
    blob: &Descriptor,
    scratch: &Scratch,
    progress: &dyn Progress,
) -> Result<Arc<dyn ReadAt>> {
    // The caller has admitted the length; the stream is never longer.
    scratch.raise(blob.size_bytes);
    let mut file = scratch.file()?;
    let mut stream = repository.blob(blob).await?;
    while let Some(piece) = stream.next().await? {
        progress.check()?;
        file.write_all(&piece).map_err(Error::io(scratch.place()))?;
        progress.advance(piece.len() as u64);
    }
    Ok(Arc::new(file))
}

/// Downloads an artifact's front, and compares it with the artifact's manifest.
pub async fn front(repository: &Repository, artifact: &Artifact) -> Result<Front> {
    let bytes = repository.blob_bytes(&artifact.front, MAX_FRONT_BYTES).await?;
    let place = place(repository, artifact);
    let front = Front::parse(bytes, &place)?;
    front.check(artifact, &place)?;
    Ok(front)
}

/// Returns an artifact's name in errors.
pub fn place(repository: &Repository, artifact: &Artifact) -> String {
    format!("{}, delta {}", repository.place(), artifact.descriptor.digest)
}

/// The documents in a front, as a store with one image. The reader compares their digests.
#[derive(Debug)]
struct FrontStore {
    place: String,
    subject: BlobDigest,
    outline: Outline,
}

impl Store for FrontStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn find(&self, _: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let kind = Some(self.outline.media_type.as_str()).filter(|kind| !kind.is_empty());
        let size = self.outline.manifest.len() as u64;
        Ok(vec![Descriptor::new(kind, self.subject, size)])
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let Outline { manifest, config, .. } = &self.outline;
        let document = if blob.digest == self.subject { manifest } else { config };
        Ok(Box::new(Cursor::new(document.clone())))
    }
}
