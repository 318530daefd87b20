//! A base as bytes: its layers' streams, and the address space of a recipe.
//!
//! A stream is compared with its digest when it is extracted, and its file has no name, so that no
//! other process can change it. Unpacked files and uncompressed blobs are read in place where the
//! caller compares the digest of the result anyway. Never looks inside a stream, and holds none in
//! memory.

use crate::{
    envelope::StreamCheck,
    image::{Image, Layer},
    store::source::ReadAt,
};
use imgdelta_core::map::MapRange;
use imgdelta_core::{
    Context, DiffId, Difference, Error, LimitName, MissingLayer, Note, Result, progress::Stage,
    scratch::ScratchFile, sort::SharedSort,
};
use imgdelta_format::recipe::StreamName;
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    io::Write,
    ops::Range,
    sync::Arc,
};

/// The bytes of a finished scratch file, or of unpacked files in place.
#[derive(Debug)]
pub struct FileExtent {
    /// The file's name in errors.
    place: String,
    content: ExtentContent,
    bytes: u64,
}

#[derive(Debug)]
enum ExtentContent {
    Scratch(Arc<ScratchFile>),
    InPlace(Arc<dyn ReadAt>),
}

impl FileExtent {
    /// Takes a finished file; no process may write to it afterwards.
    pub fn new(place: String, file: Arc<ScratchFile>) -> Result<Self> {
        let bytes = file.metadata().map_err(Error::io(&place))?.len();
        Ok(Self { place, content: ExtentContent::Scratch(file), bytes })
    }

    /// Fills `buffer` with the bytes at `offset`; fails if the file ends before.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.admit(offset, buffer.len() as u64)?;
        // Read, not copied from a map of the file: a page fault costs more than copying its page, and
        // the pages of a map count as this process's memory.
        let filled = match &self.content {
            ExtentContent::Scratch(file) => file.fill_at(buffer, offset),
            ExtentContent::InPlace(source) => source.fill_at(buffer, offset),
        };
        filled.map_err(Error::io(&self.place))
    }

    /// Returns a range, whose length the caller bounds; fails if the file ends before.
    pub fn slice(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut read = vec![0; self.admit(offset, bytes)?.len()];
        self.read_exact_at(offset, &mut read)?;
        Ok(read)
    }

    /// Returns a range with a map of its own; `None` if its file may change.
    pub fn map_range(&self, offset: u64, bytes: u64) -> Result<Option<MapRange>> {
        let file = match &self.content {
            ExtentContent::Scratch(file) => Some(&***file),
            ExtentContent::InPlace(source) => source.mappable(),
        };
        let map = file.map(|file| MapRange::open(file, offset, bytes));
        map.transpose().map_err(Error::io(&self.place))
    }

    /// Checks that a range lies in the file.
    fn admit(&self, offset: u64, bytes: u64) -> Result<Range<usize>> {
        let range = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        let range =
            range.and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
        range.ok_or_else(|| outside(&self.place, offset, bytes, self.bytes))
    }
}

/// One layer's uncompressed bytes.
#[derive(Debug)]
pub struct LayerStream {
    name: StreamName,
    extent: Arc<FileExtent>,
}

impl LayerStream {
    /// Takes a finished file of the stream; no process may write to it afterwards.
    fn new(name: StreamName, file: Arc<ScratchFile>) -> Result<Self> {
        let place = place(&name);
        let found = file.metadata().map_err(Error::io(&place))?.len();
        if found != name.bytes {
            return Err(Error::Mismatch {
                place,
                difference: Difference::Size { expected: name.bytes, found },
            });
        }
        Ok(Self { name, extent: Arc::new(FileExtent::new(place, file)?) })
    }

    /// Returns its name and length.
    pub fn name(&self) -> StreamName {
        self.name
    }

    /// Returns its digest.
    pub fn diff_id(&self) -> DiffId {
        self.name.diff_id
    }

    /// Returns its length.
    pub fn bytes(&self) -> u64 {
        self.name.bytes
    }

    /// Fills `buffer` with the bytes at `offset`; fails if the stream ends before.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.extent.read_exact_at(offset, buffer)
    }

    /// Returns its file.
    pub fn extent(&self) -> &FileExtent {
        &self.extent
    }

    /// Returns a range, whose length the caller bounds; fails if the stream ends before.
    pub fn slice(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.extent.slice(offset, bytes)
    }
}

/// Streams by their digests.
#[derive(Debug, Default)]
pub struct Volume {
    streams: HashMap<DiffId, Arc<LayerStream>>,
    notes: Vec<Note>,
}

impl Volume {
    /// Extracts the wanted streams from the layers of `images`, in parallel, the largest first.
    ///
    /// Each stream is extracted once, and blobs and streams are compared with their digests. If no
    /// image has some of the streams, one [`Error::BaseMissing`] lists them before anything is read.
    pub fn extract(images: &[&Image], wanted: &[DiffId], context: &Context) -> Result<Self> {
        Self::extract_as(StreamCheck::Compare, images, wanted, context)
    }

    /// Extracts streams as [`Volume::extract`] does; `digest` decides if they are hashed.
    ///
    /// A stream that is not hashed, and whose store can read it at any offset, is not extracted.
    pub fn extract_as(
        digest: fn(DiffId) -> StreamCheck,
        images: &[&Image],
        wanted: &[DiffId],
        context: &Context,
    ) -> Result<Self> {
        let workers = &context.workers;
        let progress = &*context.progress;
        let mut tasks = Vec::new();
        let (mut planned, mut missing) = (HashSet::new(), Vec::new());
        for diff_id in wanted {
            if !planned.insert(*diff_id) {
                continue;
            }
            let candidates = layers_of(images, diff_id);
            match candidates.first() {
                Some((_, layer)) => tasks.push((layer.stored().size_bytes, candidates)),
                None => {
                    missing.push(MissingLayer::Stream { diff_id: *diff_id, layers: Vec::new() });
                }
            }
        }
        if !missing.is_empty() {
            return Err(Error::BaseMissing { place: places(images), missing });
        }
        tasks.shared_sort_by_key(|(size_bytes, _)| Reverse(*size_bytes));
        progress.begin(Stage::Reading, tasks.iter().map(|(size_bytes, _)| size_bytes).sum());
        progress.expect_items(tasks.len() as u64);
        let read = workers.map(tasks, |(size_bytes, candidates)| {
            let extracted = match in_place(digest, &candidates, context)? {
                Some(stream) => {
                    progress.advance(size_bytes);
                    (stream, Vec::new())
                }
                None => extract_first(digest, &candidates, context)?,
            };
            progress.finish_item();
            Ok(extracted)
        })?;
        let mut volume = Self::default();
        for (stream, notes) in read {
            volume.streams.insert(stream.diff_id(), Arc::new(stream));
            volume.notes.extend(notes);
        }
        Ok(volume)
    }

    /// Adds those of the wanted streams that a store can read in place, without their digests.
    pub fn add_in_place(
        &mut self,
        images: &[&Image],
        wanted: &[DiffId],
        context: &Context,
    ) -> Result<()> {
        for diff_id in wanted {
            if self.stream(diff_id).is_none()
                && let Some(stream) =
                    in_place(StreamCheck::Assume, &layers_of(images, diff_id), context)?
            {
                self.streams.insert(*diff_id, Arc::new(stream));
            }
        }
        Ok(())
    }

    /// Adds a stream whose file is finished and was compared with its digest.
    pub fn insert(&mut self, name: StreamName, file: impl Into<ScratchFile>) -> Result<()> {
        let stream = LayerStream::new(name, Arc::new(file.into()))?;
        self.streams.insert(name.diff_id, Arc::new(stream));
        Ok(())
    }

    /// Adds a stream that was compared with its digest, in the file of the store that has it.
    pub(crate) fn insert_in_place(
        &mut self,
        name: StreamName,
        source: Arc<dyn ReadAt>,
    ) -> Result<()> {
        let place = place(&name);
        let found = source.size_bytes().map_err(Error::io(&place))?;
        if found != name.bytes {
            let difference = Difference::Size { expected: name.bytes, found };
            return Err(Error::Mismatch { place, difference });
        }
        let content = ExtentContent::InPlace(source);
        let extent = Arc::new(FileExtent { place, content, bytes: name.bytes });
        self.streams.insert(name.diff_id, Arc::new(LayerStream { name, extent }));
        Ok(())
    }

    /// Fails if another program has changed a stream that is read in place.
    pub fn check_unchanged(&self) -> Result<()> {
        for stream in self.streams.values() {
            if let ExtentContent::InPlace(source) = &stream.extent.content {
                source.check_unchanged().map_err(Error::io(&stream.extent.place))?;
            }
        }
        Ok(())
    }

    /// Returns a stream.
    pub fn stream(&self, diff_id: &DiffId) -> Option<&Arc<LayerStream>> {
        self.streams.get(diff_id)
    }

    /// Returns remarks about the layers.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// An address space: ranges of files in sequence.
///
/// A recipe's base has its source streams first, then the parts of archives that it opens.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    /// No range is empty, so no two start at one address.
    ranges: Vec<SpaceRange>,
    bytes: u64,
}

/// A range of a file in an address space.
#[derive(Clone, Debug)]
struct SpaceRange {
    start: u64,
    extent: Arc<FileExtent>,
    offset: u64,
    bytes: u64,
}

impl AddressSpace {
    /// Returns the address space of `sources` in sequence.
    ///
    /// If the volume lacks some of them, one [`Error::BaseMissing`] lists them.
    pub fn new(volume: &Volume, sources: &[StreamName]) -> Result<Self> {
        let (mut space, mut missing) = (Self::default(), Vec::new());
        for name in sources {
            let Some(stream) = volume.stream(&name.diff_id) else {
                missing.push(MissingLayer::Stream { diff_id: name.diff_id, layers: Vec::new() });
                continue;
            };
            if stream.bytes() != name.bytes {
                return Err(Error::bad_input(
                    place(name),
                    format_args!("length is {}, should be {}", stream.bytes(), name.bytes),
                ));
            }
            space.push(&stream.extent, 0..name.bytes)?;
        }
        if !missing.is_empty() {
            return Err(Error::BaseMissing { place: "base".into(), missing });
        }
        Ok(space)
    }

    /// Appends a range of a file.
    pub fn push(&mut self, extent: &Arc<FileExtent>, range: Range<u64>) -> Result<()> {
        let (offset, bytes) = (range.start, range.end - range.start);
        if bytes > 0 {
            let extent = Arc::clone(extent);
            self.ranges.push(SpaceRange { start: self.bytes, extent, offset, bytes });
        }
        // Each length is that of a file, and a recipe may name one file any number of times.
        let end = self.bytes.checked_add(bytes);
        self.bytes =
            end.ok_or_else(|| Error::bad_input(&extent.place, "the sources' lengths overflow"))?;
        Ok(())
    }

    /// Appends the addresses of a stream that is not there: reading from them fails.
    pub fn skip(&mut self, name: &StreamName) -> Result<()> {
        let content = ExtentContent::InPlace(Arc::new(Vec::new()));
        let extent = FileExtent { place: place(name), content, bytes: name.bytes };
        self.push(&Arc::new(extent), 0..name.bytes)
    }

    /// Appends a range of another space.
    pub fn append(&mut self, other: &Self, range: Range<u64>) -> Result<()> {
        let first = other.ranges.partition_point(|part| part.start + part.bytes <= range.start);
        for part in &other.ranges[first..] {
            if part.start >= range.end {
                break;
            }
            let start = part.start.max(range.start) - part.start;
            let end = (part.start + part.bytes).min(range.end) - part.start;
            self.push(&part.extent, part.offset + start..part.offset + end)?;
        }
        Ok(())
    }

    /// Returns its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `buffer` with the bytes at `address`.
    pub fn read_exact_at(&self, address: u64, buffer: &mut [u8]) -> Result<()> {
        let mut rest = buffer;
        self.walk(address, rest.len() as u64, |extent, offset, bytes| {
            let bytes = usize::try_from(bytes).expect("no longer than the buffer");
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(bytes);
            rest = after;
            extent.read_exact_at(offset, piece)
        })
    }

    /// Returns the one file that a range lies in, and the range's offset there.
    pub fn file_of(&self, address: u64, bytes: u64) -> Option<(&FileExtent, u64)> {
        let mut found = Vec::new();
        let walked = self.walk(address, bytes, |extent, offset, _| {
            found.push((extent, offset));
            Ok(())
        });
        (walked.is_ok() && found.len() == 1).then(|| found[0])
    }

    /// Returns a range, whose length the caller bounds.
    pub fn slice(&self, address: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut found = Vec::new();
        self.walk(address, bytes, |extent, offset, bytes| {
            let start = found.len();
            found.resize(start + extent.admit(offset, bytes)?.len(), 0);
            extent.read_exact_at(offset, &mut found[start..])
        })?;
        Ok(found)
    }

    fn walk<'a>(
        &'a self,
        address: u64,
        bytes: u64,
        mut each: impl FnMut(&'a FileExtent, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = address.checked_add(bytes).filter(|end| *end <= self.bytes);
        let Some(end) = end else {
            return Err(outside("address space of a recipe", address, bytes, self.bytes));
        };
        let mut at = address;
        let mut next = self.ranges.partition_point(|part| part.start <= at).saturating_sub(1);
        while at < end {
            let part = &self.ranges[next];
            let piece_end = end.min(part.start + part.bytes);
            each(&part.extent, part.offset + (at - part.start), piece_end - at)?;
            at = piece_end;
            next += 1;
        }
        Ok(())
    }
}

/// Returns the layers that hold a stream; any of them serves.
pub fn layers_of<'a>(images: &[&'a Image], diff_id: &DiffId) -> Vec<(&'a Image, &'a Layer)> {
    let all = images.iter().flat_map(|image| image.layers.iter().map(move |layer| (*image, layer)));
    all.filter(|(_, layer)| layer.diff_id == *diff_id && !layer.is_absent()).collect()
}

/// Opens a stream to be read in place, in the first store that can; `None` if it must be compared.
fn in_place(
    digest: fn(DiffId) -> StreamCheck,
    candidates: &[(&Image, &Layer)],
    context: &Context,
) -> Result<Option<LayerStream>> {
    let limits = &context.limits;
    for (image, layer) in candidates {
        let StreamCheck::Assume(diff_id) = digest(layer.diff_id) else { return Ok(None) };
        let source = match image.store().in_place(layer.stored(), context) {
            Ok(Some(source)) => source,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            // Extraction names the fault, or reads another copy.
            Ok(None) | Err(_) => continue,
        };
        let mut name = StreamName { diff_id, bytes: 0 };
        let place = place(&name);
        name.bytes = source.size_bytes().map_err(Error::io(&place))?;
        limits.admit(LimitName::LayerBytes, name.bytes, "uncompressed size", &place)?;
        // As for a stream that is read from an uncompressed blob.
        context.admit_layer_bytes(name.bytes.saturating_mul(2));
        let content = ExtentContent::InPlace(source);
        let extent = FileExtent { place, content, bytes: name.bytes };
        return Ok(Some(LayerStream { name, extent: Arc::new(extent) }));
    }
    Ok(None)
}

fn extract_first(
    digest: fn(DiffId) -> StreamCheck,
    candidates: &[(&Image, &Layer)],
    context: &Context,
) -> Result<(LayerStream, Vec<Note>)> {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    for (image, layer) in candidates {
        match extract(digest(layer.diff_id), image, layer, context) {
            // A layer that may not be redistributed is often absent; another image may have it.
            Err(Error::NotFound { .. }) => {
                places.push(format!("{} is incomplete (layer {})", image.name, layer.ordinal + 1));
                let digest = layer.descriptor.digest;
                missing.push(MissingLayer::Blob { digest, layers: Vec::new() });
            }
            outcome => return outcome,
        }
    }
    missing.dedup();
    Err(Error::BaseMissing { place: places.join(", "), missing })
}

fn extract(
    digest: StreamCheck,
    image: &Image,
    layer: &Layer,
    context: &Context,
) -> Result<(LayerStream, Vec<Note>)> {
    // A stream that this process made needs no copy.
    let store = (!layer.has_blob()).then(|| image.store());
    if let Some(file) = store.and_then(|store| store.finished_stream(layer.stored())) {
        let name = StreamName { diff_id: layer.diff_id, bytes: layer.stored().size_bytes };
        return Ok((LayerStream::new(name, file)?, Vec::new()));
    }
    let scratch = &context.scratch;
    let mut file = scratch.file()?;
    context.admit_layer_bytes(layer.stored().size_bytes);
    let mut notes = Vec::new();
    let read =
        image.read_layer_as(digest, layer, &mut notes, &*context.progress, &mut |piece| {
            context.admit_layer_bytes(piece.len() as u64);
            file.write_all(piece).map_err(Error::io(scratch.place()))
        })?;
    let name = StreamName { diff_id: read.diff_id, bytes: read.stream_bytes };
    Ok((LayerStream::new(name, Arc::new(file))?, notes))
}

fn place(name: &StreamName) -> String {
    format!("stream {}", name.diff_id)
}

fn places(images: &[&Image]) -> String {
    let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
    names.join(", ")
}

fn outside(place: impl std::fmt::Display, offset: u64, bytes: u64, end: u64) -> Error {
    let what = format!("{bytes} bytes at {offset} go past the end at {end}");
    Error::bad_input(place, what)
}
