//! containerd's images as a store: names, manifests, and the blobs that its content store keeps.
//! Never compares a digest, which the reader of a blob does.
//!
//! A blob is read in place if the directory of the content store can be read here, which saves a copy
//! through the socket. Otherwise containerd sends it. A layer without a blob is put together from its
//! frames, if they are kept, and the files of its snapshot.

use super::{
    Containerd,
    content::{self, ContentReader},
    view::SnapshotView,
};
use crate::frames::{AssembledStream, FrameReader, FrameStore, PlacedStream};
use imgdelta_core::{Context, DiffId, Error, Result, path::escaped, regular::open_within};
use imgdelta_image::{
    image::Layer,
    reference::{ImageName, full_docker_name, split_digest},
    store::{Descriptor, Store, source::ReadAt},
};
use std::{
    collections::HashMap,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The images of a namespace of containerd.
#[derive(Debug)]
pub struct ContainerdStore {
    containerd: Containerd,
    reads_in_place: bool,
    frames: Option<FrameStore>,
    promised: HashMap<DiffId, u64>,
    directory: OnceLock<Option<PathBuf>>,
    opened_in_place: AtomicUsize,
}

impl ContainerdStore {
    /// Makes a store; asks for nothing.
    pub fn new(containerd: Containerd) -> Self {
        Self {
            containerd,
            reads_in_place: true,
            frames: None,
            promised: HashMap::new(),
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

    /// Sets the place of frames, so that layers without blobs are bases.
    #[must_use]
    pub fn frames(mut self, frames: FrameStore) -> Self {
        self.frames = Some(frames);
        self
    }

    /// Sets streams whose frames the caller keeps before any of them is read, with their lengths.
    #[must_use]
    pub(super) fn promised(mut self, promised: HashMap<DiffId, u64>) -> Self {
        self.promised = promised;
        self
    }

    /// Returns the place of frames.
    pub(super) fn frame_store(&self) -> Option<&FrameStore> {
        self.frames.as_ref()
    }

    /// Removes frames of layers that are no longer unpacked here; returns their number.
    pub fn sweep_frames(&self) -> Result<usize> {
        let Some(frames) = &self.frames else { return Ok(0) };
        frames.sweep(|_, snapshot| self.has_snapshot(snapshot))
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

    /// True if a layer has neither its blob nor frames here.
    pub(super) fn lacks(&self, layer: &Layer) -> Result<bool> {
        Ok(layer.has_blob() && self.size(&layer.descriptor)?.is_none())
    }

    fn has_snapshot(&self, name: &str) -> Result<bool> {
        let containerd = &self.containerd;
        let (snapshots, name) = (containerd.snapshots(&containerd.connection), name.to_owned());
        containerd.connection.call(|_| async move { snapshots.has(&name).await })
    }

    /// Returns the frames of a layer whose snapshot is here. Damaged frames count as none.
    fn frames_of(&self, diff_id: &DiffId) -> Result<Option<FrameReader>> {
        let reader = self.frames.as_ref().and_then(|frames| frames.reader(diff_id).ok().flatten());
        let Some(reader) = reader else { return Ok(None) };
        Ok(self.has_snapshot(reader.snapshot())?.then_some(reader))
    }

    fn open_stream(&self, blob: &Descriptor) -> Result<Option<Box<dyn Read + Send>>> {
        let Ok(diff_id) = blob.digest.to_string().parse() else { return Ok(None) };
        let Some(frames) = self.frames_of(&diff_id)? else { return Ok(None) };
        let view = SnapshotView::open(&self.containerd, frames.snapshot())?;
        let stream = frames.assemble(view.directory()?);
        Ok(Some(Box::new(ViewedStream { stream, _view: view })))
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
            if let Some(stream) = self.open_stream(blob)? {
                return Ok(stream);
            }
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

    fn stored_stream(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        if self.frames.is_none() || self.size(blob)?.is_some() {
            return Ok(None);
        }
        let kept_bytes = self.frames_of(diff_id)?.map(|frames| frames.stream_bytes());
        let stream_bytes = kept_bytes.or_else(|| self.promised.get(diff_id).copied());
        Ok(stream_bytes.map(|bytes| Descriptor::of_stream(diff_id, bytes)))
    }

    fn has_layer(&self, layer: &Descriptor) -> Result<bool> {
        Ok(self.size(layer)?.is_some())
    }

    fn in_place(&self, stream: &Descriptor, context: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        let Ok(diff_id) = stream.digest.to_string().parse() else { return Ok(None) };
        // A blob is one file, and its digest is compared when it is read.
        if self.size(stream)?.is_some() {
            return Ok(None);
        }
        let Some(frames) = self.frames_of(&diff_id)? else { return Ok(None) };
        let view = SnapshotView::open(&self.containerd, frames.snapshot())?;
        let stream = frames.place(view.directory()?, context)?;
        Ok(Some(Arc::new(ViewedPlace { stream, _view: view })))
    }
}

/// A stream with the view that keeps its files.
struct ViewedStream {
    stream: AssembledStream,
    _view: SnapshotView,
}

/// A stream that is read in place, with the view that keeps its files.
#[derive(Debug)]
struct ViewedPlace {
    stream: PlacedStream,
    _view: SnapshotView,
}

impl ReadAt for ViewedPlace {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.stream.read_at(buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.stream.size_bytes()
    }
}

impl Read for ViewedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}
