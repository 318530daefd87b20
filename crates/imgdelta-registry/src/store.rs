//! A repository as a store of the core: its blobs as readers that block.
//!
//! A task fetches ahead into a short queue while the core reads. With a scratch directory a blob
//! that was read to its end and had its digest is kept, so that it is fetched once however often
//! it is read. The core compares digests itself; here only lengths are kept to.

use crate::{
    client::Client,
    failure::Result,
    repository::{Manifest, Named, Repository},
};
use bytes::Bytes;
use imgdelta_core::{BlobDigest, Error, scratch::Scratch, verify::BlobCheck};
use imgdelta_image::{
    reference::{ImageName, RegistryReference},
    store::{
        Descriptor, Store,
        source::{RangeReader, ReadAt},
    },
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{runtime::Handle, sync::mpsc};

/// A repository whose images the core can open. Not to be used from a task: it blocks.
#[derive(Debug)]
pub struct RegistryStore {
    repository: Repository,
    handle: Handle,
    scratch: Option<Scratch>,
    manifests: Mutex<HashMap<BlobDigest, Vec<u8>>>,
    kept: Arc<Mutex<Kept>>,
}

/// Blobs that were fetched whole.
type Kept = HashMap<BlobDigest, Arc<dyn ReadAt>>;

impl RegistryStore {
    /// Makes a store of a repository; nothing is sent. With a scratch directory, blobs are kept.
    pub fn new(repository: Repository, handle: Handle, scratch: Option<Scratch>) -> Self {
        let (manifests, kept) = (Mutex::default(), Arc::default());
        Self { repository, handle, scratch, manifests, kept }
    }

    /// Opens the store that a reference names and returns it with the image's name there.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        handle: Handle,
        scratch: Option<Scratch>,
    ) -> (Arc<dyn Store>, Option<ImageName>) {
        let store = Self::new(Repository::of(client, reference), handle, scratch);
        let name = match Named::from(reference) {
            Named::Digest(digest) => ImageName::Digest(digest),
            Named::Tag(tag) => ImageName::Tag(tag),
        };
        (Arc::new(store), Some(name))
    }

    fn fetch(&self, named: &Named) -> Result<Manifest> {
        let manifest = self.handle.block_on(self.repository.manifest(named))?;
        let digest = manifest.descriptor.digest;
        lock(&self.manifests).insert(digest, manifest.bytes.clone());
        Ok(manifest)
    }

    fn keeper(&self, blob: &Descriptor) -> imgdelta_core::Result<Option<Keeper>> {
        let Some(scratch) = &self.scratch else { return Ok(None) };
        Ok(Some(Keeper {
            file: scratch.file()?,
            check: BlobCheck::new(blob.digest, blob.size_bytes),
            kept: Arc::clone(&self.kept),
        }))
    }
}

impl Store for RegistryStore {
    fn place(&self) -> String {
        self.repository.place()
    }

    fn names(&self) -> imgdelta_core::Result<Vec<String>> {
        Ok(self.handle.block_on(self.repository.tags())?)
    }

    fn find(&self, name: Option<&ImageName>) -> imgdelta_core::Result<Vec<Descriptor>> {
        let named = match name {
            None => Named::Tag("latest".into()),
            Some(ImageName::Tag(tag)) => Named::Tag(tag.clone()),
            Some(ImageName::Digest(digest)) => Named::Digest(*digest),
            Some(ImageName::Ordinal(_)) => {
                return Err(Error::bad_input(self.place(), "a registry has no positions"));
            }
        };
        match self.fetch(&named) {
            Ok(manifest) => Ok(vec![manifest.descriptor]),
            Err(failure) if failure.is_not_found() => {
                // What there is instead helps; that it cannot be told is no news.
                let mut present = self.names().unwrap_or_default();
                present.retain(|tag| !crate::is_digest_tag(tag));
                let what = name.map_or_else(|| "tag \"latest\"".into(), ImageName::to_string);
                Err(Error::NotFound { place: self.place(), what, present })
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn open(&self, blob: &Descriptor) -> imgdelta_core::Result<Box<dyn Read + Send>> {
        let known = lock(&self.manifests).get(&blob.digest).cloned();
        if let Some(bytes) = known {
            return Ok(Box::new(io::Cursor::new(bytes)));
        }
        let kept = lock(&self.kept).get(&blob.digest).cloned();
        if let Some(kept) = kept {
            return Ok(Box::new(RangeReader::new(kept, 0, blob.size_bytes)));
        }
        if is_manifest(blob.media_type()) {
            let manifest = self.fetch(&Named::Digest(blob.digest))?;
            return Ok(Box::new(io::Cursor::new(manifest.bytes)));
        }
        // Whether it is there is known before the first byte is wanted.
        let mut stream = self.handle.block_on(self.repository.unchecked_blob(blob))?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        self.handle.spawn(async move {
            loop {
                let (piece, is_last) = match stream.next().await {
                    Ok(Some(piece)) => (Ok(piece), false),
                    Ok(None) => return,
                    Err(failure) => (Err(failure), true),
                };
                // Nobody reads any more.
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        let keeper = self.keeper(blob)?;
        Ok(Box::new(Reader { receiver, piece: Bytes::new(), keeper }))
    }
}

/// A blob that is read while it comes.
#[derive(Debug)]
struct Reader {
    receiver: mpsc::Receiver<Result<Bytes>>,
    piece: Bytes,
    keeper: Option<Keeper>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            match self.receiver.blocking_recv() {
                None => {
                    if let Some(keeper) = self.keeper.take() {
                        keeper.finish();
                    }
                    return Ok(0);
                }
                Some(Err(failure)) => return Err(io::Error::other(Error::from(failure))),
                Some(Ok(piece)) => {
                    if let Some(keeper) = &mut self.keeper
                        && !keeper.take(&piece)
                    {
                        self.keeper = None;
                    }
                    self.piece = piece;
                }
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Keeps a blob that is read to its end. That it could not is no failure: it is fetched again.
#[derive(Debug)]
struct Keeper {
    file: File,
    check: BlobCheck,
    kept: Arc<Mutex<Kept>>,
}

impl Keeper {
    fn take(&mut self, piece: &[u8]) -> bool {
        self.check.update(piece).is_ok() && self.file.write_all(piece).is_ok()
    }

    fn finish(self) {
        if let Ok(proof) = self.check.finish() {
            lock(&self.kept).insert(proof.digest(), Arc::new(self.file));
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

/// Enough that network and core need not wait for each other's every piece.
const PIECES_AHEAD: usize = 32;
