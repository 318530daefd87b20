//! The OCI image layout: a directory, or the same as a tar file read in place.
//!
//! A blob is found by its digest alone; no name in a stranger's file becomes a path.

use super::{Descriptor, Store, members::Members, read_small, roots::Roots, source::ReadAt};
use crate::reference::Name;
use imgdelta_core::{BlobDigest, Error, Limits, Result};
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// An OCI image layout.
#[derive(Debug)]
pub struct Layout {
    place: String,
    files: Files,
    roots: Roots,
}

#[derive(Debug)]
enum Files {
    Directory(PathBuf),
    Archive(Members),
}

impl Layout {
    /// Opens a directory.
    pub fn open_directory(directory: &Path, limits: &Limits) -> Result<Self> {
        let place = format!("oci:{}", directory.display());
        if !directory.is_dir() {
            let what = if directory.exists() { "not a directory" } else { "no such directory" };
            return Err(Error::bad_input(place, what));
        }
        Self::open(Files::Directory(directory.to_owned()), place, limits)
    }

    /// Opens a tar file that holds such a directory; `place` is how errors name it.
    pub fn open_archive(source: Arc<dyn ReadAt>, place: String, limits: &Limits) -> Result<Self> {
        let members = Members::read(source, &place, limits)?;
        Self::from_members(members, place, limits)
    }

    pub(super) fn from_members(members: Members, place: String, limits: &Limits) -> Result<Self> {
        Self::open(Files::Archive(members), place, limits)
    }

    fn open(files: Files, place: String, limits: &Limits) -> Result<Self> {
        let read = |name: &str| match files.open(name, &place)? {
            Some((reader, _)) => {
                read_small(reader, &place, limits.manifest_bytes, "size of a layout file").map(Some)
            }
            None => Ok(None),
        };
        // Some writers leave the version file out; nobody needs it while there is one version.
        if let Some(bytes) = read(LAYOUT_FILE)? {
            let version: Version = serde_json::from_slice(&bytes).map_err(|error| {
                Error::bad_input_because(&place, "oci-layout cannot be parsed", error)
            })?;
            if !version.version.starts_with("1.") {
                let version = imgdelta_core::path::escaped(version.version.as_bytes()).into_owned();
                return Err(Error::bad_input(
                    &place,
                    format_args!("oci-layout has version {version:?}, expected 1.0.0"),
                ));
            }
        }
        let Some(index) = read(INDEX_FILE)? else {
            return Err(Error::bad_input(&place, "not an OCI image layout: index.json is missing"));
        };
        let roots = Roots::parse(&index, &place, limits)?;
        Ok(Self { place, files, roots })
    }

    fn open_blob(&self, digest: &BlobDigest) -> Result<(Box<dyn Read + Send>, u64)> {
        let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        self.files.open(&name, &self.place)?.ok_or_else(|| Error::NotFound {
            place: self.place.clone(),
            what: format!("blob {digest}"),
            present: Vec::new(),
        })
    }
}

impl Store for Layout {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.roots.names())
    }

    fn find(&self, name: Option<&Name>) -> Result<Vec<Descriptor>> {
        if let Some(found) = self.roots.find(name, &self.place)? {
            return Ok(found);
        }
        // A digest that index.json does not list may still be that of a manifest within an index.
        let Some(Name::Digest(digest)) = name else { unreachable!("only digests are left open") };
        match self.open_blob(digest) {
            Ok((_, size_bytes)) => Ok(vec![Descriptor::new(None, *digest, size_bytes)]),
            Err(Error::NotFound { what, .. }) => Err(self.roots.missing(&self.place, what)),
            Err(error) => Err(error),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(self.open_blob(&blob.digest)?.0)
    }
}

impl Files {
    fn open(&self, name: &str, place: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        match self {
            Self::Archive(members) => Ok(members
                .find(name, place)?
                .map(|range| (Box::new(members.open(range)) as Box<dyn Read + Send>, range.1))),
            Self::Directory(directory) => {
                let path = directory.join(name);
                let metadata = match std::fs::metadata(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    outcome => outcome.map_err(Error::io(path.display()))?,
                };
                // Links are followed, some builders lay blobs out so. A pipe would block for ever.
                if !metadata.is_file() {
                    return Err(Error::bad_input(path.display(), "not a regular file"));
                }
                let file = File::open(&path).map_err(Error::io(path.display()))?;
                Ok(Some((Box::new(file), metadata.len())))
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Version {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

pub(super) const INDEX_FILE: &str = "index.json";
pub(super) const LAYOUT_FILE: &str = "oci-layout";
