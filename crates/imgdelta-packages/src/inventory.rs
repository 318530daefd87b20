//! The packages of one image, and the owners of its files.
//! Never checks that the listed files exist.
//!
//! The caller passes the findings of databases that survive in the merged root file system.

use crate::{
    directories::PackageDirectories,
    finding::DatabaseContent,
    package::{Ecosystem, Package, PackageFiles},
};
use imgdelta_core::path::{LayerPath, escaped};
use imgdelta_core::sort::SharedSort;
use std::collections::HashMap;

/// The packages of an image.
#[derive(Debug, Default)]
pub struct Inventory {
    packages: Vec<InstalledPackage>,
    /// Indexes of `packages` by the paths of files.
    owners: HashMap<Box<[u8]>, usize>,
    /// Indexes of `packages` by directories that belong to one package.
    directories: PackageDirectories,
    warnings: Vec<String>,
    databases: Option<usize>,
}

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Ecosystem of the package.
    pub ecosystem: Ecosystem,
    /// Name, in the database's spelling.
    pub name: String,
    /// Full version.
    pub version: String,
    /// Architecture, if the database has it.
    pub architecture: Option<String>,
    /// Source package, if the database has it.
    pub source: Option<String>,
    /// State in the database, if it is not `installed`.
    pub state: Option<String>,
    /// Directory of a Node package, directory in which a Python distribution is installed, or
    /// database of a system package.
    pub location: LayerPath,
    /// True if [`Inventory::owner_of`] may return the package: some databases list no files.
    pub has_files: bool,
    /// Index of the system package that installed this one.
    ///
    /// Debian's `python3-yaml` installs the distribution `PyYAML`, and both databases list it.
    pub carrier: Option<usize>,
}

impl Inventory {
    /// Returns the inventory of the surviving database files, which come in any order.
    pub fn collect<'a>(
        surviving: impl Iterator<Item = (&'a LayerPath, &'a DatabaseContent)>,
    ) -> Self {
        let mut packages: Vec<(&Package, &LayerPath)> = Vec::new();
        let mut lists: HashMap<&[u8], &[LayerPath]> = HashMap::new();
        let mut warnings = Vec::new();
        let mut databases = 0;
        for (path, content) in surviving {
            databases += 1;
            packages.extend(content.packages().iter().map(|package| (package, path)));
            match content {
                DatabaseContent::Packages(_) => {}
                DatabaseContent::FileList(paths) => drop(lists.insert(path.as_bytes(), paths)),
                DatabaseContent::Broken { what, .. } => {
                    warnings.push(format!("{path}: {}", escaped(what.as_bytes())));
                }
            }
        }
        packages
            .shared_sort_by(|a, b| identity(a.0).cmp(&identity(b.0)).then_with(|| a.1.cmp(b.1)));
        // A system package is installed once, but an image may have its database in two places.
        packages.dedup_by(|a, b| a.0.ecosystem <= Ecosystem::Rpm && identity(a.0) == identity(b.0));

        let mut inventory = Self { warnings, databases: Some(databases), ..Self::default() };
        for (package, database) in &packages {
            inventory.add(package, database, &lists);
        }
        for at in 0..packages.len() {
            if packages[at].0.ecosystem > Ecosystem::Rpm {
                let owner = inventory.owner_of(packages[at].1);
                let carrier = owner.filter(|&owner| packages[owner].0.ecosystem <= Ecosystem::Rpm);
                inventory.packages[at].carrier = carrier;
            }
        }
        inventory.warnings.sort_unstable();
        inventory
    }

    fn add(
        &mut self,
        package: &Package,
        database: &LayerPath,
        lists: &HashMap<&[u8], &[LayerPath]>,
    ) {
        let place = self.packages.len();
        let listed = match &package.files {
            PackageFiles::Listed(paths) => Some(&**paths),
            PackageFiles::ListedApart => list_names(package, database).iter().find_map(|name| {
                let paths = lists.get(name.as_bytes()).copied()?;
                // dpkg's own files about a package belong to it: its scripts, its checksums.
                if let Some(stem) = dpkg_info_stem(name.as_bytes()) {
                    self.owners.entry(stem.into()).or_insert(place);
                }
                Some(paths)
            }),
            PackageFiles::Under(_) | PackageFiles::Unknown => None,
        };
        // Packages come in the order of their ecosystems: the first to list a file owns it.
        for path in listed.unwrap_or_default() {
            self.owners.entry(path.as_bytes().into()).or_insert(place);
        }
        if let PackageFiles::Under(directory) = &package.files {
            self.directories.add(directory.as_bytes(), place);
        }
        if let Some(state) = &package.state {
            let (name, state) = (escaped(package.name.as_bytes()), escaped(state.as_bytes()));
            self.warnings.push(format!("{database}: package {name} is {state}"));
        }
        self.packages.push(InstalledPackage {
            ecosystem: package.ecosystem,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            source: package.source.clone(),
            state: package.state.clone(),
            location: location(package, database),
            has_files: listed.is_some() || matches!(package.files, PackageFiles::Under(_)),
            carrier: None,
        });
    }

    /// Returns the packages, sorted by ecosystem, name and version.
    pub fn packages(&self) -> &[InstalledPackage] {
        &self.packages
    }

    /// Returns the faults of the image's databases, one line each, escaped for printing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the number of database files, readable or not; `None` if the survey read no databases.
    pub fn databases(&self) -> Option<usize> {
        self.databases
    }

    /// Returns the owner of a file, as an index of [`Inventory::packages`].
    pub fn owner_of(&self, path: &LayerPath) -> Option<usize> {
        let path = path.as_bytes();
        self.listed_owner(path)
            .or_else(|| self.listed_owner(&compiled_from(path)?))
            .or_else(|| self.owners.get(dpkg_info_stem(path)?).copied())
            .or_else(|| self.directories.owner_of(path))
    }

    /// Returns the package that lists a file, also under the path before or after the merge of `/usr`.
    ///
    /// If `/lib` is a link to `/usr/lib`, databases still list `/lib/x` while the layer has
    /// `usr/lib/x`. The opposite is rare.
    fn listed_owner(&self, path: &[u8]) -> Option<usize> {
        let is_merged = |path: &[u8]| {
            path.split(|&byte| byte == b'/').next().is_some_and(|first| MERGED.contains(&first))
        };
        let other_name = || match path.strip_prefix(b"usr/") {
            Some(rest) if is_merged(rest) => self.owners.get(rest),
            None if is_merged(path) => self.owners.get(&*[b"usr/", path].concat()),
            _ => None,
        };
        self.owners.get(path).or_else(other_name).copied()
    }
}

/// Returns the fields that identify a system package, and by which all packages are sorted.
fn identity(package: &Package) -> (Ecosystem, &str, &str, Option<&str>) {
    (package.ecosystem, &package.name, &package.version, package.architecture.as_deref())
}

/// Returns the possible paths of a package's file list, the likelier one first.
fn list_names(package: &Package, database: &LayerPath) -> Vec<LayerPath> {
    let Some(directory) = database.parent() else { return Vec::new() };
    let sibling =
        |name: String| LayerPath::parse(&[directory.as_bytes(), b"/", name.as_bytes()].concat());
    match package.ecosystem {
        Ecosystem::Python => vec![directory.join(b"RECORD")],
        Ecosystem::Dpkg if directory.name() == b"status.d" => {
            vec![LayerPath::parse(&[database.as_bytes(), b".md5sums"].concat())]
        }
        // Packages that can be installed for several architectures have theirs in the name.
        Ecosystem::Dpkg => {
            let architecture = package.architecture.as_deref().unwrap_or("");
            let name = &package.name;
            vec![
                sibling(format!("info/{name}:{architecture}.list")),
                sibling(format!("info/{name}.list")),
            ]
        }
        _ => Vec::new(),
    }
}

fn location(package: &Package, database: &LayerPath) -> LayerPath {
    let parent = |path: &LayerPath| path.parent().unwrap_or_else(LayerPath::root);
    match package.ecosystem {
        Ecosystem::Node => parent(database),
        Ecosystem::Python if database.name().ends_with(b".egg-info") => parent(database),
        Ecosystem::Python => parent(&parent(database)),
        _ => database.clone(),
    }
}

/// Returns a path in dpkg's `info` directory without its last extension.
fn dpkg_info_stem(path: &[u8]) -> Option<&[u8]> {
    if !path.starts_with(b"var/lib/dpkg/info/") {
        return None;
    }
    path.iter().rposition(|&byte| byte == b'.').map(|dot| &path[..dot])
}

/// Returns the module of a compiled file in `__pycache__`.
///
/// System packages compile at installation, and list only the module.
fn compiled_from(path: &[u8]) -> Option<Vec<u8>> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let directory = path[..slash].strip_suffix(b"__pycache__")?;
    let name = path[slash + 1..].strip_suffix(b".pyc")?;
    let stem = name.split(|&byte| byte == b'.').next()?;
    Some([directory, stem, b".py"].concat())
}

/// Directories that moved to `/usr` and are links now.
const MERGED: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interest, read};

    fn inventory(files: &[(&str, &str)]) -> Inventory {
        let contents: Vec<_> = files
            .iter()
            .map(|(path, payload)| {
                let path = LayerPath::parse(path.as_bytes());
                let content = read(interest(&path).unwrap(), &path, payload.as_bytes());
                (path, content)
            })
            .collect();
        Inventory::collect(contents.iter().map(|(path, content)| (path, content)))
    }

    fn owner<'a>(inventory: &'a Inventory, path: &str) -> Option<&'a str> {
        let place = inventory.owner_of(&LayerPath::parse(path.as_bytes()))?;
        Some(&inventory.packages()[place].name)
    }

    #[test]
    fn separate_lists_find_their_package() {
        let inventory = inventory(&[
            (
                "var/lib/dpkg/status",
                "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
                 Package: python3-yaml\nStatus: install ok half-installed\nArchitecture: amd64\nVersion: 6\n\n",
            ),
            ("var/lib/dpkg/info/libc6:amd64.list", "/.\n/lib\n/lib/libc.so.6\n/usr/bin/ldd\n"),
            (
                "var/lib/dpkg/info/python3-yaml.list",
                "/usr/lib/python3/dist-packages/yaml/__init__.py\n\
                 /usr/lib/python3/dist-packages/PyYAML-6.egg-info/PKG-INFO\n",
            ),
            (
                "usr/lib/python3/dist-packages/PyYAML-6.egg-info/PKG-INFO",
                "Name: PyYAML\nVersion: 6\n",
            ),
            ("opt/site-packages/x-1.dist-info/METADATA", "Name: x\nVersion: 1\n"),
            ("opt/site-packages/x-1.dist-info/RECORD", "x/a.py,,\nx-1.dist-info/METADATA,,\n"),
            ("var/lib/dpkg/status.d/base", "Package: base\nVersion: 1\n"),
            ("var/lib/dpkg/status.d/base.md5sums", "00  etc/base\n"),
            ("var/lib/rpm/Packages", ""),
        ]);
        let names: Vec<_> = inventory.packages().iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["base", "libc6", "python3-yaml", "PyYAML", "x"]);
        for (path, name) in [
            ("lib/libc.so.6", Some("libc6")),
            ("usr/lib/libc.so.6", Some("libc6")),
            ("usr/bin/ldd", Some("libc6")),
            ("bin/ldd", Some("libc6")),
            ("usr", None),
            ("etc/base", Some("base")),
            ("var/lib/dpkg/info/libc6:amd64.postinst", Some("libc6")),
            ("var/lib/dpkg/info/format", None),
            (
                "usr/lib/python3/dist-packages/yaml/__pycache__/__init__.cpython-311.pyc",
                Some("python3-yaml"),
            ),
            ("opt/site-packages/x/a.py", Some("x")),
            ("opt/site-packages/y/a.py", None),
        ] {
            assert_eq!(owner(&inventory, path), name, "{path}");
        }
        let yaml = &inventory.packages()[3];
        assert_eq!((yaml.carrier, yaml.has_files), (Some(2), false));
        assert_eq!(yaml.location, LayerPath::parse(b"usr/lib/python3/dist-packages"));
        assert_eq!(
            inventory.warnings(),
            [
                "/var/lib/dpkg/status: package python3-yaml is half-installed",
                "/var/lib/rpm/Packages: an rpm database in Berkeley DB format, which is not read: \
             its packages are missing",
            ]
        );
    }

    #[test]
    fn nested_node_packages_own_their_files() {
        let inventory = inventory(&[
            ("app/node_modules/a/package.json", r#"{"name":"a","version":"1"}"#),
            ("app/node_modules/a/node_modules/b/package.json", r#"{"name":"b","version":"1"}"#),
        ]);
        for (path, name) in [
            ("app/node_modules/a/lib/x.js", Some("a")),
            ("app/node_modules/a/node_modules/b/lib/x.js", Some("b")),
            ("app/node_modules/a/node_modules/c/lib/x.js", None),
            ("app/node_modules/.package-lock.json", None),
            ("app/index.js", None),
        ] {
            assert_eq!(owner(&inventory, path), name, "{path}");
        }
    }
}
