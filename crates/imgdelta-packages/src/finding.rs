//! What a layer's database files say, gathered while its stream is read.
//!
//! It never keeps the files themselves.

use super::{
    database::{Database, read_within},
    package::Package,
    path_list::Budget,
};
use imgdelta_core::path::LayerPath;

/// What one entry of a layer says about packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The ordinal of the database file's entry in its layer.
    pub entry: u32,
    /// What the file says.
    pub content: Content,
}

/// What a database file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Packages; none where the file is of the right name but speaks of none.
    Packages(Vec<Package>),
    /// The files of the package that this file lies beside, see [`Files::ListedApart`](super::Files::ListedApart).
    FileList(Vec<LayerPath>),
    /// The file makes no sense, or only in part.
    Broken {
        /// What is wrong with it, for a person.
        what: String,
        /// The packages that could be read all the same.
        packages: Vec<Package>,
    },
}

impl Content {
    /// Makes the content of a file of which nothing can be read.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), packages: Vec::new() }
    }

    /// Returns the packages it names.
    pub fn packages(&self) -> &[Package] {
        match self {
            Self::Packages(packages) | Self::Broken { packages, .. } => packages,
            Self::FileList(_) => &[],
        }
    }

    pub(super) fn new(packages: Vec<Package>, flaw: Option<String>) -> Self {
        match flaw {
            None => Self::Packages(packages),
            Some(what) => Self::Broken { what, packages },
        }
    }
}

/// A layer's findings as they come in, bounded together: however many database files a layer
/// holds, they take no more memory than one may.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    budget: Budget,
}

impl Findings {
    /// Reads one database file's payload and keeps what it says. Past the budget it keeps only
    /// that the file was not read.
    pub fn take(&mut self, entry: u32, database: Database, path: &LayerPath, payload: &[u8]) {
        let content = match self.budget.admit_payload(payload.len()) {
            Ok(()) => read_within(database, path, payload, &mut self.budget),
            Err(what) => Content::broken(what),
        };
        self.push(entry, content);
    }

    /// Keeps what the caller knows of a database file: mostly that it was too large to be caught.
    pub fn push(&mut self, entry: u32, content: Content) {
        self.found.push(Finding { entry, content });
    }

    /// Returns them in the order they came.
    pub fn finish(self) -> Vec<Finding> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_of_endless_lists_takes_bounded_memory() {
        let payload = b"/a/file/in/some/directory\n".repeat(100_000);
        let path = LayerPath::parse(b"var/lib/dpkg/info/a.list");
        let mut findings = Findings::default();
        for entry in 0..60 {
            findings.take(entry, Database::DpkgList, &path, &payload);
        }
        let found = findings.finish();
        assert!(matches!(found[0].content, Content::FileList(_)));
        assert!(matches!(found[59].content, Content::Broken { .. }));
    }
}
