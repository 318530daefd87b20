//! The versions of a repository, read from its registry.
//! Never prints.

use crate::{
    order,
    version::{UpgradeWay, Version, VersionChange, VersionDelta},
};
use imgdelta::Session;
use imgdelta_core::{Error, Note, Result};
use imgdelta_image::reference::{Reference, RegistryReference};
use imgdelta_registry::{
    ManifestReference, Registries, Repository,
    artifact::{ARTIFACT_TYPE, Artifact},
    dates, is_digest_tag,
};
use std::{cmp::Reverse, collections::HashMap};

/// The versions of a repository, the newest first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct History {
    /// The repository, as `docker://HOST/REPO`.
    pub repository: String,
    /// The versions, the newest first.
    pub versions: Vec<Version>,
    /// Number of tags that were not read.
    pub omitted_tags: usize,
    /// Tags that are not images for the platform, and deltas that could not be read.
    pub notes: Vec<Note>,
}

/// Options for reading a history.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// Versions that are read. 20 by default: a matrix of more does not fit a screen.
    pub versions: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { versions: 20 }
    }
}

impl HistoryOptions {
    /// Sets the number of versions.
    #[must_use]
    pub fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }
}

impl History {
    /// Reads the versions of a repository. The session must be attached to `registries`. Blocks.
    pub fn read(
        registries: &Registries,
        session: &Session,
        repository: &RegistryReference,
        options: &HistoryOptions,
    ) -> Result<Self> {
        let reader = HistoryReader {
            registries,
            session,
            place: repository,
            repository: Repository::of(registries.client(), repository),
        };
        let mut history = reader.versions(options)?;
        history.versions.sort_by_cached_key(|version| {
            let created = version.created.as_deref().and_then(dates::nanoseconds);
            Reverse((created, order::key(version.tag().as_str())))
        });
        reader.deltas(&mut history)?;
        history.connect();
        Ok(history)
    }

    /// Returns every way from one version to another.
    pub fn ways(&self) -> Vec<UpgradeWay> {
        let pairs = self.versions.iter().flat_map(|from| {
            let others = self.versions.iter().filter(move |to| to.digest != from.digest);
            others.map(move |to| to.way_from(from))
        });
        pairs.collect()
    }

    /// Fills in the facts that connect versions.
    fn connect(&mut self) {
        let tags: HashMap<_, _> =
            (self.versions.iter()).map(|version| (version.digest, version.tag().clone())).collect();
        for at in 0..self.versions.len() {
            let change = self.versions.get(at + 1).map(|before| {
                let lacking = self.versions[at].lacking(&before.layers);
                VersionChange {
                    from: before.tag().clone(),
                    pull_bytes: lacking.values().sum(),
                    pull_layers: lacking.len(),
                }
            });
            self.versions[at].change = change;
            for delta in &mut self.versions[at].deltas {
                delta.from = delta.base.and_then(|base| tags.get(&base).cloned());
            }
        }
    }
}

/// The registry and the session that open a repository's images.
struct HistoryReader<'a> {
    registries: &'a Registries,
    session: &'a Session,
    place: &'a RegistryReference,
    repository: Repository,
}

impl HistoryReader<'_> {
    /// Opens the images of the last tags.
    fn versions(&self, options: &HistoryOptions) -> Result<History> {
        let repository = self.repository.clone();
        let mut tags = self.registries.wait(async move { repository.tags().await })?;
        tags.retain(|tag| !is_digest_tag(tag.as_str()));
        tags.sort_by_cached_key(|tag| Reverse(order::key(tag.as_str())));
        let mut history = History {
            repository: self.repository.place(),
            versions: Vec::new(),
            omitted_tags: 0,
            notes: Vec::new(),
        };
        let count = tags.len();
        for (at, tag) in tags.into_iter().enumerate() {
            self.session.context().progress.check()?;
            // Some tags name the same image, and some are not images; their number is bounded, too.
            if history.versions.len() >= options.versions
                || at >= options.versions.saturating_mul(TAGS_PER_VERSION)
            {
                history.omitted_tags = count - at;
                break;
            }
            let reference =
                RegistryReference { tag: Some(tag.clone()), digest: None, ..self.place.clone() };
            match self.session.open(&Reference::Registry(reference)) {
                Ok(image) => {
                    let known = history.versions.iter_mut().find(|one| one.digest == image.digest);
                    match known {
                        Some(version) => version.tags.push(tag),
                        None => history.versions.push(Version::of(vec![tag], &image)),
                    }
                }
                Err(error @ (Error::BadInput { .. } | Error::NotFound { .. })) => {
                    history.notes.push(Note::new(format!("tag {tag}"), error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(history)
    }

    /// Finds the deltas of each version.
    fn deltas(&self, history: &mut History) -> Result<()> {
        for version in &mut history.versions {
            let (repository, subject) = (self.repository.clone(), version.digest);
            let list = async move { repository.referrers(&subject, ARTIFACT_TYPE).await };
            let referrers = self.registries.wait(list)?;
            if referrers.len() > MOST_DELTAS {
                let what = format!("{} deltas, of which {MOST_DELTAS} are listed", referrers.len());
                history.notes.push(Note::new(format!("tag {}", version.tag()), what));
            }
            for referrer in referrers.into_iter().take(MOST_DELTAS) {
                self.session.context().progress.check()?;
                let (repository, digest) = (self.repository.clone(), referrer.descriptor.digest);
                let named = ManifestReference::Digest(digest);
                let manifest =
                    self.registries.wait(async move { repository.manifest(&named).await });
                let parsed = manifest
                    .map_err(Error::from)
                    .and_then(|manifest| Artifact::parse(&manifest, &self.repository.place()));
                match parsed {
                    Ok(artifact) => version.deltas.push(VersionDelta {
                        digest,
                        base: artifact.base,
                        from: None,
                        bytes: bytes(&artifact),
                    }),
                    Err(error @ (Error::Io { .. } | Error::Cancelled)) => return Err(error),
                    Err(error) => {
                        let what = format!("{error}; this delta is not listed");
                        history.notes.push(Note::new(format!("tag {}", version.tag()), what));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a delta's parts.
fn bytes(artifact: &Artifact) -> u64 {
    let recipes = artifact.recipes.iter().map(|recipe| recipe.blob.size_bytes);
    let carried = artifact.carried.iter().map(|blob| blob.size_bytes);
    recipes.chain(carried).fold(artifact.front.size_bytes, u64::saturating_add)
}

/// Tags that are read to find one version: `1`, `1.2`, `1.2.3` and `latest` often name one image.
const TAGS_PER_VERSION: usize = 5;

/// Deltas of one version that are read.
const MOST_DELTAS: usize = 50;
