//! The differences between two images, as a value.
//! Never formats: `text` and `json` do.

use crate::{
    config::{self, ConfigChange},
    files::{self, FileChange, FileChangeKind, FileFacts, FileTree},
    ignore::Ignore,
    layers::{self, LayerChange, ReshippedFiles, SurveyedLayer},
    packages::{self, PackageChange},
};
use imgdelta_core::{BlobDigest, Note, Result, path::LayerPath, progress::Progress};
use imgdelta_image::{
    index::{Entry, EntryKind},
    survey::Survey,
};
use imgdelta_packages::Inventory;

/// The differences between a base and a target image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// Digests and sizes of the base.
    pub base: ImageFacts,
    /// Digests and sizes of the target.
    pub target: ImageFacts,
    /// The target's layers in order; a dropped layer stands at its place in the base.
    pub layers: Vec<LayerChange>,
    /// Config fields that differ.
    pub config: Vec<ConfigChange>,
    /// Paths of the merged root file system that differ, sorted by path.
    pub files: Vec<FileChange>,
    /// Packages that differ in version or files.
    pub packages: Vec<PackageChange>,
    /// Counts over [`Diff::files`].
    pub totals: FileTotals,
    /// Remarks about unreadable or unusual parts of the images.
    pub notes: Vec<ImageNote>,
    ignore: Ignore,
}

/// Identity and sizes of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageFacts {
    /// The reference by which the image was opened.
    pub name: String,
    /// Digest of the manifest.
    pub digest: BlobDigest,
    /// Digest of the config, which is Docker's image id.
    pub config_digest: BlobDigest,
    /// Platform as `os/architecture[/variant]`.
    pub platform: String,
    /// Creation time from the config.
    pub created: Option<String>,
    /// Number of layers.
    pub layers: usize,
    /// Compressed bytes of all layers: the size of a full pull.
    pub stored_bytes: u64,
    /// Bytes of all uncompressed layers.
    pub stream_bytes: u64,
    /// Files in the merged root file system, hard links counted once.
    pub files: u64,
    /// Bytes of these files.
    pub file_bytes: u64,
    /// Packages in the image's databases.
    pub packages: usize,
    /// Package databases in the image, readable or not; `None` if the survey did not read any.
    pub package_databases: Option<usize>,
}

/// Number and size of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCount {
    /// Number of paths.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Number and size of file changes, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileTotals {
    /// New paths.
    pub added: FileCount,
    /// Paths that the target no longer has.
    pub removed: FileCount,
    /// Paths with other content; the bytes are the target's.
    pub modified: FileCount,
    /// Bytes of the modified files in the base.
    pub modified_base_bytes: u64,
    /// Files that moved to another path.
    pub moved: FileCount,
    /// Paths of another type.
    pub type_changed: u64,
    /// Paths of which only metadata differs.
    pub metadata: u64,
}

/// A remark about one of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageNote {
    /// The image that the remark is about.
    pub side: ImageSide,
    /// The remark.
    pub note: Note,
}

/// One of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageSide {
    /// The image that the receiver has.
    Base,
    /// The image that the receiver wants.
    Target,
}

impl ImageSide {
    /// Returns the word that users know: `old` or `new`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Base => "old",
            Self::Target => "new",
        }
    }
}

impl Diff {
    /// Compares two surveys.
    ///
    /// The only error is that the listener cancels.
    pub fn between(
        base: &Survey,
        target: &Survey,
        ignore: &Ignore,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let is_in_base = |entry: &Entry<'_>| base.has_at(entry.path, entry);
        let sides = [base, target].map(surveyed_layers);
        let layers = layers::compare(&sides[0], &sides[1], is_in_base, progress)?;
        let mut config = config::compare(&config_of(base), &config_of(target));
        config.retain(|change| match change.field.as_str() {
            "created" => !ignore.created,
            "history" => !ignore.history,
            _ => true,
        });
        let files = files::compare(FileTree::of(base), FileTree::of(target), ignore, progress)?;
        let inventories = [base, target].map(Inventory::of);
        let packages = packages::compare(&inventories[0], &inventories[1], &files);
        let sides = [(ImageSide::Base, base), (ImageSide::Target, target)];
        let notes = sides
            .iter()
            .zip(&inventories)
            .flat_map(|(&(side, survey), inventory)| {
                let warnings = inventory.warnings().iter();
                let warnings = warnings.map(|what| Note::new("packages", what));
                let notes = survey.notes.iter().cloned().chain(warnings);
                notes.map(move |note| ImageNote { side, note })
            })
            .collect();
        Ok(Self {
            base: ImageFacts::of(base, &inventories[0]),
            target: ImageFacts::of(target, &inventories[1]),
            totals: FileTotals::of(&files),
            layers,
            config,
            files,
            packages,
            notes,
            ignore: ignore.clone(),
        })
    }

    /// Drops all file changes for which `keeps` is false, and updates the totals.
    ///
    /// Layers, config and packages stay as they are.
    pub fn keep_files(&mut self, keeps: impl Fn(&LayerPath) -> bool) {
        self.files.retain(|change| {
            let keeps_source = match &change.kind {
                FileChangeKind::Moved { from } => keeps(from),
                _ => false,
            };
            keeps_source || keeps(&change.path)
        });
        self.totals = FileTotals::of(&self.files);
    }

    /// True if both images have the same manifest.
    pub fn is_same_image(&self) -> bool {
        self.base.digest == self.target.digest
    }

    /// True if any difference is left.
    ///
    /// If nothing is ignored, the manifest digests decide: another compression is a difference, too.
    /// If something is ignored, files and config decide.
    pub fn differs(&self) -> bool {
        if self.ignore.is_nothing() {
            return !self.is_same_image();
        }
        !self.files.is_empty() || !self.config.is_empty()
    }

    /// Returns the unchanged files that a pull of the target fetches again.
    pub fn reshipped(&self) -> ReshippedFiles {
        self.layers.iter().fold(ReshippedFiles::default(), |sum, layer| ReshippedFiles {
            files: sum.files + layer.reshipped.files,
            bytes: sum.bytes + layer.reshipped.bytes,
        })
    }
}

impl ImageFacts {
    fn of(survey: &Survey, inventory: &Inventory) -> Self {
        let mut counted_links = std::collections::HashSet::new();
        let (mut files, mut file_bytes) = (0, 0);
        for node in survey.rootfs.nodes() {
            let is_new = node.link_group.is_none_or(|group| counted_links.insert(group));
            let content = node.content.and_then(|place| survey.entry(place));
            if let Some(entry) = content.filter(|entry| entry.kind == EntryKind::File && is_new) {
                files += 1;
                file_bytes += entry.size_bytes;
            }
        }
        let image = &survey.image;
        Self {
            name: image.name.clone(),
            digest: image.digest,
            config_digest: image.config_digest,
            platform: image.platform.to_string(),
            created: config_of(survey)["created"].as_str().map(ToOwned::to_owned),
            layers: survey.layers.len(),
            stored_bytes: image.layers.iter().map(|layer| layer.descriptor.size_bytes).sum(),
            stream_bytes: survey.layers.iter().map(|index| index.stream_bytes).sum(),
            files,
            file_bytes,
            packages: inventory.packages().len(),
            package_databases: inventory.databases(),
        }
    }
}

impl FileTotals {
    fn of(changes: &[FileChange]) -> Self {
        let mut totals = Self::default();
        for change in changes {
            let size = |facts: &Option<FileFacts>| facts.as_ref().map_or(0, |f| f.size_bytes);
            let (base, target) = (size(&change.base), size(&change.target));
            let (count, bytes) = match change.kind {
                FileChangeKind::Added => (&mut totals.added, target),
                FileChangeKind::Removed => (&mut totals.removed, base),
                FileChangeKind::Moved { .. } => (&mut totals.moved, target),
                FileChangeKind::Modified => {
                    totals.modified_base_bytes += base;
                    (&mut totals.modified, target)
                }
                FileChangeKind::TypeChanged => {
                    totals.type_changed += 1;
                    continue;
                }
                FileChangeKind::Metadata => {
                    totals.metadata += 1;
                    continue;
                }
            };
            count.files += 1;
            count.bytes += bytes;
        }
        totals
    }
}

fn surveyed_layers(survey: &Survey) -> Vec<SurveyedLayer<'_>> {
    let layers = survey.image.layers.iter().zip(&survey.layers);
    layers
        .map(|(layer, index)| SurveyedLayer {
            blob: layer.descriptor.digest,
            stored_bytes: layer.descriptor.size_bytes,
            index,
        })
        .collect()
}

/// Returns the config as JSON; opening the image has parsed it before.
fn config_of(survey: &Survey) -> serde_json::Value {
    serde_json::from_slice(&survey.image.config_bytes).unwrap_or_default()
}
