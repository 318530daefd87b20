//! The content of package databases, one finding for each file.
//! Never keeps the files themselves.

use crate::package::Package;
use imgdelta_core::path::LayerPath;

/// The content of one database file in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Ordinal of the file's entry in its layer.
    pub entry: u32,
    /// Content of the file.
    pub content: DatabaseContent,
}

/// The content of a database file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseContent {
    /// Packages; none if the file has the right name and no package.
    Packages(Vec<Package>),
    /// The files of one package: see [`PackageFiles::ListedApart`](crate::PackageFiles::ListedApart).
    FileList(Vec<LayerPath>),
    /// The file is not valid, or only in part.
    Broken {
        /// Description of the fault.
        what: String,
        /// The packages that are readable nevertheless.
        packages: Vec<Package>,
    },
}

impl DatabaseContent {
    /// Returns the content of a file that is not readable at all.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), packages: Vec::new() }
    }

    /// Returns the packages of the file.
    pub fn packages(&self) -> &[Package] {
        match self {
            Self::Packages(packages) | Self::Broken { packages, .. } => packages,
            Self::FileList(_) => &[],
        }
    }

    /// Returns packages, as the content of a broken file if there is a flaw.
    pub(crate) fn new(packages: Vec<Package>, flaw: Option<String>) -> Self {
        match flaw {
            None => Self::Packages(packages),
            Some(what) => Self::Broken { what, packages },
        }
    }
}
