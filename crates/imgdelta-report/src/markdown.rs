//! An upgrade as Markdown, for a comment on a pull request.
//! Never lets text of an image become markup, a link or a mention.

use crate::{
    document::{items, number, word},
    escape::{Code, RawCode},
};
use imgdelta_core::size::{Grouped, Human};
use imgdelta_core::sort::SharedSort;
use serde_json::Value;
use std::{cmp::Reverse, fmt::Write as _};

/// Returns an upgrade as Markdown, from the document of `imgdelta diff --json`, complete.
pub fn upgrade_markdown(document: &Value) -> String {
    let mut out = String::new();
    let summary = &document["summary"];
    let _ = writeln!(
        out,
        "### {} → {}\n",
        RawCode(word(&document["old"]["name"])),
        RawCode(word(&document["new"]["name"]))
    );
    if document["same_image"] == true {
        out.push_str("The images are identical.\n");
        return out;
    }
    out.push_str("| way | bytes |\n|---|--:|\n");
    let mut way = |name: &str, bytes: &Value| {
        if let Some(bytes) = bytes.as_u64() {
            let _ = writeln!(out, "| {name} | {} |", Human(bytes));
        }
    };
    way("pull from scratch", &summary["full_pull_bytes"]);
    way("plain pull, with the old image", &summary["pull_bytes"]);
    way("**delta**", &document["cost"]["delta_bytes"]);
    way("delta back", &document["rollback_cost"]["delta_bytes"]);
    let count = |field: &str| Grouped(number(&summary[field]["files"]));
    let _ = writeln!(
        out,
        "\nFiles: {} added, {} removed, {} modified, {} moved. Packages that differ: {}. Config fields \
         that differ: {}.",
        count("added"),
        count("removed"),
        count("modified"),
        count("moved"),
        items(&document["packages"]).len(),
        items(&document["config"]).len()
    );
    packages(&mut out, document);
    files(&mut out, document);
    patches(&mut out, document);
    out
}

fn packages(out: &mut String, document: &Value) {
    let mut packages: Vec<&Value> = items(&document["packages"]).iter().collect();
    if packages.is_empty() {
        return;
    }
    packages.shared_sort_by_key(|package| Reverse(number(&package["bytes"])));
    out.push_str("\n| package | old | new | change |\n|---|---|---|---|\n");
    for package in packages.iter().take(MOST_ROWS) {
        let version = |value: &Value| value.as_str().map(|text| RawCode(text).to_string());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            RawCode(word(&package["name"])),
            version(&package["old"]).unwrap_or_default(),
            version(&package["new"]).unwrap_or_default(),
            word(&package["change"])
        );
    }
    more(out, packages.len());
}

fn files(out: &mut String, document: &Value) {
    let size = |file: &Value| number(&file["new"]["size"]).max(number(&file["old"]["size"]));
    let mut files: Vec<&Value> = items(&document["files"]).iter().collect();
    files.retain(|file| word(&file["change"]) != "metadata");
    if files.is_empty() {
        return;
    }
    files.shared_sort_by_key(|file| Reverse(size(file)));
    out.push_str("\n<details><summary>Largest changes</summary>\n\n| file | change | bytes |\n|---|---|--:|\n");
    for file in files.iter().take(MOST_ROWS) {
        let (path, change) = (Code(word(&file["path"])), word(&file["change"]));
        let _ = writeln!(out, "| {path} | {change} | {} |", Human(size(file)));
    }
    more(out, files.len());
    out.push_str("\n</details>\n");
}

fn patches(out: &mut String, document: &Value) {
    let mut left = MOST_BYTES;
    for file in items(&document["files"]) {
        if word(&file["patch"]["kind"]) != "text" {
            continue;
        }
        let mut lines = String::new();
        for hunk in items(&file["patch"]["hunks"]) {
            let place = ["old_start", "old_lines", "new_start", "new_lines"];
            let [old, old_lines, new, new_lines] = place.map(|field| number(&hunk[field]));
            let _ = writeln!(lines, "@@ -{old},{old_lines} +{new},{new_lines} @@");
            for line in items(&hunk["lines"]) {
                lines.push_str(word(line));
                lines.push('\n');
            }
        }
        if lines.len() > left {
            let _ = writeln!(out, "\n… more changes inside files; see `imgdelta diff --patch`");
            return;
        }
        left -= lines.len();
        let fence = "`".repeat(longest_run(&lines).max(2) + 1);
        let path = Code(word(&file["path"]));
        let _ = writeln!(
            out,
            "\n<details><summary>{path}</summary>\n\n{fence}diff\n{lines}{fence}\n\n</details>"
        );
    }
}

/// Returns the length of the longest run of backticks, which would end a shorter fence.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}

fn more(out: &mut String, count: usize) {
    if count > MOST_ROWS {
        let _ = writeln!(out, "\n… and {} more", Grouped((count - MOST_ROWS) as u64));
    }
}

const MOST_ROWS: usize = 25;

/// A comment may have 65,536 characters on GitHub.
const MOST_BYTES: usize = 40_000;
