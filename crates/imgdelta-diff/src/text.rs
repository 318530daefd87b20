//! A diff as text for people: a summary that fits a screen, then the details.
//! Never compares; it only formats, and escapes all text that comes from an image.

mod files;
mod layers;

use crate::{
    config::ConfigChange,
    diff::{Diff, ImageFacts},
    layers::{LayerChange, LayerRelation},
    packages::PackageChangeKind,
};
use imgdelta_core::{
    path::escaped,
    size::{Exact, Grouped, Human},
    table::wrapped,
};
use std::{
    borrow::Cow,
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
    /// Files. On by default.
    pub files: bool,
    /// Order of files and packages. By size by default, so that the largest change comes first.
    pub order: FileOrder,
    /// Characters of a line. None by default: the text may go to a file.
    pub width: Option<usize>,
    /// True if the files were chosen by a filter, which the summary then says. Off by default.
    pub is_filtered: bool,
    /// Advice on the size of a delta, in the summary. None by default, since it names the options of
    /// a program.
    pub delta_hint: Option<&'static str>,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            color: false,
            all_files: false,
            layers: true,
            details: true,
            files: true,
            order: FileOrder::Size,
            width: None,
            is_filtered: false,
            delta_hint: None,
        }
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
        if self.options.files && (self.options.details || self.options.all_files) {
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
                "{} in {} of {} with the old image; {} from scratch",
                Exact(fetched_bytes),
                fetched.len(),
                counted_noun(diff.target.layers as u64, "layer"),
                Human(diff.target.stored_bytes),
            ),
        )?;
        if let Some(hint) = self.options.delta_hint {
            self.row(f, "delta", hint)?;
        }
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
                    "{}, {} uncompressed, {} pulled again",
                    counted_noun(reshipped.files, "unchanged file"),
                    Exact(reshipped.bytes),
                    if reshipped.files == 1 { "is" } else { "are" },
                ),
            )?;
        }
        let files = self.file_counts();
        match (self.options.is_filtered, diff.files.is_empty()) {
            (false, _) => self.row(f, "files", &files)?,
            (true, false) => self.row(f, "files", &format!("{files}; matched by --filter"))?,
            (true, true) => self.row(f, "files", "no changed file matches --filter")?,
        }
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
        let platform = escaped(image.platform.as_bytes());
        let origin = format!("{platform}{}", created.unwrap_or_default());
        let digest = image.digest.to_string();
        let is_short = |width| SUMMARY_INDENT + digest.len() + 2 + origin.len() <= width;
        let gap = if self.options.width.is_none_or(is_short) { "  " } else { "\n     " };
        writeln!(f, "     {digest}{gap}{origin}")?;
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
        let words = wrapped(words, self.options.width, label.len() + 1);
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

/// Spaces before the lines of an image.
const SUMMARY_INDENT: usize = 5;
/// Files and packages that are listed by default: with summary and layers, about two screens.
const MAX_LISTED: usize = 15;
