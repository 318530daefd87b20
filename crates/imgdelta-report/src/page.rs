//! A page around its sections: head, policy, style, script.
//! Never writes an address: the policy of the page allows no request.

use crate::escape::{RawHtml, ScriptData};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgdelta_core::{Algorithm, verify::Hasher};
use serde_json::Value;

/// Returns a complete page. `data` is what the script draws.
pub(crate) fn page(title: &str, body: &str, data: &Value) -> String {
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; \
         form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"data\">{}</script>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        RawHtml(title),
        ScriptData(data)
    )
}

/// Returns the digest of an inline element, as a policy names it.
fn hash(content: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(content.as_bytes());
    STANDARD.encode(hasher.finish_blob().as_bytes())
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
