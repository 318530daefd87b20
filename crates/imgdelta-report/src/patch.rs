//! The change inside a file, as lines of a page.
//! Never writes more lines than a reader looks at.

use crate::{
    document::{items, number, word},
    escape::{Html, RawHtml},
};
use serde_json::Value;
use std::fmt::Write as _;

/// Room that is left for patches on a page.
#[derive(Debug)]
pub(crate) struct PatchRoom {
    lines: u64,
}

impl Default for PatchRoom {
    fn default() -> Self {
        Self { lines: MOST_LINES }
    }
}

impl PatchRoom {
    /// Writes a patch, as far as there is room.
    pub(crate) fn write(&mut self, out: &mut String, patch: &Value) {
        match word(&patch["kind"]) {
            "text" => self.text(out, patch),
            "packages" => {
                out.push_str("<p class=\"note\">package database, a line for each package</p>\n");
                self.text(out, patch);
            }
            "binary" => {
                let _ = writeln!(out, "<p class=\"note\">{}</p>", Html(word(&patch["text"])));
            }
            _ => self.archive(out, patch),
        }
    }

    fn text(&mut self, out: &mut String, patch: &Value) {
        let (mut left, mut omitted) = (MOST_FILE_LINES.min(self.lines), 0);
        out.push_str("<pre class=\"patch\">");
        for hunk in items(&patch["hunks"]) {
            let _ = writeln!(
                out,
                "<span class=\"place\">@@ -{},{} +{},{} @@</span>",
                number(&hunk["old_start"]),
                number(&hunk["old_lines"]),
                number(&hunk["new_start"]),
                number(&hunk["new_lines"])
            );
            for line in items(&hunk["lines"]) {
                if left == 0 {
                    omitted += 1;
                    continue;
                }
                left -= 1;
                self.lines -= 1;
                let line = word(line);
                let tag = match line.as_bytes().first() {
                    Some(b'+') => "ins",
                    Some(b'-') => "del",
                    _ => "span",
                };
                let _ = writeln!(out, "<{tag}>{}</{tag}>", Html(line));
            }
        }
        omitted += number(&patch["omitted_lines"]);
        if omitted > 0 {
            let _ = writeln!(out, "<span class=\"place\">… {omitted} more lines</span>");
        }
        out.push_str("</pre>\n");
    }

    fn archive(&mut self, out: &mut String, patch: &Value) {
        let (members, kind) = (items(&patch["members"]), word(&patch["kind"]));
        if kind != "gzip" {
            let _ = writeln!(
                out,
                "<p class=\"note\">{}: {} members differ, {} do not</p>",
                RawHtml(kind),
                members.len() as u64 + number(&patch["omitted_members"]),
                number(&patch["unchanged_members"])
            );
        }
        for (at, member) in members.iter().enumerate() {
            if at == MOST_MEMBERS {
                let _ =
                    writeln!(out, "<p class=\"note\">… {} more members</p>", members.len() - at);
                break;
            }
            if !word(&member["name"]).is_empty() {
                let _ = writeln!(
                    out,
                    "<p class=\"member\"><code>{}</code> {}</p>",
                    Html(word(&member["name"])),
                    Html(word(&member["change"]))
                );
            }
            self.write(out, &member["patch"]);
        }
    }
}

/// Lines of patches on one page.
const MOST_LINES: u64 = 20_000;
const MOST_FILE_LINES: u64 = 400;
const MOST_MEMBERS: usize = 100;
