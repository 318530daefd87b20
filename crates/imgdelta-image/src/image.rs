//! An image: manifest, config and ordered layers, each checked against its digest.
//!
//! Opening reads the small documents only; layers are read when asked for, as a stream. What kind
//! of thing a document is, its content decides; media types confirm or earn a note. Nothing here
//! looks inside a layer.

pub mod config;
mod documents;
mod kind;
mod manifest;
mod pair;
pub mod platform;
mod select;

pub use config::Config;
pub use documents::Documents;
pub use pair::{open_pair, open_pair_by};
pub use platform::Platform;

use crate::{
    envelope::{Compression, LayerRead, StreamDigest, read_layer},
    reference::{Name, Reference},
    store::{self, Descriptor, Store, read_blob},
};
use imgdelta_core::{
    BlobDigest, DiffId, Error, Limits, Note, Result, progress::Progress, verify::BlobCheck,
};
use std::sync::Arc;

/// How to open an image.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which image of an index to take. None by default: the host's, or the only one there is.
    pub platform: Option<Platform>,
    /// What a stranger's image may ask for; see there for the defaults.
    pub limits: Limits,
}

impl OpenOptions {
    /// Sets the platform to take from an index, and to insist on.
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
    /// The place it lies in, as errors name it.
    pub place: String,
    /// The reference it was opened by, or the place where there was none.
    pub name: String,
    /// The manifest's digest.
    pub digest: BlobDigest,
    /// What the manifest is called where it was found; empty if nothing.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The config's digest.
    pub config_digest: BlobDigest,
    /// The config, byte for byte.
    pub config_bytes: Vec<u8>,
    /// What the config says.
    pub config: Config,
    /// What it runs on, by its config.
    pub platform: Platform,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// What was remarkable.
    pub notes: Vec<Note>,
}

/// One layer of an image; its bytes are not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its position, the lowest is 0.
    pub ordinal: usize,
    /// Its blob.
    pub descriptor: Descriptor,
    /// The digest its stream should have.
    pub diff_id: DiffId,
    /// Whether it may be passed on; a layer that may not is often absent.
    pub is_distributable: bool,
    /// Which line of the config's history made it, where they can be told apart.
    pub history: Option<usize>,
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

/// What opens the store that a reference names, and says the image's name there: for stores that
/// the core does not know, such as registries.
pub type Opener<'a> =
    dyn Fn(&Reference, &Limits) -> Result<(Arc<dyn Store>, Option<Name>)> + Sync + 'a;

/// Opens the image that a reference names, in the store that `opener` opens.
pub fn open_by(reference: &Reference, options: &OpenOptions, opener: &Opener<'_>) -> Result<Image> {
    let (store, name) = opener(reference, &options.limits)?;
    let mut image = Image::open(store, name.as_ref(), options)?;
    image.name = reference.to_string();
    Ok(image)
}

impl Image {
    /// Opens one image of a store: the named one, or the only one.
    pub fn open(store: Arc<dyn Store>, name: Option<&Name>, options: &OpenOptions) -> Result<Self> {
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
        let config_bytes =
            read_blob(&*store, &config_descriptor, limits.config_bytes, "size of the config")?;
        let config_place = format!("config {}", config_descriptor.digest);
        let config = Config::parse(&config_bytes, &config_place)?;
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
        // Nobody asked for a platform, and this was the only image to have.
        if options.platform.is_none() && Platform::host().distance(&platform).is_none() {
            notes.push(Note::new(
                &place,
                format_args!("the image is for {platform}, not this host"),
            ));
        }
        let layers = layers(manifest.layers, &config, &config_place, limits, &mut notes)?;
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

    /// Returns the store it lies in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns what it may ask for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads a layer once: checks blob and stream, and hands the stream to `sink` in pieces, which
    /// are unverified until this returns `Ok`. Remarks are added to `notes`.
    pub fn read_layer(
        &self,
        layer: &Layer,
        notes: &mut Vec<Note>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<LayerRead> {
        let digest = StreamDigest::Compared(layer.diff_id);
        self.read_layer_as(digest, layer, notes, progress, sink)
    }

    /// Reads a layer as [`Image::read_layer`] does; `digest` decides if the stream is hashed.
    pub fn read_layer_as(
        &self,
        digest: StreamDigest,
        layer: &Layer,
        notes: &mut Vec<Note>,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<LayerRead> {
        let blob = &layer.descriptor;
        let check = BlobCheck::new(blob.digest, blob.size_bytes);
        let place = check.place();
        let reader = self.store.open(blob)?;
        let read = read_layer(reader, check, digest, &self.limits, progress, sink)?;
        if let Some(claimed) = Compression::claimed_by(blob.media_type())
            && claimed != read.compression
        {
            let found = read.compression;
            notes.push(Note::new(&place, format_args!("media type says {claimed}, it is {found}")));
        }
        if read.trailing_bytes > 0 {
            let count = read.trailing_bytes;
            notes
                .push(Note::new(&place, format_args!("{count} bytes after the gzip data ignored")));
        }
        Ok(read)
    }
}

fn layers(
    descriptors: Vec<Descriptor>,
    config: &Config,
    place: &str,
    limits: &Limits,
    notes: &mut Vec<Note>,
) -> Result<Vec<Layer>> {
    let count = descriptors.len();
    Limits::admit(limits.layers, count as u64, "count of layers", place)?;
    if config.diff_ids.len() != count {
        let found = config.diff_ids.len();
        return Err(Error::bad_input(
            place,
            format_args!("{found} diff ids, but the manifest has {count} layers"),
        ));
    }
    let mut made: Vec<Option<usize>> = config
        .history
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty_layer)
        .map(|(at, _)| Some(at))
        .collect();
    if made.len() != count {
        if !config.history.is_empty() {
            let lines = made.len();
            notes.push(Note::new(
                place,
                format_args!("history speaks of {lines} layers, there are {count}"),
            ));
        }
        made = vec![None; count];
    }
    let parts = descriptors.into_iter().zip(&config.diff_ids).zip(made).enumerate();
    Ok(parts
        .map(|(ordinal, ((descriptor, &diff_id), history))| Layer {
            ordinal,
            is_distributable: kind::is_distributable(descriptor.media_type()),
            descriptor,
            diff_id,
            history,
        })
        .collect())
}
