//! An image from a registry, by whatever is cheapest: what lies here, a delta's recipes, whole blobs.
//!
//! Looks first and says what it will fetch; then puts a delta together, here, whose layers each come
//! the chosen way, from whichever delta, with the image in the registry as a last base, and applies
//! it. So whole blobs, blobs of the base and rebuilt ones take one way through one check. What turns
//! out to be missing, damaged or hostile costs its bytes, which are fewer than a plain pull's, and
//! its layers come another way.

mod carry;
mod choose;
mod compose;
mod price;
mod report;

pub use price::Link;
pub use report::{PULL_SCHEMA, Pulled};

use crate::{
    artifact::{Artifact, Front},
    client::{Client, Traffic},
    repository::Repository,
    store::RegistryStore,
};
use imgdelta_apply::sink::{self, Sink, Wants};
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, Limits, Note, Result, progress::Progress, scratch::Scratch,
};
use imgdelta_image::{
    Reference,
    image::{Image, OpenOptions, Platform},
    reference::RegistryReference,
    store::Descriptor,
};
use price::Price;
use std::collections::HashSet;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::runtime::Handle;

/// An image in a registry that is to come here.
#[derive(Debug)]
pub struct PullSource {
    repository: Repository,
    handle: Handle,
    before: Traffic,
    image: Image,
}

impl PullSource {
    /// Opens the image: fetches its manifest and config. Where blobs that are fetched can not be
    /// kept by their destination while it is not whole, they are kept in `scratch`.
    pub fn open(
        client: &Client,
        reference: &RegistryReference,
        handle: Handle,
        options: &OpenOptions,
        scratch: Option<Scratch>,
    ) -> Result<Self> {
        let before = client.traffic();
        let (store, name) = RegistryStore::open(client, reference, handle.clone(), scratch);
        let mut image = Image::open(store, name.as_ref(), options)?;
        image.name = format!("docker://{reference}");
        Ok(Self { repository: Repository::of(client, reference), handle, before, image })
    }

    /// Returns what the image runs on.
    pub fn platform(&self) -> &Platform {
        &self.image.platform
    }

    /// Returns the digest of its manifest.
    pub fn digest(&self) -> BlobDigest {
        self.image.digest
    }
}

/// How an image is pulled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// Whether to look for deltas. Yes.
    pub deltas: bool,
    /// Whether the image must be no newer than any base, as who goes back expects. No.
    pub rollback: bool,
    /// The link, where ways are chosen by the time they take. None: they are chosen by bytes.
    pub link: Option<Link>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { deltas: true, rollback: false, link: None }
    }
}

impl PullOptions {
    /// Sets whether to look for deltas.
    pub fn deltas(mut self, deltas: bool) -> Self {
        self.deltas = deltas;
        self
    }

    /// Sets whether the image must be no newer than any base.
    pub fn rollback(mut self, rollback: bool) -> Self {
        self.rollback = rollback;
        self
    }

    /// Sets the link behind which ways are chosen by the time they take.
    pub fn link(mut self, link: Option<Link>) -> Self {
        self.link = link;
        self
    }
}

/// Where a layer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its blob is at the destination.
    There,
    /// A base has its blob.
    Base,
    /// A base has its stream, and a delta says how the blob is made of it.
    Remade {
        /// Which of the chosen deltas.
        delta: usize,
    },
    /// A recipe makes it.
    Recipe {
        /// Which of the chosen deltas has it.
        delta: usize,
        /// Its ordinal there.
        recipe: usize,
    },
    /// Its blob comes from the registry.
    Registry,
}

impl Way {
    /// Returns which of the chosen deltas it needs, if any.
    pub fn delta(self) -> Option<usize> {
        match self {
            Self::Remade { delta } | Self::Recipe { delta, .. } => Some(delta),
            Self::There | Self::Base | Self::Registry => None,
        }
    }
}

/// One layer of an image that is to come here.
#[derive(Clone, Debug)]
pub struct PlannedLayer {
    /// Its blob.
    pub blob: Descriptor,
    /// Its stream.
    pub diff_id: DiffId,
    /// Where it comes from.
    pub way: Way,
    /// What is fetched for it; 0 where another layer's will do.
    pub fetch_bytes: u64,
    /// What that costs with the work it takes, in what this pull counts in.
    price: u64,
}

/// A delta that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub(crate) artifact: Artifact,
    pub(crate) front: Front,
}

/// What a pull will fetch; nothing of it was fetched yet but the documents and deltas' fronts.
#[derive(Debug)]
pub struct PullPlan {
    source: PullSource,
    bases: Vec<Image>,
    output: Reference,
    options: PullOptions,
    context: Context,
    /// The layers, the lowest first.
    pub layers: Vec<PlannedLayer>,
    /// The deltas that layers come by, the one that saves most first.
    pub deltas: Vec<Chosen>,
    /// What a plain pull fetches: manifest, config, and layers that are not here.
    pub plain_bytes: u64,
    /// What was fetched already, to decide.
    pub decided_bytes: u64,
    /// What was remarkable.
    pub notes: Vec<Note>,
    here: Here,
    /// Layers and deltas that turned out not to go together.
    broken: Broken,
    /// What recipes may still cost, so that all that deltas cost is less than a plain pull.
    rest_bytes: u64,
}

/// Layers, and which of the chosen deltas does not make them.
type Broken = HashSet<(usize, usize)>;

impl PullPlan {
    /// Looks at what is here and what deltas there are, and chooses.
    pub fn new(
        source: PullSource,
        bases: Vec<Image>,
        output: &Reference,
        options: PullOptions,
        context: &Context,
    ) -> Result<Self> {
        if options.rollback {
            check_is_back(&source.image, &bases)?;
        }
        let sink = sink::create(output, &context.limits)?;
        if sink.wants() == Wants::Streams {
            let what = "a pull keeps the registry's blobs: name an oci: or oci-archive: place, and \
                        copy from there with skopeo";
            return Err(Error::bad_input(output, what));
        }
        let here = Here::look(&source.image, &bases, &*sink, &*context.progress)?;
        let price = Price(options.link);
        let layers = choose::ways(&source.image, &here, &[], &Broken::new(), price);
        let documents = (source.image.manifest.len() + source.image.config_bytes.len()) as u64;
        let plain_layers_bytes = choose::fetch_bytes(&layers);
        let mut plan = Self {
            layers,
            deltas: Vec::new(),
            plain_bytes: documents + plain_layers_bytes,
            decided_bytes: 0,
            notes: source.image.notes.clone(),
            source,
            bases,
            output: output.clone(),
            options,
            context: context.clone(),
            here,
            broken: Broken::new(),
            rest_bytes: plain_layers_bytes,
        };
        if plan.options.deltas && plain_layers_bytes > 0 && !plan.here.streams.is_empty() {
            // Deltas only help: whatever is wrong with them, the layers are still to be had.
            let Self { source, here, layers, notes, .. } = &mut plan;
            match choose::deltas(source, here, layers, price, notes) {
                Ok(chosen) => {
                    plan.deltas = chosen.deltas;
                    plan.rest_bytes = plain_layers_bytes.saturating_sub(chosen.fronts_bytes);
                    plan.choose();
                }
                Err(failure) => {
                    let what = format!("no deltas can be looked for: {failure}");
                    plan.notes.push(Note::new(plan.source.repository.place(), what));
                }
            }
        }
        plan.decided_bytes = plan.received_bytes();
        Ok(plan)
    }

    /// Returns what is still to be fetched.
    pub fn fetch_bytes(&self) -> u64 {
        choose::fetch_bytes(&self.layers)
    }

    fn limits(&self) -> &Limits {
        &self.context.limits
    }

    fn received_bytes(&self) -> u64 {
        let now = self.source.repository.client().traffic().received_bytes;
        now - self.source.before.received_bytes
    }

    /// Takes the cheapest way for each layer that is not known to fail.
    fn choose(&mut self) {
        let Self { source, here, deltas, broken, options, .. } = self;
        self.layers = choose::ways(&source.image, here, deltas, broken, Price(options.link));
    }

    /// Returns the recipe that a layer comes by, if one does.
    fn recipe(&self, way: Way) -> Option<&Descriptor> {
        match way {
            Way::Recipe { delta, recipe } => {
                Some(&self.deltas[delta].artifact.recipes[recipe].blob)
            }
            _ => None,
        }
    }
}

/// What lies here.
#[derive(Debug)]
struct Here {
    /// Blobs of the target's layers at the destination.
    there: HashSet<BlobDigest>,
    /// Blobs of the bases' layers.
    blobs: HashSet<BlobDigest>,
    /// Streams of the bases' layers.
    streams: HashSet<DiffId>,
    /// The bases' manifests.
    manifests: HashSet<BlobDigest>,
}

impl Here {
    fn look(
        target: &Image,
        bases: &[Image],
        sink: &dyn Sink,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let layers = || bases.iter().flat_map(|image| &image.layers);
        let mut here = Self {
            there: HashSet::new(),
            blobs: layers().map(|layer| layer.descriptor.digest).collect(),
            streams: layers().map(|layer| layer.diff_id).collect(),
            manifests: bases.iter().map(|image| image.digest).collect(),
        };
        for layer in &target.layers {
            let digest = layer.descriptor.digest;
            if !here.there.contains(&digest) && sink.has(&layer.descriptor, progress)? {
                here.there.insert(digest);
            }
        }
        Ok(here)
    }
}

/// Refuses an image that is newer than a base, by the dates that configs tell. Who says "back" and
/// names a newer tag has mixed them up.
fn check_is_back(target: &Image, bases: &[Image]) -> Result<()> {
    if bases.is_empty() {
        let what = "nothing to go back from: name the image that is here with --base";
        return Err(Error::bad_input(&target.name, what));
    }
    let date = |image: &Image| {
        let told = image.config.created.as_deref();
        told.and_then(|told| OffsetDateTime::parse(told, &Rfc3339).ok())
    };
    // Where nobody tells, or all dates are one for reproducible builds, there is nothing to refuse.
    let newer = bases.iter().find(|base| date(base).zip(date(target)).is_some_and(|(b, t)| b < t));
    let Some(base) = newer else { return Ok(()) };
    let [made, before] = [target, base].map(|image| image.config.created.clone());
    let what = format!(
        "made {}, {} {}: that is no way back; without --rollback it is pulled all the same",
        made.unwrap_or_default(),
        base.name,
        before.unwrap_or_default()
    );
    Err(Error::bad_input(&target.name, what))
}

/// Whether a place keeps the blobs that it has got while the image is not whole.
pub fn keeps_blobs(output: &Reference) -> bool {
    matches!(output, Reference::Layout { .. })
}
