//! What an upgrade costs in bytes, and why: per layer, package and file, from a draft.
//!
//! The draft's own numbers, so that what is told is what is sent. A file's share of a group is in
//! proportion to what it put into the group's streams; shares add up to the group.

mod json;
mod text;

pub use json::SCHEMA;

use crate::{
    draft::Draft,
    options::Preset,
    plan::LayerPlan,
    sources::{Content, Found},
};
use imgdelta_apply::delta::{Envelope, LayerBody, LayerCost, Provenance, RestCost};
use imgdelta_core::{BlobDigest, Result, path::LayerPath};
use imgdelta_image::image::Image;
use imgdelta_packages::Inventory;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

/// The cost of an upgrade.
#[derive(Clone, Debug)]
pub struct Cost {
    /// How the target is called.
    pub target: String,
    /// How much time was spent on it.
    pub preset: Preset,
    /// The delta's length, all told.
    pub delta_bytes: u64,
    /// What a plain pull brings to who has the base: the blobs it lacks.
    pub pull_bytes: u64,
    /// All blobs of the target.
    pub full_bytes: u64,
    /// The target's layers in order.
    pub layers: Vec<LayerLine>,
    /// Packages that cost something, the dearest first.
    pub packages: Vec<PackageLine>,
    /// Files that cost something, the dearest first.
    pub files: Vec<FileLine>,
}

/// What one layer costs, and why.
#[derive(Clone, Debug)]
pub struct LayerLine {
    /// Its blob.
    pub blob: BlobDigest,
    /// The blob's size.
    pub blob_bytes: u64,
    /// How it comes about.
    pub way: LayerWay,
    /// What it adds to the delta.
    pub bytes: u64,
    /// Of these, headers and the recipe's tables.
    pub header_bytes: u64,
    /// Of these, what its compression needs to be made again.
    pub envelope_bytes: u64,
    /// Files and their shares, by how they come about.
    pub files: BTreeMap<Provenance, Sum>,
}

/// How a layer comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerWay {
    /// The base has its blob.
    Kept,
    /// The base has its stream; it is compressed anew.
    Recompressed,
    /// It is rebuilt.
    Rebuilt,
    /// It is rebuilt, by a recipe that was made for other images.
    Reused,
    /// It is another layer of the target once more.
    Again,
    /// The blob travels whole: its compression cannot be remade.
    CarriedForCompression,
    /// The blob travels whole: it is smaller than what would rebuild it.
    CarriedForSize,
}

impl LayerWay {
    /// Returns the way in a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept: the old image has it",
            Self::Recompressed => "kept: the old image has its content, compressed otherwise",
            Self::Rebuilt => "rebuilt",
            Self::Reused => "rebuilt as for other images",
            Self::Again => "the same as a layer before",
            Self::CarriedForCompression => "carried whole: its compression cannot be made again",
            Self::CarriedForSize => "carried whole: rebuilding it would cost more",
        }
    }

    /// Returns the way as one word, for machines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Recompressed => "recompressed",
            Self::Rebuilt => "rebuilt",
            Self::Reused => "reused",
            Self::Again => "again",
            Self::CarriedForCompression => "carried-compression",
            Self::CarriedForSize => "carried-size",
        }
    }
}

/// Some files together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub target_bytes: u64,
    /// What they add to the delta.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, target_bytes: u64, bytes: u64) {
        self.count += 1;
        self.target_bytes += target_bytes;
        self.bytes += bytes;
    }
}

/// What one package costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageLine {
    /// `dpkg`, `apk`, `rpm`, `python`, `node`.
    pub ecosystem: &'static str,
    /// Its name.
    pub name: String,
    /// Its version in the target.
    pub version: String,
    /// Its files that cost something.
    pub sum: Sum,
}

/// What one file costs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// Its layer, from 0.
    pub layer: usize,
    /// Its path.
    pub path: LayerPath,
    /// How it comes about.
    pub how: Provenance,
    /// How its sources were found, where it is rebuilt.
    pub found: Option<Found>,
    /// Its size.
    pub target_bytes: u64,
    /// What it adds to the delta.
    pub bytes: u64,
}

impl Cost {
    /// Reads a draft's costs.
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
            layers: layers
                .map(|(ordinal, layer)| LayerLine {
                    blob: layer.descriptor.digest,
                    blob_bytes: layer.descriptor.size_bytes,
                    way: way(draft, ordinal),
                    bytes: draft.layers[ordinal].bytes,
                    header_bytes: costs[ordinal].headers,
                    envelope_bytes: draft.layers[ordinal].envelope.recipe().map_or(0, <[u8]>::len)
                        as u64,
                    files: sums(&costs[ordinal]),
                })
                .collect(),
            packages: packages(draft, &files),
            files,
        })
    }

    /// Returns the document for machines, described in docs/cost-json.md.
    pub fn json(&self) -> serde_json::Value {
        json::document(self)
    }
}

/// All blobs of an image, each once.
fn full_bytes(image: &Image) -> u64 {
    let mut seen = HashSet::new();
    let blobs = image.layers.iter().map(|layer| &layer.descriptor);
    blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size_bytes).sum()
}

fn way(draft: &Draft, ordinal: usize) -> LayerWay {
    let layer = &draft.layers[ordinal];
    match (layer.body, &layer.envelope, &draft.plan.layers[ordinal]) {
        (LayerBody::Kept, Envelope::Base, _) => LayerWay::Kept,
        (LayerBody::Kept, ..) => LayerWay::Recompressed,
        (LayerBody::Recipe(_), _, LayerPlan::Repeated(_)) => LayerWay::Again,
        (LayerBody::Recipe(_), _, LayerPlan::Reused(_)) => LayerWay::Reused,
        (LayerBody::Recipe(_), ..) => LayerWay::Rebuilt,
        (LayerBody::Carried(_), ..) if draft.is_remade(ordinal) => LayerWay::CarriedForSize,
        (LayerBody::Carried(_), ..) => LayerWay::CarriedForCompression,
    }
}

fn sums(cost: &LayerCost) -> BTreeMap<Provenance, Sum> {
    let mut sums: BTreeMap<Provenance, Sum> = BTreeMap::new();
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
            // What a recipe that was made before says of itself.
            lines.extend(cost.files.iter().map(|file| FileLine {
                layer,
                path: LayerPath::parse(&file.path),
                how: file.how,
                found: None,
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
            let found = match choice.content {
                Content::Built(_, found) => Some(found),
                _ => None,
            };
            lines.push(FileLine {
                layer,
                path: entry.path.clone(),
                how: file.how,
                found,
                target_bytes: file.target_bytes,
                bytes: file.delta_bytes,
            });
        }
    }
    lines.sort_by(|one, other| {
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
    let mut sums: HashMap<usize, Sum> = HashMap::new();
    for file in files {
        if let Some(owner) = inventory.owner_of(&file.path) {
            sums.entry(owner).or_default().add(file.target_bytes, file.bytes);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(owner, sum)| (Reverse(sum.bytes), *owner));
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

impl Found {
    /// Returns how the sources were found, in a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Path => "from its old version",
            Self::Name => "from a file of like name",
            Self::Alike => "from a file of like content",
            Self::Nowhere => "new",
        }
    }
}
