//! The cost of an upgrade in bytes, by layer, package and file, with reasons.
//! Never estimates: all numbers are those of an encoded draft.
//!
//! A file's share of a stream in a group is in proportion to the information in its bytes of that
//! stream. The shares add up to the size of the group.

mod json;
mod text;

pub use json::SCHEMA;
pub use text::CostText;

use crate::{
    draft::{Draft, WindowedProgram},
    options::Preset,
    plan::LayerPlan,
    sources::{PayloadSource, SourceReason},
};
use imgdelta_apply::delta::{LayerBody, LayerCost, Provenance, RestCost};
use imgdelta_codec::CoderSizes;
use imgdelta_core::{BlobDigest, Result, path::LayerPath, sort::SharedSort};
use imgdelta_image::image::Image;
use imgdelta_packages::Inventory;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::Duration,
};

/// The cost of an upgrade.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cost {
    /// Name of the target.
    pub target: String,
    /// Preset that the delta was made with.
    pub preset: Preset,
    /// Length of the delta file.
    pub delta_bytes: u64,
    /// Bytes of a plain pull with the base: the blobs that the base lacks.
    pub pull_bytes: u64,
    /// Bytes of a pull from scratch: all blobs of the target.
    pub full_bytes: u64,
    /// Estimate of the time that one core of a receiver needs to rebuild layers.
    pub rebuild_time: Duration,
    /// The target's layers, in order.
    pub layers: Vec<LayerLine>,
    /// Packages with a cost, the most expensive first.
    pub packages: Vec<PackageLine>,
    /// Files with a cost, the most expensive first.
    pub files: Vec<FileLine>,
    /// Bytes of all groups by coder.
    pub coders: CoderSizes,
    /// Programs that were matched in windows, since the memory did not suffice for the whole.
    pub windowed: Vec<WindowedProgram>,
}

/// Cost of one layer, with the reason.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerLine {
    /// Digest of its blob.
    pub blob: BlobDigest,
    /// Size of its blob.
    pub blob_bytes: u64,
    /// Method by which it is made.
    pub method: LayerMethod,
    /// Bytes that it adds to the delta.
    pub bytes: u64,
    /// Part of `bytes` for tar headers and the recipe's tables.
    pub header_bytes: u64,
    /// Part of `bytes` for reproducing the compression.
    pub envelope_bytes: u64,
    /// Sums over its files, by their source.
    pub files: BTreeMap<Provenance, FileSum>,
}

/// Method by which a layer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerMethod {
    /// The base has its blob. An envelope for bases that have only the stream costs bytes.
    Kept,
    /// The base has its stream, which is compressed again.
    Recompressed,
    /// It is rebuilt from base layers.
    Rebuilt,
    /// It is rebuilt by a recipe from an earlier delta.
    Reused,
    /// It equals an earlier layer of the target.
    Repeated,
    /// The delta has the blob, since its compression cannot be reproduced.
    CarriedForCompression,
    /// The delta has the blob, since rebuilding it would cost more.
    CarriedForSize,
}

impl LayerMethod {
    /// Returns a short description.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kept => "in the old image",
            Self::Recompressed => "in the old image, with another compression",
            Self::Rebuilt => "rebuilt",
            Self::Reused => "rebuilt by an earlier delta's recipe",
            Self::Repeated => "equal to an earlier layer",
            Self::CarriedForCompression => "sent whole: its compression cannot be reproduced",
            Self::CarriedForSize => "sent whole: a rebuild would cost more",
        }
    }

    /// Returns the word of the JSON document.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Recompressed => "recompressed",
            Self::Rebuilt => "rebuilt",
            Self::Reused => "reused",
            Self::Repeated => "again",
            Self::CarriedForCompression => "carried-compression",
            Self::CarriedForSize => "carried-size",
        }
    }
}

/// Sum over several files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSum {
    /// Number of files.
    pub count: u64,
    /// Size of the files.
    pub target_bytes: u64,
    /// Bytes that they add to the delta.
    pub bytes: u64,
}

impl FileSum {
    fn add(&mut self, target_bytes: u64, bytes: u64) {
        self.count += 1;
        self.target_bytes += target_bytes;
        self.bytes += bytes;
    }
}

/// Cost of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageLine {
    /// `dpkg`, `apk`, `rpm`, `python`, `node`.
    pub ecosystem: &'static str,
    /// Its name.
    pub name: String,
    /// Its version in the target.
    pub version: String,
    /// Sum over its files with a cost.
    pub sum: FileSum,
}

/// Cost of one file, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLine {
    /// Ordinal of its layer, from 0.
    pub layer: usize,
    /// Its path.
    pub path: LayerPath,
    /// Source of the file.
    pub how: Provenance,
    /// For a rebuilt file, the reason for the choice of its sources.
    pub reason: Option<SourceReason>,
    /// Its size.
    pub target_bytes: u64,
    /// Bytes that it adds to the delta.
    pub bytes: u64,
}

impl Draft {
    /// Returns the cost of each layer, package and file, and why.
    pub fn cost(&self) -> Result<Cost> {
        Cost::of(self)
    }
}

impl Cost {
    /// Computes the cost of a draft.
    pub fn of(draft: &Draft) -> Result<Self> {
        let image = &draft.plan.target.image;
        let costs = draft.costs();
        let files = files(draft, &costs);
        let layers = image.layers.iter().enumerate();
        Ok(Self {
            target: image.name.clone(),
            preset: draft.plan.preset,
            delta_bytes: draft.write_to(&mut io::sink())?,
            pull_bytes: draft.pull_bytes(),
            full_bytes: full_bytes(image),
            rebuild_time: draft.rebuild_time(),
            layers: layers
                .map(|(ordinal, layer)| LayerLine {
                    blob: layer.descriptor.digest,
                    blob_bytes: layer.descriptor.size_bytes,
                    method: method(draft, ordinal),
                    bytes: draft.layers[ordinal].bytes,
                    header_bytes: costs[ordinal].headers,
                    envelope_bytes: draft.layers[ordinal].envelope.recipe().map_or(0, <[u8]>::len)
                        as u64,
                    files: sums(&costs[ordinal]),
                })
                .collect(),
            packages: packages(draft, &files),
            files,
            coders: draft.coder_sizes()?,
            windowed: draft.windowed(),
        })
    }

    /// Returns a sentence about the programs that were matched in windows, if there are any.
    pub fn windows_note(&self) -> Option<String> {
        let most = self.windowed.iter().max_by_key(|program| program.memory_bytes)?;
        let memory = (most.memory_bytes.div_ceil(MEMORY_STEP) * MEMORY_STEP) >> 20;
        let path = &most.path;
        let others = match self.windowed.len() - 1 {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Some(format!(
            "{path}{others}: matched in windows for lack of memory, which makes the delta larger; \
             --memory {memory}MiB follows the references in the whole program"
        ))
    }

    /// Returns the JSON document, which docs/cost-json.md describes.
    pub fn json(&self) -> serde_json::Value {
        json::document(self)
    }
}

/// Returns the size of all blobs of an image, each counted once.
fn full_bytes(image: &Image) -> u64 {
    let mut seen = HashSet::new();
    let blobs = image.layers.iter().map(|layer| &layer.descriptor);
    blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size_bytes).sum()
}

fn method(draft: &Draft, ordinal: usize) -> LayerMethod {
    let layer = &draft.layers[ordinal];
    let blob = &draft.plan.target.image.layers[ordinal].descriptor.digest;
    match (layer.body, &draft.plan.layers[ordinal]) {
        (LayerBody::Kept, ..) if draft.plan.is_in_base(blob) => LayerMethod::Kept,
        (LayerBody::Kept, ..) => LayerMethod::Recompressed,
        (LayerBody::Recipe(_), LayerPlan::Repeated(_)) => LayerMethod::Repeated,
        (LayerBody::Recipe(_), LayerPlan::Reused(_)) => LayerMethod::Reused,
        (LayerBody::Recipe(_), ..) => LayerMethod::Rebuilt,
        (LayerBody::Carried(_), ..) if draft.is_remade(ordinal) => LayerMethod::CarriedForSize,
        (LayerBody::Carried(_), ..) => LayerMethod::CarriedForCompression,
    }
}

fn sums(cost: &LayerCost) -> BTreeMap<Provenance, FileSum> {
    let mut sums: BTreeMap<Provenance, FileSum> = BTreeMap::new();
    for file in &cost.files {
        sums.entry(file.how).or_default().add(file.target_bytes, file.delta_bytes);
    }
    for RestCost { how, count, target_bytes, delta_bytes } in &cost.rest {
        let sum = sums.entry(*how).or_default();
        sum.count += count;
        sum.target_bytes += target_bytes;
        sum.bytes += delta_bytes;
    }
    sums
}

fn files(draft: &Draft, costs: &[LayerCost]) -> Vec<FileLine> {
    let mut lines = Vec::new();
    for (layer, cost) in costs.iter().enumerate() {
        let LayerPlan::Rebuilt(choices) = &draft.plan.layers[layer] else {
            // A reused recipe reports its own costs.
            lines.extend(cost.files.iter().map(|file| FileLine {
                layer,
                path: LayerPath::parse(&file.path),
                how: file.how,
                reason: None,
                target_bytes: file.target_bytes,
                bytes: file.delta_bytes,
            }));
            continue;
        };
        let entries = &draft.plan.target.layers[layer].entries;
        // The files of a cost are the entries with a payload, in their order.
        let payloads = entries.iter().zip(choices).filter(|(entry, _)| !entry.payload.is_empty());
        for ((entry, choice), file) in payloads.zip(&cost.files) {
            if file.delta_bytes == 0 {
                continue;
            }
            let reason = match choice.content {
                PayloadSource::Built(_, reason) => Some(reason),
                _ => None,
            };
            lines.push(FileLine {
                layer,
                path: entry.path.to_path(),
                how: file.how,
                reason,
                target_bytes: file.target_bytes,
                bytes: file.delta_bytes,
            });
        }
    }
    lines.shared_sort_by(|one, other| {
        (Reverse(one.bytes), &one.path, one.layer).cmp(&(
            Reverse(other.bytes),
            &other.path,
            other.layer,
        ))
    });
    lines
}

fn packages(draft: &Draft, files: &[FileLine]) -> Vec<PackageLine> {
    let inventory = Inventory::of(&draft.plan.target);
    let mut sums: HashMap<usize, FileSum> = HashMap::new();
    for file in files {
        if let Some(owner) = inventory.owner_of(&file.path) {
            sums.entry(owner).or_default().add(file.target_bytes, file.bytes);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.shared_sort_by_key(|(owner, sum)| (Reverse(sum.bytes), *owner));
    sums.into_iter()
        .map(|(owner, sum)| {
            let package = &inventory.packages()[owner];
            PackageLine {
                ecosystem: package.ecosystem.name(),
                name: package.name.clone(),
                version: package.version.clone(),
                sum,
            }
        })
        .collect()
}

impl SourceReason {
    /// Returns a short description.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Path => "from its old version",
            Self::Name => "from a file with a similar name",
            Self::Content => "from a file with similar content",
            Self::None => "new",
        }
    }
}

/// Unit of the memory that a note recommends.
const MEMORY_STEP: u64 = 50 << 20;
