//! The files that differ, as rows that open to the change inside.
//! Never shows more rows than a browser draws at once.

use crate::{
    document::{bare_path, items, number, word},
    escape::Html,
    patch::PatchRoom,
};
use imgdelta_core::size::{Grouped, Human};
use imgdelta_core::sort::SharedSort;
use serde_json::Value;
use std::{cmp::Reverse, collections::HashMap, fmt::Write as _};

/// Writes the files, those with the most bytes first.
pub(crate) fn write(out: &mut String, document: &Value) {
    let costs: HashMap<&str, u64> = items(&document["cost"]["files"])
        .iter()
        .map(|cost| (bare_path(&cost["path"]), number(&cost["delta_bytes"])))
        .collect();
    let has_cost = document["cost"].is_object();
    let mut files: Vec<&Value> = items(&document["files"]).iter().collect();
    files.retain(|file| word(&file["change"]) != "metadata" || file["patch"].is_object());
    if files.is_empty() {
        return;
    }
    let cost = |file: &Value| costs.get(bare_path(&file["path"])).copied().unwrap_or(0);
    files.shared_sort_by_key(|file| (Reverse(cost(file)), Reverse(size(file))));
    let _ = writeln!(
        out,
        "<section id=\"files\">\n<h2>Files <small>{}</small></h2>\n<p class=\"tools\">\
         <input type=\"search\" id=\"find\" placeholder=\"Search paths\" aria-label=\"Search paths\" \
         autocomplete=\"off\" spellcheck=\"false\"><output id=\"found\"></output></p>\n\
         <div class=\"files\">",
        Grouped(files.len() as u64)
    );
    let mut room = PatchRoom::default();
    for (at, file) in files.iter().take(MOST_ROWS).enumerate() {
        let hidden = if at >= SHOWN_ROWS { " hidden" } else { "" };
        let bytes = has_cost.then(|| cost(file));
        row(out, file, bytes, hidden, &mut room);
    }
    out.push_str("</div>\n");
    if files.len() > SHOWN_ROWS {
        out.push_str("<p><button type=\"button\" id=\"more\" hidden>Show all rows</button></p>\n");
    }
    if files.len() > MOST_ROWS {
        let rest = Grouped((files.len() - MOST_ROWS) as u64);
        let _ = writeln!(
            out,
            "<p class=\"note\">{rest} smaller files are not listed; --json has all.</p>"
        );
    }
    out.push_str("</section>\n");
}

fn row(out: &mut String, file: &Value, cost: Option<u64>, hidden: &str, room: &mut PatchRoom) {
    let change = word(&file["change"]);
    let (mark, class) = match change {
        "added" => ("+", "added"),
        "removed" => ("−", "removed"),
        "moved" => ("→", "moved"),
        "type" => ("!", "modified"),
        "metadata" => ("m", "same"),
        _ => ("~", "modified"),
    };
    let bytes = |side: &Value| side["size"].as_u64().map(|bytes| Human(bytes).to_string());
    let sizes = match (bytes(&file["old"]), bytes(&file["new"])) {
        (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
        (old, new) => new.or(old).unwrap_or_default(),
    };
    let from = match file["from"].as_str() {
        Some(from) => format!(" <small>was {}</small>", Html(from)),
        None => String::new(),
    };
    let cost = match cost {
        Some(0) => "<b></b>".to_owned(),
        Some(bytes) => format!("<b title=\"bytes in the delta\">{}</b>", Human(bytes)),
        None => String::new(),
    };
    let line = format!(
        "<i class=\"tag {class}\" title=\"{}\">{mark}</i><code>{}{from}</code><span>{sizes}</span>{cost}",
        Html(change),
        Html(word(&file["path"]))
    );
    if file["patch"].is_object() {
        let _ = writeln!(out, "<details class=\"file\"{hidden}><summary>{line}</summary>");
        room.write(out, &file["patch"]);
        out.push_str("</details>\n");
    } else {
        let _ = writeln!(out, "<div class=\"file\"{hidden}>{line}</div>");
    }
}

fn size(file: &Value) -> u64 {
    number(&file["new"]["size"]).max(number(&file["old"]["size"]))
}

const MOST_ROWS: usize = 3000;
const SHOWN_ROWS: usize = 60;
