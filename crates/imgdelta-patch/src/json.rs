//! The change inside a file as a part of the diff document, which docs/diff-json.md describes.
//! Never removes or redefines a field under the same version.

use crate::{
    hunk::{Hunk, TextChange},
    member::{ArchiveChange, ContentChange},
    patch::PatchSet,
};
use serde_json::{Value, json};
use std::collections::HashMap;

impl PatchSet {
    /// Adds the field `patch` to the files of a diff document, and `patch_omitted_files` to its
    /// summary.
    pub fn add_to(&self, document: &mut Value) {
        let by_path: HashMap<String, &ContentChange> = self
            .files
            .iter()
            .filter_map(|file| Some((file.change.path.to_string(), file.content.as_ref()?)))
            .collect();
        for file in document["files"].as_array_mut().into_iter().flatten() {
            let content = file["path"].as_str().and_then(|path| by_path.get(path));
            if let Some(content) = content {
                file["patch"] = value(content);
            }
        }
        document["summary"]["patch_omitted_files"] = self.omitted_files.into();
    }
}

fn value(content: &ContentChange) -> Value {
    match content {
        ContentChange::Text(text) => text_value("text", text),
        ContentChange::Packages(rows) => text_value("packages", rows),
        ContentChange::Archive(archive) => archive_value(archive),
        ContentChange::Opaque(line) => json!({ "kind": "binary", "text": line }),
    }
}

fn text_value(kind: &str, text: &TextChange) -> Value {
    json!({
        "kind": kind,
        "added_lines": text.added_lines,
        "removed_lines": text.removed_lines,
        "omitted_lines": text.omitted_lines,
        "hunks": text.hunks.iter().map(hunk_value).collect::<Vec<_>>(),
    })
}

fn hunk_value(hunk: &Hunk) -> Value {
    let lines: Vec<String> =
        hunk.lines.iter().map(|line| format!("{}{}", line.mark.sign(), line.text)).collect();
    let cut: Vec<usize> =
        (0..).zip(&hunk.lines).filter(|(_, line)| !line.is_complete).map(|(at, _)| at).collect();
    json!({
        "old_start": hunk.old_start,
        "old_lines": hunk.old_lines,
        "new_start": hunk.new_start,
        "new_lines": hunk.new_lines,
        "lines": lines,
        "without_newline": cut,
    })
}

fn archive_value(archive: &ArchiveChange) -> Value {
    json!({
        "kind": archive.kind,
        "unchanged_members": archive.unchanged_members,
        "omitted_members": archive.omitted_members,
        "members": archive.members.iter().map(|member| json!({
            "name": member.name,
            "change": member.presence.word(),
            "patch": value(&member.content),
        })).collect::<Vec<_>>(),
    })
}
