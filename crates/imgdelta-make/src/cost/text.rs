//! A cost as text: the sum, then layers, packages and files.
//! Never prints a path or package name without escaping it.

use super::{Cost, LayerLine};
use crate::{options::Preset, sources::SourceReason};
use imgdelta_apply::delta::Provenance;
use imgdelta_codec::CoderSizes;
use imgdelta_core::{
    path::escaped,
    size::{CoreTime, Exact, Grouped, Human},
    table::{Column, Table},
};
use std::fmt::{self, Display, Formatter};

/// Number of packages and files that are listed.
const LISTED: usize = 15;

/// A cost as text for lines of a width.
#[derive(Clone, Copy, Debug)]
pub struct CostText<'a> {
    cost: &'a Cost,
    width: Option<usize>,
}

impl Cost {
    /// Returns the text for lines of `width` characters, or of any length.
    pub fn text(&self, width: Option<usize>) -> CostText<'_> {
        CostText { cost: self, width }
    }
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.text(None).fmt(f)
    }
}

impl Display for CostText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cost = self.cost;
        let preset = match cost.preset {
            Preset::Fast => "fast",
            Preset::Default => "default",
            Preset::Best => "best",
        };
        writeln!(f, "Cost as a delta, preset {preset}")?;
        let share = Percentage(cost.delta_bytes, cost.pull_bytes);
        writeln!(f, "  delta         {}, {share} of a plain pull", Exact(cost.delta_bytes))?;
        writeln!(f, "  plain pull    {} with the old image", Exact(cost.pull_bytes))?;
        writeln!(f, "  from scratch  {}", Exact(cost.full_bytes))?;
        writeln!(f, "  rebuild       {}", CoreTime(cost.rebuild_time))?;
        self.layers(f)?;
        self.packages(f)?;
        self.files(f)?;
        self.coders(f)?;
        match self.cost.windows_note() {
            Some(note) => writeln!(f, "\n  {note}"),
            None => Ok(()),
        }
    }
}

impl CostText<'_> {
    fn layers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::number("layer"),
            Column::number("delta"),
            Column::number("headers").spare(4),
            Column::number("patched").spare(1),
            Column::number("opened").spare(3),
            Column::number("literal").spare(2),
            Column::number("compression").spare(5),
            Column::number("blob"),
            Column::words("how"),
        ];
        let mut table = Table::new(&columns, 4);
        for (ordinal, layer) in self.cost.layers.iter().enumerate() {
            let of = |how| layer.files.get(&how).map_or(0, |sum| sum.bytes);
            let number = |bytes: u64| Grouped(bytes).to_string();
            table.push([
                (ordinal + 1).to_string(),
                number(layer.bytes),
                number(layer.header_bytes),
                number(of(Provenance::PATCHED)),
                number(of(Provenance::OPENED)),
                number(of(Provenance::LITERAL)),
                number(layer.envelope_bytes),
                number(layer.blob_bytes),
                LayerReason(layer).to_string(),
            ]);
        }
        writeln!(f, "\n  Layers")?;
        self.print(f, &table)
    }

    fn packages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.cost.packages.is_empty() {
            return Ok(());
        }
        let columns = [
            Column::number("delta"),
            Column::number("files").spare(1),
            Column::number("their size").spare(2),
            Column::words("kind"),
            Column::words("package"),
        ];
        let mut table = Table::new(&columns, 4);
        for package in self.cost.packages.iter().take(LISTED) {
            let (name, version) =
                (escaped(package.name.as_bytes()), escaped(package.version.as_bytes()));
            table.push([
                Grouped(package.sum.bytes).to_string(),
                Grouped(package.sum.count).to_string(),
                Human(package.sum.target_bytes).to_string(),
                package.ecosystem.to_owned(),
                format!("{name} {version}"),
            ]);
        }
        let rest = self.cost.packages.iter().skip(LISTED).map(|package| package.sum.bytes);
        writeln!(f, "\n  Packages")?;
        self.print(f, &table)?;
        more(f, self.cost.packages.len(), rest.sum())
    }

    fn files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.cost.files.is_empty() {
            return Ok(());
        }
        let columns = [
            Column::number("delta"),
            Column::number("file size"),
            Column::words("source"),
            Column::words("path"),
        ];
        let mut table = Table::new(&columns, 4);
        for file in self.cost.files.iter().take(LISTED) {
            table.push([
                Grouped(file.bytes).to_string(),
                Human(file.target_bytes).to_string(),
                file.reason.map_or_else(|| file.how.name(), SourceReason::words).to_owned(),
                file.path.to_string(),
            ]);
        }
        writeln!(f, "\n  Files")?;
        self.print(f, &table)?;
        let rest = self.cost.files.iter().skip(LISTED).map(|file| file.bytes);
        more(f, self.cost.files.len(), rest.sum())
    }

    fn coders(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.cost.coders == CoderSizes::default() {
            return Ok(());
        }
        let mut table = Table::new(&[Column::number("delta"), Column::words("coder")], 4);
        for (coder, bytes) in self.cost.coders.used() {
            table.push([Grouped(bytes).to_string(), coder.words().to_owned()]);
        }
        writeln!(f, "\n  Coders of changed files")?;
        self.print(f, &table)
    }

    fn print(&self, f: &mut Formatter<'_>, table: &Table) -> fmt::Result {
        writeln!(f, "{}", table.title(self.width))?;
        table.rows(self.width).iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

fn more(f: &mut Formatter<'_>, count: usize, bytes: u64) -> fmt::Result {
    match count.saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "    {} in {} more", Grouped(bytes), Grouped(more as u64)),
    }
}

/// The method and files of a layer.
struct LayerReason<'a>(&'a LayerLine);

impl Display for LayerReason<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.method.words())?;
        let mut separator = ": ";
        for (how, sum) in &self.0.files {
            write!(f, "{separator}{} {}", Grouped(sum.count), how.name())?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The first number in per cent of the second.
struct Percentage(u64, u64);

impl Display for Percentage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "the result is rounded to two digits")]
        let share = 100.0 * self.0 as f64 / self.1.max(1) as f64;
        write!(f, "{share:.2} %")
    }
}
