//! The page of a repository: its versions, and the bytes of each way between them.
//! Never computes a way that the document does not have.

use crate::{
    document::{items, number, short_digest, tenths, word},
    escape::RawHtml,
    page::page,
};
use imgdelta_core::size::Human;
use serde_json::{Value, json};
use std::{collections::HashMap, fmt::Write as _};

/// Returns the page of a repository, from the document of `imgdelta log --json`.
///
/// The page is one file. It loads nothing, and its policy forbids every request.
pub fn history_page(document: &Value) -> String {
    let repository = word(&document["repository"]);
    let mut body = String::from("<main>\n<header>\n<p class=\"kind\">Versions</p>\n");
    let _ = writeln!(body, "<h1><span>{}</span></h1>\n</header>", RawHtml(repository));
    matrix(&mut body, document);
    versions(&mut body, document);
    crate::tables::notes(&mut body, document);
    body.push_str("<footer>Made by imgdelta. This page loads nothing.</footer>\n</main>\n");
    page(repository, &body, &json!({}))
}

/// Writes a table with a cell for each way: from the row's version to the column's.
fn matrix(out: &mut String, document: &Value) {
    let versions = items(&document["versions"]);
    if versions.len() < 2 {
        return;
    }
    let ways: HashMap<(&str, &str), &Value> = items(&document["ways"])
        .iter()
        .map(|way| ((word(&way["from"]), word(&way["to"])), way))
        .collect();
    out.push_str(
        "<section id=\"matrix\">\n<h2>Upgrades</h2>\n<p class=\"note\">Bytes from the version of a row to \
         the version of a column. A filled cell has a delta; the number below it is a \
         plain pull.</p>\n<div class=\"scroll\"><table class=\"matrix\">\n<thead><tr><td></td>",
    );
    for to in versions {
        let _ = write!(out, "<th scope=\"col\">{}</th>", RawHtml(word(&to["tag"])));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for from in versions {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", RawHtml(word(&from["tag"])));
        for to in versions {
            let way = ways.get(&(word(&from["tag"]), word(&to["tag"])));
            out.push_str(
                &way.map_or_else(|| "<td class=\"self\"></td>".to_owned(), |way| cell(way)),
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn cell(way: &Value) -> String {
    let pull = number(&way["pull_bytes"]);
    match way["delta_bytes"].as_u64() {
        Some(delta) => {
            // Four shades: the less a delta needs of a pull, the stronger.
            let shade = match tenths(delta, pull) {
                0..=50 => 4,
                51..=200 => 3,
                201..=500 => 2,
                _ => 1,
            };
            format!(
                "<td class=\"delta s{shade}\"><b>{}</b><small>{}</small></td>",
                Human(delta),
                Human(pull)
            )
        }
        None => format!("<td><span>{}</span></td>", Human(pull)),
    }
}

fn versions(out: &mut String, document: &Value) {
    out.push_str(
        "<section id=\"versions\">\n<h2>Versions</h2>\n<table>\n<thead><tr><th>tag</th><th>created</th>\
         <th class=\"hide\">digest</th><th class=\"num\">size</th><th class=\"num\">since the previous one</th>\
         <th>deltas</th></tr></thead>\n<tbody>\n",
    );
    for version in items(&document["versions"]) {
        let created: String = word(&version["created"]).chars().take(10).collect();
        let change = match version["change"]["pull_bytes"].as_u64() {
            Some(bytes) => Human(bytes).to_string(),
            None => String::new(),
        };
        let deltas = items(&version["deltas"]).iter().map(|delta| {
            let from = match delta["from"].as_str() {
                Some(tag) => RawHtml(tag).to_string(),
                None => format!("<code>{}</code>", RawHtml(&short_digest(&delta["base"]))),
            };
            format!("{} from {from}", Human(number(&delta["bytes"])))
        });
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"hide\"><code>{}</code></td>\
             <td class=\"num\">{}</td><td class=\"num\">{change}</td><td>{}</td></tr>",
            RawHtml(word(&version["tag"])),
            RawHtml(&created),
            RawHtml(&short_digest(&version["digest"])),
            Human(number(&version["bytes"])),
            deltas.collect::<Vec<_>>().join("<br>")
        );
    }
    out.push_str("</tbody></table>\n</section>\n");
}
