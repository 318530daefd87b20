//! A diff as text for people: a summary that fits a screen, then the details.
//! Never compares; it only formats, and escapes all text that comes from an image.

use crate::{
    config::ConfigChange,
    diff::{Diff, ImageFacts},
    files::{FileChange, FileChangeKind, FileFacts, MetadataField, kind_word},
    layers::{LayerChange, LayerRelation},
    packages::{PackageChange, PackageChangeKind},
};
use imgdelta_core::{
    path::escaped,
    size::{Exact, Grouped, Human},
};
use std::{
    borrow::Cow,
    cmp::Reverse,
    fmt::{self, Display, Formatter, Write},
};

/// Options of the text report.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name")]
pub struct TextOptions {
    /// Colours for a terminal. Off by default, since the text may go to a file.
    pub color: bool,
    /// All files and packages. Off by default: the largest changes come first, without the rest.
    pub all_files: bool,
    /// The layer table. On by default.
    pub layers: bool,
    /// Packages, config and the largest file changes. On by default.
    pub details: bool,
    /// Order of files and packages. By size by default, so that the largest change comes first.
    pub order: FileOrder,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { color: false, all_files: false, layers: true, details: true, order: FileOrder::Size }
    }
}

/// Order of files and packages in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// Largest first.
    Size,
    /// By path.
    Path,
}

/// A diff with the options of its text; prints as the report.
#[derive(Clone, Debug)]
pub struct DiffText<'a> {
    diff: &'a Diff,
    options: TextOptions,
}

impl Diff {
    /// Returns the diff as text for people.
    pub fn text(&self, options: TextOptions) -> DiffText<'_> {
        DiffText { diff: self, options }
    }
}

impl Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.text(TextOptions::default()).fmt(f)
    }
}

impl Display for DiffText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        if self.options.layers && !self.diff.layers.is_empty() {
            self.layers(f)?;
        }
        if self.options.details {
            self.config(f)?;
            self.packages(f)?;
        }
        if self.options.details || self.options.all_files {
            self.files(f)?;
        }
        self.notes(f)
    }
}

impl DiffText<'_> {
    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let diff = self.diff;
        self.image(f, "old", &diff.base)?;
        self.image(f, "new", &diff.target)?;
        writeln!(f)?;
        if diff.is_same_image() {
            return writeln!(f, "{}", self.bold("The images are identical."));
        }
        if !diff.differs() {
            writeln!(f, "{}", self.bold("No differences except ignored ones."))?;
        }
        let fetched: Vec<&LayerChange> = diff.layers.iter().filter(|l| l.is_fetched()).collect();
        let fetched_bytes: u64 =
            fetched.iter().filter_map(|l| l.target.as_ref()).map(|l| l.stored_bytes).sum();
        self.row(
            f,
            "pull",
            &format!(
                "with the old image: {} in {} of {}; from scratch: {}",
                Exact(fetched_bytes),
                fetched.len(),
                counted_noun(diff.target.layers as u64, "layer"),
                Human(diff.target.stored_bytes),
            ),
        )?;
        self.row(
            f,
            "layers",
            &counted(&RELATIONS.map(|(relation, word)| {
                (diff.layers.iter().filter(|l| l.relation == relation).count() as u64, word)
            })),
        )?;
        let reshipped = diff.reshipped();
        if reshipped.files > 0 {
            self.row(
                f,
                "waste",
                &format!(
                    "{} ({} uncompressed) {} pulled again",
                    counted_noun(reshipped.files, "unchanged file"),
                    Exact(reshipped.bytes),
                    if reshipped.files == 1 { "is" } else { "are" },
                ),
            )?;
        }
        self.row(f, "files", &self.file_counts())?;
        self.row(f, "packages", &self.package_counts())?;
        if !diff.config.is_empty() {
            let mut fields: Vec<&str> = diff.config.iter().map(|c| c.field.as_str()).collect();
            fields.dedup();
            let shown: Vec<Cow<'_, str>> =
                fields.iter().map(|field| escaped(field.as_bytes())).collect();
            self.row(f, "config", &shown.join(", "))?;
        }
        Ok(())
    }

    fn image(&self, f: &mut Formatter<'_>, side: &str, image: &ImageFacts) -> fmt::Result {
        writeln!(f, "{}  {}", self.bold(side), escaped(image.name.as_bytes()))?;
        let created =
            image.created.as_deref().map(|at| format!(", created {}", escaped(at.as_bytes())));
        writeln!(
            f,
            "     {}  {}{}",
            image.digest,
            escaped(image.platform.as_bytes()),
            created.unwrap_or_default()
        )?;
        writeln!(
            f,
            "     {}, {} compressed, {} unpacked; {}, {}",
            counted_noun(image.layers as u64, "layer"),
            Human(image.stored_bytes),
            Human(image.stream_bytes),
            counted_noun(image.files, "file"),
            Human(image.file_bytes),
        )
    }

    fn row(&self, f: &mut Formatter<'_>, label: &str, words: &str) -> fmt::Result {
        let label = format!("{label:<9}");
        writeln!(f, "{} {words}", self.bold(&label))
    }

    fn file_counts(&self) -> String {
        let totals = &self.diff.totals;
        let mut parts = Vec::new();
        let mut push = |count: u64, words: String| {
            if count > 0 {
                parts.push(words);
            }
        };
        push(
            totals.added.files,
            format!("{} added ({})", Grouped(totals.added.files), Human(totals.added.bytes)),
        );
        push(
            totals.removed.files,
            format!("{} removed ({})", Grouped(totals.removed.files), Human(totals.removed.bytes)),
        );
        push(
            totals.modified.files,
            format!(
                "{} modified ({} -> {})",
                Grouped(totals.modified.files),
                Human(totals.modified_base_bytes),
                Human(totals.modified.bytes),
            ),
        );
        push(
            totals.moved.files,
            format!("{} moved ({})", Grouped(totals.moved.files), Human(totals.moved.bytes)),
        );
        push(totals.type_changed, format!("{} with another type", Grouped(totals.type_changed)));
        push(totals.metadata, format!("{} with other metadata", Grouped(totals.metadata)));
        if parts.is_empty() { "no changes".to_owned() } else { parts.join(", ") }
    }

    fn package_counts(&self) -> String {
        use PackageChangeKind::{Added, Changed, Downgraded, Rebuilt, Removed, Upgraded};
        if self.diff.packages.is_empty() {
            let sides = [&self.diff.base, &self.diff.target];
            if sides.iter().any(|side| side.package_databases.is_none()) {
                return "not read".to_owned();
            }
            if sides.iter().all(|side| side.package_databases == Some(0)) {
                return "no package database found".to_owned();
            }
            if sides.iter().all(|side| side.packages == 0) {
                return "no packages found".to_owned();
            }
        }
        let kinds = [Upgraded, Downgraded, Changed, Added, Removed, Rebuilt];
        let counts = kinds.map(|kind| {
            let of_kind = self.diff.packages.iter().filter(|package| package.change == kind);
            (of_kind.count() as u64, kind.word())
        });
        counted(&counts)
    }

    fn layers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let words = self.diff.layers.iter().map(relation_words);
        let width = words.map(|words| words.len()).max().unwrap_or_default();
        writeln!(f, "\n{}", self.bold("Layers"))?;
        writeln!(
            f,
            "  {:>4} {:>4}  {:<width$} {:>17} {:>15}  {:<12}  pull with the old image",
            "old", "new", "", "compressed bytes", "unpacked bytes", "digest"
        )?;
        for change in &self.diff.layers {
            let place = |facts: Option<usize>| {
                facts.map_or_else(|| "-".to_owned(), |at| (at + 1).to_string())
            };
            let facts = change.target.as_ref().or(change.base.as_ref());
            let Some(facts) = facts else { continue };
            let line = format!(
                "  {:>4} {:>4}  {:<width$} {:>17} {:>15}  {:<12}  {}",
                place(change.base.as_ref().map(|l| l.ordinal)),
                place(change.target.as_ref().map(|l| l.ordinal)),
                relation_words(change),
                Grouped(facts.stored_bytes),
                Grouped(facts.stream_bytes),
                &facts.blob.hex()[..12],
                pull_words(change),
            );
            writeln!(f, "{}", self.painted(relation_color(change.relation), line.trim_end()))?;
        }
        Ok(())
    }

    fn config(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.diff.config.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.bold("Config"))?;
        for change in &self.diff.config {
            self.config_change(f, change)?;
        }
        Ok(())
    }

    fn config_change(&self, f: &mut Formatter<'_>, change: &ConfigChange) -> fmt::Result {
        let mut name = escaped(change.field.as_bytes()).into_owned();
        if let Some(key) = &change.key {
            let _ = write!(name, " {}", escaped(key.as_bytes()));
        }
        let value =
            |text: &Option<String>| text.as_ref().map(|text| escaped(text.as_bytes()).into_owned());
        match (value(&change.base), value(&change.target)) {
            (Some(base), Some(target)) => {
                writeln!(f, "  {name}")?;
                writeln!(f, "{}", self.painted(RED, &format!("    - {base}")))?;
                writeln!(f, "{}", self.painted(GREEN, &format!("    + {target}")))
            }
            (Some(base), None) => {
                writeln!(f, "{}", self.painted(RED, format!("  - {name} {base}").trim_end()))
            }
            (_, target) => {
                let line = format!("  + {name} {}", target.unwrap_or_default());
                writeln!(f, "{}", self.painted(GREEN, line.trim_end()))
            }
        }
    }

    fn packages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.diff.packages.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.bold("Packages"))?;
        writeln!(
            f,
            "  {:<7} {:<34} {:<46} {:>13} {:>14}",
            "", "package", "version", "changed files", "bytes"
        )?;
        let mut packages: Vec<&PackageChange> = self.diff.packages.iter().collect();
        if self.options.order == FileOrder::Size {
            packages.sort_by_key(|package| Reverse(package.bytes));
        }
        let shown = if self.options.all_files { packages.len() } else { MAX_PACKAGES };
        for package in packages.iter().take(shown) {
            let line = format!(
                "  {:<7} {:<34} {:<46} {:>13} {:>14}",
                package.ecosystem,
                escaped(package.name.as_bytes()),
                escaped(package.versions().as_bytes()),
                Grouped(package.files),
                Grouped(package.bytes),
            );
            writeln!(f, "{line}")?;
        }
        Self::more(f, packages.len(), shown, "package")
    }

    fn files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut files: Vec<&FileChange> = self.diff.files.iter().collect();
        if !self.options.all_files {
            // Metadata and directories have no size worth ranking.
            files
                .retain(|change| change.kind != FileChangeKind::Metadata && !change.is_directory());
        }
        if files.is_empty() {
            return Ok(());
        }
        if self.options.order == FileOrder::Size {
            files.sort_by_key(|change| Reverse(change.size_bytes()));
        }
        let title = if self.options.all_files { "Files" } else { "Largest changes" };
        writeln!(f, "\n{}", self.bold(title))?;
        let shown = if self.options.all_files { files.len() } else { MAX_FILES };
        for change in files.iter().take(shown) {
            self.file(f, change)?;
        }
        Self::more(f, files.len(), shown, "file")
    }

    fn file(&self, f: &mut Formatter<'_>, change: &FileChange) -> fmt::Result {
        let (mark, color) = match change.kind {
            FileChangeKind::Added => ("+", GREEN),
            FileChangeKind::Removed => ("-", RED),
            FileChangeKind::Modified => ("~", YELLOW),
            FileChangeKind::Moved { .. } => (">", CYAN),
            FileChangeKind::TypeChanged => ("!", YELLOW),
            FileChangeKind::Metadata => ("m", PLAIN),
        };
        let size = |facts: &Option<FileFacts>| {
            facts.as_ref().map(|facts| Grouped(facts.size_bytes).to_string())
        };
        let sizes = match (&change.kind, size(&change.base), size(&change.target)) {
            (FileChangeKind::Modified | FileChangeKind::TypeChanged, Some(old), Some(new))
                if old != new =>
            {
                format!("{old} -> {new}")
            }
            (_, old, new) => new.or(old).unwrap_or_default(),
        };
        let mut line = format!("  {mark} {sizes:>27}  {}", change.path);
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
        writeln!(f, "{}", self.painted(color, &line))?;
        if !self.options.all_files {
            return Ok(());
        }
        for field in &change.fields {
            writeln!(
                f,
                "{:>34}{}: {} -> {}",
                "",
                field_word(&field.field),
                value_or_none(field.base.as_deref()),
                value_or_none(field.target.as_deref())
            )?;
        }
        Ok(())
    }

    fn more(f: &mut Formatter<'_>, total: usize, shown: usize, noun: &str) -> fmt::Result {
        match total.saturating_sub(shown) {
            0 => Ok(()),
            more => {
                let more = counted_noun(more as u64, &format!("more {noun}"));
                writeln!(f, "  … and {more}; --files shows all")
            }
        }
    }

    fn notes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.diff.notes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.bold("Notes"))?;
        for note in &self.diff.notes {
            writeln!(f, "  {}: {}", note.side.word(), escaped(note.note.to_string().as_bytes()))?;
        }
        Ok(())
    }

    fn bold<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.painted("1", text)
    }

    fn painted<'t>(&self, code: &str, text: &'t str) -> Cow<'t, str> {
        if self.options.color && !code.is_empty() {
            Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
        } else {
            Cow::Borrowed(text)
        }
    }
}

fn relation_words(change: &LayerChange) -> String {
    let word = match change.relation {
        LayerRelation::Same if change.is_moved => return "moved".to_owned(),
        LayerRelation::Same => "same",
        LayerRelation::Recompressed => "recompressed",
        LayerRelation::Replaced => "replaced",
        LayerRelation::Added => "added",
        LayerRelation::Dropped => "dropped",
    };
    if change.is_moved { format!("{word}, moved") } else { word.to_owned() }
}

fn pull_words(change: &LayerChange) -> String {
    let unchanged = match change.reshipped.files {
        0 => String::new(),
        files => format!("; {} unchanged", counted_noun(files, "file")),
    };
    match change.relation {
        LayerRelation::Same => "nothing".to_owned(),
        LayerRelation::Dropped => String::new(),
        LayerRelation::Recompressed => "whole layer; its content is unchanged".to_owned(),
        LayerRelation::Replaced | LayerRelation::Added => format!(
            "whole layer; {:.1} % of its content is in the old image{unchanged}",
            change.found_again_share() * 100.0,
        ),
    }
}

fn relation_color(relation: LayerRelation) -> &'static str {
    match relation {
        LayerRelation::Same => PLAIN,
        LayerRelation::Recompressed => CYAN,
        LayerRelation::Replaced => YELLOW,
        LayerRelation::Added => GREEN,
        LayerRelation::Dropped => RED,
    }
}

fn value_or_none(text: Option<&str>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed("none"), |text| escaped(text.as_bytes()))
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

/// Returns `3 upgraded, 1 added`, without zeros; `no changes` if all counts are zero.
fn counted(counts: &[(u64, &str)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", Grouped(*count)))
        .collect();
    if parts.is_empty() { "no changes".to_owned() } else { parts.join(", ") }
}

/// Returns a count with its noun: `1 file`, `2 files`.
fn counted_noun(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", Grouped(count), if count == 1 { "" } else { "s" })
}

const RELATIONS: [(LayerRelation, &str); 5] = [
    (LayerRelation::Same, "same"),
    (LayerRelation::Recompressed, "recompressed"),
    (LayerRelation::Replaced, "replaced"),
    (LayerRelation::Added, "added"),
    (LayerRelation::Dropped, "dropped"),
];

/// ANSI codes: the eight colours every terminal has.
const PLAIN: &str = "";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Files and packages that are listed by default: with summary and layers, about two screens.
const MAX_FILES: usize = 15;
const MAX_PACKAGES: usize = 15;
