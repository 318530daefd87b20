//! A history as one JSON document, which docs/log-json.md describes.
//! Never removes or redefines a field under the same version.

use crate::{
    history::History,
    version::{UpgradeWay, Version},
};
use imgdelta_core::path::escaped;
use imgdelta_registry::TagName;
use serde_json::{Value, json};

/// Name and version of the document; a reader should refuse others.
pub const SCHEMA: &str = "imgdelta.log/1";

impl History {
    /// Returns the document.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "repository": self.repository,
            "omitted_tags": self.omitted_tags,
            "versions": self.versions.iter().map(version).collect::<Vec<_>>(),
            "ways": self.ways().iter().map(way).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(|note| json!({
                "text": escaped(note.to_string().as_bytes()),
            })).collect::<Vec<_>>(),
        })
    }
}

fn version(version: &Version) -> Value {
    json!({
        "tag": version.tag().as_str(),
        "tags": version.tags.iter().map(TagName::as_str).collect::<Vec<_>>(),
        "digest": version.digest.to_string(),
        "created": version.created,
        "bytes": version.bytes(),
        "layers": version.layers.len(),
        "change": version.change.as_ref().map(|change| json!({
            "from": change.from.as_str(),
            "pull_bytes": change.pull_bytes,
            "pull_layers": change.pull_layers,
        })),
        "deltas": version.deltas.iter().map(|delta| json!({
            "digest": delta.digest.to_string(),
            "base": delta.base.map(|base| base.to_string()),
            "from": delta.from.as_ref().map(TagName::as_str),
            "bytes": delta.bytes,
        })).collect::<Vec<_>>(),
    })
}

fn way(way: &UpgradeWay) -> Value {
    json!({
        "from": way.from.as_str(),
        "to": way.to.as_str(),
        "pull_bytes": way.pull_bytes,
        "delta_bytes": way.delta_bytes,
    })
}
