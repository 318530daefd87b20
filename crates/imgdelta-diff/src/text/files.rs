//! The list of files that differ, with a legend of its marks.
//! Never compares.

use super::{CYAN, DiffText, FileOrder, GREEN, MAX_LISTED, PLAIN, RED, YELLOW, counted_noun};
use crate::files::{FileChange, FileChangeKind, FileFacts, MetadataField, kind_word};
use imgdelta_core::{path::escaped, size::Grouped, sort::SharedSort, table::wrapped};
use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fmt::{self, Formatter, Write},
};

impl DiffText<'_> {
    pub(super) fn files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut files: Vec<&FileChange> = self.diff.files.iter().collect();
        if !self.options.all_files {
            // Metadata and directories have no size worth ranking.
            files
                .retain(|change| change.kind != FileChangeKind::Metadata && !change.is_directory());
        }
        let links = if self.options.all_files { HashMap::new() } else { drop_links(&mut files) };
        if files.is_empty() {
            return Ok(());
        }
        if self.options.order == FileOrder::Size {
            files.shared_sort_by_key(|change| Reverse(change.size_bytes()));
        }
        let title = if self.options.all_files { "Files" } else { "Largest changes" };
        writeln!(f, "\n{}", self.bold(title))?;
        let shown = if self.options.all_files { files.len() } else { MAX_LISTED };
        let sizes = files.iter().take(shown).map(|change| sizes(change).len());
        let width = sizes.max().unwrap_or(0);
        for change in files.iter().take(shown) {
            self.file(f, change, width, links.get(&change.path.to_string()))?;
        }
        Self::more(f, files.len(), shown, "file")?;
        let used = |kind: &&(&str, &str)| {
            files.iter().take(shown).any(|change| mark(&change.kind).0 == kind.0)
        };
        let words: Vec<String> =
            MARKS.iter().filter(used).map(|(mark, word)| format!("{mark} {word}")).collect();
        writeln!(f, "  ({})", wrapped(&words.join(", "), self.options.width, 3))
    }

    fn file(
        &self,
        f: &mut Formatter<'_>,
        change: &FileChange,
        width: usize,
        links: Option<&u64>,
    ) -> fmt::Result {
        let (mark, color) = mark(&change.kind);
        let mut line = format!("  {mark} {:>width$}  {}", sizes(change), change.path);
        match (&change.kind, &change.base, &change.target) {
            (FileChangeKind::Moved { from }, ..) => {
                let _ = write!(line, "  (was {from})");
            }
            (FileChangeKind::TypeChanged, Some(old), Some(new)) => {
                let _ = write!(line, "  ({} -> {})", kind_word(old.kind), kind_word(new.kind));
            }
            (
                FileChangeKind::Modified,
                Some(FileFacts { link: Some(old), .. }),
                Some(FileFacts { link: Some(new), .. }),
            ) => {
                let _ = write!(line, "  ({} -> {})", escaped(old), escaped(new));
            }
            _ => {}
        }
        if let Some(links) = links.filter(|_| !self.options.all_files) {
            let _ = write!(line, "  (and {})", counted_noun(*links, "hard link"));
        }
        writeln!(f, "{}", self.painted(color, &line))?;
        if !self.options.all_files {
            return Ok(());
        }
        for field in &change.fields {
            writeln!(
                f,
                "{:>indent$}{}: {} -> {}",
                "",
                field_word(&field.field),
                // The values are escaped where they become text.
                field.base.as_deref().unwrap_or("none"),
                field.target.as_deref().unwrap_or("none"),
                indent = width + 8,
            )?;
        }
        Ok(())
    }
}

/// Drops further names of files that are listed by their first name. Returns the number of dropped
/// names by that name.
fn drop_links(files: &mut Vec<&FileChange>) -> HashMap<String, u64> {
    let mut links = HashMap::new();
    let is_link = |change: &&FileChange| change.first_name().is_some();
    if !files.iter().any(is_link) {
        return links;
    }
    let listed: HashSet<String> = files.iter().map(|change| change.path.to_string()).collect();
    files.retain(|change| match change.first_name() {
        Some(first) if listed.contains(first) => {
            *links.entry(first.to_owned()).or_default() += 1;
            false
        }
        _ => true,
    });
    links
}

/// Returns the mark of a change, and its colour.
fn mark(kind: &FileChangeKind) -> (&'static str, &'static str) {
    match kind {
        FileChangeKind::Added => ("+", GREEN),
        FileChangeKind::Removed => ("-", RED),
        FileChangeKind::Modified => ("~", YELLOW),
        FileChangeKind::Moved { .. } => (">", CYAN),
        FileChangeKind::TypeChanged => ("!", YELLOW),
        FileChangeKind::Metadata => ("m", PLAIN),
    }
}

/// Returns the size of a file, or both sizes if they differ.
fn sizes(change: &FileChange) -> String {
    let size = |facts: &Option<FileFacts>| {
        facts.as_ref().map(|facts| Grouped(facts.size_bytes).to_string())
    };
    match (&change.kind, size(&change.base), size(&change.target)) {
        (FileChangeKind::Modified | FileChangeKind::TypeChanged, Some(old), Some(new))
            if old != new =>
        {
            format!("{old} -> {new}")
        }
        (_, old, new) => new.or(old).unwrap_or_default(),
    }
}

fn field_word(field: &MetadataField) -> Cow<'_, str> {
    match field {
        MetadataField::Mode => "mode".into(),
        MetadataField::Owner => "owner".into(),
        MetadataField::Mtime => "mtime".into(),
        MetadataField::HardLink => "hard link to".into(),
        MetadataField::Attribute(name) => format!("xattr {}", escaped(name)).into(),
    }
}

/// The marks of file changes, in the order of the legend.
const MARKS: [(&str, &str); 6] = [
    ("+", "added"),
    ("-", "removed"),
    ("~", "modified"),
    (">", "moved"),
    ("!", "another type"),
    ("m", "only metadata"),
];
