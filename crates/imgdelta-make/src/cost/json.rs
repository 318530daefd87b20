//! A cost for machines: one JSON document, described field by field in docs/cost-json.md.
//!
//! Fields are only ever added under the same version.

use super::{Cost, FileLine, LayerLine, PackageLine};
use imgdelta_core::path::escaped;
use serde_json::{Map, Value, json};

/// The name and version of the document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.cost/1";

/// Returns the document.
pub(super) fn document(cost: &Cost) -> Value {
    json!({
        "schema": SCHEMA,
        "new": cost.target,
        "delta_bytes": cost.delta_bytes,
        "pull_bytes": cost.pull_bytes,
        "full_pull_bytes": cost.full_bytes,
        "layers": cost.layers.iter().map(layer).collect::<Vec<_>>(),
        "packages": cost.packages.iter().map(package).collect::<Vec<_>>(),
        "files": cost.files.iter().map(file).collect::<Vec<_>>(),
    })
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
        "way": line.way.word(),
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
        "path": escaped(line.path.as_bytes()),
        "how": line.how.name(),
        "why": line.found.map_or_else(|| line.how.name(), |found| found.words()),
        "bytes": line.target_bytes,
        "delta_bytes": line.bytes,
    })
}
