//! A directory as `skopeo copy … dir:DIR` writes it: one image, whose blobs are files named by digest.
//!
//! Links out of the directory are refused, as in a layout.

use super::{
    Descriptor, Store,
    files::{MANIFEST_FILE, read_small, uncompressed},
    source::{BlobFile, ReadAt},
};
use crate::reference::ImageName;
use imgdelta_core::{
    Algorithm, BlobDigest, Context, Error, LimitName, Limits, Result, regular::open_within,
    verify::Hasher,
};
use std::{
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory with one image.
#[derive(Debug)]
pub struct DirectoryImage {
    directory: PathBuf,
    manifest: Descriptor,
    manifest_bytes: Vec<u8>,
}

impl DirectoryImage {
    /// Opens a directory and reads its manifest.
    pub fn open(directory: &Path, limits: &Limits) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct TypedDocument {
            media_type: Option<String>,
        }
        let place = place(directory);
        if !directory.is_dir() {
            return Err(Error::bad_input(place, "no such directory"));
        }
        let Some(file) = open_within(directory, MANIFEST_FILE)? else {
            let what = "not a directory of `skopeo copy … dir:DIR`: manifest.json is missing";
            return Err(Error::bad_input(place, what));
        };
        let ceiling = limits.ceiling(LimitName::ManifestBytes);
        let manifest_bytes = read_small(file, &place, ceiling, "size of the manifest")?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&manifest_bytes);
        let document: TypedDocument = serde_json::from_slice(&manifest_bytes)
            .map_err(|error| Error::bad_input_because(&place, "not a manifest", error))?;
        let (kind, bytes) = (document.media_type.as_deref(), manifest_bytes.len() as u64);
        let manifest = Descriptor::new(kind, hasher.finish_blob(), bytes);
        Ok(Self { directory: directory.to_owned(), manifest, manifest_bytes })
    }

    fn file(&self, digest: &BlobDigest) -> Result<Option<File>> {
        // Manifests of an index have a name of their own.
        for end in ["", ".manifest.json"] {
            let name = format!("{}{end}", digest.hex());
            if let Some(file) = open_within(&self.directory, &name)? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

impl Store for DirectoryImage {
    fn place(&self) -> String {
        place(&self.directory)
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        match name {
            None => Ok(vec![self.manifest.clone()]),
            Some(ImageName::Digest(digest)) if *digest == self.manifest.digest => {
                Ok(vec![self.manifest.clone()])
            }
            Some(name) => {
                let (what, present) = (name.to_string(), Vec::new());
                Err(Error::NotFound { place: self.place(), what, present })
            }
        }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if blob.digest == self.manifest.digest {
            return Ok(Box::new(Cursor::new(self.manifest_bytes.clone())));
        }
        let found = self.file(&blob.digest)?;
        let file = found.ok_or_else(|| {
            let what = format!("blob {}", blob.digest);
            Error::NotFound { place: self.place(), what, present: Vec::new() }
        })?;
        Ok(Box::new(file))
    }

    fn in_place(&self, stream: &Descriptor, _: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let Some(file) = self.file(&stream.digest)? else { return Ok(None) };
        let file = BlobFile::new(file).map_err(Error::io(self.place()))?;
        uncompressed(Arc::new(file), &self.place())
    }

    fn blob_file(&self, blob: &Descriptor) -> Option<PathBuf> {
        Some(self.directory.join(blob.digest.hex()))
    }
}

fn place(directory: &Path) -> String {
    format!("dir:{}", directory.display())
}
