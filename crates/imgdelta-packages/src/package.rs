//! One package as one database records it.
//!
//! Texts are a stranger's: whoever prints them escapes them ([`imgdelta_core::path::escaped`]).

use imgdelta_core::path::LayerPath;
use std::fmt;

/// Whose idea of a package it is. The order is the order of the reports, and of ownership: a
/// file that Debian's `python3-yaml` and the Python distribution `PyYAML` both list is Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Debian, Ubuntu, distroless.
    Dpkg,
    /// Alpine, Wolfi.
    Apk,
    /// Fedora, Red Hat, SUSE.
    Rpm,
    /// Distributions as pip and its kin install them.
    Python,
    /// Packages under a `node_modules`.
    Node,
}

impl Ecosystem {
    /// All of them, in their order; the position is the number they are stored by.
    pub const ALL: [Self; 5] = [Self::Dpkg, Self::Apk, Self::Rpm, Self::Python, Self::Node];

    /// Returns the short name reports use.
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

/// A package that a database calls installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Whose package it is.
    pub ecosystem: Ecosystem,
    /// Its name, as the database spells it.
    pub name: String,
    /// Its whole version: with epoch, release or revision where it has them.
    pub version: String,
    /// What it was built for, where the database says.
    pub architecture: Option<String>,
    /// The source package it was built from, where the database names it.
    pub source: Option<String>,
    /// The database's word when the package is not plainly installed: `half-configured`, …
    pub state: Option<String>,
    /// Which files are its own.
    pub files: Files,
}

impl Package {
    pub(super) fn new(ecosystem: Ecosystem, name: String, version: String, files: Files) -> Self {
        Self { ecosystem, name, version, architecture: None, source: None, state: None, files }
    }
}

/// How a package's files are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// The database does not tell.
    Unknown,
    /// These, directories that hold others of them left out.
    Listed(Vec<LayerPath>),
    /// Everything under a directory, nested packages left out.
    Under(LayerPath),
    /// Another file of the database lists them: a [`Content::FileList`](super::Content::FileList).
    ListedApart,
}

/// A stranger's bytes as text; what is no UTF-8 becomes replacement characters.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// The same, or nothing for nothing.
pub(super) fn some_text(bytes: &[u8]) -> Option<String> {
    Some(text(bytes)).filter(|text| !text.is_empty())
}
