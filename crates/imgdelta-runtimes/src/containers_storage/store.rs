//! The images of a storage as a store: manifests, configs, and streams of layers.
//! Never compares the digest of a blob, which its reader does.
//!
//! Documents are read once, when the store is opened. A layer that is removed later is an error when
//! it is opened.

use super::{
    documents::{MANIFEST_KEY, StorageDirectory, StorageDriver, StorageImage, StorageLayer},
    options::StorageOptions,
};
use crate::tar_split::TarSplit;
use imgdelta_core::{BlobDigest, Context, DiffId, Error, Result, path::escaped};
use imgdelta_image::{
    reference::{ImageName, full_docker_name, split_digest},
    store::{Descriptor, Store, source::ReadAt},
};
use std::{io::Read, sync::Arc};

/// The images of a storage of podman, CRI-O or buildah.
#[derive(Debug)]
pub struct ContainersStorageStore {
    place: String,
    directories: Vec<StorageDirectory>,
}

/// An image with the directory that has it.
type FoundImage<'a> = (&'a StorageDirectory, &'a StorageImage);

impl ContainersStorageStore {
    /// Reads the lists of images and layers, under the locks of the storage.
    pub fn open(options: &StorageOptions) -> Result<Self> {
        let place = format!("containers-storage:[{}]", options.root.display());
        let driver = match options.driver.as_deref() {
            None => None,
            Some(name) => Some(StorageDriver::named(name).ok_or_else(|| {
                let name = escaped(name.as_bytes());
                let what = format!(
                    "driver {name:?} is not supported, only overlay and vfs; save the image with \
                     `podman save IMAGE -o FILE` and name docker-archive:FILE"
                );
                Error::bad_input(&place, what)
            })?),
        };
        let mut directories = Vec::new();
        for root in [&options.root].into_iter().chain(&options.additional_roots) {
            directories.extend(StorageDirectory::read(root, driver)?);
        }
        if directories.is_empty() {
            let what = "no storage of podman, CRI-O or buildah is there; name another one in \
                        brackets, as in containers-storage:[/srv/storage]app:1";
            return Err(Error::bad_input(&place, what));
        }
        Ok(Self { place, directories })
    }

    fn images(&self) -> impl Iterator<Item = FoundImage<'_>> {
        self.directories.iter().flat_map(|one| one.images.iter().map(move |image| (one, image)))
    }

    /// Returns the image of a name, of a name with an id, or of an id.
    fn named(&self, text: &str) -> Option<FoundImage<'_>> {
        let (name, id) = match text.rsplit_once('@') {
            Some((name, id)) if !id.contains(':') => (name, Some(id)),
            _ => (text, None),
        };
        let has_id = |image: &StorageImage| id.is_none_or(|id| image.id.starts_with(id));
        if name.is_empty() {
            return self.with_id(id?);
        }
        let tagged = if name.contains('@') || name.rsplit('/').next()?.contains(':') {
            name.to_owned()
        } else {
            format!("{name}:latest")
        };
        // podman names what it builds `localhost/NAME`.
        for wanted in [name.to_owned(), full_docker_name(name), format!("localhost/{tagged}")] {
            let has_name =
                |image: &StorageImage| image.names.iter().flatten().any(|n| *n == wanted);
            let found = self.images().find(|(_, image)| has_name(image) && has_id(image));
            if found.is_some() {
                return found;
            }
        }
        if id.is_some() { None } else { self.with_id(name) }
    }

    /// Returns the only image whose id begins so.
    fn with_id(&self, id: &str) -> Option<FoundImage<'_>> {
        if id.len() < LEAST_ID_CHARS {
            return None;
        }
        let mut found = self.images().filter(|(_, image)| image.id.starts_with(id));
        let first = found.next()?;
        found.all(|(_, image)| image.id == first.1.id).then_some(first)
    }

    /// Returns the manifest or index of an image with this digest. `name` must be a name of the image.
    fn digested(&self, digest: &BlobDigest, name: Option<&str>) -> Option<Descriptor> {
        let text = digest.to_string();
        let repository = name.map(full_docker_name).map(|name| repository_of(&name).to_owned());
        let has_name = |image: &StorageImage| {
            let Some(repository) = &repository else { return true };
            image.names.iter().flatten().any(|name| repository_of(name) == repository)
        };
        self.images().filter(|(_, image)| has_name(image)).find_map(|(_, image)| {
            let bytes = image.data_bytes(image.key_of(&text)?)?;
            Some(Descriptor::new(None, *digest, bytes))
        })
    }

    fn manifest_of(&self, (_, image): FoundImage<'_>) -> Result<Descriptor> {
        let digest = image.manifest_digest().and_then(|digest| digest.parse().ok());
        let Some((digest, bytes)) = digest.zip(image.data_bytes(MANIFEST_KEY)) else {
            let what = format!("image {} has no manifest", escaped(image.id.as_bytes()));
            return Err(Error::bad_input(&self.place, what));
        };
        Ok(Descriptor::new(None, digest, bytes))
    }

    /// Returns the layers with a diff id, with their directories.
    fn layers<'a>(&'a self, diff_id: &'a str) -> Vec<(&'a StorageDirectory, &'a StorageLayer)> {
        let mut layers = Vec::new();
        for directory in &self.directories {
            layers.extend(directory.layers_of(diff_id).map(|layer| (directory, layer)));
        }
        layers
    }

    /// Opens the stream of the first layer that has its tar-split and directory.
    fn open_stream(&self, digest: &str) -> Result<Option<Box<dyn Read + Send>>> {
        let mut failure = None;
        for (directory, layer) in self.layers(digest) {
            let stream = directory.open_tar_split(layer).and_then(|(file, place)| {
                let name = format!("layer {digest}");
                TarSplit::new(file, place).assemble(&directory.files_of(layer), &name)
            });
            match stream {
                Ok(stream) => return Ok(Some(Box::new(stream))),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn place_stream(&self, digest: &str, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let Some((directory, layer)) = self.layers(digest).first().copied() else {
            return Ok(None);
        };
        let (file, place) = directory.open_tar_split(layer)?;
        let stream = TarSplit::new(file, place).place(&directory.files_of(layer), context)?;
        Ok(Some(Arc::new(stream)))
    }

    fn open_document(&self, digest: &str) -> Result<Option<Box<dyn Read + Send>>> {
        for (directory, image) in self.images() {
            let Some(key) = image.key_of(digest) else { continue };
            if let Some(file) = directory.open_data(image, key)? {
                return Ok(Some(Box::new(file)));
            }
        }
        Ok(None)
    }

    /// True if the first storage has a layer that was unpacked from this blob.
    pub(super) fn has_unpacked(&self, blob: &BlobDigest) -> bool {
        let text = blob.to_string();
        let is_it = |layer: &StorageLayer| {
            [&layer.blob_digest, &layer.diff_digest].into_iter().flatten().any(|one| *one == text)
        };
        self.directories[0].layers.iter().any(is_it)
    }

    /// Returns the digest of the manifest of the image with this whole id.
    pub(super) fn manifest_digest(&self, id: &str) -> Option<&str> {
        let image = self.directories[0].images.iter().find(|image| image.id == id)?;
        image.manifest_digest()
    }

    /// Returns the driver of the first storage.
    pub(super) fn driver(&self) -> StorageDriver {
        self.directories[0].driver
    }

    fn missing(&self, what: String, present: Vec<String>) -> Error {
        Error::NotFound { place: self.place.clone(), what, present }
    }
}

impl Store for ContainersStorageStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (_, image) in self.images() {
            let known = image.names.iter().flatten();
            let before = names.len();
            names.extend(known.map(|name| escaped(name.as_bytes()).into_owned()));
            if names.len() == before {
                names.push(format!("@{}", escaped(image.id.as_bytes())));
            }
        }
        Ok(names)
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let found = match name {
            Some(ImageName::Tag(text)) => match self.named(text) {
                Some(image) => Some(self.manifest_of(image)?),
                None => match split_digest(text) {
                    Ok((name, Some(digest))) => self.digested(&digest, Some(name)),
                    _ => None,
                },
            },
            Some(ImageName::Digest(digest)) => self.digested(digest, None),
            Some(ImageName::Ordinal(_)) => {
                let what = "images of a storage have names, ids and digests, not positions";
                return Err(Error::bad_input(&self.place, what));
            }
            None => {
                let mut images = self.images();
                match (images.next(), images.next()) {
                    (Some(only), None) => Some(self.manifest_of(only)?),
                    _ => None,
                }
            }
        };
        if let Some(found) = found {
            return Ok(vec![found]);
        }
        let what = name.map_or_else(|| "the only image".into(), ToString::to_string);
        Err(self.missing(what, self.names()?))
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let digest = blob.digest.to_string();
        if let Some(document) = self.open_document(&digest)? {
            return Ok(document);
        }
        match self.open_stream(&digest)? {
            Some(stream) => Ok(stream),
            None => Err(self.missing(format!("blob {digest}"), Vec::new())),
        }
    }

    fn stored_stream(&self, _: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        let text = diff_id.to_string();
        let layers = self.layers(&text);
        let Some((directory, layer)) = layers.first() else { return Ok(None) };
        let known = layer.diff_size.and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = if let Some(bytes) = known.filter(|bytes| *bytes > 0) {
            bytes
        } else {
            let (file, place) = directory.open_tar_split(layer)?;
            TarSplit::new(file, place).stream_bytes()?
        };
        Ok(Some(Descriptor::of_stream(diff_id, bytes)))
    }

    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        self.place_stream(&stream.digest.to_string(), context)
    }
}

/// Returns a full name without its tag or digest.
fn repository_of(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// Shorter beginnings of ids are rather names.
const LEAST_ID_CHARS: usize = 6;
