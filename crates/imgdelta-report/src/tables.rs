//! Sections with tables: layers, config, packages, notes.
//! Never changes an order, except that the largest packages come first.

use crate::{
    chart::Bar,
    document::{items, number, short_digest, word},
    escape::{Html, RawHtml},
};
use imgdelta_core::size::{Grouped, Human};
use imgdelta_core::sort::SharedSort;
use serde_json::Value;
use std::{cmp::Reverse, collections::HashMap, fmt::Write as _};

/// Writes old layers against new ones.
pub(crate) fn layers(out: &mut String, document: &Value) {
    let layers = items(&document["layers"]);
    let bytes = |side: &Value| number(&side["stored_bytes"]);
    let most = layers.iter().flat_map(|layer| [bytes(&layer["old"]), bytes(&layer["new"])]).max();
    let most = most.unwrap_or(0);
    let costs: HashMap<&str, &Value> = items(&document["cost"]["layers"])
        .iter()
        .map(|layer| (word(&layer["blob"]), layer))
        .collect();
    let has_cost = !costs.is_empty();
    out.push_str("<section id=\"layers\">\n<h2>Layers</h2>\n<table class=\"layers\">\n<thead><tr><th colspan=\"2\" class=\"num\">old</th><th colspan=\"2\">new</th><th>relation</th>");
    out.push_str(if has_cost { "<th class=\"num\">delta</th>" } else { "" });
    out.push_str("<th class=\"num hide\">unchanged, pulled</th></tr></thead>\n<tbody>\n");
    for layer in layers {
        let side = |side: &Value, class: &'static str| {
            if side.is_null() {
                return (String::new(), String::new());
            }
            let title = format!(
                "layer {}, {} unpacked, {}",
                number(&side["ordinal"]) + 1,
                Human(number(&side["stream_bytes"])),
                short_digest(&side["digest"])
            );
            let bar = Bar { class, part: bytes(side), whole: most };
            (
                format!("<span title=\"{}\">{}</span>", RawHtml(&title), Human(bytes(side))),
                bar.to_string(),
            )
        };
        let relation = word(&layer["relation"]);
        let class = match relation {
            "same" => "same",
            "dropped" => "removed",
            "added" => "added",
            "recompressed" => "moved",
            _ => "modified",
        };
        let (old, old_bar) = side(&layer["old"], if class == "same" { "same" } else { "removed" });
        let (new, new_bar) = side(&layer["new"], class);
        let moved = if layer["moved"] == true { ", moved" } else { "" };
        let _ = write!(
            out,
            "<tr><td class=\"wide left\">{old_bar}</td><td class=\"num\">{old}</td>\
             <td class=\"num\">{new}</td><td class=\"wide\">{new_bar}</td>\
             <td><span class=\"tag {class}\">{}{moved}</span></td>",
            RawHtml(relation)
        );
        if has_cost {
            let cost = costs.get(word(&layer["new"]["digest"]));
            let cell = cost.map_or_else(String::new, |cost| {
                format!(
                    "<span title=\"{}\">{}</span>",
                    RawHtml(word(&cost["way"])),
                    Human(number(&cost["delta_bytes"]))
                )
            });
            let _ = write!(out, "<td class=\"num\">{cell}</td>");
        }
        let again = number(&layer["reshipped_bytes"]);
        let again = if again == 0 { String::new() } else { Human(again).to_string() };
        let _ = writeln!(out, "<td class=\"num hide\">{again}</td></tr>");
    }
    out.push_str("</tbody></table>\n</section>\n");
}

/// Writes config fields that differ.
pub(crate) fn config(out: &mut String, document: &Value) {
    let changes = items(&document["config"]);
    if changes.is_empty() {
        return;
    }
    out.push_str("<section id=\"config\">\n<h2>Configuration</h2>\n<table>\n<thead><tr><th>field</th><th>old</th><th>new</th></tr></thead>\n<tbody>\n");
    for change in changes.iter().take(MOST_ROWS) {
        let value = |value: &Value| match value.as_str() {
            Some(text) => format!("<code>{}</code>", RawHtml(text)),
            None => "<span class=\"none\">none</span>".to_owned(),
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{} {}</th><td class=\"long\">{}</td><td class=\"long\">{}</td></tr>",
            RawHtml(word(&change["field"])),
            RawHtml(word(&change["key"])),
            value(&change["old"]),
            value(&change["new"])
        );
    }
    out.push_str("</tbody></table>\n");
    more(out, changes.len(), "fields");
    out.push_str("</section>\n");
}

/// Writes packages with versions.
pub(crate) fn packages(out: &mut String, document: &Value) {
    let mut packages: Vec<&Value> = items(&document["packages"]).iter().collect();
    if packages.is_empty() {
        return;
    }
    packages.shared_sort_by_key(|package| Reverse(number(&package["bytes"])));
    let costs: HashMap<(&str, &str), u64> = items(&document["cost"]["packages"])
        .iter()
        .map(|cost| ((word(&cost["ecosystem"]), word(&cost["name"])), number(&cost["delta_bytes"])))
        .collect();
    let has_cost = document["cost"].is_object();
    out.push_str("<section id=\"packages\">\n<h2>Packages</h2>\n<table>\n<thead><tr><th>package</th><th>old</th><th>new</th><th>change</th><th class=\"num hide\">files</th><th class=\"num hide\">size</th>");
    out.push_str(if has_cost { "<th class=\"num\">delta</th>" } else { "" });
    out.push_str("</tr></thead>\n<tbody>\n");
    for package in packages.iter().take(MOST_ROWS) {
        let change = word(&package["change"]);
        let class = match change {
            "added" => "added",
            "removed" | "downgraded" => "removed",
            "rebuilt" => "same",
            _ => "modified",
        };
        let (ecosystem, name) = (word(&package["ecosystem"]), word(&package["name"]));
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{} <small>{}</small></th><td><code>{}</code></td>\
             <td><code>{}</code></td><td><span class=\"tag {class}\">{}</span></td>\
             <td class=\"num hide\">{}</td><td class=\"num hide\">{}</td>",
            RawHtml(name),
            RawHtml(ecosystem),
            RawHtml(word(&package["old"])),
            RawHtml(word(&package["new"])),
            RawHtml(change),
            Grouped(number(&package["files"])),
            Human(number(&package["bytes"]))
        );
        if has_cost {
            let cost = costs.get(&(ecosystem, name)).map(|bytes| Human(*bytes).to_string());
            let _ = write!(out, "<td class=\"num\">{}</td>", cost.unwrap_or_default());
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
    more(out, packages.len(), "packages");
    out.push_str("</section>\n");
}

/// Writes remarks about the images.
pub(crate) fn notes(out: &mut String, document: &Value) {
    let notes = items(&document["notes"]);
    if notes.is_empty() {
        return;
    }
    out.push_str("<section id=\"notes\">\n<h2>Notes</h2>\n<ul>\n");
    for note in notes.iter().take(MOST_ROWS) {
        let _ = writeln!(
            out,
            "<li><strong>{}</strong> {}</li>",
            Html(word(&note["side"])),
            RawHtml(word(&note["text"]))
        );
    }
    out.push_str("</ul>\n");
    more(out, notes.len(), "notes");
    out.push_str("</section>\n");
}

fn more(out: &mut String, count: usize, noun: &str) {
    if count > MOST_ROWS {
        let rest = Grouped((count - MOST_ROWS) as u64);
        let _ = writeln!(out, "<p class=\"note\">… and {rest} more {noun}</p>");
    }
}

/// A longer table serves nobody; the JSON document has everything.
const MOST_ROWS: usize = 500;
