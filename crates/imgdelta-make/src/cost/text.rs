//! A cost as text: the sum, then layers, packages and files.
//! Never prints a path or package name without escaping it.

use super::{Cost, LayerLine};
use crate::{options::Preset, sources::SourceReason};
use imgdelta_apply::delta::Provenance;
use imgdelta_core::{
    path::escaped,
    size::{Exact, Grouped, Human},
};
use std::fmt::{self, Display, Formatter};

/// Number of packages and files that are listed.
const LISTED: usize = 15;

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let preset = match self.preset {
            Preset::Fast => "fast",
            Preset::Default => "default",
            Preset::Best => "best",
        };
        writeln!(f, "Cost as a delta, preset {preset}")?;
        let share = Percentage(self.delta_bytes, self.pull_bytes);
        writeln!(f, "  delta         {}, {share} of a plain pull", Exact(self.delta_bytes))?;
        writeln!(f, "  plain pull    {} with the old image", Exact(self.pull_bytes))?;
        writeln!(f, "  from scratch  {}", Exact(self.full_bytes))?;
        self.layers(f)?;
        self.packages(f)?;
        self.files(f)
    }
}

impl Cost {
    fn layers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  Layers")?;
        writeln!(
            f,
            "    new         delta       headers       patched        opened       literal   compression            blob  how"
        )?;
        for (ordinal, layer) in self.layers.iter().enumerate() {
            let of = |how| Grouped(layer.files.get(&how).map_or(0, |sum| sum.bytes));
            writeln!(
                f,
                "    {:>3} {:>13} {:>13} {:>13} {:>13} {:>13} {:>13} {:>15}  {}",
                ordinal + 1,
                Grouped(layer.bytes),
                Grouped(layer.header_bytes),
                of(Provenance::PATCHED),
                of(Provenance::OPENED),
                of(Provenance::LITERAL),
                Grouped(layer.envelope_bytes),
                Grouped(layer.blob_bytes),
                LayerReason(layer)
            )?;
        }
        Ok(())
    }

    fn packages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.packages.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  Packages")?;
        for package in self.packages.iter().take(LISTED) {
            writeln!(
                f,
                "    {:>13}  {:<6}  {} {}, {} files of {}",
                Grouped(package.sum.bytes),
                package.ecosystem,
                escaped(package.name.as_bytes()),
                escaped(package.version.as_bytes()),
                Grouped(package.sum.count),
                Human(package.sum.target_bytes)
            )?;
        }
        let rest = self.packages.iter().skip(LISTED).map(|package| package.sum.bytes);
        more(f, self.packages.len(), rest.sum())
    }

    fn files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  Files")?;
        for file in self.files.iter().take(LISTED) {
            writeln!(
                f,
                "    {:>13}  {}  ({}, {})",
                Grouped(file.bytes),
                file.path,
                Human(file.target_bytes),
                file.reason.map_or_else(|| file.how.name(), SourceReason::words),
            )?;
        }
        more(f, self.files.len(), self.files.iter().skip(LISTED).map(|file| file.bytes).sum())
    }
}

fn more(f: &mut Formatter<'_>, count: usize, bytes: u64) -> fmt::Result {
    match count.saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "    {:>13}  in {} more", Grouped(bytes), Grouped(more as u64)),
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
