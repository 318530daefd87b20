//! An image: manifest, config and ordered layers, each compared with its digest.
//!
//! Opening reads the small documents only; a layer is read as a stream, on demand. The content of a
//! document decides its kind; a media type that disagrees earns a note. Nothing here looks inside a
//! layer.

pub mod config;
mod documents;
mod fault;
mod kind;
mod manifest;
mod pair;
pub mod platform;
mod select;

pub use config::ImageConfig;
pub use documents::ImageDocuments;
pub use pair::{open_pair, open_pair_by};
pub use platform::Platform;

use crate::{
    envelope::{BlobForm, Compression, LayerSummary, StreamCheck, read_layer_in},
    reference::{ImageName, Reference},
    store::{self, Descriptor, GeneratedManifest, MemoryStore, Store, read_blob},
};
use imgdelta_core::{
    BlobDigest, DiffId, Error, LimitName, Limits, Note, Result, progress::Progress,
    verify::BlobCheck,
};
use std::sync::Arc;

/// Options for opening an image.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Platform to choose from an index; none by default, for the host's or the only image.
    pub platform: Option<Platform>,
    /// Limits on memory and work for a hostile image.
    pub limits: Limits,
}

impl OpenOptions {
    /// Sets the platform to choose from an index; an image of another platform is an error.
    pub fn platform(mut self, platform: Option<Platform>) -> Self {
        self.platform = platform;
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// An image whose manifest and config were read and compared with their digests.
#[derive(Clone, Debug)]
pub struct Image {
    store: Arc<dyn Store>,
    limits: Limits,
    /// The store's name in errors.
    pub place: String,
    /// The reference that opened it, or the place without one.
    pub name: String,
    /// The manifest's digest.
    pub digest: BlobDigest,
    /// The manifest's media type in its index; empty if none is stated.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The config's digest.
    pub config_digest: BlobDigest,
    /// The config, byte for byte.
    pub config_bytes: Vec<u8>,
    /// The fields of the config.
    pub config: ImageConfig,
    /// Its platform, by its config.
    pub platform: Platform,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Remarks about oddities that were tolerated.
    pub notes: Vec<Note>,
}

/// One layer of an image, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its position, the lowest is 0.
    pub ordinal: usize,
    /// Its blob.
    pub descriptor: Descriptor,
    /// The digest of its stream, by the config.
    pub diff_id: DiffId,
    /// True if it may be redistributed; a layer that may not is often absent.
    pub is_distributable: bool,
    /// Index of its line in the config's history; `None` if the history does not fit the layers.
    pub history: Option<usize>,
    /// Its stream, if the store has the stream only.
    stream: Option<Descriptor>,
    /// True if the store is known to have no bytes of it.
    is_absent: bool,
}

impl Layer {
    /// Returns the descriptor of the bytes that the store has: of the blob, or of the uncompressed
    /// stream if the store lacks the blob.
    pub fn stored(&self) -> &Descriptor {
        self.stream.as_ref().unwrap_or(&self.descriptor)
    }

    /// Returns false if the store has the uncompressed stream only.
    pub fn has_blob(&self) -> bool {
        self.stream.is_none()
    }

    /// Returns true if the store is known to have no bytes of it, so that it serves as no base.
    pub fn is_absent(&self) -> bool {
        self.is_absent
    }
}

/// Opens the image that a reference names.
///
/// ```
/// # fn main() -> imgdelta_core::Result<()> {
/// use imgdelta_image::image::{OpenOptions, open};
/// let outcome = open(&"oci:no/such/place:v1".parse()?, &OpenOptions::default());
/// assert_eq!(outcome.unwrap_err().to_string(), "oci:no/such/place: no such directory");
/// # Ok(())
/// # }
/// ```
pub fn open(reference: &Reference, options: &OpenOptions) -> Result<Image> {
    open_by(reference, options, &store::open)
}

/// Opens the store of a reference and returns the image's name there; for stores that this crate
/// does not know, such as registries.
pub type ReferenceOpener<'a> =
    dyn Fn(&Reference, &Limits) -> Result<(Arc<dyn Store>, Option<ImageName>)> + Sync + 'a;

/// Opens the image that a reference names, in the store that `opener` opens.
pub fn open_by(
    reference: &Reference,
    options: &OpenOptions,
    opener: &ReferenceOpener<'_>,
) -> Result<Image> {
    let (store, name) = opener(reference, &options.limits)?;
    let mut image = Image::open(store, name.as_ref(), options)?;
    image.name = reference.to_string();
    Ok(image)
}

impl Image {
    /// Opens one image of a store: the named one, or the only one.
    pub fn open(
        store: Arc<dyn Store>,
        name: Option<&ImageName>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let limits = &options.limits;
        let place = store.place();
        let candidates = store.find(name)?;
        let mut notes = Vec::new();
        let selected = select::select(&*store, candidates, options, &mut notes)?;
        let manifest = selected.manifest;
        if let Some(what) = kind::not_an_image(&manifest) {
            return Err(Error::bad_input(
                format_args!("{place}, manifest {}", selected.descriptor.digest),
                format_args!("{what}, not a container image"),
            ));
        }
        let config_descriptor = manifest.config;
        let config_bytes = read_blob(
            &*store,
            &config_descriptor,
            limits.ceiling(LimitName::ConfigBytes),
            "size of the config",
        )
        .map_err(fault::in_blob(&*store, &place, "config", &config_descriptor))?;
        let config_place = format!("config {}", config_descriptor.digest);
        let config = ImageConfig::parse(&config_bytes, &config_place)?;
        let platform = config.platform();
        if let Some(wanted) = &options.platform
            && wanted.distance(&platform).is_none()
        {
            return Err(Error::NotFound {
                place,
                what: format!("an image for {wanted}"),
                present: vec![platform.to_string()],
            });
        }
        // Without a platform in the options, the only image is taken, of any platform.
        if options.platform.is_none() && Platform::host().distance(&platform).is_none() {
            notes.push(Note::new(
                &place,
                format_args!("the image is for {platform}, not this host"),
            ));
        }
        let mut layers = layers(manifest.layers, &config, &config_place, limits, &mut notes)?;
        for layer in &mut layers {
            layer.stream = stored_stream(&*store, layer, &place)?;
            layer.is_absent = layer.has_blob() && !store.has_layer(&layer.descriptor)?;
        }
        Ok(Self {
            store,
            limits: limits.clone(),
            name: place.clone(),
            place,
            digest: selected.descriptor.digest,
            media_type: selected.descriptor.media_type().to_owned(),
            manifest: selected.bytes,
            config_digest: config_descriptor.digest,
            config_bytes,
            config,
            platform,
            layers,
            notes,
        })
    }

    /// Returns an image for the same platform without layers: the base of a receiver that has none.
    pub fn without_layers(&self) -> Result<Self> {
        let config = serde_json::json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = config.to_string();
        let manifest = GeneratedManifest::new(config.as_bytes(), &[]);
        let mut store = MemoryStore::default();
        store.insert(config.into_bytes());
        store.insert(manifest.bytes);
        store.tag("none", manifest.descriptor);
        let options = OpenOptions::default().limits(self.limits.clone());
        let mut image = Self::open(Arc::new(store), None, &options)?;
        image.name = String::from("no image");
        image.notes.clear();
        Ok(image)
    }

    /// Returns the store that holds it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the limits it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads a layer once, compares blob and stream with their digests, and passes the stream to
    /// `sink` in pieces.
    ///
    /// The pieces are unverified until this returns `Ok`. Remarks go to `notes`.
    pub fn read_layer(
        &self,
        layer: &Layer,
        notes: &mut Vec<Note>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<LayerSummary> {
        let digest = StreamCheck::Compare(layer.diff_id);
        self.read_layer_as(digest, layer, notes, progress, sink)
    }

    /// Reads a layer as [`Image::read_layer`] does; `digest` decides if the stream is hashed.
    pub fn read_layer_as(
        &self,
        digest: StreamCheck,
        layer: &Layer,
        notes: &mut Vec<Note>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<LayerSummary> {
        let blob = layer.stored();
        let check = BlobCheck::new(blob.digest, blob.size_bytes);
        let place = check.place();
        let part = format!("layer {}", layer.ordinal + 1);
        let form = if layer.has_blob() { BlobForm::Recognised } else { BlobForm::Stream };
        let read = (self.store.open(blob))
            .and_then(|reader| {
                read_layer_in(form, reader, check, digest, &self.limits, progress, sink)
            })
            .map_err(fault::in_blob(&*self.store, &self.name, &part, blob))?;
        if let Some(claimed) = Compression::claimed_by(blob.media_type())
            && claimed != read.compression
        {
            let found = read.compression;
            let what = format_args!("media type says {claimed}, content is {found}");
            notes.push(Note::new(&place, what));
        }
        if read.trailing_bytes > 0 {
            let what = format_args!("{} bytes after the gzip data ignored", read.trailing_bytes);
            notes.push(Note::new(&place, what));
        }
        Ok(read)
    }
}

/// Returns the stream of a layer whose blob the store lacks.
fn stored_stream(store: &dyn Store, layer: &Layer, place: &str) -> Result<Option<Descriptor>> {
    let found = store.stored_stream(&layer.descriptor, &layer.diff_id)?;
    let Some(stream) = found else { return Ok(None) };
    let expected = Descriptor::of_stream(&layer.diff_id, stream.size_bytes).digest;
    if stream.digest == expected {
        return Ok(Some(stream));
    }
    Err(Error::bad_input(
        format_args!("{place}, layer {}", layer.ordinal + 1),
        format_args!("the store names its stream {}, should be {expected}", stream.digest),
    ))
}

fn layers(
    descriptors: Vec<Descriptor>,
    config: &ImageConfig,
    place: &str,
    limits: &Limits,
    notes: &mut Vec<Note>,
) -> Result<Vec<Layer>> {
    let count = descriptors.len();
    limits.admit(LimitName::Layers, count as u64, "count of layers", place)?;
    if config.diff_ids.len() != count {
        let found = config.diff_ids.len();
        return Err(Error::bad_input(
            place,
            format_args!("the config has {found} diff ids, the manifest {count} layers"),
        ));
    }
    let mut history: Vec<Option<usize>> = config
        .history
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty_layer)
        .map(|(at, _)| Some(at))
        .collect();
    if history.len() != count {
        if !config.history.is_empty() {
            let lines = history.len();
            let what = format_args!("the history describes {lines} layers, the image has {count}");
            notes.push(Note::new(place, what));
        }
        history = vec![None; count];
    }
    let layers = descriptors.into_iter().zip(&config.diff_ids).zip(history).enumerate();
    Ok(layers
        .map(|(ordinal, ((descriptor, &diff_id), history))| Layer {
            ordinal,
            is_distributable: kind::is_distributable(descriptor.media_type()),
            descriptor,
            diff_id,
            history,
            stream: None,
            is_absent: false,
        })
        .collect())
}
