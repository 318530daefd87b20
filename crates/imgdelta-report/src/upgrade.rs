//! The page of an upgrade: the diff document, with its cost if it has one.
//! Never computes anything that the document does not have.

use crate::{document::word, files, headline, page::page, picture, tables};
use serde_json::Value;

/// Returns the page of an upgrade, from the document of `imgdelta diff --json`, complete.
///
/// The page is one file. It loads nothing, and its policy forbids every request.
pub fn upgrade_page(document: &Value) -> String {
    let mut body = String::from("<main>\n");
    headline::write(&mut body, document);
    picture::write(&mut body, document);
    tables::layers(&mut body, document);
    tables::packages(&mut body, document);
    tables::config(&mut body, document);
    files::write(&mut body, document);
    tables::notes(&mut body, document);
    body.push_str("<footer>Made by imgdelta. This page loads nothing.</footer>\n</main>\n");
    let title = format!("{} → {}", word(&document["old"]["name"]), word(&document["new"]["name"]));
    page(&title, &body, &picture::data(document))
}
