//! A delta made and proved, from two images in a registry to a file without a name.
//!
//! Blocks, so that an async task must not call it. Memory, processor time and disk are bounded.
//! Publishes nothing.

use crate::{
    config::Config,
    meter::CpuMeter,
    reuse::{RecipeReuse, ReusableRecipes},
    task::Task,
};
use imgdelta::{
    BlobDigest, DiffId, Error, Limits, Result, Session,
    create::{CreateOptions, ImagePair, Preset, ProvedDelta},
    diff::DiffOptions,
    image::{Image, OpenOptions},
    store::{ImageName, Store},
};
use imgdelta_core::{limits::Ceiling, parallel::Budget, path::escaped, scratch::Scratch};
use imgdelta_registry::{Client, RegistryStore, Repository, RepositoryName, SharedBlobs};
use imgdelta_service::machine;
use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
};
use tokio::runtime::Handle;

/// Makes deltas; several threads may call it at once.
#[derive(Debug)]
pub(crate) struct DeltaMaker {
    client: Client,
    host: String,
    reuse: Arc<RecipeReuse>,
    directory: PathBuf,
    /// The directory with the disk budget of all tasks as its ceiling.
    scratch: Scratch,
    threads: usize,
    memory_bytes: u64,
    disk_bytes: u64,
    disk: Budget,
    /// Blobs of the images of all tasks.
    pub blobs: SharedBlobs,
}

/// A finished delta, or the sizes that show that it is not worth publishing.
#[derive(Debug)]
pub(crate) struct MakeResult {
    /// Bytes of the delta.
    pub delta_bytes: u64,
    /// Bytes that a plain pull fetches with the base present.
    pub pull_bytes: u64,
    /// Number of recipes that were made for other images before.
    pub reused_recipes: u64,
    /// Number of layers whose compression was found for an earlier delta.
    pub reused_envelopes: u64,
    /// The delta; none if it is not worth publishing.
    pub delta: Option<ProvedDelta>,
    /// For recipes that were reused, a repository that holds the blob.
    pub recipe_repositories: HashMap<BlobDigest, RepositoryName>,
}

impl DeltaMaker {
    /// Prepares to make deltas within the budgets of a configuration. Fails if its directory for
    /// temporary files cannot be used.
    pub fn new(client: &Client, config: &Config, reuse: Arc<RecipeReuse>) -> Result<Self> {
        let budget = &config.budget;
        let scratch = Scratch::in_dir(&budget.scratch)?;
        let parallel = (*budget.parallel.get_ref()).max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if budget.threads == 0 { cores / parallel } else { budget.threads };
        let disk_bytes = budget.disk.get_ref().0;
        Ok(Self {
            client: client.clone(),
            host: config.registry.host.get_ref().clone(),
            reuse,
            directory: budget.scratch.clone(),
            scratch: scratch.ceiling(Ceiling::fixed(disk_bytes)),
            threads: threads.max(1),
            memory_bytes: config.memory_bytes(),
            disk_bytes,
            disk: Budget::new(disk_bytes),
            blobs: SharedBlobs::new(Scratch::new(&budget.scratch), budget.cache.get_ref().0),
        })
    }

    /// Returns the bytes of temporary files, and their budget.
    pub fn scratch_bytes(&self) -> (u64, u64) {
        (self.disk_bytes.saturating_sub(self.scratch.room_bytes()), self.disk_bytes)
    }

    /// Makes a delta and proves it. A delta that is not worth publishing is neither proved nor
    /// written.
    pub fn make(&self, task: &Task, handle: &Handle, meter: &Arc<CpuMeter>) -> Result<MakeResult> {
        self.make_within(task, handle, meter).map_err(|error| match error {
            Error::OverLimit { place, what, name: None, found, limit }
                if limit == self.disk_bytes =>
            {
                let place = format!("{task}, {place}, disk in [budget]");
                Error::OverLimit { place, what, name: None, found, limit }
            }
            error => error,
        })
    }

    fn make_within(
        &self,
        task: &Task,
        handle: &Handle,
        meter: &Arc<CpuMeter>,
    ) -> Result<MakeResult> {
        let session = Session::in_scratch(self.scratch.clone())?
            .threads(self.threads)?
            .memory_bytes(self.memory_bytes)
            .progress(Arc::clone(meter) as _);
        let images = self.open(task, handle)?;

        let bytes = disk_bytes_of(&images);
        Ceiling::fixed(self.disk_bytes).admit(bytes, "estimated size of temporary files", task)?;
        let _share = self.disk.take(bytes);
        if machine::free_bytes(&self.directory).is_some_and(|free| free < bytes) {
            let place = session.context().scratch.place();
            return Err(Error::io(place)(io::ErrorKind::StorageFull.into()));
        }

        let [held, wanted] = [&images[0], &images[1]].map(streams_of);
        let wanted: Vec<DiffId> = wanted.difference(&held).copied().collect();
        let held: Vec<DiffId> = held.into_iter().collect();
        let kept: Vec<BlobDigest> = match task.preset {
            // This preset leaves the envelopes of kept layers out.
            Preset::Fast => Vec::new(),
            _ => kept_blobs(&images),
        };
        let reusable = self.reuse.find(task, &wanted, &held, &kept, session.context());
        let reusable = handle.block_on(reusable).unwrap_or_else(|error| {
            tracing::warn!(%task, %error, "no recipes can be reused");
            ReusableRecipes::default()
        });
        let ReusableRecipes { recipes, envelopes, repositories } = reusable;

        let pair = session.read_pair(images, &DiffOptions::default())?;
        let has_none = recipes.is_empty() && envelopes.is_empty();
        let options = CreateOptions::default().preset(task.preset);
        let reusing = options.clone().reusable(recipes).known_envelopes(envelopes);
        let result = match encode(task, &pair, &reusing) {
            // A bad recipe in the registry must not prevent others from being made.
            Err(error) if !has_none && !matches!(error, Error::Io { .. } | Error::Cancelled) => {
                tracing::warn!(%task, %error, "retried without recipes of other images");
                encode(task, &pair, &options)
            }
            outcome => outcome,
        };
        result.map(|result| MakeResult { recipe_repositories: repositories, ..result })
    }

    /// Opens both images with the blobs of all tasks, so that a blob is fetched once.
    fn open(&self, task: &Task, handle: &Handle) -> Result<[Image; 2]> {
        let repository = Repository::new(&self.client, &self.host, &task.repository);
        let store = RegistryStore::sharing(repository, handle.clone(), self.blobs.clone());
        let store: Arc<dyn Store> = Arc::new(store);
        let options = OpenOptions::default().limits(Limits::default());
        let open =
            |digest| Image::open(Arc::clone(&store), Some(&ImageName::Digest(digest)), &options);
        let target = open(task.target)?;
        let base = match task.base {
            Some(base) => open(base)?,
            None => target.without_layers()?,
        };
        Ok([base, target])
    }
}

/// Encodes a delta, and proves it if it is worth publishing.
fn encode(task: &Task, pair: &ImagePair, options: &CreateOptions) -> Result<MakeResult> {
    let plan = pair.plan(options)?;
    let reused_recipes = plan.reused_recipes() as u64;
    let draft = plan.encode()?;
    let cost = draft.cost()?;
    for program in &cost.windowed {
        let (path, bytes) = (escaped(program.path.as_bytes()), program.memory_bytes);
        tracing::warn!(
            %task, %path, memory_bytes = bytes,
            "matched in windows, which makes the delta larger; raise memory in [budget]"
        );
    }
    let is_worth = task.worth.is_above(cost.delta_bytes, cost.pull_bytes);
    Ok(MakeResult {
        delta_bytes: cost.delta_bytes,
        pull_bytes: cost.pull_bytes,
        reused_recipes,
        reused_envelopes: draft.reused_envelopes().len() as u64,
        delta: if is_worth { Some(draft.prove()?) } else { None },
        recipe_repositories: HashMap::new(),
    })
}

/// Returns the blobs that both images have.
fn kept_blobs([base, target]: &[Image; 2]) -> Vec<BlobDigest> {
    let held: HashSet<_> = base.layers.iter().map(|layer| layer.descriptor.digest).collect();
    let blobs = target.layers.iter().map(|layer| layer.descriptor.digest);
    blobs.filter(|blob| held.contains(blob)).collect()
}

fn streams_of(image: &Image) -> HashSet<DiffId> {
    image.layers.iter().map(|layer| layer.diff_id).collect()
}

/// Estimates the temporary files of a task: fetched blobs, their streams, the delta.
fn disk_bytes_of(images: &[Image; 2]) -> u64 {
    let layers = images.iter().flat_map(|image| &image.layers);
    let bytes = layers.map(|layer| layer.descriptor.size_bytes).fold(0, u64::saturating_add);
    bytes.saturating_mul(EXPANSION)
}

/// Layers expand to about three times their size; the blobs and the delta add to that.
const EXPANSION: u64 = 5;
