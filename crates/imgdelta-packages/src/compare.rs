//! Compares the packages of two images by name and version.
//! Never compares files: the file diff finds changes under the same version.

use crate::{
    inventory::{InstalledPackage, Inventory},
    package::Ecosystem,
    version::order,
};
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet, VecDeque, btree_map::Entry},
    hash::Hash,
};

/// A package that differs between two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// Ecosystem of the package.
    pub ecosystem: Ecosystem,
    /// Name, in the target's spelling if the target has the package.
    pub name: String,
    /// Kind of the change.
    pub kind: VersionChangeKind,
    /// Version in the base.
    pub base_version: Option<String>,
    /// Version in the target.
    pub target_version: Option<String>,
    /// The base's packages, as indexes of [`Inventory::packages`].
    ///
    /// There are several if several places or architectures have the same change.
    pub base: Vec<usize>,
    /// The target's packages, in the same form.
    pub target: Vec<usize>,
}

/// Kind of a version change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionChangeKind {
    /// Only the target has it.
    Added,
    /// Only the base has it.
    Removed,
    /// The target's version is later.
    Upgraded,
    /// The target's version is earlier.
    Downgraded,
    /// The versions differ in an unknown order, or the architecture differs.
    Changed,
}

/// Returns the packages that differ, sorted by ecosystem and name.
///
/// An image may have several versions of a package next to each other (Node nests them). They are
/// paired to give the fewest changes: equal ones first, then those in the same place, then the rest
/// in order.
pub fn compare(base: &Inventory, target: &Inventory) -> Vec<VersionChange> {
    let mut groups: BTreeMap<_, [VecDeque<usize>; 2]> = BTreeMap::new();
    for (side, inventory) in [base, target].into_iter().enumerate() {
        for (place, package) in inventory.packages().iter().enumerate() {
            groups.entry((package.ecosystem, key(package))).or_default()[side].push_back(place);
        }
    }
    let mut changes = Vec::new();
    for (_, [bases, targets]) in groups {
        let mut unpaired = UnpairedPackages { base, target, bases, targets };
        // A package that both images have is not a change, even in another place.
        unpaired.pair_by(|one| (&one.version, &one.architecture, &one.location));
        unpaired.pair_by(|one| (&one.version, &one.architecture));
        let mut pairs = unpaired.pair_by(|one| (&one.architecture, &one.location));
        pairs.extend(unpaired.pair_by(|one| &one.architecture));
        pairs.extend(unpaired.pair_by(|_| ()));
        let pairs = pairs.into_iter().map(|(base, target)| (Some(base), Some(target)));
        let removed = unpaired.bases.into_iter().map(|base| (Some(base), None));
        let added = unpaired.targets.into_iter().map(|target| (None, Some(target)));
        let first = changes.len();
        for (from, to) in pairs.chain(removed).chain(added) {
            let change = change(from.map(|at| (at, base)), to.map(|at| (at, target)));
            changes.extend(change);
        }
        merge_equal(&mut changes, first);
    }
    changes
}

/// Returns the name by which packages are compared.
///
/// Python ignores case, and the difference between `-`, `_` and `.` (PEP 503).
fn key(package: &InstalledPackage) -> Cow<'_, str> {
    if package.ecosystem != Ecosystem::Python {
        return Cow::Borrowed(&package.name);
    }
    let parts = package.name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    Cow::Owned(parts.collect::<Vec<_>>().join("-").to_lowercase())
}

/// Packages of one name without a counterpart yet, in order.
struct UnpairedPackages<'a> {
    base: &'a Inventory,
    target: &'a Inventory,
    bases: VecDeque<usize>,
    targets: VecDeque<usize>,
}

impl<'a> UnpairedPackages<'a> {
    /// Removes and returns pairs with equal keys, the first with the first.
    fn pair_by<K: Eq + Hash>(
        &mut self,
        key: impl Fn(&'a InstalledPackage) -> K,
    ) -> Vec<(usize, usize)> {
        if self.bases.is_empty() || self.targets.is_empty() {
            return Vec::new();
        }
        let mut waiting: HashMap<K, VecDeque<usize>> = HashMap::new();
        for &at in &self.targets {
            waiting.entry(key(&self.target.packages()[at])).or_default().push_back(at);
        }
        let mut pairs = Vec::new();
        self.bases.retain(|&at| {
            let equal = waiting.get_mut(&key(&self.base.packages()[at]));
            let other = equal.and_then(VecDeque::pop_front);
            pairs.extend(other.map(|other| (at, other)));
            other.is_none()
        });
        let taken: HashSet<usize> = pairs.iter().map(|&(_, target)| target).collect();
        self.targets.retain(|at| !taken.contains(at));
        pairs
    }
}

fn change(
    base: Option<(usize, &Inventory)>,
    target: Option<(usize, &Inventory)>,
) -> Option<VersionChange> {
    let package = |side: Option<(usize, &'_ Inventory)>| {
        side.map(|(at, inventory)| inventory.packages()[at].clone())
    };
    let (from, to) = (package(base), package(target));
    let kind = match (&from, &to) {
        (None, _) => VersionChangeKind::Added,
        (_, None) => VersionChangeKind::Removed,
        (Some(from), Some(to)) => match order(to.ecosystem, &from.version, &to.version) {
            Some(Ordering::Less) => VersionChangeKind::Upgraded,
            Some(Ordering::Greater) => VersionChangeKind::Downgraded,
            Some(Ordering::Equal) | None => VersionChangeKind::Changed,
        },
    };
    let named = to.as_ref().or(from.as_ref())?;
    Some(VersionChange {
        ecosystem: named.ecosystem,
        name: named.name.clone(),
        kind,
        base_version: from.map(|package| package.version),
        target_version: to.map(|package| package.version),
        base: base.map(|(at, _)| at).into_iter().collect(),
        target: target.map(|(at, _)| at).into_iter().collect(),
    })
}

/// Merges changes from `first` on that have the same versions.
fn merge_equal(changes: &mut Vec<VersionChange>, first: usize) {
    let mut merged: BTreeMap<_, VersionChange> = BTreeMap::new();
    for change in changes.drain(first..) {
        let key = (change.base_version.clone(), change.target_version.clone());
        match merged.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(change)),
            Entry::Occupied(mut entry) => {
                entry.get_mut().base.extend(change.base);
                entry.get_mut().target.extend(change.target);
            }
        }
    }
    changes.extend(merged.into_values());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        finding::DatabaseContent,
        package::{Package, PackageFiles},
    };
    use imgdelta_core::path::LayerPath;

    fn inventory(packages: &[(Ecosystem, &str, &str, &str)]) -> Inventory {
        let contents: Vec<_> = packages
            .iter()
            .map(|&(ecosystem, name, version, database)| {
                let package =
                    Package::new(ecosystem, name.into(), version.into(), PackageFiles::Unknown);
                (LayerPath::parse(database.as_bytes()), DatabaseContent::Packages(vec![package]))
            })
            .collect();
        Inventory::collect(contents.iter().map(|(path, content)| (path, content)))
    }

    fn lines(base: &Inventory, target: &Inventory) -> Vec<String> {
        let changes = compare(base, target).into_iter();
        let line = |change: VersionChange| {
            let version = |version: Option<String>| version.unwrap_or_else(|| "-".into());
            let (from, to) = (version(change.base_version), version(change.target_version));
            let (bases, targets) = (change.base.len(), change.target.len());
            format!("{} {from} {to} {:?} {bases}:{targets}", change.name, change.kind)
        };
        changes.map(line).collect()
    }

    #[test]
    fn each_kind_of_change_is_reported() {
        use Ecosystem::{Dpkg, Python};
        let base = inventory(&[
            (Dpkg, "same", "1", "s"),
            (Dpkg, "up", "1.9", "s"),
            (Dpkg, "down", "2", "s"),
            (Dpkg, "gone", "1", "s"),
            (Python, "ruamel.yaml", "1", "a/b/c"),
            (Python, "odd", "one", "a/c/c"),
        ]);
        let target = inventory(&[
            (Dpkg, "same", "1", "s"),
            (Dpkg, "up", "1.10", "s"),
            (Dpkg, "down", "1", "s"),
            (Dpkg, "new", "1", "s"),
            (Python, "Ruamel_Yaml", "1.1", "a/d/c"),
            (Python, "odd", "two", "a/c/c"),
        ]);
        assert_eq!(
            lines(&base, &target),
            [
                "down 2 1 Downgraded 1:1",
                "gone 1 - Removed 1:0",
                "new - 1 Added 0:1",
                "up 1.9 1.10 Upgraded 1:1",
                "odd one two Changed 1:1",
                "Ruamel_Yaml 1 1.1 Upgraded 1:1",
            ]
        );
        assert!(compare(&base, &base).is_empty());
    }

    #[test]
    fn several_versions_of_a_package_give_the_fewest_changes() {
        let node = |files: &[(&'static str, &'static str)]| {
            let packages: Vec<_> = files
                .iter()
                .map(|&(version, at)| (Ecosystem::Node, "debug", version, at))
                .collect();
            inventory(&packages)
        };
        let base = node(&[("2.6.9", "a/p"), ("2.6.9", "b/p"), ("4.3.0", "p"), ("3.0.0", "c/p")]);
        let moved = node(&[("2.6.9", "p"), ("2.6.9", "b/p"), ("4.3.0", "a/p"), ("3.0.0", "c/p")]);
        assert!(compare(&base, &moved).is_empty());
        let target = node(&[("2.6.10", "a/p"), ("2.6.10", "b/p"), ("4.3.0", "p")]);
        assert_eq!(
            lines(&base, &target),
            ["debug 2.6.9 2.6.10 Upgraded 2:2", "debug 3.0.0 - Removed 1:0",]
        );
    }
}
