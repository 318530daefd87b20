//! The sums of a patch, in the form of `git diff --stat`.
//! Never looks into a file.

use crate::{
    member::ContentChange,
    patch::{FilePatch, PatchSet},
};
use imgdelta_core::size::Grouped;
use imgdelta_diff::{FileChangeKind, FileFacts};
use std::fmt::{self, Display, Formatter};

/// The changed lines or bytes of each file, with a bar.
#[derive(Clone, Copy, Debug)]
pub struct StatText<'a> {
    set: &'a PatchSet,
    has_color: bool,
}

impl PatchSet {
    /// Returns the sums of the patch as text.
    pub fn stat(&self, has_color: bool) -> StatText<'_> {
        StatText { set: self, has_color }
    }
}

impl Display for StatText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.set.files.iter().map(name).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(MOST_NAME);
        let all = || self.set.files.iter().map(counts);
        let most = all().map(|(added, removed)| added + removed).max().unwrap_or(0);
        let digits = Grouped(most).to_string().len().max(3);
        for (file, name) in self.set.files.iter().zip(&names) {
            let name = cut(name, width);
            if let Some(ContentChange::Opaque(_)) = &file.content {
                let size = |facts: &Option<FileFacts>| {
                    Grouped(facts.as_ref().map_or(0, |facts| facts.size_bytes)).to_string()
                };
                let (old, new) = (size(&file.change.base), size(&file.change.target));
                writeln!(f, " {name} | {:>digits$} {old} -> {new} bytes", "Bin")?;
                continue;
            }
            let (added, removed) = counts(file);
            let total = Grouped(added + removed);
            let (plus, minus) = ("+".repeat(bar(added, most)), "-".repeat(bar(removed, most)));
            let (plus, minus) = (self.painted(GREEN, &plus), self.painted(RED, &minus));
            let line = format!(" {name} | {total:>digits$} {plus}{minus}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let (added, removed) = all().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let files = self.set.files.len() as u64 + self.set.omitted_files;
        writeln!(
            f,
            " {} file{} changed, {} insertion{}(+), {} deletion{}(-)",
            Grouped(files),
            plural(files),
            Grouped(added),
            plural(added),
            Grouped(removed),
            plural(removed)
        )
    }
}

impl StatText<'_> {
    fn painted(&self, color: &str, text: &str) -> String {
        if self.has_color && !text.is_empty() {
            format!("\x1b[{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Returns the lines that were added and removed.
fn counts(file: &FilePatch) -> (u64, u64) {
    file.content.as_ref().map_or((0, 0), ContentChange::line_counts)
}

fn name(file: &FilePatch) -> String {
    match &file.change.kind {
        FileChangeKind::Moved { from } => format!("{from} => {}", file.change.path),
        _ => file.change.path.to_string(),
    }
}

/// Returns the end of a long name, which says more than its start.
fn cut(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return format!("{name:<width$}");
    }
    let rest: String = name.chars().skip(count - (width - 1)).collect();
    format!("…{rest}")
}

/// Returns the length of a bar; changes that exist have one.
fn bar(count: u64, most: u64) -> usize {
    if most <= BAR_CHARS {
        return usize::try_from(count).unwrap_or(0);
    }
    let scaled = u128::from(count) * u128::from(BAR_CHARS) / u128::from(most);
    usize::try_from(scaled).unwrap_or(0).max(usize::from(count > 0))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const MOST_NAME: usize = 60;
const BAR_CHARS: u64 = 30;
const RED: &str = "31";
const GREEN: &str = "32";
