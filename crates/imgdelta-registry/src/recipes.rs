//! What an artifact offers: its front and its recipes, for whoever needs the same layer.
//!
//! Compares a front with the manifests that speak of it, by digest. What a recipe makes is known
//! only to whoever applies it: nothing here is proof that one is any good.

use crate::{
    artifact::{Artifact, Front, MOST_FRONT_BYTES},
    repository::{Named, Repository},
};
use imgdelta_apply::delta::{Body, Envelope, LayerCost, Outline};
use imgdelta_core::{
    BlobDigest, DiffId, Error, Result, limits::Ceiling, progress::Progress, scratch::Scratch,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, Store, source::ReadAt},
};
use std::{
    io::{Cursor, Read, Write},
    sync::Arc,
};

/// A recipe that lies in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offered {
    /// The stream that it makes, by the config of the image that it lies beside.
    pub target: DiffId,
    /// The streams that it is said to need; the recipe itself says it, too.
    pub sources: Vec<DiffId>,
    /// The recipe.
    pub blob: Descriptor,
    /// Of each layer that it is used for, the blob and how the stream becomes it.
    pub envelopes: Vec<(BlobDigest, Envelope)>,
    /// What it is said to cost, and why.
    pub cost: LayerCost,
}

/// Reads which recipes an artifact offers. Fetches its manifest and its front.
pub async fn of(repository: &Repository, artifact: &BlobDigest) -> Result<Vec<Offered>> {
    let manifest = repository.manifest(&Named::Digest(*artifact)).await?;
    let artifact = Artifact::parse(&manifest, &repository.place())?;
    let front = front(repository, &artifact).await?;
    let place = place(repository, &artifact);
    let wrong = |what: &str| Error::bad_input(&place, what);
    let subject = artifact.subject.ok_or_else(|| wrong("it lies beside nothing"))?;
    let Front { outline, costs, .. } = front;
    // The documents that the front holds are taken for those of the image by their digests alone.
    let documents = Documents { place: place.clone(), subject, outline: outline.clone() };
    let named = ImageName::Digest(subject);
    let image = Image::open(Arc::new(documents), Some(&named), &OpenOptions::default())?;
    if image.layers.len() != outline.layers.len() {
        return Err(wrong("its layers are not as many as the image's"));
    }
    let mut offered: Vec<Option<Offered>> = vec![None; artifact.recipes.len()];
    for (layer, told) in image.layers.iter().zip(outline.layers) {
        let Body::Recipe(ordinal) = told.body else { continue };
        let recipe = &artifact.recipes[ordinal as usize];
        let offer = offered[ordinal as usize].get_or_insert_with(|| Offered {
            target: layer.diff_id,
            sources: recipe.sources.clone(),
            blob: recipe.blob.clone(),
            envelopes: Vec::new(),
            cost: costs.get(layer.ordinal).cloned().unwrap_or_default(),
        });
        if offer.target != layer.diff_id {
            return Err(wrong("one of its recipes is to make two streams"));
        }
        offer.envelopes.push((layer.descriptor.digest, told.envelope));
    }
    Ok(offered.into_iter().flatten().collect())
}

/// Fetches an artifact's front, and compares it with what the artifact's manifest says.
pub(crate) async fn front(repository: &Repository, artifact: &Artifact) -> Result<Front> {
    let what = "bytes of a delta's front";
    let bytes =
        repository.blob_bytes(&artifact.front, Ceiling::fixed(MOST_FRONT_BYTES), what).await?;
    let place = place(repository, artifact);
    let front = Front::parse(bytes, &place)?;
    front.check(artifact, &place)?;
    Ok(front)
}

/// Fetches a blob to a scratch file.
pub async fn fetch(
    repository: &Repository,
    blob: &Descriptor,
    scratch: &Scratch,
    progress: &dyn Progress,
) -> Result<Arc<dyn ReadAt>> {
    let mut file = scratch.file()?;
    let mut stream = repository.blob(blob).await?;
    while let Some(piece) = stream.next().await? {
        progress.check()?;
        file.write_all(&piece).map_err(Error::io(scratch.place()))?;
        progress.advance(piece.len() as u64);
    }
    Ok(Arc::new(file))
}

/// Returns how errors name an artifact.
pub(crate) fn place(repository: &Repository, artifact: &Artifact) -> String {
    format!("{}, delta {}", repository.place(), artifact.descriptor.digest)
}

/// The documents in a front, as a store with one image. Whoever reads it compares digests.
#[derive(Debug)]
struct Documents {
    place: String,
    subject: BlobDigest,
    outline: Outline,
}

impl Store for Documents {
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
