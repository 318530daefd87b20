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
};
use bytes::Bytes;
use imgdelta_core::{
    BlobDigest, Error,
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
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{runtime::Handle, sync::mpsc};

/// A repository as a store of images. Its methods block and may be called from any thread.
#[derive(Debug)]
pub struct RegistryStore {
    repository: Repository,
    network: Network,
    scratch: Option<Scratch>,
    manifests: Mutex<HashMap<BlobDigest, Vec<u8>>>,
    blobs: Arc<Mutex<BlobCache>>,
}

/// Blobs that were downloaded completely.
type BlobCache = HashMap<BlobDigest, Arc<dyn ReadAt>>;

impl RegistryStore {
    /// Makes a store of a repository. Sends nothing. With a scratch directory, blobs are cached.
    ///
    /// Requests run on `handle`'s runtime, which must have threads besides the one that reads.
    pub fn new(repository: Repository, handle: Handle, scratch: Option<Scratch>) -> Self {
        Self::with_network(repository, handle.into(), scratch)
    }

    /// Makes a store of the repository that a reference names, and returns the image's name there.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        handle: Handle,
        scratch: Option<Scratch>,
    ) -> (Arc<dyn Store>, Option<ImageName>) {
        Self::open_with(client, reference, handle.into(), scratch)
    }

    pub(crate) fn open_with(
        client: &Client,
        reference: &RegistryReference,
        network: Network,
        scratch: Option<Scratch>,
    ) -> (Arc<dyn Store>, Option<ImageName>) {
        let store = Self::with_network(Repository::of(client, reference), network, scratch);
        let name = match ManifestReference::from(reference) {
            ManifestReference::Digest(digest) => ImageName::Digest(digest),
            ManifestReference::Tag(tag) => ImageName::Tag(tag.to_string()),
        };
        (Arc::new(store), Some(name))
    }

    fn with_network(repository: Repository, network: Network, scratch: Option<Scratch>) -> Self {
        let (manifests, blobs) = (Mutex::default(), Arc::default());
        Self { repository, network, scratch, manifests, blobs }
    }

    fn fetch(&self, reference: ManifestReference) -> Result<Manifest> {
        let repository = self.repository.clone();
        let manifest = self.network.wait(async move { repository.manifest(&reference).await })?;
        let digest = manifest.descriptor.digest;
        lock(&self.manifests).insert(digest, manifest.bytes.clone());
        Ok(manifest)
    }

    fn cache_writer(&self, blob: &Descriptor) -> imgdelta_core::Result<Option<CacheWriter>> {
        let Some(scratch) = &self.scratch else { return Ok(None) };
        scratch.raise(blob.size_bytes);
        Ok(Some(CacheWriter {
            file: scratch.file()?,
            check: BlobCheck::new(blob.digest, blob.size_bytes),
            blobs: Arc::clone(&self.blobs),
        }))
    }
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
        // A missing blob is reported here, not at the first read.
        let (repository, descriptor) = (self.repository.clone(), blob.clone());
        let mut stream =
            self.network.wait(async move { repository.unchecked_blob(&descriptor).await })?;
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
            cache: self.cache_writer(blob)?,
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
    cache: Option<CacheWriter>,
    /// Keeps the runtime alive that downloads.
    _network: Network,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() && !self.is_at_end {
            match block_on(self.receiver.recv()) {
                Some(Message::Piece(piece)) => {
                    if let Some(cache) = &mut self.cache
                        && !cache.write(&piece)
                    {
                        self.cache = None;
                    }
                    self.piece = piece;
                }
                Some(Message::End) => {
                    self.is_at_end = true;
                    if let Some(cache) = self.cache.take() {
                        cache.finish();
                    }
                }
                Some(Message::Error(error)) => return Err(io::Error::other(error)),
                // The caller's runtime ended before the blob did.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Caches a blob that is read to its end. A failure is not an error: the blob is downloaded again.
#[derive(Debug)]
struct CacheWriter {
    file: ScratchFile,
    check: BlobCheck,
    blobs: Arc<Mutex<BlobCache>>,
}

impl CacheWriter {
    /// Returns false if the piece cannot be cached.
    fn write(&mut self, piece: &[u8]) -> bool {
        self.check.update(piece).is_ok() && self.file.write_all(piece).is_ok()
    }

    fn finish(self) {
        if let Ok(proof) = self.check.finish() {
            lock(&self.blobs).insert(proof.digest(), Arc::new(self.file));
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

/// Pieces between network and reader, so that neither waits for each piece of the other.
const PIECES_AHEAD: usize = 32;
