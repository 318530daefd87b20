//! containerd's images as a store: names, manifests, and the blobs that its content store keeps.
//! Never compares a digest, which the reader of a blob does.
//!
//! A blob is read in place if the directory of the content store can be read here, which saves a copy
//! through the socket. Otherwise containerd sends it.

use super::{
    Containerd,
    content::{self, ContentReader},
};
use imgdelta_core::{Error, Result, path::escaped, regular::open_within};
use imgdelta_image::{
    reference::{ImageName, full_docker_name, split_digest},
    store::{Descriptor, Store},
};
use std::{
    io::Read,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The images of a namespace of containerd.
#[derive(Debug)]
pub struct ContainerdStore {
    containerd: Containerd,
    reads_in_place: bool,
    directory: OnceLock<Option<PathBuf>>,
    opened_in_place: AtomicUsize,
}

impl ContainerdStore {
    /// Makes a store; asks for nothing.
    pub fn new(containerd: Containerd) -> Self {
        Self {
            containerd,
            reads_in_place: true,
            directory: OnceLock::new(),
            opened_in_place: AtomicUsize::new(0),
        }
    }

    /// Sets if blobs are read from the directory of the content store; true by default.
    #[must_use]
    pub fn reads_in_place(mut self, reads_in_place: bool) -> Self {
        self.reads_in_place = reads_in_place;
        self
    }

    /// Returns the number of blobs that were opened in the directory of the content store.
    pub fn opened_in_place(&self) -> usize {
        self.opened_in_place.load(Ordering::Relaxed)
    }

    /// Returns the connection.
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    fn size(&self, blob: &Descriptor) -> Result<Option<u64>> {
        let digest = blob.digest;
        self.containerd.connection.call(|connection| content::size(connection, digest))
    }

    /// Opens a blob's file in the content store; `None` if it cannot be read here.
    fn open_file(&self, blob: &Descriptor) -> Option<Box<dyn Read + Send>> {
        let directory = self.directory.get_or_init(|| {
            // A containerd that does not answer this still sends blobs.
            let answer = self.containerd.connection.call(content::directory);
            answer.ok().flatten().filter(|_| self.reads_in_place)
        });
        let name = format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex());
        let file = open_within(directory.as_ref()?, &name).ok()??;
        // Another machine's directory may have this path, with another file or none.
        if file.metadata().ok()?.len() != blob.size_bytes {
            return None;
        }
        self.opened_in_place.fetch_add(1, Ordering::Relaxed);
        Some(Box::new(file))
    }

    fn named(&self, name: &str) -> Result<Option<Descriptor>> {
        if let Some(image) = self.containerd.image(name)? {
            return Ok(Some(image.target));
        }
        let full = full_docker_name(name);
        if full != name
            && let Some(image) = self.containerd.image(&full)?
        {
            return Ok(Some(image.target));
        }
        // An image that was pulled by tag has no name with its digest.
        match split_digest(name) {
            Ok((_, Some(digest))) => self.target(&Descriptor::new(None, digest, 0)),
            _ => Ok(None),
        }
    }

    /// Returns a manifest or index with its size; `None` if it is not here.
    fn target(&self, blob: &Descriptor) -> Result<Option<Descriptor>> {
        let size_bytes = self.size(blob)?;
        Ok(size_bytes.map(|size_bytes| Descriptor::new(None, blob.digest, size_bytes)))
    }
}

impl Store for ContainerdStore {
    fn place(&self) -> String {
        self.containerd.connection.place().to_owned()
    }

    fn names(&self) -> Result<Vec<String>> {
        let images = self.containerd.images()?;
        Ok(images.iter().map(|image| escaped(image.name.as_bytes()).into_owned()).collect())
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let found = match name {
            Some(ImageName::Tag(name)) => self.named(name)?,
            Some(ImageName::Digest(digest)) => self.target(&Descriptor::new(None, *digest, 0))?,
            Some(ImageName::Ordinal(_)) => {
                let what = "images in containerd have names and digests, not positions";
                return Err(Error::bad_input(self.place(), what));
            }
            None => match self.containerd.images()?.as_slice() {
                [image] => Some(image.target.clone()),
                _ => None,
            },
        };
        if let Some(found) = found {
            return Ok(vec![found]);
        }
        let what = name.map_or_else(|| "the only image".into(), ToString::to_string);
        Err(Error::NotFound { place: self.place(), what, present: self.names()? })
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        // A namespace has the blobs that it pulled; the directory has those of all namespaces.
        if self.size(blob)?.is_none() {
            let what = format!("blob {}", blob.digest);
            return Err(Error::NotFound { place: self.place(), what, present: Vec::new() });
        }
        if let Some(file) = self.open_file(blob) {
            return Ok(file);
        }
        let connection = &self.containerd.connection;
        let reader = ContentReader::open(connection, &blob.digest);
        Ok(Box::new(reader.map_err(|error| connection.error(error))?))
    }
}
