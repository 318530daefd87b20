//! The picture of the bytes: a place for the script, and the data that it draws.
//! Never draws by itself; the tables of the page have the same numbers.

use crate::document::{bare_path, items, number, word};
use imgdelta_core::sort::SharedSort;
use serde_json::{Value, json};
use std::cmp::Reverse;

/// Writes the place of the picture with its buttons.
pub(crate) fn write(out: &mut String, document: &Value) {
    let what = if document["cost"].is_object() {
        "Area is bytes of the delta: each file's share, and the rest of each layer."
    } else {
        "Area is the size of files that are new or differ, uncompressed. With <code>--cost</code> it is \
         their share of a delta."
    };
    out.push_str(
        "<section id=\"bytes\" hidden>\n<h2>Where the bytes go</h2>\n<p class=\"tools\">\
         <span class=\"choice\" role=\"group\" aria-label=\"Group by\">\
         <button type=\"button\" data-view=\"layers\" aria-pressed=\"true\">Layers</button>\
         <button type=\"button\" data-view=\"directories\" aria-pressed=\"false\">Directories</button>\
         <button type=\"button\" data-view=\"packages\" aria-pressed=\"false\">Packages</button></span>\
         <span id=\"legend\"></span></p>\n<nav id=\"trail\" aria-label=\"Place\"></nav>\n\
         <div id=\"map\"></div>\n<p class=\"note\" id=\"hint\">",
    );
    out.push_str(what);
    out.push_str(" Click to zoom.</p>\n</section>\n");
}

/// Returns the data of the picture.
pub(crate) fn data(document: &Value) -> Value {
    let cost = &document["cost"];
    let has_cost = cost.is_object();
    let mut files: Vec<Value> = if has_cost {
        let file = |file: &Value| {
            let path = format!("/{}", bare_path(&file["path"]));
            json!([path, &file["delta_bytes"], &file["layer"], &file["how"]])
        };
        items(&cost["files"]).iter().map(file).collect()
    } else {
        let differing = items(&document["files"]).iter().filter(|file| {
            file["new"]["size"].as_u64() > Some(0)
                && !["metadata", "moved"].contains(&word(&file["change"]))
        });
        let file = |file: &Value| {
            let new = &file["new"];
            json!([&file["path"], &new["size"], &new["layer"], &file["change"]])
        };
        differing.map(file).collect()
    };
    files.shared_sort_by_key(|file| Reverse(number(&file[1])));
    let omitted: u64 = files.iter().skip(MOST_FILES).map(|file| number(&file[1])).sum();
    files.truncate(MOST_FILES);
    let rest = items(&cost["layers"]).iter().enumerate().flat_map(|(at, layer)| {
        let parts = [("tar headers", "header_bytes"), ("compression", "compression_bytes")];
        parts.map(|(name, field)| json!([name, layer[field], at]))
    });
    let packages = items(if has_cost { &cost["packages"] } else { &document["packages"] });
    let bytes = if has_cost { "delta_bytes" } else { "bytes" };
    let version = if has_cost { "version" } else { "new" };
    let package = |package: &Value| {
        json!([package["ecosystem"], package["name"], package[version], package[bytes]])
    };
    json!({
        "files": files,
        "rest": rest.filter(|part| number(&part[1]) > 0).collect::<Vec<_>>(),
        "packages": packages.iter().take(MOST_FILES).map(package).collect::<Vec<_>>(),
        "omitted": omitted,
        "has_cost": has_cost,
    })
}

/// Files that a picture has; the rest is one tile.
const MOST_FILES: usize = 20_000;
