//! The result of applying a delta, as a value, as text and as JSON.
//! Never applies anything.
//!
//! docs/apply-json.md describes the JSON document.

use imgdelta_core::{BlobDigest, DiffId, Note, size::Human};
use imgdelta_image::image::Platform;
use serde_json::{Value, json};
use std::fmt;

/// Name and version of the JSON document; a reader refuses another.
const SCHEMA: &str = "imgdelta.apply/1";

/// The result of applying a delta.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApplyReport {
    /// Destination of the image; `None` if the delta was only verified.
    pub place: Option<String>,
    /// Digest of the target's manifest.
    pub target: BlobDigest,
    /// Digest of the written manifest: the target's, unless layers are uncompressed.
    ///
    /// `None` for an archive for Docker, which has no manifest; its config identifies the image.
    pub manifest: Option<BlobDigest>,
    /// Digest of the config, which is Docker's id of the image.
    pub config: BlobDigest,
    /// Platform of the image.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// Remarks about the images.
    pub notes: Vec<Note>,
}

/// The result for one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Digest of the written bytes: the target's blob, or its uncompressed stream.
    pub digest: BlobDigest,
    /// Length of the written bytes.
    pub bytes: u64,
    /// The layer's stream.
    pub diff_id: DiffId,
    /// True if the written bytes are the target's blob.
    pub is_exact: bool,
    /// Source of the layer.
    pub source: LayerSource,
}

/// Source of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerSource {
    /// The base.
    Kept,
    /// A recipe, which rebuilds it from the base.
    Rebuilt,
    /// The delta, which contains the whole blob.
    Carried,
    /// The destination, which had it already.
    Present,
}

impl LayerSource {
    const ALL: [Self; 4] = [Self::Kept, Self::Rebuilt, Self::Carried, Self::Present];

    /// Returns the word of the JSON document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Rebuilt => "rebuilt",
            Self::Carried => "carried",
            Self::Present => "there",
        }
    }

    /// Returns the words of the text.
    fn words(self) -> &'static str {
        match self {
            Self::Kept => "from the base",
            Self::Rebuilt => "rebuilt",
            Self::Carried => "whole in the delta",
            Self::Present => "already there",
        }
    }
}

impl ApplyReport {
    /// True if every layer is the target's blob, byte for byte.
    pub fn is_exact(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_exact)
    }

    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "place": self.place,
            "target": self.target.to_string(),
            "manifest": self.manifest.map(|digest| digest.to_string()),
            "config": self.config.to_string(),
            "platform": self.platform.to_string(),
            "exact": self.is_exact(),
            "layers": self.layers.iter().enumerate().map(|(ordinal, layer)| json!({
                "ordinal": ordinal,
                "came": layer.source.word(),
                "digest": layer.digest.to_string(),
                "bytes": layer.bytes,
                "diff_id": layer.diff_id.to_string(),
                "exact": layer.is_exact,
            })).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for ApplyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image   {}\n        for {}", self.target, self.platform)?;
        match &self.place {
            Some(place) => writeln!(f, "to      {place}")?,
            None => writeln!(f, "        all digests match; nothing was written")?,
        }
        let counts = LayerSource::ALL.map(|source| {
            let count = self.layers.iter().filter(|layer| layer.source == source).count();
            (count, source)
        });
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> =
            counts.map(|(count, source)| format!("{count} {}", source.words())).collect();
        let bytes = Human(self.layers.iter().map(|layer| layer.bytes).sum());
        writeln!(f, "layers  {}, {bytes}: {}", self.layers.len(), counts.join(", "))?;
        let inexact: Vec<String> = (1..)
            .zip(&self.layers)
            .filter(|(_, layer)| !layer.is_exact)
            .map(|(number, _)| number.to_string())
            .collect();
        if !inexact.is_empty() {
            let list = inexact.join(", ");
            writeln!(f, "        uncompressed, so with other digests than the target's: {list}")?;
        }
        match self.manifest {
            Some(manifest) if manifest == self.target => {}
            Some(manifest) => writeln!(f, "        with a new manifest: {manifest}")?,
            None => writeln!(f, "        without a manifest; the image id is {}", self.config)?,
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}
