//! The packages of one image, and whose a file is.
//!
//! It is made from the findings whose database file survives in the merged root file system; it
//! never looks whether the files they list do.

use super::{Content, Ecosystem, Files, Package, node::NODE_MODULES};
use imgdelta_core::path::{LayerPath, escaped};
use std::collections::HashMap;

/// The packages of an image.
#[derive(Debug, Default)]
pub struct Inventory {
    packages: Vec<Installed>,
    /// Places in `packages` by the path of a file.
    owners: HashMap<Box<[u8]>, usize>,
    /// Places in `packages` by the directory all under which is a package's.
    directories: HashMap<Box<[u8]>, usize>,
    warnings: Vec<String>,
    databases: Option<usize>,
}

/// A package that an image has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Whose package it is.
    pub ecosystem: Ecosystem,
    /// Its name, as the database spells it.
    pub name: String,
    /// Its whole version.
    pub version: String,
    /// What it was built for, where the database says.
    pub architecture: Option<String>,
    /// The source package it was built from, where the database names it.
    pub source: Option<String>,
    /// The database's word when it is not plainly installed.
    pub state: Option<String>,
    /// Where it lies: a Node package's own directory, the directory a Python distribution is
    /// installed in, the database of a system's package.
    pub location: LayerPath,
    /// Whether [`Inventory::owner_of`] can name it: a database may tell no files.
    pub has_files: bool,
    /// The place of the system's package that brought it: Debian's `python3-yaml` holds the
    /// distribution `PyYAML`, and both databases tell of it.
    pub carrier: Option<usize>,
}

impl Inventory {
    /// Makes an inventory from what the surviving database files say, in any order.
    pub fn collect<'a>(surviving: impl Iterator<Item = (&'a LayerPath, &'a Content)>) -> Self {
        let mut found: Vec<(&Package, &LayerPath)> = Vec::new();
        let mut lists: HashMap<&[u8], &[LayerPath]> = HashMap::new();
        let mut warnings = Vec::new();
        let mut databases = 0;
        for (path, content) in surviving {
            databases += 1;
            found.extend(content.packages().iter().map(|package| (package, path)));
            match content {
                Content::Packages(_) => {}
                Content::FileList(paths) => drop(lists.insert(path.as_bytes(), paths)),
                Content::Broken { what, .. } => {
                    warnings.push(format!("{path}: {}", escaped(what.as_bytes())));
                }
            }
        }
        found.sort_by(|a, b| identity(a.0).cmp(&identity(b.0)).then_with(|| a.1.cmp(b.1)));
        // A system's package is there once; an image may hold its database at an old and a new place.
        found.dedup_by(|a, b| a.0.ecosystem <= Ecosystem::Rpm && identity(a.0) == identity(b.0));

        let mut inventory = Self { warnings, databases: Some(databases), ..Self::default() };
        for (package, database) in &found {
            inventory.add(package, database, &lists);
        }
        for at in 0..found.len() {
            if found[at].0.ecosystem > Ecosystem::Rpm {
                let owner = inventory.owner_of(found[at].1);
                let carrier = owner.filter(|&owner| found[owner].0.ecosystem <= Ecosystem::Rpm);
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
            Files::Listed(paths) => Some(&**paths),
            Files::ListedApart => list_names(package, database).iter().find_map(|name| {
                let paths = lists.get(name.as_bytes()).copied()?;
                // What dpkg keeps about a package is the package's too: its scripts, its sums.
                if let Some(stem) = dpkg_info_stem(name.as_bytes()) {
                    self.owners.entry(stem.into()).or_insert(place);
                }
                Some(paths)
            }),
            Files::Under(_) | Files::Unknown => None,
        };
        // Packages come in the order of their ecosystems: the first to claim a file keeps it.
        for path in listed.unwrap_or_default() {
            self.owners.entry(path.as_bytes().into()).or_insert(place);
        }
        if let Files::Under(directory) = &package.files {
            self.directories.entry(directory.as_bytes().into()).or_insert(place);
        }
        if let Some(state) = &package.state {
            let (name, state) = (escaped(package.name.as_bytes()), escaped(state.as_bytes()));
            self.warnings.push(format!("{database}: package {name} is {state}"));
        }
        self.packages.push(Installed {
            ecosystem: package.ecosystem,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            source: package.source.clone(),
            state: package.state.clone(),
            location: location(package, database),
            has_files: listed.is_some() || matches!(package.files, Files::Under(_)),
            carrier: None,
        });
    }

    /// Returns the packages, sorted by ecosystem, name and version.
    pub fn packages(&self) -> &[Installed] {
        &self.packages
    }

    /// Returns what is wrong with the image's databases, a line each, safe to print.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the number of database files, readable or not; `None` if the survey read no databases.
    pub fn databases(&self) -> Option<usize> {
        self.databases
    }

    /// Returns whose file a path is, as a place in [`Inventory::packages`].
    pub fn owner_of(&self, path: &LayerPath) -> Option<usize> {
        let path = path.as_bytes();
        self.listed_owner(path)
            .or_else(|| self.listed_owner(&compiled_from(path)?))
            .or_else(|| self.owners.get(dpkg_info_stem(path)?).copied())
            .or_else(|| self.directory_owner(path))
    }

    /// Databases of systems where `/lib` has become a link to `/usr/lib` still say `/lib/x` where
    /// the file's entry says `usr/lib/x`; seldom the other way round.
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

    fn directory_owner(&self, path: &[u8]) -> Option<usize> {
        if self.directories.is_empty() {
            return None;
        }
        let mut directory = path;
        loop {
            if let Some(&owner) = self.directories.get(directory) {
                return Some(owner);
            }
            let cut = directory.iter().rposition(|&byte| byte == b'/')?;
            // Beyond lies the package that holds this one: a nested package that no manifest
            // names is nobody's.
            if &directory[cut + 1..] == NODE_MODULES {
                return None;
            }
            directory = &directory[..cut];
        }
    }
}

/// What makes packages of a system's database the same, and how all are sorted.
fn identity(package: &Package) -> (Ecosystem, &str, &str, Option<&str>) {
    (package.ecosystem, &package.name, &package.version, package.architecture.as_deref())
}

/// Where the list of a package's files may lie, the likelier place first.
fn list_names(package: &Package, database: &LayerPath) -> Vec<LayerPath> {
    let Some(directory) = database.parent() else { return Vec::new() };
    let beside =
        |name: String| LayerPath::parse(&[directory.as_bytes(), b"/", name.as_bytes()].concat());
    match package.ecosystem {
        Ecosystem::Python => vec![directory.join(b"RECORD")],
        Ecosystem::Dpkg if directory.name() == b"status.d" => {
            vec![LayerPath::parse(&[database.as_bytes(), b".md5sums"].concat())]
        }
        // Packages that may be installed for several architectures name theirs.
        Ecosystem::Dpkg => {
            let architecture = package.architecture.as_deref().unwrap_or("");
            let name = &package.name;
            vec![
                beside(format!("info/{name}:{architecture}.list")),
                beside(format!("info/{name}.list")),
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

/// Returns a path in dpkg's `info` directory without what tells `NAME.list` from `NAME.postinst`.
fn dpkg_info_stem(path: &[u8]) -> Option<&[u8]> {
    if !path.starts_with(b"var/lib/dpkg/info/") {
        return None;
    }
    path.iter().rposition(|&byte| byte == b'.').map(|dot| &path[..dot])
}

/// Returns the module that a file in `__pycache__` was compiled from: system packages compile
/// when they are installed, and list only the module.
fn compiled_from(path: &[u8]) -> Option<Vec<u8>> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let directory = path[..slash].strip_suffix(b"__pycache__")?;
    let name = path[slash + 1..].strip_suffix(b".pyc")?;
    let stem = name.split(|&byte| byte == b'.').next()?;
    Some([directory, stem, b".py"].concat())
}

/// Directories that have moved under `usr` and left a link.
const MERGED: [&[u8]; 6] = [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interest, read};

    fn inventory(files: &[(&str, &str)]) -> Inventory {
        let found: Vec<_> = files
            .iter()
            .map(|(path, payload)| {
                let path = LayerPath::parse(path.as_bytes());
                let content = read(interest(&path).unwrap(), &path, payload.as_bytes());
                (path, content)
            })
            .collect();
        Inventory::collect(found.iter().map(|(path, content)| (path, content)))
    }

    fn owner<'a>(inventory: &'a Inventory, path: &str) -> Option<&'a str> {
        let place = inventory.owner_of(&LayerPath::parse(path.as_bytes()))?;
        Some(&inventory.packages()[place].name)
    }

    #[test]
    fn lists_that_lie_apart_find_their_package() {
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
