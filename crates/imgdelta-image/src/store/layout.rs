//! The OCI image layout: a directory, or a tar file of it that is read in place.
//!
//! The digest alone locates a blob; no name in a hostile file becomes a path. Some builders link to
//! blobs: links inside the directory are followed, and links out of it are refused.

use super::{
    Descriptor, Store,
    files::{INDEX_FILE, LAYOUT_FILE, MANIFEST_FILE, archive_transport, read_small, uncompressed},
    members::Members,
    roots::LayoutRoots,
    source::{BlobFile, ReadAt},
};
use crate::reference::ImageName;
use imgdelta_core::{BlobDigest, Context, Error, LimitName, Limits, Result, regular::open_within};
use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An OCI image layout.
#[derive(Debug)]
pub struct OciLayout {
    place: String,
    files: LayoutFiles,
    roots: LayoutRoots,
}

#[derive(Debug)]
enum LayoutFiles {
    Directory(PathBuf),
    Archive(Members),
}

impl OciLayout {
    /// Opens a directory.
    pub fn open_directory(directory: &Path, limits: &Limits) -> Result<Self> {
        let place = format!("oci:{}", directory.display());
        if !directory.exists() {
            return Err(Error::bad_input(place, "no such directory"));
        }
        if !directory.is_dir() {
            let what = match archive_transport(directory, limits) {
                Some(transport) => format!(
                    "an archive, not a directory; name it {transport}{}",
                    directory.display()
                ),
                None => "not a directory".to_owned(),
            };
            return Err(Error::bad_input(place, what));
        }
        Self::open(LayoutFiles::Directory(directory.to_owned()), place, limits)
    }

    /// Opens a tar file of such a directory; errors name it by `place`.
    pub fn open_archive(source: Arc<dyn ReadAt>, place: String, limits: &Limits) -> Result<Self> {
        let members = Members::read(source, &place, limits)?;
        Self::from_members(members, place, limits)
    }

    pub(super) fn from_members(members: Members, place: String, limits: &Limits) -> Result<Self> {
        Self::open(LayoutFiles::Archive(members), place, limits)
    }

    fn open(files: LayoutFiles, place: String, limits: &Limits) -> Result<Self> {
        let read = |name: &str| match files.open(name, &place)? {
            Some((reader, _)) => read_small(
                reader,
                &place,
                limits.ceiling(LimitName::ManifestBytes),
                "size of a layout file",
            )
            .map(Some),
            None => Ok(None),
        };
        // Some writers omit the version file; with a single version nothing depends on it.
        if let Some(bytes) = read(LAYOUT_FILE)? {
            let version: LayoutVersion = serde_json::from_slice(&bytes).map_err(|error| {
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
            return Err(Error::bad_input(&place, not_a_layout(&files, &place)));
        };
        let roots = LayoutRoots::parse(&index, &place, limits)?;
        Ok(Self { place, files, roots })
    }

    fn open_blob(&self, digest: &BlobDigest) -> Result<(Box<dyn Read + Send>, u64)> {
        let name = blob_name(digest);
        self.files.open(&name, &self.place)?.ok_or_else(|| Error::NotFound {
            place: self.place.clone(),
            what: format!("blob {digest}"),
            present: Vec::new(),
        })
    }
}

impl Store for OciLayout {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.roots.names())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        if let Some(found) = self.roots.find(name, &self.place)? {
            return Ok(found);
        }
        // index.json need not list the digest: it may be that of a manifest inside an index.
        let Some(ImageName::Digest(digest)) = name else {
            unreachable!("only a digest may be absent")
        };
        match self.open_blob(digest) {
            Ok((_, size_bytes)) => Ok(vec![Descriptor::new(None, *digest, size_bytes)]),
            Err(Error::NotFound { what, .. }) => Err(self.roots.missing(&self.place, what)),
            Err(error) => Err(error),
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(self.open_blob(&blob.digest)?.0)
    }

    fn in_place(&self, stream: &Descriptor, _: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let found = self.files.in_place(&blob_name(&stream.digest), &self.place)?;
        found.map_or(Ok(None), |blob| uncompressed(blob, &self.place))
    }

    fn blob_file(&self, blob: &Descriptor) -> Option<PathBuf> {
        match &self.files {
            LayoutFiles::Directory(directory) => Some(directory.join(blob_name(&blob.digest))),
            LayoutFiles::Archive(_) => None,
        }
    }
}

impl LayoutFiles {
    fn open(&self, name: &str, place: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        match self {
            Self::Archive(members) => Ok(members
                .find(name, place)?
                .map(|range| (Box::new(members.open(range)) as Box<dyn Read + Send>, range.1))),
            Self::Directory(directory) => {
                let Some(file) = open_within(directory, name)? else { return Ok(None) };
                let metadata = file.metadata();
                let size_bytes = metadata.map_err(Error::io(directory.join(name).display()))?.len();
                Ok(Some((Box::new(file), size_bytes)))
            }
        }
    }

    fn in_place(&self, name: &str, place: &str) -> Result<Option<Arc<dyn ReadAt>>> {
        match self {
            Self::Archive(members) => {
                Ok(members.find(name, place)?.map(|range| members.in_place(range)))
            }
            Self::Directory(directory) => {
                let Some(file) = open_within(directory, name)? else { return Ok(None) };
                Ok(Some(Arc::new(BlobFile::new(file).map_err(Error::io(place))?)))
            }
        }
    }
}

fn blob_name(digest: &BlobDigest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Returns the error text for files without an `index.json`.
fn not_a_layout(files: &LayoutFiles, place: &str) -> String {
    match files {
        LayoutFiles::Archive(members) if members.contains(MANIFEST_FILE) => {
            let file = place.strip_prefix("oci-archive:").unwrap_or(place);
            format!("a docker archive, not an OCI archive; name it docker-archive:{file}")
        }
        _ => "not an OCI image layout: index.json is missing".to_owned(),
    }
}

#[derive(serde::Deserialize)]
struct LayoutVersion {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}
