//! A cost as a JSON document, which docs/cost-json.md describes.
//! Never removes a field under the same version.

use super::{Cost, FileLine, LayerLine, PackageLine};
use crate::{draft::WindowedProgram, sources::SourceReason};
use imgdelta_apply::inspect::{coders_json, milliseconds};
use serde_json::{Map, Value, json};

/// Name and version of the document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.cost/1";

/// Returns the document.
pub(super) fn document(cost: &Cost) -> Value {
    json!({
        "schema": SCHEMA,
        "new": cost.target,
        "delta_bytes": cost.delta_bytes,
        "pull_bytes": cost.pull_bytes,
        "full_pull_bytes": cost.full_bytes,
        "rebuild_milliseconds": milliseconds(cost.rebuild_time),
        "layers": cost.layers.iter().map(layer).collect::<Vec<_>>(),
        "packages": cost.packages.iter().map(package).collect::<Vec<_>>(),
        "files": cost.files.iter().map(file).collect::<Vec<_>>(),
        "coders": coders_json(cost.coders),
        "windowed": cost.windowed.iter().map(windowed).collect::<Vec<_>>(),
    })
}

fn windowed(program: &WindowedProgram) -> Value {
    json!({ "path": program.path.to_string(), "memory_bytes": program.memory_bytes })
}

fn layer(line: &LayerLine) -> Value {
    let files: Map<String, Value> = line
        .files
        .iter()
        .map(|(how, sum)| {
            let sum = json!({
                "files": sum.count,
                "bytes": sum.target_bytes,
                "delta_bytes": sum.bytes,
            });
            (how.name().to_owned(), sum)
        })
        .collect();
    json!({
        "blob": line.blob.to_string(),
        "blob_bytes": line.blob_bytes,
        "way": line.method.word(),
        "delta_bytes": line.bytes,
        "header_bytes": line.header_bytes,
        "compression_bytes": line.envelope_bytes,
        "files": files,
    })
}

fn package(line: &PackageLine) -> Value {
    json!({
        "ecosystem": line.ecosystem,
        "name": line.name,
        "version": line.version,
        "files": line.sum.count,
        "bytes": line.sum.target_bytes,
        "delta_bytes": line.sum.bytes,
    })
}

fn file(line: &FileLine) -> Value {
    json!({
        "layer": line.layer,
        "path": line.path.to_string(),
        "how": line.how.name(),
        "why": line.reason.map_or_else(|| line.how.name(), SourceReason::words),
        "bytes": line.target_bytes,
        "delta_bytes": line.bytes,
    })
}
