//! A patch as text, in the form of git.
//! Never prints a stranger's control characters.

use crate::{
    hunk::{LineMark, TextChange},
    member::{ArchiveChange, ContentChange, MemberPresence},
    patch::{FilePatch, PatchSet},
};
use imgdelta_diff::{FileChangeKind, FileFacts, MetadataField};
use imgdelta_image::index::EntryKind;
use std::fmt::{self, Display, Formatter};

/// A patch as text: unified diffs, as git prints them.
#[derive(Clone, Copy, Debug)]
pub struct PatchText<'a> {
    set: &'a PatchSet,
    has_color: bool,
}

impl PatchSet {
    /// Returns the patch as text.
    pub fn text(&self, has_color: bool) -> PatchText<'_> {
        PatchText { set: self, has_color }
    }
}

impl Display for PatchText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for file in &self.set.files {
            self.file(f, file)?;
        }
        match self.set.omitted_files {
            0 => Ok(()),
            count => writeln!(
                f,
                "… the patch is too long: {count} more files; choose fewer with --patch GLOB"
            ),
        }
    }
}

impl PatchText<'_> {
    fn file(&self, f: &mut Formatter<'_>, file: &FilePatch) -> fmt::Result {
        let change = &file.change;
        let (old, new) = (format!("a{}", file.old_path()), format!("b{}", change.path));
        self.line(f, BOLD, &format!("diff --git {old} {new}"))?;
        match (&change.base, &change.target) {
            (None, Some(facts)) => self.line(f, BOLD, &format!("new file mode {}", mode(facts)))?,
            (Some(facts), None) => {
                self.line(f, BOLD, &format!("deleted file mode {}", mode(facts)))?;
            }
            (Some(before), Some(after)) => {
                let has_mode = change.fields.iter().any(|field| field.field == MetadataField::Mode);
                if has_mode || change.kind == FileChangeKind::TypeChanged {
                    self.line(f, BOLD, &format!("old mode {}", mode(before)))?;
                    self.line(f, BOLD, &format!("new mode {}", mode(after)))?;
                }
            }
            (None, None) => {}
        }
        if let FileChangeKind::Moved { from } = &change.kind {
            self.line(f, BOLD, "similarity index 100%")?;
            self.line(f, BOLD, &format!("rename from {from}"))?;
            self.line(f, BOLD, &format!("rename to {}", change.path))?;
        }
        let presence = match (&change.base, &change.target) {
            (None, _) => MemberPresence::New,
            (_, None) => MemberPresence::Old,
            _ => MemberPresence::Both,
        };
        match &file.content {
            Some(content) => self.content(f, content, &old, &new, presence),
            None => Ok(()),
        }
    }

    fn content(
        &self,
        f: &mut Formatter<'_>,
        content: &ContentChange,
        old: &str,
        new: &str,
        presence: MemberPresence,
    ) -> fmt::Result {
        let old = if presence == MemberPresence::New { "/dev/null" } else { old };
        let new = if presence == MemberPresence::Old { "/dev/null" } else { new };
        match content {
            ContentChange::Text(text) => self.hunks(f, text, old, new),
            ContentChange::Packages(rows) => {
                writeln!(f, "Package databases {old} and {new} differ; a line for each package:")?;
                self.hunks(f, rows, old, new)
            }
            ContentChange::Archive(archive) => self.archive(f, archive, old, new),
            ContentChange::Opaque(line) => {
                writeln!(f, "Binary files {old} and {new} differ: {line}")
            }
        }
    }

    fn hunks(&self, f: &mut Formatter<'_>, text: &TextChange, old: &str, new: &str) -> fmt::Result {
        if text.hunks.is_empty() && text.omitted_lines == 0 {
            return Ok(());
        }
        self.line(f, BOLD, &format!("--- {old}"))?;
        self.line(f, BOLD, &format!("+++ {new}"))?;
        for hunk in &text.hunks {
            let range = |start: u64, lines: u64| match lines {
                1 => start.to_string(),
                lines => format!("{start},{lines}"),
            };
            let (before, after) =
                (range(hunk.old_start, hunk.old_lines), range(hunk.new_start, hunk.new_lines));
            self.line(f, CYAN, &format!("@@ -{before} +{after} @@"))?;
            for line in &hunk.lines {
                let color = match line.mark {
                    LineMark::Both => PLAIN,
                    LineMark::Old => RED,
                    LineMark::New => GREEN,
                };
                self.line(f, color, &format!("{}{}", line.mark.sign(), line.text))?;
                if !line.is_complete {
                    writeln!(f, "\\ No newline at end of file")?;
                }
            }
        }
        match text.omitted_lines {
            0 => Ok(()),
            count => writeln!(f, "… {count} more changed lines"),
        }
    }

    fn archive(
        &self,
        f: &mut Formatter<'_>,
        archive: &ArchiveChange,
        old: &str,
        new: &str,
    ) -> fmt::Result {
        let kind = archive.kind;
        if kind == "gzip" {
            writeln!(f, "Compressed files {old} and {new} differ: gzip")?;
        } else {
            let unchanged = archive.unchanged_members;
            let changed = archive.members.len() as u64 + archive.omitted_members;
            writeln!(
                f,
                "Archives {old} and {new} differ: {kind}, {changed} of {} members",
                changed + unchanged
            )?;
        }
        for member in &archive.members {
            let (old, new) = if member.name.is_empty() {
                (old.to_owned(), new.to_owned())
            } else {
                (format!("{old}!/{}", member.name), format!("{new}!/{}", member.name))
            };
            self.content(f, &member.content, &old, &new, member.presence)?;
        }
        match archive.omitted_members {
            0 => Ok(()),
            count => writeln!(f, "… {count} more members"),
        }
    }

    fn line(&self, f: &mut Formatter<'_>, color: &str, text: &str) -> fmt::Result {
        if self.has_color && !color.is_empty() {
            writeln!(f, "\x1b[{color}m{text}\x1b[0m")
        } else {
            writeln!(f, "{text}")
        }
    }
}

/// Returns type and permissions as git writes them: `100644`.
fn mode(facts: &FileFacts) -> String {
    let kind = match facts.kind {
        EntryKind::Symlink => 0o120_000,
        EntryKind::Directory => 0o040_000,
        EntryKind::CharDevice => 0o020_000,
        EntryKind::BlockDevice => 0o060_000,
        EntryKind::Fifo => 0o010_000,
        _ => 0o100_000,
    };
    format!("{:06o}", kind | if facts.kind == EntryKind::Symlink { 0 } else { facts.mode })
}

const PLAIN: &str = "";
const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";
