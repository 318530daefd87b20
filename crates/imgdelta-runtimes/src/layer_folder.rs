//! Layers in a folder of files, on their way into an engine.
//! Never makes a file visible before its digest was verified, and leaves nothing behind.

use imgdelta_apply::sink::BlobWriter;
use imgdelta_core::{BlobDigest, Error, Result, durable::create_directory, verify::VerifiedBlob};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A folder with a file for each layer, named by its digest as in an OCI layout. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct LayerFolder {
    folder: TempDir,
}

impl LayerFolder {
    /// Creates a folder in a directory, which is created if it is not there.
    pub fn create(directory: &Path) -> Result<Self> {
        create_directory(directory)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(directory);
        Ok(Self { folder: folder.map_err(Error::io(directory.display()))? })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the file of a layer.
    pub fn file(&self, digest: &BlobDigest) -> PathBuf {
        self.path().join(BLOBS).join(digest.algorithm().name()).join(digest.hex())
    }

    /// True if the layer is complete.
    pub fn has(&self, digest: &BlobDigest) -> bool {
        self.file(digest).is_file()
    }

    /// Starts to write a layer.
    pub fn writer(&self, digest: &BlobDigest) -> Result<Box<dyn BlobWriter + '_>> {
        let path = self.file(digest);
        let folder = path.parent().expect("a path in the folder");
        create_directory(folder)?;
        let file = tempfile::NamedTempFile::new_in(self.path());
        let file = file.map_err(Error::io(self.path().display()))?;
        Ok(Box::new(FileWriter { file, path, digest: *digest }))
    }

    /// Writes a small document under its digest.
    pub fn write_blob(&self, digest: &BlobDigest, bytes: &[u8]) -> Result<()> {
        write_file(&self.file(digest), bytes)
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_file(&self.path().join(name), bytes)
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    create_directory(path.parent().expect("a path in the folder"))?;
    fs::write(path, bytes).map_err(Error::io(path.display()))
}

/// Writes one layer.
struct FileWriter {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    digest: BlobDigest,
}

impl BlobWriter for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file: &mut File = self.file.as_file_mut();
        file.write_all(bytes).map_err(Error::io(self.path.display()))
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        assert_eq!(proof.digest(), self.digest, "the proof is of another layer");
        let place = self.path.display().to_string();
        let moved = self.file.persist(&self.path);
        moved.map(drop).map_err(|error| Error::io(place)(error.error))
    }
}

const BLOBS: &str = "blobs";
const PREFIX: &str = "staging-";
