//! A package as a database records it.
//! Never escapes the texts, which may be hostile: see [`imgdelta_core::path::escaped`].

use imgdelta_core::path::LayerPath;
use std::fmt;

/// System of packages.
///
/// Reports use this order, and so does ownership: a file that both Debian's `python3-yaml` and the
/// Python distribution `PyYAML` list belongs to Debian's package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Debian, Ubuntu, distroless.
    Dpkg,
    /// Alpine, Wolfi.
    Apk,
    /// Fedora, Red Hat, SUSE.
    Rpm,
    /// Python distributions, as pip and similar tools install them.
    Python,
    /// Packages under a `node_modules`.
    Node,
}

impl Ecosystem {
    /// All ecosystems in order; the position is the stored number.
    pub const ALL: [Self; 5] = [Self::Dpkg, Self::Apk, Self::Rpm, Self::Python, Self::Node];

    /// Returns the short name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A package that a database lists as installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Ecosystem of the package.
    pub ecosystem: Ecosystem,
    /// Name, in the database's spelling.
    pub name: String,
    /// Full version: with epoch, release or revision, if any.
    pub version: String,
    /// Architecture, if the database has it.
    pub architecture: Option<String>,
    /// Source package, if the database has it.
    pub source: Option<String>,
    /// State in the database, if it is not `installed`: `half-configured`, …
    pub state: Option<String>,
    /// Files of the package.
    pub files: PackageFiles,
}

impl Package {
    pub(crate) fn new(
        ecosystem: Ecosystem,
        name: String,
        version: String,
        files: PackageFiles,
    ) -> Self {
        Self { ecosystem, name, version, architecture: None, source: None, state: None, files }
    }
}

/// Files of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageFiles {
    /// The database does not list files.
    Unknown,
    /// These paths, without directories that contain others of them.
    Listed(Vec<LayerPath>),
    /// Everything under a directory, except nested packages.
    Under(LayerPath),
    /// The paths in another file of the database, which is a
    /// [`DatabaseContent::FileList`](crate::DatabaseContent::FileList).
    ListedApart,
}

/// Returns bytes as text; bytes that are not UTF-8 become replacement characters.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// Returns bytes as text; `None` if they are blank.
pub(crate) fn some_text(bytes: &[u8]) -> Option<String> {
    Some(text(bytes)).filter(|text| !text.is_empty())
}
