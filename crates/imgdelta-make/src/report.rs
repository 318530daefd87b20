//! The deltas that were made of a pair of images, as the document of docs/create-json.md.
//!
//! Never writes a delta, and never removes a field under the same version.

use crate::{cost::Cost, draft::Draft, proof::SavedDelta};
use imgdelta_core::{BlobDigest, Result, size::Exact};
use imgdelta_image::image::Image;
use serde_json::{Value, json};
use std::fmt;

/// Name and version of the document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.create/1";

/// The deltas of one run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateReport {
    /// The deltas, the upgrade first.
    pub deltas: Vec<CreatedDelta>,
}

/// One delta that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreatedDelta {
    /// The direction of the delta.
    pub direction: Direction,
    /// The image that the receiver has.
    pub base: DeltaImage,
    /// The image that the delta makes.
    pub target: DeltaImage,
    /// The platform of the target.
    pub platform: String,
    /// True if the delta was applied and every byte compared.
    pub is_proved: bool,
    /// The file; none if nothing was written.
    pub file: Option<SavedDelta>,
    /// The cost.
    pub cost: Cost,
}

/// An image of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeltaImage {
    /// Its name.
    pub name: String,
    /// Digest of its manifest.
    pub digest: BlobDigest,
}

/// Direction of a delta, seen from the two images of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the old image to the new one.
    Upgrade,
    /// From the new image back to the old one.
    Rollback,
}

impl CreatedDelta {
    /// Describes a draft that is not saved yet.
    pub fn of(draft: &Draft, direction: Direction) -> Result<Self> {
        Ok(Self {
            direction,
            base: DeltaImage::of(&draft.plan.base.image),
            target: DeltaImage::of(&draft.plan.target.image),
            platform: draft.plan.target.image.platform.to_string(),
            is_proved: false,
            file: None,
            cost: draft.cost()?,
        })
    }
}

impl DeltaImage {
    fn of(image: &Image) -> Self {
        Self { name: image.name.clone(), digest: image.digest }
    }
}

impl Direction {
    /// Returns `upgrade` or `rollback`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }
}

impl CreateReport {
    /// Adds a delta.
    #[must_use]
    pub fn with(mut self, delta: CreatedDelta) -> Self {
        self.deltas.push(delta);
        self
    }

    /// Returns the document.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "deltas": self.deltas.iter().map(delta).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for CreateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CreatedDelta { file, cost, .. } in &self.deltas {
            let path = file.as_ref().map(|file| file.path.display().to_string());
            let path = path.as_deref().unwrap_or("standard output");
            let (delta, pull) = (Exact(cost.delta_bytes), Exact(cost.pull_bytes));
            writeln!(f, "{path}: {delta}; a plain pull is {pull}")?;
            if let Some(note) = cost.windows_note() {
                writeln!(f, "  {note}")?;
            }
        }
        Ok(())
    }
}

fn delta(delta: &CreatedDelta) -> Value {
    let file = delta.file.as_ref();
    json!({
        "direction": delta.direction.word(),
        "file": file.map(|file| file.path.display().to_string()),
        "digest": file.map(|file| file.digest.to_string()),
        "bytes": file.map_or(delta.cost.delta_bytes, |file| file.bytes),
        "old": image(&delta.base),
        "new": image(&delta.target),
        "platform": delta.platform,
        "proved": delta.is_proved,
        "cost": delta.cost.json(),
    })
}

fn image(image: &DeltaImage) -> Value {
    json!({ "name": image.name, "digest": image.digest.to_string() })
}
