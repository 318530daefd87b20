//! A sink for an OCI layout, which may exist already.
//! Never removes a blob or another image's tag.
//!
//! Every file gets its name when it is complete, `oci-layout` first, `index.json` last. A run that ends
//! in between leaves a directory that the next run continues. Several runs may write one layout.

use super::{
    AcceptedForm, BlobWriter, LAYOUT_VERSION, OutgoingImage, Sink, TAG_ANNOTATION, blob_path,
    index_entry,
};
use imgdelta_core::{
    Error, LimitName, Limits, Result,
    durable::{create_directory, parent, sync_directory},
    progress::Progress,
    regular::open_within,
    unfinished::{UnfinishedFile, UnfinishedKind, write_if_absent, write_whole},
    verify::{BlobCheck, VerifiedBlob},
};
use imgdelta_image::store::Descriptor;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// An OCI layout for one image.
#[derive(Debug)]
pub(super) struct LayoutSink {
    directory: PathBuf,
    tag: Option<String>,
    limits: Limits,
    image: Option<OutgoingImage>,
}

/// Content of a directory that may become a layout.
enum LayoutContent {
    Layout,
    /// Nothing except parts of a layout that a run began.
    None,
    Foreign,
}

impl LayoutSink {
    /// Opens a directory: an OCI layout, an empty one, a new one, or one that a run began to fill.
    pub(super) fn create(directory: &Path, tag: Option<String>, limits: &Limits) -> Result<Self> {
        let sink =
            Self { directory: directory.to_owned(), tag, limits: limits.clone(), image: None };
        match sink.content()? {
            LayoutContent::Layout => drop(sink.index()?),
            LayoutContent::None => {}
            LayoutContent::Foreign => {
                let what = "the directory is not empty and not an OCI layout; name another one";
                return Err(Error::bad_input(sink.place(), what));
            }
        }
        Ok(sink)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn content(&self) -> Result<LayoutContent> {
        let place = || self.directory.display();
        let items = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LayoutContent::None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(Error::bad_input(self.place(), "a file, not a directory"));
            }
            outcome => outcome.map_err(Error::io(place()))?,
        };
        let mut content = LayoutContent::None;
        for item in items {
            let name = item.map_err(Error::io(place()))?.file_name();
            if name == VERSION_FILE || name == INDEX_FILE {
                return Ok(LayoutContent::Layout);
            }
            // The parts that a run makes before it makes a layout of them.
            if name != BLOBS_DIRECTORY && !UnfinishedKind::Layout.is_name(&name) {
                content = LayoutContent::Foreign;
            }
        }
        Ok(content)
    }

    /// Opens a file of the layout; `None` if nothing is there.
    fn open(&self, name: &str) -> Result<Option<File>> {
        open_within(&self.directory, name)
    }

    /// Creates the directories of the blobs. Syncs every directory up to the parent of the layout
    /// until an image shows that an earlier run did so.
    fn create_directories(&self, image: &OutgoingImage) -> Result<()> {
        create_directory(&self.directory)?;
        let root = fs::canonicalize(&self.directory).map_err(Error::io(self.place()))?;
        let is_new = self.open(INDEX_FILE)?.is_none();
        if is_new {
            sync_directory(&parent(&root))?;
        }
        // First of all files, so that every later step is in a layout.
        if self.open(VERSION_FILE)?.is_none() {
            write_if_absent(&self.path(VERSION_FILE), LAYOUT_VERSION, UnfinishedKind::Layout)?;
        }
        let named = image.layers.iter().chain([&image.manifest, &image.config]);
        let algorithms: BTreeSet<&str> = named.map(|blob| blob.digest.algorithm().name()).collect();
        let blobs = self.path(BLOBS_DIRECTORY);
        create_inside(&root, &blobs)?;
        for algorithm in algorithms {
            let folder = blobs.join(algorithm);
            create_inside(&root, &folder)?;
            // Fails now if the directory is not writable, rather than after the work.
            UnfinishedFile::in_directory(&folder, UnfinishedKind::Layout)?.sweep_neighbours();
        }
        UnfinishedFile::in_directory(&root, UnfinishedKind::Layout)?.sweep_neighbours();
        if is_new {
            sync_directory(&blobs)?;
            sync_directory(&root)?;
        }
        Ok(())
    }

    /// Reads `index.json`; returns an empty index if there is none.
    fn index(&self) -> Result<Value> {
        let path = self.path(INDEX_FILE);
        let Some(file) = self.open(INDEX_FILE)? else {
            return Ok(json!({"schemaVersion": 2, "manifests": []}));
        };
        let mut bytes = Vec::new();
        let limit = self.limits.manifest_bytes;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path.display()))?;
        self.limits.admit(
            LimitName::ManifestBytes,
            bytes.len() as u64,
            "size of index.json",
            path.display(),
        )?;
        let index: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Error::bad_input_because(path.display(), "index.json cannot be parsed", error)
        })?;
        if !index.get("manifests").is_some_and(Value::is_array) {
            return Err(Error::bad_input(path.display(), "index.json has no list of manifests"));
        }
        Ok(index)
    }

    /// Opens the file of a blob; `None` if it must be written.
    fn open_blob(&self, blob: &Descriptor) -> Result<Option<File>> {
        match self.open(&blob_path(blob)) {
            // An unreadable file is replaced.
            Err(Error::Io { .. }) => Ok(None),
            outcome => outcome,
        }
    }

    fn write_document(&self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
        check.update(bytes)?;
        check.finish()?;
        write_whole(&self.path(&blob_path(blob)), bytes, UnfinishedKind::Layout)
    }
}

impl Sink for LayoutSink {
    fn place(&self) -> String {
        format!("oci:{}", self.directory.display())
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        self.create_directories(&image)?;
        // A pipe, a directory or a link out of the layout is refused before the work.
        for blob in image.layers.iter().chain([&image.manifest, &image.config]) {
            self.open_blob(blob)?;
        }
        self.image = Some(image);
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        let Some(file) = self.open_blob(blob)? else { return Ok(false) };
        if file.metadata().map_err(Error::io(self.place()))?.len() != blob.size_bytes {
            return Ok(false);
        }
        let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        loop {
            progress.check()?;
            buffer.clear();
            match (&file).take(BUFFER_BYTES as u64).read_to_end(&mut buffer) {
                Ok(0) => return Ok(check.finish().is_ok()),
                Ok(_) if check.update(&buffer).is_ok() => {}
                // It is too long or unreadable, so it is written again.
                Ok(_) | Err(_) => return Ok(false),
            }
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let path = self.path(&blob_path(blob));
        let file = UnfinishedFile::in_directory(&parent(&path), UnfinishedKind::Layout)?;
        Ok(Box::new(LayoutWriter { file, path, blob: blob.clone() }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let image = self.image.as_ref().expect("`begin` comes before `finish`");
        self.write_document(&image.config, &image.config_bytes)?;
        self.write_document(&image.manifest, &image.manifest_bytes)?;
        // Two processes that add images at once would lose one of them. The lock is on a file that
        // is never replaced. On a file system without locks the last process wins.
        let lock = self.open(VERSION_FILE)?;
        let _ = lock.as_ref().map(File::lock);
        let mut index = self.index()?;
        let entry = index_entry(&image.manifest, self.tag.as_deref());
        let entries = index["manifests"].as_array_mut().expect("checked in `index`");
        let name = |entry: &Value| entry["annotations"][TAG_ANNOTATION].as_str().map(str::to_owned);
        match &self.tag {
            Some(_) => entries.retain(|other| name(other) != self.tag),
            None => {
                entries.retain(|other| name(other).is_some() || other["digest"] != entry["digest"]);
            }
        }
        entries.push(entry);
        let bytes = index.to_string();
        write_whole(&self.path(INDEX_FILE), bytes.as_bytes(), UnfinishedKind::Layout)
    }
}

/// Creates a directory whose parent lies inside the layout; refuses a link that leaves it.
fn create_inside(root: &Path, directory: &Path) -> Result<()> {
    create_directory(directory)?;
    let real = fs::canonicalize(directory).map_err(Error::io(directory.display()))?;
    if real.starts_with(root) {
        return Ok(());
    }
    let what = "a link out of the layout; replace it with a directory";
    Err(Error::bad_input(directory.display(), what))
}

struct LayoutWriter {
    file: UnfinishedFile,
    path: PathBuf,
    blob: Descriptor,
}

impl BlobWriter for LayoutWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.file().write_all(bytes).map_err(Error::io(self.path.display()))
    }

    fn finish(self: Box<Self>, proof: VerifiedBlob) -> Result<()> {
        assert_eq!(proof.digest(), self.blob.digest, "the proof is of another blob");
        self.file.publish(&self.path)
    }
}

const VERSION_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const BLOBS_DIRECTORY: &str = "blobs";

/// Large enough that reading is fast compared with hashing.
const BUFFER_BYTES: usize = 256 << 10;
