//! What applying made, in words and as a document.
//!
//! docs/apply-json.md describes the document. Writes text and decides nothing.

use super::{Applied, Came};
use imgdelta_core::size::Human;
use serde_json::{Value, json};
use std::fmt;

/// The name and version of the document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.apply/1";

impl Came {
    /// Returns how listings name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Rebuilt => "rebuilt",
            Self::Carried => "carried",
            Self::There => "there",
        }
    }
}

impl Applied {
    /// Returns whether every layer is the target's blob, byte for byte.
    pub fn is_exact(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_exact)
    }

    /// Returns the result for machines.
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
                "came": layer.came.word(),
                "digest": layer.digest.to_string(),
                "bytes": layer.bytes,
                "diff_id": layer.diff_id.to_string(),
                "exact": layer.is_exact,
            })).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image   {} for {}", self.target, self.platform)?;
        match &self.place {
            Some(place) => writeln!(f, "to      {place}")?,
            None => writeln!(f, "        all digests are right; nothing was written")?,
        }
        let mut counts = Vec::new();
        for came in [Came::Kept, Came::Rebuilt, Came::Carried, Came::There] {
            let count = self.layers.iter().filter(|layer| layer.came == came).count();
            if count > 0 {
                counts.push(format!("{count} {}", came.word()));
            }
        }
        let bytes = Human(self.layers.iter().map(|layer| layer.bytes).sum());
        writeln!(f, "layers  {} ({}), {bytes}", self.layers.len(), counts.join(", "))?;
        let inexact: Vec<String> = (1..)
            .zip(&self.layers)
            .filter(|(_, layer)| !layer.is_exact)
            .map(|(number, _)| number.to_string())
            .collect();
        if !inexact.is_empty() {
            writeln!(
                f,
                "        uncompressed, not the blobs of the image: {}",
                inexact.join(", ")
            )?;
        }
        match self.manifest {
            Some(manifest) if manifest == self.target => {}
            Some(manifest) => writeln!(f, "        under another manifest: {manifest}")?,
            None => writeln!(f, "        without a manifest; the image's id is {}", self.config)?,
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}
