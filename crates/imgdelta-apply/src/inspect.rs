//! A description of a delta: its target, its requirements, and the cost of its parts.
//! Never needs the base.
//!
//! docs/inspect-json.md describes the JSON document.

use crate::{
    delta::{
        Delta, Envelope, FileCost, LayerBody, LayerCost, Provenance, SectionKind, TargetLayer,
    },
    rebuild::rebuild_time,
};
use imgdelta_codec::{CoderSizes, StreamCoder};
use imgdelta_core::{
    BlobDigest, Result,
    path::escaped,
    size::{CoreTime, Grouped, Human},
    sort::SharedSort,
};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Formatter},
    time::Duration,
};

/// Name and version of the JSON document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.inspect/1";

/// A description of a delta.
#[derive(Clone, Debug)]
pub struct Inspection {
    delta: Delta,
    costs: Option<Vec<LayerCost>>,
    coders: CoderSizes,
}

impl Inspection {
    /// Reads the costs that the delta reports, and the tables of its groups.
    pub fn of(delta: Delta) -> Result<Self> {
        let costs = delta.cost()?;
        let recipes = delta.layers().iter().filter_map(|layer| match layer.body {
            LayerBody::Recipe(ordinal) => Some(ordinal),
            LayerBody::Kept | LayerBody::Carried(_) => None,
        });
        let mut coders = CoderSizes::default();
        // Layers may share a recipe.
        for ordinal in recipes.collect::<BTreeSet<_>>() {
            coders += delta.recipe(ordinal)?.coder_sizes()?;
        }
        Ok(Self { delta, costs, coders })
    }

    /// Returns the bytes of all groups by coder.
    pub fn coders(&self) -> CoderSizes {
        self.coders
    }

    /// True if the delta makes every blob of the target, not only the streams.
    pub fn is_exact(&self) -> bool {
        self.delta.layers().iter().all(is_exact)
    }

    /// Estimates the time that one core needs to rebuild layers.
    pub fn rebuild_time(&self) -> Duration {
        rebuild_time(self.delta.layers().iter().map(TargetLayer::outline))
    }

    /// Returns the text. `all_files` adds a line for each file with a cost.
    pub fn text(&self, all_files: bool) -> InspectionText<'_> {
        InspectionText { inspection: self, all_files }
    }

    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let delta = &self.delta;
        let layers = delta.layers().iter().enumerate();
        json!({
            "schema": SCHEMA,
            "bytes": delta.size_bytes(),
            "target": delta.digest().to_string(),
            "media_type": delta.media_type(),
            "config": delta.config_digest().to_string(),
            "platform": delta.platform().to_string(),
            "exact": self.is_exact(),
            "rebuild_milliseconds": milliseconds(self.rebuild_time()),
            "base": delta.base().manifest.map(|digest| digest.to_string()),
            "needs_blobs": delta.layers().iter().filter(|layer| base_needs(layer) == Some("blob"))
                .map(|layer| layer.blob.to_string()).collect::<Vec<_>>(),
            "needs": delta.base().streams.iter().map(|stream| json!({
                "diff_id": stream.diff_id.to_string(),
                "bytes": stream.bytes,
            })).collect::<Vec<_>>(),
            "layers": layers.map(|(ordinal, layer)| self.layer_json(ordinal, layer)).collect::<Vec<_>>(),
            "coders": coders_json(self.coders),
            "sections": delta.sections().iter().map(|section| json!({
                "kind": section.kind.name(),
                "offset": section.offset,
                "bytes": section.bytes,
            })).collect::<Vec<_>>(),
            "notes": delta.notes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn layer_json(&self, ordinal: usize, layer: &TargetLayer) -> Value {
        let cost = self.costs.as_ref().and_then(|costs| costs.get(ordinal));
        json!({
            "ordinal": ordinal,
            "digest": layer.blob.to_string(),
            "stored_bytes": layer.blob_bytes,
            "diff_id": layer.stream.diff_id.to_string(),
            "stream_bytes": layer.stream.bytes,
            "media_type": layer.media_type,
            "body": body_word(layer),
            "envelope": envelope_word(layer),
            "base_needs": base_needs(layer),
            "exact": is_exact(layer),
            "delta_bytes": self.section_bytes(layer),
            "rebuild_milliseconds": milliseconds(rebuild_time([layer.outline()])),
            "header_bytes": cost.map(|cost| cost.headers),
            "files": cost.map(|cost| cost.files.iter().map(|file| json!({
                "path": escaped(&file.path),
                "how": file.how.name(),
                "bytes": file.target_bytes,
                "delta_bytes": file.delta_bytes,
            })).collect::<Vec<_>>()),
            "rest": cost.map(|cost| cost.rest.iter().map(|rest| json!({
                "how": rest.how.name(),
                "files": rest.count,
                "bytes": rest.target_bytes,
                "delta_bytes": rest.delta_bytes,
            })).collect::<Vec<_>>()),
        })
    }

    /// Returns the length of the section that makes a layer; 0 if the base has the layer.
    fn section_bytes(&self, layer: &TargetLayer) -> u64 {
        let (kind, ordinal) = match layer.body {
            LayerBody::Kept => return 0,
            LayerBody::Recipe(ordinal) => (SectionKind::Recipe, ordinal),
            LayerBody::Carried(ordinal) => (SectionKind::Carried, ordinal),
        };
        let mut sections = self.delta.sections().iter().filter(|section| section.kind == kind);
        sections.nth(ordinal as usize).map_or(0, |section| section.bytes)
    }
}

/// A description as text.
#[derive(Clone, Debug)]
pub struct InspectionText<'a> {
    inspection: &'a Inspection,
    all_files: bool,
}

impl fmt::Display for InspectionText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let delta = &self.inspection.delta;
        let stored = delta.layers().iter().map(|layer| layer.blob_bytes).sum();
        let streams = delta.base().streams.iter().map(|stream| stream.bytes).sum();
        writeln!(f, "delta   {}", Human(delta.size_bytes()))?;
        writeln!(f, "makes   {}", delta.digest())?;
        let (count, platform) = (delta.layers().len(), delta.platform());
        writeln!(f, "        for {platform}, {count} layers, {}", Human(stored))?;
        match delta.base().manifest {
            Some(base) => writeln!(f, "from    {base}")?,
            None if delta.base().streams.is_empty() => writeln!(f, "from    no image")?,
            None => writeln!(f, "from    any image with the layers that it needs")?,
        }
        let count = delta.base().streams.len();
        writeln!(f, "        needs {count} layers, {} uncompressed", Human(streams))?;
        let of_kind = |kind| {
            let layers = (1..).zip(delta.layers());
            let layers = layers.filter(move |(_, layer)| base_needs(layer) == Some(kind));
            layers.map(|(number, _): (usize, _)| number.to_string()).collect::<Vec<_>>()
        };
        let blobs = of_kind("blob");
        if !blobs.is_empty() {
            let list = blobs.join(", ");
            writeln!(f, "        and the compressed blobs of layers {list} of the new image")?;
        } else if !of_kind("stream").is_empty() {
            writeln!(f, "        uncompressed layers are enough")?;
        }
        if !self.inspection.is_exact() {
            writeln!(f, "        makes some layers uncompressed only, with other digests")?;
        }
        writeln!(f, "rebuild {}", CoreTime(self.inspection.rebuild_time()))?;
        writeln!(
            f,
            "\nlayer  {:<12}  {:<14}  {:>9}  {:>9}",
            "blob", "source", "delta", "blob size"
        )?;
        for (number, layer) in (1..).zip(delta.layers()) {
            self.layer(f, number, layer)?;
        }
        if let Some(costs) = &self.inspection.costs {
            sums(f, costs)?;
            if self.all_files {
                files(f, costs)?;
            }
        } else if self.all_files {
            writeln!(f, "\nThe delta does not report the cost of its files.")?;
        }
        if self.inspection.coders != CoderSizes::default() {
            coders(f, self.inspection.coders)?;
        }
        delta.notes().iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

impl InspectionText<'_> {
    fn layer(&self, f: &mut Formatter<'_>, number: usize, layer: &TargetLayer) -> fmt::Result {
        let (cost, size) = (self.inspection.section_bytes(layer), layer.blob_bytes);
        let (blob, source) = (short(layer.blob), source_words(layer));
        write!(f, "{number:>5}  {blob}  {source:<14}  {:>9}  {:>9}", Human(cost), Human(size))?;
        writeln!(f, "{}", if is_exact(layer) { "" } else { "  uncompressed only" })
    }
}

/// Returns the JSON array of the coders that have bytes.
pub fn coders_json(sizes: CoderSizes) -> Value {
    let line =
        |(coder, bytes): (StreamCoder, u64)| json!({ "coder": coder.word(), "delta_bytes": bytes });
    sizes.used().map(line).collect()
}

/// Writes a line for each coder that has bytes.
fn coders(f: &mut Formatter<'_>, sizes: CoderSizes) -> fmt::Result {
    writeln!(f, "\n{:>9}  coder", "delta")?;
    sizes
        .used()
        .try_for_each(|(coder, bytes)| writeln!(f, "{:>9}  {}", Human(bytes), coder.words()))
}

/// Writes sums over all layers, by the source of files.
fn sums(f: &mut Formatter<'_>, costs: &[LayerCost]) -> fmt::Result {
    let mut sums: BTreeMap<Provenance, (u64, u64, u64)> = BTreeMap::new();
    let mut add = |how, count, target_bytes, delta_bytes| {
        let sum = sums.entry(how).or_default();
        // The numbers are not trusted.
        sum.0 = sum.0.saturating_add(count);
        sum.1 = sum.1.saturating_add(target_bytes);
        sum.2 = sum.2.saturating_add(delta_bytes);
    };
    for cost in costs {
        cost.files.iter().for_each(|file| add(file.how, 1, file.target_bytes, file.delta_bytes));
        cost.rest
            .iter()
            .for_each(|rest| add(rest.how, rest.count, rest.target_bytes, rest.delta_bytes));
    }
    let headers = costs.iter().fold(0_u64, |sum, cost| sum.saturating_add(cost.headers));
    writeln!(f, "\n{:<9}  {:>9}  {:>9}  {:>9}", "files", "count", "delta", "file size")?;
    writeln!(f, "{:<9}  {:>9}  {:>9}", "headers", "", Human(headers))?;
    for (how, (count, target_bytes, delta_bytes)) in sums {
        let (cost, size) = (Human(delta_bytes), Human(target_bytes));
        let count = Grouped(count).to_string();
        writeln!(f, "{:<9}  {count:>9}  {cost:>9}  {size:>9}", how.name())?;
    }
    Ok(())
}

fn files(f: &mut Formatter<'_>, costs: &[LayerCost]) -> fmt::Result {
    let mut files: Vec<&FileCost> = costs.iter().flat_map(|cost| &cost.files).collect();
    files.shared_sort_by_key(|file| (Reverse(file.delta_bytes), &file.path));
    writeln!(f, "\n{:>9}  {:>9}  {:<8}  path", "delta", "file size", "source")?;
    files.into_iter().try_for_each(|file| {
        let (cost, size) = (Human(file.delta_bytes), Human(file.target_bytes));
        let path = escaped(&file.path);
        writeln!(f, "{cost:>9}  {size:>9}  {:<8}  {path}", file.how.name())
    })
}

fn is_exact(layer: &TargetLayer) -> bool {
    matches!(layer.body, LayerBody::Carried(_)) || layer.envelope != Envelope::Unmade
}

/// Returns whole milliseconds, as documents spell times.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn source_words(layer: &TargetLayer) -> &'static str {
    match layer.body {
        LayerBody::Kept if layer.envelope == Envelope::Base => "base's blob",
        LayerBody::Kept => "base",
        LayerBody::Recipe(_) => "rebuilt",
        LayerBody::Carried(_) => "whole in delta",
    }
}

fn body_word(layer: &TargetLayer) -> &'static str {
    match layer.body {
        LayerBody::Kept => "kept",
        LayerBody::Recipe(_) => "rebuilt",
        LayerBody::Carried(_) => "carried",
    }
}

/// Returns the form in which the base must have a kept layer for the exact image.
fn base_needs(layer: &TargetLayer) -> Option<&'static str> {
    let is_kept = layer.body == LayerBody::Kept;
    is_kept.then_some(if layer.envelope == Envelope::Base { "blob" } else { "stream" })
}

fn envelope_word(layer: &TargetLayer) -> &'static str {
    match layer.envelope {
        Envelope::Unmade => "unmade",
        Envelope::Base => "base",
        Envelope::Stored => "stored",
        Envelope::Deflate(_) => "deflate",
        Envelope::Zstd(_) => "zstd",
        Envelope::Chunked(_) => "zstd:chunked",
    }
}

/// Returns enough of a digest to distinguish layers.
fn short(digest: BlobDigest) -> String {
    digest.hex()[..12].to_owned()
}
