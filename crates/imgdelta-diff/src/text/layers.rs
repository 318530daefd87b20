//! The tables of layers and packages.
//! Never compares.

use super::{CYAN, DiffText, FileOrder, GREEN, MAX_LISTED, PLAIN, RED, YELLOW, counted_noun};
use crate::{
    layers::{LayerChange, LayerRelation},
    packages::PackageChange,
};
use imgdelta_core::{
    path::escaped,
    size::Grouped,
    sort::SharedSort,
    table::{Column, Table},
};
use std::{
    cmp::Reverse,
    fmt::{self, Formatter},
};

impl DiffText<'_> {
    pub(super) fn layers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::number("old"),
            Column::number("new"),
            Column::words(""),
            Column::number("compressed bytes"),
            Column::number("unpacked bytes").spare(1),
            Column::words("digest").spare(2),
            Column::words("pull with the old image").at_least(40),
        ];
        let mut table = Table::new(&columns, 2);
        let mut colors = Vec::new();
        for change in &self.diff.layers {
            let place = |facts: Option<usize>| {
                facts.map_or_else(|| "-".to_owned(), |at| (at + 1).to_string())
            };
            let facts = change.target.as_ref().or(change.base.as_ref());
            let Some(facts) = facts else { continue };
            table.push([
                place(change.base.as_ref().map(|l| l.ordinal)),
                place(change.target.as_ref().map(|l| l.ordinal)),
                relation_words(change),
                Grouped(facts.stored_bytes).to_string(),
                Grouped(facts.stream_bytes).to_string(),
                facts.blob.hex()[..12].to_owned(),
                pull_words(change),
            ]);
            colors.push(relation_color(change.relation));
        }
        writeln!(f, "\n{}", self.bold("Layers"))?;
        writeln!(f, "{}", table.title(self.options.width))?;
        let rows = table.rows(self.options.width);
        rows.iter()
            .zip(colors)
            .try_for_each(|(row, color)| writeln!(f, "{}", self.painted(color, row)))
    }

    pub(super) fn packages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.diff.packages.is_empty() {
            return Ok(());
        }
        let columns = [
            Column::number("bytes"),
            Column::number("changed files").spare(1),
            Column::words("kind"),
            Column::words("package"),
            Column::words("version"),
        ];
        let mut table = Table::new(&columns, 2);
        let mut packages: Vec<&PackageChange> = self.diff.packages.iter().collect();
        if self.options.order == FileOrder::Size {
            packages.shared_sort_by_key(|package| Reverse(package.bytes));
        }
        let shown = if self.options.all_files { packages.len() } else { MAX_LISTED };
        for package in packages.iter().take(shown) {
            table.push([
                Grouped(package.bytes).to_string(),
                Grouped(package.files).to_string(),
                package.ecosystem.to_owned(),
                escaped(package.name.as_bytes()).into_owned(),
                escaped(package.versions().as_bytes()).into_owned(),
            ]);
        }
        writeln!(f, "\n{}", self.bold("Packages"))?;
        writeln!(f, "{}", table.title(self.options.width))?;
        table.rows(self.options.width).iter().try_for_each(|row| writeln!(f, "{row}"))?;
        Self::more(f, packages.len(), shown, "package")
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
