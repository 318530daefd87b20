//! A survey of an image: the indexes of its layers and its merged root file system.
//!
//! One pass reads all layers of all images, the largest first. A blob that several images share is
//! read once, and not at all if the cache has its index. Never compares.

use crate::{
    image::{Image, Layer},
    index::{
        Entry, FileReader, IndexBuilder, LayerIndex,
        cache::{CacheLookup, IndexCache},
    },
    rootfs::Rootfs,
    store::source::ReadAt,
    volume::Volume,
};
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, Limits, Note, Result,
    limits::{ImageTotals, LayerShare},
    path::LayerPathRef,
    progress::Stage,
    scratch::{Scratch, ScratchFile},
    sort::SharedSort,
};
use imgdelta_format::recipe::StreamName;
use std::{
    collections::{HashMap, HashSet},
    io::Write,
    path::Path,
    sync::Arc,
};

/// An image with the content of its layers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// The image.
    pub image: Image,
    /// Its layers' indexes, lowest first.
    pub layers: Vec<Arc<LayerIndex>>,
    /// The layers merged.
    pub rootfs: Rootfs,
    /// Remarks: oddities, and layers whose files are unknown.
    pub notes: Vec<Note>,
}

/// Options for surveys of images.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SurveyOptions {
    /// Directory of indexes; none by default, since a library writes nothing by itself.
    pub cache: Option<IndexCache>,
    /// Creates a reader of wanted files, such as package databases, for each layer.
    ///
    /// Its findings are stored with the layer's index. None by default: only entries are recorded.
    pub file_reader: Option<fn() -> Box<dyn FileReader>>,
    /// Skips a layer whose index is cached even if streams are kept: its stream is then missing.
    pub omits_cached_streams: bool,
}

impl SurveyOptions {
    /// Keeps indexes in a directory, which is created if it is missing. If it cannot be written, a
    /// note says so.
    #[must_use]
    pub fn cache(mut self, dir: &Path, limits: &Limits) -> Self {
        self.cache = Some(IndexCache::new(dir, limits));
        self
    }

    /// Reads wanted files while layers pass; `start` creates a reader for each layer.
    #[must_use]
    pub fn file_reader(mut self, start: fn() -> Box<dyn FileReader>) -> Self {
        self.file_reader = Some(start);
        self
    }
}

impl Survey {
    /// Returns the entry at a place of [`Rootfs`].
    pub fn entry(&self, (layer, entry): (u32, u32)) -> Option<Entry<'_>> {
        self.layers.get(layer as usize)?.entries.get(entry as usize)
    }

    /// Returns true if the root file system has the content of `entry` at `path`.
    pub fn has_at(&self, path: LayerPathRef<'_>, entry: &Entry<'_>) -> bool {
        let found = self.rootfs.find(path).and_then(|node| self.entry(node.content?));
        found.is_some_and(|found| found.digest.is_some() && found.digest == entry.digest)
    }
}

/// Surveys the two images of a comparison.
pub fn both(images: [Image; 2], options: &SurveyOptions, context: &Context) -> Result<[Survey; 2]> {
    let surveys = all(images.into(), options, context)?;
    Ok(<[Survey; 2]>::try_from(surveys).expect("as many surveys as images"))
}

/// Surveys the two images of a comparison, and keeps the streams of all their layers.
///
/// Reads layers with a cached index, too, unless [`SurveyOptions::omits_cached_streams`] is set.
pub fn both_with_streams(
    images: [Image; 2],
    options: &SurveyOptions,
    context: &Context,
) -> Result<([Survey; 2], Volume)> {
    let (surveys, volume) = read(images.into(), options, Some(&context.scratch), context)?;
    Ok((<[Survey; 2]>::try_from(surveys).expect("as many surveys as images"), volume))
}

/// Surveys images together; layers that they share are read once.
pub fn all(images: Vec<Image>, options: &SurveyOptions, context: &Context) -> Result<Vec<Survey>> {
    read(images, options, None, context).map(|(surveys, _)| surveys)
}

fn read(
    images: Vec<Image>,
    options: &SurveyOptions,
    scratch: Option<&Scratch>,
    context: &Context,
) -> Result<(Vec<Survey>, Volume)> {
    let Context { workers, progress, .. } = context;
    let mut tasks = Vec::new();
    let mut planned = HashSet::new();
    let totals = |image: &Image| ImageTotals::new(&image.name, &context.limits);
    let totals: Vec<ImageTotals> = images.iter().map(totals).collect();
    for (image, totals) in images.iter().zip(&totals) {
        for layer in &image.layers {
            if planned.insert((layer.descriptor.digest, layer.diff_id)) {
                tasks.push((image, layer, totals.layer()));
            }
        }
    }
    // The largest first, so that no worker starts a large layer at the end.
    tasks.shared_sort_by_key(|(_, layer, _)| std::cmp::Reverse(layer.stored().size_bytes));
    progress
        .begin(Stage::Reading, tasks.iter().map(|(_, layer, _)| layer.stored().size_bytes).sum());
    progress.expect_items(tasks.len() as u64);

    let read = workers.map(tasks, |(image, layer, mut share)| {
        let kept = scratch.map(|scratch| KeptStream::new(image, layer, scratch, context));
        let mut stream = kept.transpose()?;
        let (index, notes) = index_of(image, layer, options, &mut stream, &mut share, context)?;
        progress.finish_item();
        let key = (layer.descriptor.digest, layer.diff_id);
        Ok((key, (Arc::new(index), notes), stream))
    })?;
    let mut volume = Volume::default();
    let mut indexes = Indexes::new();
    for (key, (index, notes), stream) in read {
        let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
        match stream {
            Some(KeptStream::Scratch(file)) => volume.insert(name, file)?,
            Some(KeptStream::InPlace(source)) => volume.insert_in_place(name, source)?,
            None => {}
        }
        indexes.insert(key, (index, notes));
    }
    let surveys = workers.map(images, |image| assemble(image, &indexes, context))?;
    Ok((surveys, volume))
}

/// The index of each blob and stream, with remarks.
type Indexes = HashMap<(BlobDigest, DiffId), (Arc<LayerIndex>, Vec<Note>)>;

fn assemble(image: Image, indexes: &Indexes, context: &Context) -> Result<Survey> {
    let mut notes = image.notes.clone();
    let mut layers = Vec::new();
    // A layer may occur several times, or be counted as a layer of the other image.
    let totals = ImageTotals::new(&image.name, &context.limits);
    for layer in &image.layers {
        let (index, remarks) = &indexes[&(layer.descriptor.digest, layer.diff_id)];
        totals.layer().set(index.entries.len() as u64, index.entries.text_bytes())?;
        for remark in remarks {
            if !notes.contains(remark) {
                notes.push(remark.clone());
            }
        }
        layers.push(Arc::clone(index));
    }
    let rootfs = Rootfs::merge(&layers, &*context.progress)?;
    notes.extend(rootfs_notes(&rootfs));
    Ok(Survey { image, layers, rootfs, notes })
}

fn rootfs_notes(rootfs: &Rootfs) -> Vec<Note> {
    let place = |layer: u32| format!("layer {}", u64::from(layer) + 1);
    let mut notes: Vec<Note> = (rootfs.notes().iter())
        .map(|note| Note::new(place(note.layer), format_args!("{}: {}", note.path, note.what)))
        .collect();
    if rootfs.omitted_notes() > 0 {
        let what = format!("{} more remarks of this kind", rootfs.omitted_notes());
        notes.push(Note::new("layers", what));
    }
    notes
}

/// The place where a layer's stream is read again.
enum KeptStream {
    /// A copy, which is written while the layer is read.
    Scratch(ScratchFile),
    /// An uncompressed blob. Copying an image of many gigabytes takes more time than hashing it.
    InPlace(Arc<dyn ReadAt>),
}

impl KeptStream {
    fn new(image: &Image, layer: &Layer, scratch: &Scratch, context: &Context) -> Result<Self> {
        // Files that cannot be mapped would take memory for each large program.
        if layer.has_blob()
            && let Ok(Some(source)) = image.store().in_place(layer.stored(), context)
            && source.mappable().is_some()
        {
            return Ok(Self::InPlace(source));
        }
        scratch.file().map(Self::Scratch)
    }
}

/// Returns a layer's index, from the cache or from its bytes, with remarks; writes the bytes to
/// `stream` if that is a copy.
fn index_of(
    image: &Image,
    layer: &Layer,
    options: &SurveyOptions,
    stream: &mut Option<KeptStream>,
    share: &mut LayerShare<'_>,
    context: &Context,
) -> Result<(LayerIndex, Vec<Note>)> {
    let progress = &*context.progress;
    let mut notes = Vec::new();
    let may_skip = stream.is_none() || options.omits_cached_streams;
    if let Some(cache) = options.cache.as_ref().filter(|_| may_skip) {
        match cache.load(&layer.diff_id) {
            CacheLookup::Found(index) => {
                progress.advance(layer.stored().size_bytes);
                check(layer, &index)?;
                share.set(index.entries.len() as u64, index.entries.text_bytes())?;
                *stream = None;
                return Ok((*index, notes));
            }
            CacheLookup::Absent => {}
            CacheLookup::Unusable(why) => {
                notes.push(Note::new(
                    place(layer),
                    format_args!("the cached index was unusable ({why}) and was rebuilt"),
                ));
            }
        }
    }
    context.admit_layer_bytes(layer.stored().size_bytes);
    let reader = options.file_reader.map(|start| start());
    let mut builder = IndexBuilder::new(&context.limits, reader);
    let read = image.read_layer(layer, &mut notes, progress, &mut |chunk| {
        if let Some(KeptStream::Scratch(stream)) = stream {
            context.admit_layer_bytes(chunk.len() as u64);
            stream.write_all(chunk).map_err(Error::io("scratch file"))?;
        }
        builder.feed(chunk)?;
        share.set(builder.entry_count(), builder.text_bytes())
    });
    match read {
        Ok(_) => {}
        Err(Error::NotFound { .. }) if !layer.is_distributable => {
            let what = "may not be distributed and is absent: its files are unknown";
            notes.push(Note::new(place(layer), what));
            return Ok((LayerIndex::unseen(layer.diff_id), notes));
        }
        Err(error) => return Err(error),
    }
    let index = builder.finish(layer.diff_id)?;
    check(layer, &index)?;
    // An index without findings would hide the layer's packages from every later run.
    if let (Some(cache), Some(_)) = (&options.cache, options.file_reader) {
        match cache.save(&index) {
            // One note for all layers.
            Err(Error::Io { source, .. }) => {
                notes.push(Note::new("cache", format_args!("not written: {source}")));
            }
            outcome => outcome?,
        }
    }
    Ok((index, notes))
}

/// Fails if the stream is not a tar archive, since its files cannot be compared.
fn check(layer: &Layer, index: &LayerIndex) -> Result<()> {
    let Some(damage) = &index.damage else { return Ok(()) };
    let place = format!("{}, offset {} of its tar stream", place(layer), damage.offset);
    Err(Error::bad_input(place, &damage.what))
}

fn place(layer: &Layer) -> String {
    format!("layer {} ({})", layer.ordinal + 1, layer.descriptor.digest)
}
