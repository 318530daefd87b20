//! A diff as one JSON document, which docs/diff-json.md describes field by field.
//! Never removes or redefines a field under the same version.
//!
//! Numbers are exact. Bytes that are not text are escaped (`\xNN`, a backslash doubled), so that no
//! information is lost.

use crate::{
    diff::{Diff, ImageFacts},
    files::{FileChange, FileChangeKind, FileFacts, MetadataField, kind_word},
    layers::{LayerChange, LayerFacts, LayerRelation},
    packages::PackageChange,
};
use imgdelta_core::path::escaped;
use serde_json::{Value, json};

/// Name and version of the document; a reader should refuse others.
pub const SCHEMA: &str = "imgdelta.diff/1";

impl Diff {
    /// Returns the diff as a JSON document, as docs/diff-json.md describes it.
    pub fn json(&self) -> Value {
        document(self)
    }
}

fn document(diff: &Diff) -> Value {
    let totals = &diff.totals;
    let reshipped = diff.reshipped();
    let fetched: Vec<&LayerFacts> = diff
        .layers
        .iter()
        .filter(|layer| layer.is_fetched())
        .filter_map(|layer| layer.target.as_ref())
        .collect();
    json!({
        "schema": SCHEMA,
        "differs": diff.differs(),
        "same_image": diff.is_same_image(),
        "old": image(&diff.base),
        "new": image(&diff.target),
        "summary": {
            "pull_bytes": fetched.iter().map(|layer| layer.stored_bytes).sum::<u64>(),
            "pull_layers": fetched.len(),
            "full_pull_bytes": diff.target.stored_bytes,
            "reshipped_files": reshipped.files,
            "reshipped_bytes": reshipped.bytes,
            "added": { "files": totals.added.files, "bytes": totals.added.bytes },
            "removed": { "files": totals.removed.files, "bytes": totals.removed.bytes },
            "modified": {
                "files": totals.modified.files,
                "old_bytes": totals.modified_base_bytes,
                "new_bytes": totals.modified.bytes,
            },
            "moved": { "files": totals.moved.files, "bytes": totals.moved.bytes },
            "type_changed": { "files": totals.type_changed },
            "metadata": { "files": totals.metadata },
        },
        "layers": diff.layers.iter().map(layer_change).collect::<Vec<_>>(),
        "config": diff.config.iter().map(|change| json!({
            "field": change.field,
            "key": change.key,
            "old": change.base,
            "new": change.target,
        })).collect::<Vec<_>>(),
        "packages": diff.packages.iter().map(package).collect::<Vec<_>>(),
        "files": diff.files.iter().map(file_change).collect::<Vec<_>>(),
        "notes": diff.notes.iter().map(|note| json!({
            "side": note.side.word(),
            "text": note.note.to_string(),
        })).collect::<Vec<_>>(),
    })
}

fn image(facts: &ImageFacts) -> Value {
    json!({
        "name": facts.name,
        "digest": facts.digest.to_string(),
        "config_digest": facts.config_digest.to_string(),
        "platform": facts.platform,
        "created": facts.created,
        "layers": facts.layers,
        "stored_bytes": facts.stored_bytes,
        "stream_bytes": facts.stream_bytes,
        "files": facts.files,
        "file_bytes": facts.file_bytes,
        "packages": facts.packages,
    })
}

fn layer_change(change: &LayerChange) -> Value {
    json!({
        "relation": match change.relation {
            LayerRelation::Same => "same",
            LayerRelation::Recompressed => "recompressed",
            LayerRelation::Replaced => "replaced",
            LayerRelation::Added => "added",
            LayerRelation::Dropped => "dropped",
        },
        "moved": change.is_moved,
        "old": change.base.as_ref().map(layer),
        "new": change.target.as_ref().map(layer),
        "found_again_bytes": change.found_again_bytes,
        "reshipped_files": change.reshipped.files,
        "reshipped_bytes": change.reshipped.bytes,
    })
}

fn layer(facts: &LayerFacts) -> Value {
    json!({
        "ordinal": facts.ordinal,
        "digest": facts.blob.to_string(),
        "diff_id": facts.diff_id.to_string(),
        "stored_bytes": facts.stored_bytes,
        "stream_bytes": facts.stream_bytes,
        "payload_bytes": facts.payload_bytes,
        "entries": facts.entries,
    })
}

fn package(delta: &PackageChange) -> Value {
    json!({
        "ecosystem": delta.ecosystem,
        "name": delta.name,
        "change": delta.change.word(),
        "old": delta.base,
        "new": delta.target,
        "files": delta.files,
        "bytes": delta.bytes,
    })
}

fn file_change(change: &FileChange) -> Value {
    let mut value = json!({
        "path": change.path.to_string(),
        "change": change_word(&change.kind),
        "old": change.base.as_ref().map(file),
        "new": change.target.as_ref().map(file),
        "metadata": change.fields.iter().map(|change| {
            let (field, name) = match &change.field {
                MetadataField::Mode => ("mode", None),
                MetadataField::Owner => ("owner", None),
                MetadataField::Mtime => ("mtime", None),
                MetadataField::HardLink => ("hardlink", None),
                MetadataField::Attribute(name) => ("xattr", Some(escaped(name))),
            };
            json!({ "field": field, "name": name, "old": change.base.as_deref(), "new": change.target.as_deref() })
        }).collect::<Vec<_>>(),
    });
    if let FileChangeKind::Moved { from } = &change.kind {
        value["from"] = from.to_string().into();
    }
    value
}

fn file(facts: &FileFacts) -> Value {
    json!({
        "type": kind_word(facts.kind),
        "size": facts.size_bytes,
        "layer": facts.layer,
        "mode": format!("{:04o}", facts.mode),
        "uid": facts.owner.0,
        "gid": facts.owner.1,
        "mtime": imgdelta_core::size::time_in_words(facts.mtime),
        "link": facts.link.as_deref().map(escaped),
        "hard_link_to": facts.first_name.as_deref(),
    })
}

fn change_word(kind: &FileChangeKind) -> &'static str {
    match kind {
        FileChangeKind::Added => "added",
        FileChangeKind::Removed => "removed",
        FileChangeKind::Modified => "modified",
        FileChangeKind::Moved { .. } => "moved",
        FileChangeKind::TypeChanged => "type",
        FileChangeKind::Metadata => "metadata",
    }
}
