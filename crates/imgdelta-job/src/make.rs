//! One delta made and proved, from images in a registry to a file without a name.
//!
//! Blocks, and is not to be called from a task. What it takes of memory, processor and disk is
//! bounded; it publishes nothing.

use crate::{
    config::Config,
    machine,
    reuse::{AtHand, Reuse},
    work::Work,
};
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, Limits, Result,
    limits::Ceiling,
    parallel::{Budget, Workers},
    progress::Progress,
    scratch::Scratch,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::Store,
    survey::SurveyOptions,
};
use imgdelta_make::{
    options::CreateOptions, pair::ImagePair, plan::ReusableRecipe, proof::ProvedDelta,
};
use imgdelta_registry::{Client, RegistryStore, Repository};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::runtime::Handle;

/// Makes deltas, several at once if asked.
#[derive(Debug)]
pub(crate) struct Maker {
    client: Client,
    host: String,
    reuse: Arc<Reuse>,
    scratch: Scratch,
    scratch_dir: PathBuf,
    threads: usize,
    memory_bytes: u64,
    disk_bytes: u64,
    disk: Budget,
}

/// What making a delta came to.
#[derive(Debug)]
pub(crate) struct Made {
    /// What the delta takes.
    pub delta_bytes: u64,
    /// What a plain pull takes for who has the base.
    pub pull_bytes: u64,
    /// How many recipes were made for other images before.
    pub reused_recipes: u64,
    /// The delta, unless it is not worth it.
    pub delta: Option<ProvedDelta>,
    /// Repositories that hold some of its recipes.
    pub lies_in: HashMap<BlobDigest, String>,
}

impl Maker {
    /// Prepares to make deltas beside the registry of a configuration.
    pub fn new(client: &Client, config: &Config, reuse: Arc<Reuse>) -> Result<Self> {
        let budget = &config.budget;
        let parallel = (*budget.parallel.get_ref()).max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if budget.threads == 0 { cores / parallel } else { budget.threads };
        let disk_bytes = budget.disk.get_ref().0;
        Ok(Self {
            client: client.clone(),
            host: config.registry.host.get_ref().clone(),
            reuse,
            scratch: Scratch::in_dir(&budget.scratch)?,
            scratch_dir: budget.scratch.clone(),
            threads: threads.max(1),
            memory_bytes: config.memory_bytes(),
            disk_bytes,
            disk: Budget::new(disk_bytes),
        })
    }

    /// Makes a delta and proves it; one that is not worth publishing is not written.
    pub fn make(&self, work: &Work, handle: &Handle, meter: &Arc<Meter>) -> Result<Made> {
        let repository = Repository::new(&self.client, &self.host, &work.repository);
        // One store for both, so that what they share is fetched once.
        let store = RegistryStore::new(repository, handle.clone(), Some(self.scratch.clone()));
        let store: Arc<dyn Store> = Arc::new(store);
        let limits = Limits::default();
        let options = OpenOptions::default().limits(limits.clone());
        let open =
            |digest| Image::open(Arc::clone(&store), Some(&ImageName::Digest(digest)), &options);
        let images = [open(work.base)?, open(work.target)?];

        let bytes = disk_bytes_of(&images);
        Ceiling::fixed(self.disk_bytes).admit(bytes, "estimated size of temporary files", work)?;
        let _share = self.disk.take(bytes);
        if machine::free_bytes(&self.scratch_dir).is_some_and(|free| free < bytes) {
            return Err(Error::io(self.scratch.place())(io::ErrorKind::StorageFull.into()));
        }

        let context = Context::new(self.scratch.clone())?
            .workers(Arc::new(Workers::new(self.threads)?))
            .limits(limits)
            .memory_bytes(Some(self.memory_bytes))
            .progress(Arc::clone(meter) as Arc<dyn Progress>);
        let [held, wanted] = [&images[0], &images[1]].map(streams_of);
        let wanted: Vec<DiffId> = wanted.difference(&held).copied().collect();
        let held: Vec<DiffId> = held.into_iter().collect();
        let at_hand = self.reuse.at_hand(work, &wanted, &held, &self.scratch, &**meter);
        let AtHand { known, lies_in } = handle.block_on(at_hand).unwrap_or_else(|error| {
            tracing::warn!(%work, %error, "no recipes can be used again");
            AtHand::default()
        });

        let pair = ImagePair::read(images, &SurveyOptions::default(), &context)?;
        let is_fresh = known.is_empty();
        let made = match encode(work, &pair, known) {
            // A bad recipe in the registry must not prevent others from being made.
            Err(error) if !is_fresh && !matches!(error, Error::Io { .. } | Error::Cancelled) => {
                tracing::warn!(%work, %error, "made without recipes of other images");
                encode(work, &pair, Vec::new())
            }
            outcome => outcome,
        };
        made.map(|made| Made { lies_in, ..made })
    }
}

/// Makes and proves a delta; one that is not worth publishing is not proved.
fn encode(work: &Work, pair: &ImagePair, reusable: Vec<ReusableRecipe>) -> Result<Made> {
    let options = CreateOptions::default().preset(work.preset).reusable(reusable);
    let plan = pair.plan(&options)?;
    let reused_recipes = plan.reused_recipes() as u64;
    let draft = plan.encode()?;
    let cost = draft.cost()?;
    let is_worth = work.worth.is_above(cost.delta_bytes, cost.pull_bytes);
    Ok(Made {
        delta_bytes: cost.delta_bytes,
        pull_bytes: cost.pull_bytes,
        reused_recipes,
        delta: if is_worth { Some(draft.prove()?) } else { None },
        lies_in: HashMap::new(),
    })
}

fn streams_of(image: &Image) -> HashSet<DiffId> {
    image.layers.iter().map(|layer| layer.diff_id).collect()
}

/// Estimates the temporary files of a work: blobs as they came, their streams, what is made.
fn disk_bytes_of(images: &[Image; 2]) -> u64 {
    let blobs = images.iter().flat_map(|image| &image.layers);
    let bytes = blobs.map(|layer| layer.descriptor.size_bytes).fold(0, u64::saturating_add);
    bytes.saturating_mul(EXPANSION)
}

/// Counts the processor time of a work through what it reports, and stops it.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Tells works apart where a thread serves several.
    number: u64,
    limit_nanos: u64,
    spent_nanos: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Meter {
    /// Begins to count; `stop` stops the work.
    pub fn new(limit: std::time::Duration, stop: Arc<AtomicBool>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let limit_nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let number = NUMBERS.fetch_add(1, Relaxed);
        Self { number, limit_nanos, spent_nanos: AtomicU64::new(0), stop }
    }

    /// Returns the time that was spent, as far as it was told of.
    pub fn spent(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.spent_nanos.load(Relaxed))
    }

    /// Whether more was spent than may be.
    pub fn is_exceeded(&self) -> bool {
        self.spent_nanos.load(Relaxed) > self.limit_nanos
    }

    /// Adds what the calling thread spent since it was here last.
    fn count(&self) {
        thread_local! {
            static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        let now = machine::thread_nanos();
        let (number, before) = LAST.replace((self.number, now));
        // A thread's first visit for this work: what it did before was for others.
        if number == self.number {
            self.spent_nanos.fetch_add(now.saturating_sub(before), Relaxed);
        }
    }
}

impl Progress for Meter {
    fn advance(&self, _: u64) {
        self.count();
    }

    fn is_cancelled(&self) -> bool {
        self.count();
        self.stop.load(Relaxed) || self.is_exceeded()
    }
}

/// Layers inflate to about three times their size; the blobs themselves and the parts of the delta
/// come on top.
const EXPANSION: u64 = 5;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_work_that_spends_too_much_is_stopped() {
        let meter = Meter::new(Duration::from_millis(2), Arc::default());
        assert!(!meter.is_cancelled());
        let mut rounds = 0_u64;
        while !meter.is_cancelled() {
            rounds = std::hint::black_box(rounds + 1);
        }
        assert!(meter.is_exceeded() && meter.spent() > Duration::from_millis(2));
        // Another work on this thread begins at nothing.
        let other = Meter::new(Duration::from_secs(1), Arc::default());
        assert!(!other.is_cancelled());
        assert_eq!(other.spent(), Duration::ZERO);
        let stop = Arc::new(AtomicBool::new(true));
        assert!(Meter::new(Duration::MAX, stop).is_cancelled());
    }
}
