//! A repository as a store of images, whose blobs are blocking readers.
//!
//! A task downloads ahead into a short queue while the caller reads. With a scratch directory, a
//! blob that was read to its end and has its digest is cached, so that it is downloaded once. Does
//! not compare other digests, which is the reader's task; only lengths are checked here.

use crate::{
    client::Client,
    error::Result,
    referrers::is_digest_tag,
    repository::{Manifest, ManifestReference, Repository},
    runtime::{Network, block_on},
    shared_blobs::{BlobAnswer, SharedBlobs, SharedDownload},
};
use bytes::Bytes;
use imgdelta_core::{
    BlobDigest, Error,
    partial::PartialBlob,
    scratch::{Scratch, ScratchFile},
    verify::BlobCheck,
};
use imgdelta_image::{
    reference::{ImageName, RegistryReference, TagName},
    store::{
        Descriptor, Store,
        source::{RangeReader, ReadAt},
    },
};
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{runtime::Handle, sync::mpsc};

/// A repository as a store of images. Its methods block and may be called from any thread.
#[derive(Debug)]
pub struct RegistryStore {
    repository: Repository,
    network: Network,
    keeping: BlobKeeping,
    manifests: Mutex<HashMap<BlobDigest, Vec<u8>>>,
    blobs: Arc<Mutex<BlobCache>>,
}

/// The place where bytes of blobs are kept besides their reader's.
#[derive(Clone, Debug)]
pub(crate) enum BlobKeeping {
    /// None: each blob is read once.
    Nowhere,
    /// Complete blobs, in temporary files.
    Scratch(Scratch),
    /// The beginnings of large blobs, in a directory, until they are complete. A later run continues
    /// them.
    Partial(PathBuf),
    /// Complete blobs, among those of other stores.
    Shared(SharedBlobs),
}

impl From<Option<Scratch>> for BlobKeeping {
    fn from(scratch: Option<Scratch>) -> Self {
        scratch.map_or(Self::Nowhere, Self::Scratch)
    }
}

/// Blobs that were downloaded completely.
type BlobCache = HashMap<BlobDigest, Arc<dyn ReadAt>>;

impl RegistryStore {
    /// Makes a store of a repository. Sends nothing. With a scratch directory, blobs are cached.
    ///
    /// Requests run on `handle`'s runtime, which must have threads besides the one that reads.
    pub fn new(repository: Repository, handle: Handle, scratch: Option<Scratch>) -> Self {
        Self::with_network(repository, handle.into(), scratch.into())
    }

    /// Makes a store of a repository that takes blobs from those of other stores, and adds its own.
    pub fn sharing(repository: Repository, handle: Handle, blobs: SharedBlobs) -> Self {
        Self::with_network(repository, handle.into(), BlobKeeping::Shared(blobs))
    }

    /// Makes a store of the repository that a reference names, and returns the image's name there.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        handle: Handle,
        scratch: Option<Scratch>,
    ) -> (Arc<dyn Store>, Option<ImageName>) {
        Self::open_with(client, reference, handle.into(), scratch.into())
    }

    pub(crate) fn open_with(
        client: &Client,
        reference: &RegistryReference,
        network: Network,
        keeping: BlobKeeping,
    ) -> (Arc<dyn Store>, Option<ImageName>) {
        let store = Self::with_network(Repository::of(client, reference), network, keeping);
        let name = match ManifestReference::from(reference) {
            ManifestReference::Digest(digest) => ImageName::Digest(digest),
            ManifestReference::Tag(tag) => ImageName::Tag(tag.to_string()),
        };
        (Arc::new(store), Some(name))
    }

    fn with_network(repository: Repository, network: Network, keeping: BlobKeeping) -> Self {
        let (manifests, blobs) = (Mutex::default(), Arc::default());
        Self { repository, network, keeping, manifests, blobs }
    }

    fn fetch(&self, reference: ManifestReference) -> Result<Manifest> {
        let repository = self.repository.clone();
        let manifest = self.network.wait(async move { repository.manifest(&reference).await })?;
        let digest = manifest.descriptor.digest;
        lock(&self.manifests).insert(digest, manifest.bytes.clone());
        Ok(manifest)
    }

    fn cache_writer(&self, blob: &Descriptor) -> imgdelta_core::Result<Option<CacheWriter>> {
        let file = match &self.keeping {
            BlobKeeping::Scratch(scratch) => {
                scratch.raise(blob.size_bytes);
                scratch.file()?
            }
            // Not among those of other stores: it is too large, or somebody else downloads it.
            BlobKeeping::Shared(blobs) => blobs.scratch()?,
            BlobKeeping::Nowhere | BlobKeeping::Partial(_) => return Ok(None),
        };
        Ok(Some(CacheWriter {
            file,
            check: BlobCheck::new(blob.digest, blob.size_bytes),
            rest_bytes: blob.size_bytes,
            shelf: CacheShelf::Own(Arc::clone(&self.blobs)),
        }))
    }

    /// Takes a blob from those of other stores, or the right to add it to them.
    fn shared(&self, blob: &Descriptor) -> imgdelta_core::Result<SharedAnswer> {
        let BlobKeeping::Shared(blobs) = &self.keeping else { return Ok(SharedAnswer::None) };
        Ok(match blobs.want(&blob.digest, blob.size_bytes) {
            BlobAnswer::Kept(file) => SharedAnswer::Kept(file),
            BlobAnswer::Alone => SharedAnswer::None,
            BlobAnswer::Download(download) => SharedAnswer::Cache(Box::new(CacheWriter {
                file: blobs.scratch()?,
                check: BlobCheck::new(blob.digest, blob.size_bytes),
                rest_bytes: blob.size_bytes,
                shelf: CacheShelf::Shared(download),
            })),
        })
    }
}

/// A blob of other stores, or the place for a new one.
enum SharedAnswer {
    Kept(Arc<dyn ReadAt>),
    Cache(Box<CacheWriter>),
    None,
}

impl Store for RegistryStore {
    fn place(&self) -> String {
        self.repository.place()
    }

    fn names(&self) -> imgdelta_core::Result<Vec<String>> {
        let repository = self.repository.clone();
        let tags = self.network.wait(async move { repository.tags().await })?;
        Ok(tags.iter().map(ToString::to_string).collect())
    }

    fn find(&self, name: Option<&ImageName>) -> imgdelta_core::Result<Vec<Descriptor>> {
        let reference = match name {
            None => ManifestReference::Tag(TagName::latest()),
            Some(ImageName::Tag(tag)) => ManifestReference::Tag(tag.parse()?),
            Some(ImageName::Digest(digest)) => ManifestReference::Digest(*digest),
            Some(ImageName::Ordinal(_)) => {
                let what = "images in a registry have tags and digests, not positions";
                return Err(Error::bad_input(self.place(), what));
            }
        };
        match self.fetch(reference) {
            Ok(manifest) => Ok(vec![manifest.descriptor]),
            Err(error) if error.is_not_found() => {
                // A list of tags helps; the error is the same without it.
                let mut present = self.names().unwrap_or_default();
                present.retain(|tag| !is_digest_tag(tag));
                let what = name.map_or_else(|| "tag \"latest\"".into(), ImageName::to_string);
                Err(Error::NotFound { place: self.place(), what, present })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, blob: &Descriptor) -> imgdelta_core::Result<Box<dyn Read + Send>> {
        let manifest = lock(&self.manifests).get(&blob.digest).cloned();
        if let Some(bytes) = manifest {
            return Ok(Box::new(io::Cursor::new(bytes)));
        }
        let cached = lock(&self.blobs).get(&blob.digest).cloned();
        if let Some(file) = cached {
            return Ok(Box::new(RangeReader::new(file, 0, blob.size_bytes)));
        }
        if is_manifest(blob.media_type()) {
            let manifest = self.fetch(ManifestReference::Digest(blob.digest))?;
            return Ok(Box::new(io::Cursor::new(manifest.bytes)));
        }
        let mut cache = match self.shared(blob)? {
            SharedAnswer::Kept(file) => {
                return Ok(Box::new(RangeReader::new(file, 0, blob.size_bytes)));
            }
            SharedAnswer::Cache(cache) => Some(*cache),
            SharedAnswer::None => None,
        };
        // A missing blob is reported here, not at the first read.
        let (repository, descriptor) = (self.repository.clone(), blob.clone());
        let partial = match &self.keeping {
            BlobKeeping::Partial(directory) if blob.size_bytes >= LEAST_PARTIAL_BYTES => {
                PartialBlob::open(directory, &blob.digest, blob.size_bytes)
            }
            _ => None,
        };
        let start = partial.as_ref().map_or(0, PartialBlob::bytes);
        let mut stream = self
            .network
            .wait(async move { repository.unchecked_blob(&descriptor, start).await })?;
        if cache.is_none() {
            cache = self.cache_writer(blob)?;
        }
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        self.network.spawn(async move {
            loop {
                let (message, is_last) = match stream.next().await {
                    Ok(Some(piece)) => (Message::Piece(piece), false),
                    Ok(None) => (Message::End, true),
                    Err(error) => (Message::Error(error.into()), true),
                };
                // Without a receiver, the reader was dropped.
                if sender.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Box::new(BlobReader {
            receiver,
            piece: Bytes::new(),
            is_at_end: false,
            done_bytes: 0,
            kept_bytes: start,
            partial,
            is_partial_good: start == 0,
            cache,
            _network: self.network.clone(),
        }))
    }
}

/// Message from the downloading task to the reader.
#[derive(Debug)]
enum Message {
    Piece(Bytes),
    End,
    Error(Error),
}

/// A blob that is read during its download.
#[derive(Debug)]
struct BlobReader {
    receiver: mpsc::Receiver<Message>,
    piece: Bytes,
    is_at_end: bool,
    /// Bytes that were read so far, among those of an earlier run.
    done_bytes: u64,
    /// Bytes of an earlier run.
    kept_bytes: u64,
    partial: Option<PartialBlob>,
    /// True if bytes arrived, or the network failed.
    is_partial_good: bool,
    cache: Option<CacheWriter>,
    /// Keeps the runtime alive that downloads.
    _network: Network,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(partial) = self.partial.as_ref().filter(|_| self.done_bytes < self.kept_bytes) {
            let rest = usize::try_from(self.kept_bytes - self.done_bytes).unwrap_or(usize::MAX);
            let count = buffer.len().min(rest);
            let count = partial.read_at(&mut buffer[..count], self.done_bytes)?;
            self.done_bytes += count as u64;
            return Ok(count);
        }
        while self.piece.is_empty() && !buffer.is_empty() && !self.is_at_end {
            match block_on(self.receiver.recv()) {
                Some(Message::Piece(piece)) => {
                    self.is_partial_good = true;
                    self.partial = self
                        .partial
                        .take()
                        .and_then(|mut partial| partial.append(&piece).then_some(partial));
                    // Others may wait for the blob, and its reader for something else.
                    self.cache = self.cache.take().and_then(|cache| cache.write(&piece));
                    self.piece = piece;
                }
                Some(Message::End) => {
                    self.is_at_end = true;
                    if let Some(partial) = self.partial.take() {
                        partial.remove();
                    }
                }
                Some(Message::Error(error)) => {
                    self.is_partial_good = true;
                    return Err(io::Error::other(error));
                }
                // The caller's runtime ended before the blob did.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        // The reader gave up among the bytes of an earlier run: they may be damaged.
        if let Some(partial) = self.partial.take().filter(|_| !self.is_partial_good) {
            partial.remove();
        }
    }
}

/// Caches a blob that is read to its end. A failure is not an error: the blob is downloaded again.
#[derive(Debug)]
struct CacheWriter {
    file: ScratchFile,
    check: BlobCheck,
    rest_bytes: u64,
    shelf: CacheShelf,
}

/// The place of a blob that was read to its end.
#[derive(Debug)]
enum CacheShelf {
    Own(Arc<Mutex<BlobCache>>),
    Shared(SharedDownload),
}

impl CacheWriter {
    /// Adds a piece. Returns none after the last piece, or if the blob cannot be cached.
    fn write(mut self, piece: &[u8]) -> Option<Self> {
        if let CacheShelf::Shared(download) = &self.shelf {
            download.progress(piece.len());
        }
        self.check.update(piece).ok()?;
        self.file.write_all(piece).ok()?;
        self.rest_bytes = self.rest_bytes.saturating_sub(piece.len() as u64);
        if self.rest_bytes > 0 {
            return Some(self);
        }
        self.finish();
        None
    }

    fn finish(self) {
        let Ok(proof) = self.check.finish() else { return };
        match self.shelf {
            CacheShelf::Own(blobs) => {
                drop(lock(&blobs).insert(proof.digest(), Arc::new(self.file)));
            }
            CacheShelf::Shared(download) => {
                download.finish(Arc::new(self.file), proof.size_bytes());
            }
        }
    }
}

fn is_manifest(media_type: &str) -> bool {
    ["manifest.v1", "manifest.v2", "manifest.list.v2", "image.index.v1"]
        .iter()
        .any(|part| media_type.contains(part))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Smaller blobs are downloaded again sooner than their beginnings are written twice.
const LEAST_PARTIAL_BYTES: u64 = 1 << 20;
/// Pieces between network and reader, so that neither waits for each piece of the other.
const PIECES_AHEAD: usize = 32;
