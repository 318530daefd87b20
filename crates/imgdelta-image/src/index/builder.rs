//! The builder of an index: scans a stream, hashes payloads, passes wanted files to a reader.
//!
//! Never reads the stream itself, and holds no payload except those that the file reader wants.

use super::{Entry, EntryKind, EntryTableBuilder, LayerIndex, Owner};
use crate::tarscan::{MemberVisitor, SparseMap, TarMember, TarScanner};
use imgdelta_core::{
    DiffId, Error, LimitName, Limits, PayloadDigest, Result, limits::Ceiling, path::LayerPath,
};
use std::{fmt, sync::Arc};

/// Reads whole files of interest, such as package databases, while a layer passes.
pub trait FileReader {
    /// Returns true if this regular file's content is wanted.
    ///
    /// Never called for sparse files, nor for files after the end mark.
    fn wants(&mut self, path: &LayerPath, size_bytes: u64) -> bool;

    /// Receives a wanted file; `ordinal` is that of its entry.
    fn read(&mut self, ordinal: u32, path: &LayerPath, payload: &[u8]);

    /// Called for a wanted file that is larger than [`Limits::database_bytes`].
    fn too_large(&mut self, ordinal: u32, path: &LayerPath, size_bytes: u64) {
        let _ = (ordinal, path, size_bytes);
    }

    /// Ends the layer, and returns the findings to store with its index.
    fn finish(self: Box<Self>) -> Arc<[u8]>;
}

/// Builds the index of a layer from its uncompressed stream.
///
/// ```
/// use imgdelta_core::{Algorithm, Limits, verify::Hasher};
/// use imgdelta_image::index::IndexBuilder;
///
/// let stream = [0; 1024]; // an empty archive: two blocks of zeros
/// let mut hasher = Hasher::new(Algorithm::Sha256);
/// let mut builder = IndexBuilder::new(&Limits::default(), None);
/// for chunk in stream.chunks(700) {
///     hasher.update(chunk);
///     builder.feed(chunk)?;
/// }
/// let index = builder.finish(hasher.finish_diff_id())?;
/// assert_eq!((index.entries.len(), index.tail_range()), (0, 0..1024));
/// # Ok::<(), imgdelta_core::Error>(())
/// ```
pub struct IndexBuilder {
    scanner: TarScanner,
    table: EntryCollector,
}

impl fmt::Debug for IndexBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexBuilder").field("entries", &self.entry_count()).finish_non_exhaustive()
    }
}

impl IndexBuilder {
    /// Starts before the stream's first byte.
    pub fn new(limits: &Limits, file_reader: Option<Box<dyn FileReader>>) -> Self {
        let table = EntryCollector {
            file_reader,
            database_limit: limits.database_bytes,
            text_limit: limits.ceiling(LimitName::LayerTextBytes),
            entries: EntryTableBuilder::default(),
            open: None,
            failure: None,
            hasher: blake3::Hasher::new(),
        };
        Self { scanner: TarScanner::new(limits), table }
    }

    /// Takes the next bytes. Chunks of 64 KiB and more hash several times faster than small ones.
    ///
    /// After an error the builder is unusable.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        self.scanner.feed(chunk, &mut self.table)?;
        self.table.check()
    }

    /// Returns the number of entries so far.
    pub fn entry_count(&self) -> u64 {
        self.table.entries.table().len() as u64
    }

    /// Returns the bytes of names, links and attributes so far.
    pub fn text_bytes(&self) -> u64 {
        self.table.entries.table().text_bytes()
    }

    /// Ends the stream; the caller has computed or checked its digest.
    pub fn finish(self, diff_id: DiffId) -> Result<LayerIndex> {
        let mut table = self.table;
        let scan = self.scanner.finish(&mut table);
        table.check()?;
        Ok(LayerIndex {
            diff_id,
            stream_bytes: scan.stream_bytes,
            entries: table.entries.finish(),
            tail_start: scan.tail_start,
            damage: scan.damage,
            findings: table.file_reader.map_or_else(Arc::default, FileReader::finish),
        })
    }
}

/// The entries so far, with the member whose payload is passing.
struct EntryCollector {
    file_reader: Option<Box<dyn FileReader>>,
    database_limit: u64,
    text_limit: Ceiling,
    entries: EntryTableBuilder,
    open: Option<OpenEntry>,
    hasher: blake3::Hasher,
    /// The first error, which ends the scan after the chunk.
    failure: Option<Error>,
}

/// An entry whose payload is passing.
struct OpenEntry {
    path: LayerPath,
    owner: Owner,
    member: TarMember,
    is_hashed: bool,
    /// Content so far for the file reader.
    wanted: Option<Vec<u8>>,
}

impl MemberVisitor for EntryCollector {
    fn begin(&mut self, mut member: TarMember) {
        let owner = Owner {
            uid: member.uid,
            gid: member.gid,
            user: std::mem::take(&mut member.user).into(),
            group: std::mem::take(&mut member.group).into(),
        };
        let path = LayerPath::parse(&member.name);
        let is_hashed = member.kind == EntryKind::File || !member.payload.is_empty();
        if is_hashed {
            self.hasher = start_hash(member.sparse.as_ref(), member.size_bytes);
        }
        let is_offered =
            member.kind == EntryKind::File && member.sparse.is_none() && !member.is_after_end;
        let is_wanted = is_offered
            && (self.file_reader.as_mut())
                .is_some_and(|reader| reader.wants(&path, member.size_bytes));
        let fits = member.size_bytes <= self.database_limit;
        let ordinal = self.ordinal();
        if is_wanted
            && !fits
            && let (Some(reader), Some(ordinal)) = (&mut self.file_reader, ordinal)
        {
            reader.too_large(ordinal, &path, member.size_bytes);
        }
        let wanted = (is_wanted && fits).then(Vec::new);
        self.open = Some(OpenEntry { path, owner, member, is_hashed, wanted });
    }

    fn payload(&mut self, bytes: &[u8]) {
        let open = self.open.as_mut().expect("payload follows its header");
        if open.is_hashed {
            self.hasher.update(bytes);
        }
        if let Some(wanted) = &mut open.wanted {
            // Grows with the bytes that arrive, not to the size that the header states.
            wanted.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        let Some(OpenEntry { path, owner, member, is_hashed, wanted }) = self.open.take() else {
            return;
        };
        let ordinal = self.ordinal();
        if let (Some(payload), Some(reader), Some(ordinal)) =
            (wanted, &mut self.file_reader, ordinal)
        {
            reader.read(ordinal, &path, &payload);
        }
        let pushed = self.entries.push(&Entry {
            path: (&path).into(),
            start: member.start,
            payload: member.payload,
            kind: member.kind,
            size_bytes: member.size_bytes,
            digest: is_hashed.then(|| PayloadDigest(*self.hasher.finalize().as_bytes())),
            link: member.kind.is_link().then_some(&member.link),
            mode: member.mode,
            owner: &owner,
            mtime: member.mtime,
            device: member.device,
            attributes: &member.attributes,
            is_sparse: member.sparse.is_some(),
            is_after_end: member.is_after_end,
        });
        if let Err(error) = pushed {
            self.failure.get_or_insert(error);
        }
    }
}

impl EntryCollector {
    /// Returns the ordinal of the open entry.
    fn ordinal(&self) -> Option<u32> {
        u32::try_from(self.entries.table().len()).ok()
    }

    fn check(&mut self) -> Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let what = "number of bytes in names and attributes";
        self.text_limit.admit(self.entries.table().text_bytes(), what, "tar stream").map(drop)
    }
}

/// Starts a payload's hash. Sparse files use another key and hash their map first, so that equal
/// stored bytes with different holes have different digests.
fn start_hash(sparse: Option<&SparseMap>, size_bytes: u64) -> blake3::Hasher {
    let Some(map) = sparse else { return blake3::Hasher::new() };
    let mut hasher = blake3::Hasher::new_derive_key(SPARSE_CONTEXT);
    let mut words = vec![size_bytes, map.segments.len() as u64];
    words.extend(map.segments.iter().flat_map(|&(offset, len)| [offset, len]));
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    hasher.update(&bytes);
    hasher
}

/// Part of every cached sparse digest; a change invalidates them all.
const SPARSE_CONTEXT: &str = "imgdelta 2026 sparse payload v1";
