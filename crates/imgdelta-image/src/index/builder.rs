//! The builder of an index: scans a stream, hashes payloads, passes wanted files to a reader.
//!
//! Never reads the stream itself, and holds no payload except those that the file reader wants.

use super::{Entry, EntryKind, LayerIndex, Owner};
use crate::tarscan::{MemberVisitor, SparseMap, TarMember, TarScanner};
use bytes::Bytes;
use imgdelta_core::{
    DiffId, LimitName, Limits, PayloadDigest, Result, limits::Ceiling, path::LayerPath,
};
use std::{collections::HashMap, fmt, sync::Arc};

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
    fn finish(self: Box<Self>) -> Bytes;
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
    table: EntryTable,
}

impl fmt::Debug for IndexBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexBuilder")
            .field("entries", &self.table.entries.len())
            .finish_non_exhaustive()
    }
}

impl IndexBuilder {
    /// Starts before the stream's first byte.
    pub fn new(limits: &Limits, file_reader: Option<Box<dyn FileReader>>) -> Self {
        let table = EntryTable {
            file_reader,
            database_limit: limits.database_bytes,
            text_limit: limits.ceiling(LimitName::LayerTextBytes),
            text_bytes: 0,
            entries: Vec::new(),
            owners: HashMap::new(),
            open: None,
            hasher: blake3::Hasher::new(),
        };
        Self { scanner: TarScanner::new(limits), table }
    }

    /// Takes the next bytes. Chunks of 64 KiB and more hash several times faster than small ones.
    ///
    /// After an error the builder is unusable.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        self.scanner.feed(chunk, &mut self.table)?;
        self.table.check_text()
    }

    /// Ends the stream; the caller has computed or checked its digest.
    pub fn finish(self, diff_id: DiffId) -> Result<LayerIndex> {
        let mut table = self.table;
        let scan = self.scanner.finish(&mut table);
        table.check_text()?;
        table.entries.shrink_to_fit();
        Ok(LayerIndex {
            diff_id,
            stream_bytes: scan.stream_bytes,
            entries: table.entries,
            tail_start: scan.tail_start,
            damage: scan.damage,
            findings: table.file_reader.map_or_else(Bytes::new, FileReader::finish),
        })
    }
}

/// The entries so far, with the member whose payload is passing.
struct EntryTable {
    file_reader: Option<Box<dyn FileReader>>,
    database_limit: u64,
    text_limit: Ceiling,
    text_bytes: u64,
    entries: Vec<Entry>,
    owners: HashMap<Owner, Arc<Owner>>,
    open: Option<OpenEntry>,
    hasher: blake3::Hasher,
}

/// An entry whose payload is passing.
struct OpenEntry {
    entry: Entry,
    is_hashed: bool,
    /// Content so far for the file reader.
    wanted: Option<Vec<u8>>,
}

impl MemberVisitor for EntryTable {
    fn begin(&mut self, member: TarMember) {
        let sparse = member.sparse;
        let owner = Owner {
            uid: member.uid,
            gid: member.gid,
            user: member.user.into(),
            group: member.group.into(),
        };
        let is_link = matches!(member.kind, EntryKind::Symlink | EntryKind::HardLink);
        let entry = Entry {
            path: LayerPath::parse(&member.name),
            start: member.start,
            payload: member.payload,
            kind: member.kind,
            size_bytes: member.size_bytes,
            digest: None,
            link: is_link.then(|| member.link.into()),
            mode: member.mode,
            owner: self.intern(owner),
            mtime: member.mtime,
            device: member.device,
            attributes: member.attributes.into(),
            is_sparse: sparse.is_some(),
            is_after_end: member.is_after_end,
        };
        self.text_bytes += text_bytes(&entry);
        let is_hashed = entry.kind == EntryKind::File || !entry.payload.is_empty();
        if is_hashed {
            self.hasher = start_hash(sparse.as_ref(), entry.size_bytes);
        }
        let is_offered = entry.kind == EntryKind::File && !entry.is_sparse && !entry.is_after_end;
        let is_wanted = is_offered
            && (self.file_reader.as_mut())
                .is_some_and(|reader| reader.wants(&entry.path, entry.size_bytes));
        let fits = entry.size_bytes <= self.database_limit;
        if is_wanted
            && !fits
            && let (Some(reader), Ok(ordinal)) =
                (&mut self.file_reader, u32::try_from(self.entries.len()))
        {
            reader.too_large(ordinal, &entry.path, entry.size_bytes);
        }
        let wanted = (is_wanted && fits).then(Vec::new);
        self.open = Some(OpenEntry { entry, is_hashed, wanted });
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
        let Some(OpenEntry { mut entry, is_hashed, wanted }) = self.open.take() else { return };
        if is_hashed {
            entry.digest = Some(PayloadDigest(*self.hasher.finalize().as_bytes()));
        }
        if let (Some(payload), Some(reader), Ok(ordinal)) =
            (wanted, &mut self.file_reader, u32::try_from(self.entries.len()))
        {
            reader.read(ordinal, &entry.path, &payload);
        }
        self.entries.push(entry);
    }
}

impl EntryTable {
    /// Returns the shared copy of an owner.
    fn intern(&mut self, owner: Owner) -> Arc<Owner> {
        if let Some(shared) = self.owners.get(&owner) {
            return Arc::clone(shared);
        }
        self.text_bytes += (owner.user.len() + owner.group.len()) as u64;
        let shared = Arc::new(owner.clone());
        self.owners.insert(owner, Arc::clone(&shared));
        shared
    }

    fn check_text(&self) -> Result<()> {
        let what = "number of bytes in names and attributes";
        self.text_limit.admit(self.text_bytes, what, "tar stream").map(drop)
    }
}

/// Returns the memory that an entry takes besides its fixed part.
fn text_bytes(entry: &Entry) -> u64 {
    let attributes = entry.attributes.iter().map(|one| one.name.len() + one.value.len() + 32);
    let link = entry.link.as_ref().map_or(0, |link| link.len());
    (entry.path.as_bytes().len() + link + attributes.sum::<usize>()) as u64
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
