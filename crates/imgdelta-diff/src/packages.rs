//! Packages that differ, with the file changes that are theirs.
//!
//! Versions come from the inventories, files from the file diff. A package whose version stayed and
//! whose files did not is told as rebuilt: a version number is a claim, bytes are facts.

use super::files::{Fate, FileChange};
use imgdelta_packages::{ChangeKind, Inventory};
use std::collections::HashMap;

/// One package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageDelta {
    /// `dpkg`, `apk`, `rpm`, `python`, `node`.
    pub ecosystem: &'static str,
    /// Its name.
    pub name: String,
    /// What happened.
    pub change: PackageFate,
    /// The base's version.
    pub base: Option<String>,
    /// The target's version.
    pub target: Option<String>,
    /// Files of it whose content, path or type changed.
    pub files: u64,
    /// Their sizes, the larger side's each.
    pub bytes: u64,
}

/// What happened to a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageFate {
    /// A later version.
    Upgraded,
    /// An earlier version.
    Downgraded,
    /// Another version, of which neither is known to be the later.
    Changed,
    /// Only the target has it.
    Added,
    /// Only the base has it.
    Removed,
    /// The same version with other files.
    Rebuilt,
}

impl PackageFate {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Rebuilt => "rebuilt",
        }
    }
}

impl PackageDelta {
    /// Returns the versions as one reads them: `1.0 -> 1.1`, `+ 1.1`, `- 1.0`, `1.0, rebuilt`.
    pub fn versions(&self) -> String {
        match (&self.base, &self.target) {
            (Some(base), Some(_)) if self.change == PackageFate::Rebuilt => {
                format!("{base}, rebuilt")
            }
            (Some(base), Some(target)) if self.change == PackageFate::Downgraded => {
                format!("{base} -> {target}, downgraded")
            }
            (Some(base), Some(target)) => format!("{base} -> {target}"),
            (None, target) => format!("+ {}", target.as_deref().unwrap_or_default()),
            (Some(base), None) => format!("- {base}"),
        }
    }
}

/// Compares two inventories and attributes `changes` to the packages.
pub fn compare(base: &Inventory, target: &Inventory, changes: &[FileChange]) -> Vec<PackageDelta> {
    let mut of_base: HashMap<usize, Weight> = HashMap::new();
    let mut of_target: HashMap<usize, Weight> = HashMap::new();
    for change in changes.iter().filter(|change| change.fate != Fate::Metadata) {
        let owners = match change.fate {
            Fate::Removed => base.owner_of(&change.path).map(|at| of_base.entry(at)),
            _ => target.owner_of(&change.path).map(|at| of_target.entry(at)),
        };
        if let Some(owner) = owners {
            owner.or_default().add(change.size_bytes());
        }
    }

    let mut deltas = Vec::new();
    for change in imgdelta_packages::compare(base, target) {
        let weight = [(&change.base, &mut of_base), (&change.target, &mut of_target)]
            .into_iter()
            .flat_map(|(places, weights)| places.iter().filter_map(|at| weights.remove(at)))
            .fold(Weight::default(), Weight::plus);
        deltas.push(PackageDelta {
            ecosystem: change.ecosystem.name(),
            name: change.name,
            change: match change.kind {
                ChangeKind::Added => PackageFate::Added,
                ChangeKind::Removed => PackageFate::Removed,
                ChangeKind::Upgraded => PackageFate::Upgraded,
                ChangeKind::Downgraded => PackageFate::Downgraded,
                ChangeKind::Changed => PackageFate::Changed,
            },
            base: change.base_version,
            target: change.target_version,
            files: weight.files,
            bytes: weight.bytes,
        });
    }
    deltas.extend(rebuilt(target, &of_target));
    deltas
        .sort_by(|a, b| (a.ecosystem, &a.name, &a.target).cmp(&(b.ecosystem, &b.name, &b.target)));
    deltas
}

/// What is left of the target's weights belongs to packages whose version stayed.
fn rebuilt<'a>(
    target: &'a Inventory,
    weights: &'a HashMap<usize, Weight>,
) -> impl Iterator<Item = PackageDelta> + 'a {
    weights.iter().map(|(&at, weight)| {
        let package = &target.packages()[at];
        PackageDelta {
            ecosystem: package.ecosystem.name(),
            name: package.name.clone(),
            change: PackageFate::Rebuilt,
            base: Some(package.version.clone()),
            target: Some(package.version.clone()),
            files: weight.files,
            bytes: weight.bytes,
        }
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    files: u64,
    bytes: u64,
}

impl Weight {
    fn add(&mut self, bytes: u64) {
        *self = self.plus(Self { files: 1, bytes });
    }

    fn plus(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}
