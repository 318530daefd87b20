//! An image from a registry, by whatever is cheapest: what lies here, a delta's recipes, whole blobs.
//!
//! Looks first and says what it will fetch; then puts a delta together, here, whose layers each come
//! the chosen way, with the image in the registry as a last base, and applies it. So whole blobs,
//! blobs of the base and rebuilt ones take one way through one check. A delta that turns out to be
//! missing, damaged or hostile costs its bytes, which are fewer than a plain pull's, and the layers
//! that it would have made come whole.

mod choose;
mod compose;
mod report;

pub use report::{PULL_SCHEMA, Pulled};

use crate::{
    artifact::{Artifact, Front},
    client::{Client, Traffic},
    failure::unwrapped,
    recipes,
    repository::Repository,
    store::RegistryStore,
};
use imgdelta::{
    BlobDigest, DiffId, Error, Limits, Note, Reference, Result,
    apply::{self, ApplyOptions},
    image::{Image, OpenOptions, Platform},
    parallel::Workers,
    progress::{Progress, Stage},
    reference::RegistryReference,
    scratch::Scratch,
    sink::{self, Sink, Wants},
    store::Descriptor,
};
use std::collections::HashSet;
use tokio::runtime::Handle;

/// An image in a registry that is to come here.
#[derive(Debug)]
pub struct Source {
    repository: Repository,
    handle: Handle,
    before: Traffic,
    image: Image,
}

impl Source {
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
        let mut image = Image::open(store, name.as_ref(), options).map_err(unwrapped)?;
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
    /// How deltas are applied.
    pub apply: ApplyOptions,
    /// Whether to look for deltas. Yes.
    pub deltas: bool,
}

impl PullOptions {
    /// Takes the defaults.
    pub fn new(apply: ApplyOptions) -> Self {
        Self { apply, deltas: true }
    }

    /// Sets whether to look for deltas.
    pub fn deltas(mut self, deltas: bool) -> Self {
        self.deltas = deltas;
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
    /// A base has its stream, and the delta says how the blob is made of it.
    Remade,
    /// The delta's recipe of this ordinal makes it.
    Recipe(usize),
    /// Its blob comes from the registry.
    Registry,
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
}

/// A delta that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub(crate) artifact: Artifact,
    pub(crate) front: Front,
}

/// What a pull will fetch; nothing of it was fetched yet but the documents and a delta's front.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    bases: Vec<Image>,
    output: Reference,
    options: PullOptions,
    /// The layers, the lowest first.
    pub layers: Vec<PlannedLayer>,
    /// The delta that some layers come by.
    pub delta: Option<Chosen>,
    /// What a plain pull fetches: manifest, config, and layers that are not here.
    pub plain_bytes: u64,
    /// What was fetched already, to decide.
    pub decided_bytes: u64,
    /// What was remarkable.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Looks at what is here and what deltas there are, and chooses.
    pub fn make(
        source: Source,
        bases: Vec<Image>,
        output: &Reference,
        options: PullOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let sink = sink::create(output, &options.apply.limits)?;
        if sink.wants() == Wants::Streams {
            let what = "a pull keeps the registry's blobs: name an oci: or oci-archive: place, and \
                        copy from there with skopeo";
            return Err(Error::bad_input(output, what));
        }
        let here = Here::look(&source.image, &bases, &*sink, progress)?;
        let plain = choose::ways(&source.image, &here, None);
        let documents = (source.image.manifest.len() + source.image.config_bytes.len()) as u64;
        let plain_layers_bytes = choose::fetch_bytes(&plain);
        let mut plan = Self {
            layers: plain,
            delta: None,
            plain_bytes: documents + plain_layers_bytes,
            decided_bytes: 0,
            notes: source.image.notes.clone(),
            source,
            bases,
            output: output.clone(),
            options,
        };
        if plan.options.deltas && plain_layers_bytes > 0 && !here.streams.is_empty() {
            // Deltas only help: whatever is wrong with them, the layers are still to be had.
            match choose::delta(&plan.source, &here, plain_layers_bytes, &mut plan.notes) {
                Ok(Some(chosen)) => {
                    plan.layers = choose::ways(&plan.source.image, &here, Some(&chosen));
                    plan.delta = Some(chosen);
                }
                Ok(None) => {}
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
        &self.options.apply.limits
    }

    fn received_bytes(&self) -> u64 {
        let now = self.source.repository.client().traffic().received_bytes;
        now - self.source.before.received_bytes
    }

    /// Fetches what the plan says, makes the image and lets it be seen.
    pub fn carry_out(mut self, workers: &Workers, progress: &dyn Progress) -> Result<Pulled> {
        let recipes = self.fetch(progress)?;
        let mut last = None;
        for step in Step::ALL {
            if !self.has_step(step) {
                continue;
            }
            // What did not go well another way comes whole.
            self.give_up(step);
            match self.apply(&recipes, step, workers, progress) {
                Ok(()) => {
                    let received_bytes = self.received_bytes();
                    return Ok(Pulled::new(self, received_bytes));
                }
                Err(error) if is_of_content(&error) => {
                    let what = format!("{error}; {}", step.instead());
                    self.notes.push(Note::new(&self.source.image.name, what));
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("the last step is always taken"))
    }

    /// Whether a step does other things than the next.
    fn has_step(&self, step: Step) -> bool {
        let any = |of: fn(Way) -> bool| self.layers.iter().any(|layer| of(layer.way));
        match step {
            Step::Delta => any(|way| matches!(way, Way::Recipe(_) | Way::Remade)),
            Step::Base => any(|way| way == Way::Base),
            Step::Registry => true,
        }
    }

    fn give_up(&mut self, step: Step) {
        for layer in &mut self.layers {
            let is_given_up = match layer.way {
                Way::Recipe(_) | Way::Remade => step != Step::Delta,
                Way::Base => step == Step::Registry,
                Way::There | Way::Registry => false,
            };
            if is_given_up {
                layer.way = Way::Registry;
                layer.fetch_bytes = layer.blob.size_bytes;
            }
        }
    }

    /// Fetches the recipes. One that does not come, or not as it should, is done without.
    fn fetch(&mut self, progress: &dyn Progress) -> Result<Vec<compose::Fetched>> {
        let Some(delta) = &self.delta else { return Ok(Vec::new()) };
        let mut wanted: Vec<usize> = Vec::new();
        for layer in &self.layers {
            if let Way::Recipe(ordinal) = layer.way
                && !wanted.contains(&ordinal)
            {
                wanted.push(ordinal);
            }
        }
        let blobs: Vec<_> = wanted.iter().map(|at| &delta.artifact.recipes[*at].blob).collect();
        progress.begin(Stage::Fetching, blobs.iter().map(|blob| blob.size_bytes).sum());
        let (repository, scratch) = (&self.source.repository, &self.options.apply.scratch);
        let all = blobs.iter().map(|blob| recipes::fetch(repository, blob, scratch, progress));
        let outcomes = self.source.handle.block_on(futures_util::future::join_all(all));
        let mut fetched = Vec::new();
        for (ordinal, outcome) in wanted.into_iter().zip(outcomes) {
            match outcome {
                Ok(file) => fetched.push(compose::Fetched { ordinal, file }),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    let what = format!("{error}; its layer is fetched whole");
                    self.notes.push(Note::new(&self.source.image.name, what));
                    for layer in &mut self.layers {
                        if layer.way == Way::Recipe(ordinal) {
                            layer.way = Way::Registry;
                            layer.fetch_bytes = layer.blob.size_bytes;
                        }
                    }
                }
            }
        }
        Ok(fetched)
    }

    fn apply(
        &self,
        recipes: &[compose::Fetched],
        step: Step,
        workers: &Workers,
        progress: &dyn Progress,
    ) -> Result<()> {
        let options = &self.options.apply;
        let delta = compose::delta(self, recipes)?;
        // The registry's image is the last base: what no other has comes from there.
        let mut images = if step == Step::Registry { Vec::new() } else { self.bases.clone() };
        images.push(self.source.image.clone());
        let sink = sink::create(&self.output, &options.limits)?;
        apply::apply(&delta, &images, sink, options, workers, progress).map_err(unwrapped)?;
        Ok(())
    }
}

/// How much is trusted, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The delta, the bases, the registry.
    Delta,
    /// The bases' blobs and the registry.
    Base,
    /// The registry alone.
    Registry,
}

impl Step {
    const ALL: [Self; 3] = [Self::Delta, Self::Base, Self::Registry];

    fn instead(self) -> &'static str {
        match self {
            Self::Delta => "done without the delta",
            Self::Base => "done without the base",
            Self::Registry => "given up",
        }
    }
}

/// Whether an error says that bytes are wrong or missing, so that others may do.
fn is_of_content(error: &Error) -> bool {
    matches!(
        error,
        Error::BadInput { .. }
            | Error::Mismatch { .. }
            | Error::NotFound { .. }
            | Error::OverLimit { .. }
            | Error::BaseMissing { .. }
    )
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

/// Whether a place keeps the blobs that it has got while the image is not whole.
pub fn keeps_blobs(output: &Reference) -> bool {
    matches!(output, Reference::Layout { .. })
}
