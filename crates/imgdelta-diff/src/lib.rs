//! What changed between two images: layers, config, files and packages.
//!
//! Pure: two surveys in, a value out that prints, compares and can be dropped. Reads no blob.

mod config;
mod files;
mod ignore;
mod json;
mod layers;
mod packages;
mod text;

pub use config::ConfigChange;
pub use files::{Fate, Field, FieldChange, FileChange, FileFacts};
pub use ignore::{Ignore, UnknownIgnore};
pub use json::SCHEMA;
pub use layers::{LayerChange, LayerFacts, Relation, Reshipped};
pub use packages::{PackageDelta, PackageFate};
pub use text::{FileOrder, Text, TextOptions};

use files::Tree;
use imgdelta_core::{BlobDigest, Note, path::LayerPath};
use imgdelta_image::{index::Kind, survey::Survey};
use imgdelta_packages::Inventory;
use layers::LayerView;

/// Everything that differs between a base and a target image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// The base in numbers.
    pub base: ImageFacts,
    /// The target in numbers.
    pub target: ImageFacts,
    /// Layers: the target's in their order, dropped ones where they stood.
    pub layers: Vec<LayerChange>,
    /// Config fields that differ.
    pub config: Vec<ConfigChange>,
    /// Paths of the merged root file system that differ, in order of path.
    pub files: Vec<FileChange>,
    /// Packages that differ in version or files.
    pub packages: Vec<PackageDelta>,
    /// Counts over [`Diff::files`].
    pub totals: FileTotals,
    /// What could not be seen or is odd.
    pub notes: Vec<SideNote>,
    ignore: Ignore,
}

/// An image in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// The reference it was opened by.
    pub name: String,
    /// Its manifest.
    pub digest: BlobDigest,
    /// Its config: the image id of Docker.
    pub config_digest: BlobDigest,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// When it was made, as its config says.
    pub created: Option<String>,
    /// Number of layers.
    pub layers: usize,
    /// Stored bytes of all layers: what a full pull brings.
    pub stored_bytes: u64,
    /// Bytes of all tar streams.
    pub stream_bytes: u64,
    /// Files in the merged root file system, hard links counted once.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Packages found in its databases.
    pub packages: usize,
}

/// How many and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many paths.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// Counts of file changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTotals {
    /// New paths.
    pub added: Count,
    /// Paths that are gone.
    pub removed: Count,
    /// Paths with other content; bytes are the target's.
    pub modified: Count,
    /// The base's bytes of the modified.
    pub modified_base_bytes: u64,
    /// Content under another path.
    pub moved: Count,
    /// Paths of another type.
    pub type_changed: u64,
    /// Paths whose metadata alone differs.
    pub metadata: u64,
}

/// A remark about one of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideNote {
    /// Whose.
    pub side: Side,
    /// The remark.
    pub note: Note,
}

/// One of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the receiver holds.
    Base,
    /// What it wants.
    Target,
}

impl Side {
    /// Returns the word users know it by.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Base => "old",
            Self::Target => "new",
        }
    }
}

impl Diff {
    /// Compares two surveys.
    pub fn between(base: &Survey, target: &Survey, ignore: &Ignore) -> Self {
        let is_in_base = |entry: &imgdelta_image::index::Entry| base.has_at(&entry.path, entry);
        let layers = layers::compare(&views(base), &views(target), is_in_base);
        let mut config = config::compare(&config_of(base), &config_of(target));
        config.retain(|change| match change.field.as_str() {
            "created" => !ignore.created,
            "history" => !ignore.history,
            _ => true,
        });
        let files = files::compare(Tree::of(base), Tree::of(target), ignore);
        let inventories = [base, target].map(Inventory::of);
        let packages = packages::compare(&inventories[0], &inventories[1], &files);
        let sides = [(Side::Base, base), (Side::Target, target)];
        let notes = sides
            .iter()
            .zip(&inventories)
            .flat_map(|(&(side, survey), inventory)| {
                let warnings = inventory.warnings().iter();
                let warnings = warnings.map(|what| Note::new("packages", what));
                let notes = survey.notes.iter().cloned().chain(warnings);
                notes.map(move |note| SideNote { side, note })
            })
            .collect();
        Self {
            base: ImageFacts::of(base, &inventories[0]),
            target: ImageFacts::of(target, &inventories[1]),
            totals: FileTotals::of(&files),
            layers,
            config,
            files,
            packages,
            notes,
            ignore: ignore.clone(),
        }
    }

    /// Leaves out the files that `keeps` does not want; counts follow. Layers, config and packages
    /// stay as they are.
    pub fn keep_files(&mut self, keeps: impl Fn(&LayerPath) -> bool) {
        self.files.retain(|change| {
            let was = match &change.fate {
                Fate::Moved { from } => keeps(from),
                _ => false,
            };
            was || keeps(&change.path)
        });
        self.totals = FileTotals::of(&self.files);
    }

    /// Returns whether both are the same manifest.
    pub fn is_same_image(&self) -> bool {
        self.base.digest == self.target.digest
    }

    /// Returns whether there is any difference left.
    ///
    /// With nothing ignored that is another manifest: even a layer compressed otherwise is one.
    /// Where something is ignored, digests cannot decide any more; files and config do.
    pub fn differs(&self) -> bool {
        if self.ignore.is_nothing() {
            return !self.is_same_image();
        }
        !self.files.is_empty() || !self.config.is_empty()
    }

    /// Returns what the target's layers ship again although it did not change.
    pub fn reshipped(&self) -> Reshipped {
        self.layers.iter().fold(Reshipped::default(), |sum, layer| Reshipped {
            files: sum.files + layer.reshipped.files,
            bytes: sum.bytes + layer.reshipped.bytes,
        })
    }

    /// Returns the diff as text for people.
    pub fn text(&self, options: TextOptions) -> Text<'_> {
        Text { diff: self, options }
    }

    /// Returns the diff as a JSON document, as docs/diff-json.md describes it.
    pub fn json(&self) -> serde_json::Value {
        json::document(self)
    }

    fn package_counts(&self) -> String {
        use PackageFate::{Added, Changed, Downgraded, Rebuilt, Removed, Upgraded};
        let fates = [Upgraded, Downgraded, Changed, Added, Removed, Rebuilt];
        let counts = fates.map(|fate| {
            let of_fate = self.packages.iter().filter(|package| package.change == fate);
            (of_fate.count() as u64, fate.word())
        });
        text::counted(&counts)
    }
}

impl std::fmt::Display for Diff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text(TextOptions::default()).fmt(f)
    }
}

impl FileChange {
    fn is_directory(&self) -> bool {
        let is_one = |facts: &Option<FileFacts>| {
            facts.as_ref().is_none_or(|facts| facts.kind == Kind::Directory)
        };
        is_one(&self.base) && is_one(&self.target)
    }

    /// Returns the larger side's size: what the change could weigh.
    pub fn size_bytes(&self) -> u64 {
        let size = |facts: &Option<FileFacts>| facts.as_ref().map_or(0, |facts| facts.size_bytes);
        size(&self.target).max(size(&self.base))
    }
}

impl ImageFacts {
    fn of(survey: &Survey, inventory: &Inventory) -> Self {
        let mut counted_links = std::collections::HashSet::new();
        let (mut files, mut file_bytes) = (0, 0);
        for node in survey.rootfs.nodes() {
            let is_new = node.link_group.is_none_or(|group| counted_links.insert(group));
            let content = node.content.and_then(|place| survey.entry(place));
            if let Some(entry) = content.filter(|entry| entry.kind == Kind::File && is_new) {
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
        }
    }
}

impl FileTotals {
    fn of(changes: &[FileChange]) -> Self {
        let mut totals = Self::default();
        for change in changes {
            let size = |facts: &Option<FileFacts>| facts.as_ref().map_or(0, |f| f.size_bytes);
            let (base, target) = (size(&change.base), size(&change.target));
            let (count, bytes) = match change.fate {
                Fate::Added => (&mut totals.added, target),
                Fate::Removed => (&mut totals.removed, base),
                Fate::Moved { .. } => (&mut totals.moved, target),
                Fate::Modified => {
                    totals.modified_base_bytes += base;
                    (&mut totals.modified, target)
                }
                Fate::TypeChanged => {
                    totals.type_changed += 1;
                    continue;
                }
                Fate::Metadata => {
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

fn views(survey: &Survey) -> Vec<LayerView<'_>> {
    let layers = survey.image.layers.iter().zip(&survey.layers);
    layers
        .map(|(layer, index)| LayerView {
            blob: layer.descriptor.digest,
            stored_bytes: layer.descriptor.size_bytes,
            index,
        })
        .collect()
}

/// The config as it is written. It was parsed when the image was opened, so it is JSON.
fn config_of(survey: &Survey) -> serde_json::Value {
    serde_json::from_slice(&survey.image.config_bytes).unwrap_or_default()
}

fn fate_word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Added => "added",
        Fate::Removed => "removed",
        Fate::Modified => "modified",
        Fate::Moved { .. } => "moved",
        Fate::TypeChanged => "type",
        Fate::Metadata => "metadata",
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File | Kind::HardLink => "file",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "chardev",
        Kind::BlockDevice => "blockdev",
        Kind::Directory => "directory",
        Kind::Fifo => "fifo",
        Kind::Other(_) => "other",
    }
}
