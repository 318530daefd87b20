//! A sink for an OCI layout, which may exist already.
//! Never removes a blob or another image's tag.
//!
//! Every file gets its name when it is complete, `index.json` last.

use super::{
    AcceptedForm, BlobWriter, LAYOUT_VERSION, OutgoingImage, Sink, TAG_ANNOTATION, blob_path,
    index_entry,
    temporary::{TemporaryFile, sweep, write_whole},
};
use imgdelta_core::{
    Error, LimitName, Limits, Result,
    progress::Progress,
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

impl LayoutSink {
    /// Opens a directory: an OCI layout, an empty directory, or a new one.
    pub(super) fn create(directory: &Path, tag: Option<String>, limits: &Limits) -> Result<Self> {
        let sink =
            Self { directory: directory.to_owned(), tag, limits: limits.clone(), image: None };
        let is_layout = ["oci-layout", "index.json"].iter().any(|name| sink.path(name).exists());
        let is_empty = match fs::read_dir(directory) {
            Ok(mut items) => items.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(Error::io(directory.display())(error)),
        };
        if !is_layout && !is_empty {
            let what = "the directory is not empty and not an OCI layout; name another one";
            return Err(Error::bad_input(sink.place(), what));
        }
        if is_layout {
            sink.index()?;
        }
        Ok(sink)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Reads `index.json`; returns an empty index if there is none.
    fn index(&self) -> Result<Value> {
        let path = self.path("index.json");
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(json!({"schemaVersion": 2, "manifests": []}));
            }
            outcome => outcome.map_err(Error::io(path.display()))?,
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

    fn write_document(&self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
        check.update(bytes)?;
        check.finish()?;
        write_whole(&self.path(&blob_path(blob)), bytes)
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
        let blobs = image.layers.iter().chain([&image.manifest, &image.config]);
        let folders: BTreeSet<&str> = blobs.map(|blob| blob.digest.algorithm().name()).collect();
        for folder in folders {
            let folder = self.path("blobs").join(folder);
            fs::create_dir_all(&folder).map_err(Error::io(folder.display()))?;
            sweep(&folder);
            // Fails now if the directory is not writable, rather than after the work.
            TemporaryFile::in_dir(&folder)?;
        }
        sweep(&self.directory);
        let version = self.path("oci-layout");
        if !version.exists() {
            write_whole(&version, LAYOUT_VERSION)?;
        }
        self.image = Some(image);
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        let path = self.path(&blob_path(blob));
        let Ok(mut file) = File::open(&path) else { return Ok(false) };
        let found = file.metadata().map_err(Error::io(path.display()))?;
        if !found.is_file() || found.len() != blob.size_bytes {
            return Ok(false);
        }
        let mut check = BlobCheck::new(blob.digest, blob.size_bytes);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            progress.check()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(check.finish().is_ok()),
                Ok(count) if check.update(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It is too long or unreadable, so it is written again.
                Ok(_) | Err(_) => return Ok(false),
            }
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let path = self.path(&blob_path(blob));
        let file = TemporaryFile::in_dir(&super::parent(&path))?;
        Ok(Box::new(LayoutWriter { file, path, blob: blob.clone() }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let image = self.image.as_ref().expect("`begin` comes before `finish`");
        self.write_document(&image.config, &image.config_bytes)?;
        self.write_document(&image.manifest, &image.manifest_bytes)?;
        // Two processes that add images at once would lose one of them. The lock is on a file
        // that is never replaced.
        let path = self.path("oci-layout");
        let lock = File::open(&path).map_err(Error::io(path.display()))?;
        let _ = lock.lock();
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
        write_whole(&self.path("index.json"), index.to_string().as_bytes())
    }
}

struct LayoutWriter {
    file: TemporaryFile,
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

/// Large enough that reading is fast compared with hashing.
const BUFFER_BYTES: usize = 256 << 10;
