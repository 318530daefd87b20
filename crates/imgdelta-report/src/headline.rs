//! The first lines of a page: the two images, and the bytes of each way from one to the other.
//! Never computes a cost.

use crate::{
    chart::Bar,
    document::{number, short_digest, word},
    escape::RawHtml,
};
use imgdelta_core::{
    date::to_seconds,
    size::{Grouped, Human},
};
use serde_json::Value;
use std::fmt::Write as _;

/// Writes names and dates of both images, and the statement.
pub(crate) fn write(out: &mut String, document: &Value) {
    let (old, new) = (&document["old"], &document["new"]);
    let _ = writeln!(
        out,
        "<header>\n<p class=\"kind\">Image upgrade</p>\n<h1><span>{}</span> \
         <span class=\"arrow\" aria-label=\"to\">→</span> <span>{}</span></h1>",
        RawHtml(word(&old["name"])),
        RawHtml(word(&new["name"]))
    );
    let _ = writeln!(out, "<p class=\"lead\">{}</p>\n</header>", statement(document));
    let ways = ways(document);
    let most = ways.iter().map(|way| way.bytes).max().unwrap_or(0);
    out.push_str("<section class=\"ways\" aria-label=\"Bytes of each way\">\n<table>\n");
    for way in &ways {
        let bar = Bar { class: way.class, part: way.bytes, whole: most };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"num big\">{}</td><td class=\"wide\">{bar}</td>\
             <td class=\"note\">{}</td></tr>",
            way.name,
            Human(way.bytes),
            way.note
        );
    }
    out.push_str("</table>\n</section>\n");
    images(out, old, new);
}

/// One way to get the new image.
struct UpgradeWay {
    name: &'static str,
    class: &'static str,
    bytes: u64,
    note: String,
}

fn ways(document: &Value) -> Vec<UpgradeWay> {
    let summary = &document["summary"];
    let layers = number(&document["new"]["layers"]);
    let (full, pull) = (number(&summary["full_pull_bytes"]), number(&summary["pull_bytes"]));
    let mut ways = vec![
        UpgradeWay {
            name: "From scratch",
            class: "full",
            bytes: full,
            note: format!("all {layers} layers, on an empty machine"),
        },
        UpgradeWay {
            name: "Plain pull",
            class: "pull",
            bytes: pull,
            note: format!(
                "{} of {layers} layers, with the old image",
                number(&summary["pull_layers"])
            ),
        },
    ];
    for (field, name, class, note) in [
        ("cost", "Delta", "delta", "exactly the same layers"),
        ("rollback_cost", "Way back", "delta", "a delta from the new image to the old one"),
    ] {
        if let Some(bytes) = document[field]["delta_bytes"].as_u64() {
            ways.push(UpgradeWay { name, class, bytes, note: note.to_owned() });
        }
    }
    ways
}

/// Returns the upgrade in one sentence.
fn statement(document: &Value) -> String {
    let pull = number(&document["summary"]["pull_bytes"]);
    if document["same_image"] == true {
        return "The images are identical.".to_owned();
    }
    let Some(delta) = document["cost"]["delta_bytes"].as_u64() else {
        let again = &document["summary"];
        let (files, bytes) = (number(&again["reshipped_files"]), number(&again["reshipped_bytes"]));
        let waste = match files {
            0 => String::new(),
            files => format!(
                " Of that, {} unchanged files, {} uncompressed, are pulled again.",
                Grouped(files),
                Human(bytes)
            ),
        };
        return format!("An upgrade pulls <strong>{}</strong>.{waste}", Human(pull));
    };
    match pull.checked_div(delta) {
        Some(times) if times >= 2 => format!(
            "The upgrade needs <strong>{}</strong> instead of {}: {} times less.",
            Human(delta),
            Human(pull),
            Grouped(times)
        ),
        _ => {
            format!("The upgrade needs <strong>{}</strong>; a pull, {}.", Human(delta), Human(pull))
        }
    }
}

/// Writes the facts of both images.
fn images(out: &mut String, old: &Value, new: &Value) {
    out.push_str("<section class=\"facts\"><table>\n<tr><td></td><th scope=\"col\">old</th><th scope=\"col\">new</th></tr>\n");
    let mut row = |name: &str, cell: &dyn Fn(&Value) -> String| {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{}</td></tr>",
            cell(old),
            cell(new)
        );
    };
    row("digest", &|image| {
        format!(
            "<code title=\"{}\">{}</code>",
            RawHtml(word(&image["digest"])),
            RawHtml(&short_digest(&image["digest"]))
        )
    });
    row("created", &|image| RawHtml(&to_seconds(word(&image["created"]))).to_string());
    row("platform", &|image| RawHtml(word(&image["platform"])).to_string());
    row("layers", &|image| {
        format!("{}, {}", number(&image["layers"]), Human(number(&image["stored_bytes"])))
    });
    row("files", &|image| {
        format!("{}, {}", Grouped(number(&image["files"])), Human(number(&image["file_bytes"])))
    });
    row("packages", &|image| Grouped(number(&image["packages"])).to_string());
    out.push_str("</table></section>\n");
}
