//! Compares packages, and attributes file changes to them.
//! Never reads a package database.
//!
//! Versions come from the inventories, files from the file diff. A package with the same version and
//! other files is reported as rebuilt.

use crate::files::{FileChange, FileChangeKind};
use imgdelta_core::sort::SharedSort;
use imgdelta_packages::{Inventory, VersionChangeKind};
use std::collections::HashMap;

/// One package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageChange {
    /// `dpkg`, `apk`, `rpm`, `python` or `node`.
    pub ecosystem: &'static str,
    /// Name of the package.
    pub name: String,
    /// Kind of the change.
    pub change: PackageChangeKind,
    /// Version in the base.
    pub base: Option<String>,
    /// Version in the target.
    pub target: Option<String>,
    /// Number of its files of which content, path or type changed.
    pub files: u64,
    /// Bytes of these files, each of the larger side.
    pub bytes: u64,
}

/// Kind of a package change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageChangeKind {
    /// The target has a later version.
    Upgraded,
    /// The target has an earlier version.
    Downgraded,
    /// The versions differ, and their order is unknown.
    Changed,
    /// Only the target has it.
    Added,
    /// Only the base has it.
    Removed,
    /// The same version with other files.
    Rebuilt,
}

impl PackageChangeKind {
    /// Returns the word for reports.
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

impl PackageChange {
    /// Returns the versions as text: `1.0 -> 1.1`, `+ 1.1`, `- 1.0` or `1.0, rebuilt`.
    pub fn versions(&self) -> String {
        match (&self.base, &self.target) {
            (Some(base), Some(_)) if self.change == PackageChangeKind::Rebuilt => {
                format!("{base}, rebuilt")
            }
            (Some(base), Some(target)) if self.change == PackageChangeKind::Downgraded => {
                format!("{base} -> {target}, downgraded")
            }
            (Some(base), Some(target)) => format!("{base} -> {target}"),
            (None, target) => format!("+ {}", target.as_deref().unwrap_or_default()),
            (Some(base), None) => format!("- {base}"),
        }
    }
}

/// Compares two inventories and attributes `changes` to the packages.
pub fn compare(base: &Inventory, target: &Inventory, changes: &[FileChange]) -> Vec<PackageChange> {
    let mut of_base: HashMap<usize, FileSum> = HashMap::new();
    let mut of_target: HashMap<usize, FileSum> = HashMap::new();
    for change in changes.iter().filter(|change| change.kind != FileChangeKind::Metadata) {
        let owners = match change.kind {
            FileChangeKind::Removed => base.owner_of(&change.path).map(|at| of_base.entry(at)),
            _ => target.owner_of(&change.path).map(|at| of_target.entry(at)),
        };
        if let Some(owner) = owners {
            owner.or_default().add(change.size_bytes());
        }
    }

    let mut package_changes = Vec::new();
    for change in imgdelta_packages::compare(base, target) {
        let sum = [(&change.base, &mut of_base), (&change.target, &mut of_target)]
            .into_iter()
            .flat_map(|(places, sums)| places.iter().filter_map(|at| sums.remove(at)))
            .fold(FileSum::default(), FileSum::plus);
        package_changes.push(PackageChange {
            ecosystem: change.ecosystem.name(),
            name: change.name,
            change: match change.kind {
                VersionChangeKind::Added => PackageChangeKind::Added,
                VersionChangeKind::Removed => PackageChangeKind::Removed,
                VersionChangeKind::Upgraded => PackageChangeKind::Upgraded,
                VersionChangeKind::Downgraded => PackageChangeKind::Downgraded,
                VersionChangeKind::Changed => PackageChangeKind::Changed,
            },
            base: change.base_version,
            target: change.target_version,
            files: sum.files,
            bytes: sum.bytes,
        });
    }
    package_changes.extend(rebuilt(target, &of_target));
    package_changes.shared_sort_by(|a, b| {
        (a.ecosystem, &a.name, &a.target).cmp(&(b.ecosystem, &b.name, &b.target))
    });
    package_changes
}

/// Returns the packages with file changes and the same version.
fn rebuilt<'a>(
    target: &'a Inventory,
    sums: &'a HashMap<usize, FileSum>,
) -> impl Iterator<Item = PackageChange> + 'a {
    sums.iter().map(|(&at, sum)| {
        let package = &target.packages()[at];
        PackageChange {
            ecosystem: package.ecosystem.name(),
            name: package.name.clone(),
            change: PackageChangeKind::Rebuilt,
            base: Some(package.version.clone()),
            target: Some(package.version.clone()),
            files: sum.files,
            bytes: sum.bytes,
        }
    })
}

/// Number and bytes of changed files.
#[derive(Clone, Copy, Debug, Default)]
struct FileSum {
    files: u64,
    bytes: u64,
}

impl FileSum {
    fn add(&mut self, bytes: u64) {
        *self = self.plus(Self { files: 1, bytes });
    }

    fn plus(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}
