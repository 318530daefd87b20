//! A sink that stages an image in a storage: exact blobs in a layout, which skopeo copies.
//! Never gives the image a name, and never writes the storage's files.
//!
//! The storage remembers the blob that each layer was unpacked from, so the pull that follows fetches
//! manifest and config only. Uncompressed streams would need a second record, that a blob has this
//! stream. Such a record counts for every image of the machine, and an image's author could claim it
//! of another image's blob. So blobs are made, and skopeo computes both digests.

use super::{options::StorageOptions, store::ContainersStorageStore};
use crate::{engine, layer_folder::LayerFolder};
use imgdelta_apply::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{Error, Result, durable::create_directory, progress::Progress};
use imgdelta_image::store::Descriptor;
use serde_json::json;
use std::{ffi::OsString, io, path::PathBuf};

/// Stages one image in a storage of podman, CRI-O or buildah.
#[derive(Debug)]
pub struct ContainersStorageSink {
    options: StorageSinkOptions,
    store: ContainersStorageStore,
    image: Option<(OutgoingImage, LayerFolder)>,
}

/// Options for staging in a storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StorageSinkOptions {
    /// The storage.
    pub storage: StorageOptions,
    /// The program. The default is `skopeo`, searched as a shell does.
    pub program: PathBuf,
    /// A directory for blobs on their way. Its path has no colon.
    pub scratch: PathBuf,
}

impl StorageSinkOptions {
    /// Returns the options of a storage, with a directory for blobs on their way.
    pub fn new(storage: StorageOptions, scratch: impl Into<PathBuf>) -> Self {
        Self { storage, program: "skopeo".into(), scratch: scratch.into() }
    }

    /// Sets the program.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }
}

impl ContainersStorageSink {
    /// Opens the storage. A program that is missing is reported now, before any work.
    pub fn new(options: StorageSinkOptions) -> Result<Self> {
        create_directory(&options.scratch)?;
        engine::run(&options.program, &["--version"], &options.scratch)?;
        let store = ContainersStorageStore::open(&options.storage)?;
        Ok(Self { options, store, image: None })
    }

    fn begun(&self) -> &(OutgoingImage, LayerFolder) {
        self.image.as_ref().expect("`begin` comes first")
    }

    /// Returns the image of an id in the storage, as skopeo names it.
    fn destination(&self, id: &str) -> OsString {
        let mut text = OsString::from("containers-storage:");
        let storage = &self.options.storage;
        if !storage.is_configured {
            text.push(format!("[{}@", self.store.driver().name()));
            text.push(&storage.root);
            if let Some(run_root) = &storage.run_root {
                text.push("+");
                text.push(run_root);
            }
            text.push("]");
        }
        text.push(format!("@{id}"));
        text
    }

    /// Has skopeo copy the layout, and compares the image in the storage with it.
    fn copy(&self, image: &OutgoingImage, folder: &LayerFolder) -> Result<()> {
        let id = image.config.digest.hex();
        let mut source = OsString::from("oci:");
        source.push(folder.path());
        source.push(format!(":{TAG}"));
        // The policy for signatures is applied by the pull that follows. It may refuse local files.
        let words = ["--insecure-policy", "copy", "--quiet", "--preserve-digests"];
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.extend([source, self.destination(&id)]);
        engine::run(&self.options.program, &arguments, folder.path())?;
        let found = ContainersStorageStore::open(&self.options.storage)?;
        if found.manifest_digest(&id) == Some(&image.manifest.digest.to_string()) {
            return Ok(());
        }
        let what = format!("copied image {id} to another storage than {}", self.place());
        Err(Error::io(self.options.program.display())(io::Error::other(what)))
    }
}

impl Sink for ContainersStorageSink {
    fn place(&self) -> String {
        format!("containers-storage ({})", self.options.storage.root.display())
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, image: OutgoingImage) -> Result<()> {
        let folder = LayerFolder::create(&self.options.scratch)?;
        let tag = json!({ "org.opencontainers.image.ref.name": TAG });
        let root = json!({
            "mediaType": image.manifest.media_type(),
            "digest": image.manifest.digest.to_string(),
            "size": image.manifest.size_bytes,
            "annotations": tag,
        });
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        folder.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        folder.write("index.json", index.to_string().as_bytes())?;
        folder.write_blob(&image.manifest.digest, &image.manifest_bytes)?;
        folder.write_blob(&image.config.digest, &image.config_bytes)?;
        self.image = Some((image, folder));
        Ok(())
    }

    fn has(&self, blob: &Descriptor, progress: &dyn Progress) -> Result<bool> {
        progress.check()?;
        Ok(self.store.has_unpacked(&blob.digest))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        self.begun().1.writer(&blob.digest)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let (image, folder) = self.image.take().expect("`begin` comes first");
        let is_missing = |layer: &&Descriptor| {
            !folder.has(&layer.digest) && !self.store.has_unpacked(&layer.digest)
        };
        if let Some(layer) = image.layers.iter().find(is_missing) {
            let what = format!("layer {} was not written", layer.digest);
            return Err(Error::bad_input(self.place(), what));
        }
        self.copy(&image, &folder)
    }
}

/// Name of the image in the layout.
const TAG: &str = "staged";
