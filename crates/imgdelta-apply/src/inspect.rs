//! A description of a delta, without a base: its target, its needs, and where its bytes go.
//!
//! docs/inspect-json.md describes the document. Rebuilds nothing, and checks nothing but what
//! opening the delta has checked.

use crate::delta::{
    Delta, Envelope, FileCost, LayerBody, LayerCost, LayerHead, Provenance, SectionKind,
};
use imgdelta_core::{BlobDigest, Result, path::escaped, size::Human};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt::{self, Formatter},
};

/// The name and version of the document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.inspect/1";

/// A delta described.
#[derive(Clone, Debug)]
pub struct Inspection {
    delta: Delta,
    costs: Option<Vec<LayerCost>>,
}

impl Inspection {
    /// Reads the costs that the delta reports.
    pub fn of(delta: Delta) -> Result<Self> {
        let costs = delta.cost()?;
        Ok(Self { delta, costs })
    }

    /// Returns true if the delta makes the target's blobs, not only their streams.
    pub fn is_exact(&self) -> bool {
        self.delta.layers().iter().all(is_exact)
    }

    /// Returns the description for people: with every file that costs something, or only sums.
    pub fn text(&self, all_files: bool) -> Text<'_> {
        Text { inspection: self, all_files }
    }

    /// Returns the description for machines, with every file that costs something.
    pub fn json(&self) -> Value {
        let delta = &self.delta;
        let heads = delta.layers().iter().enumerate();
        json!({
            "schema": SCHEMA,
            "bytes": delta.size_bytes(),
            "target": delta.digest().to_string(),
            "media_type": delta.media_type(),
            "config": delta.config_digest().to_string(),
            "platform": delta.platform().to_string(),
            "exact": self.is_exact(),
            "base": delta.base().manifest.map(|digest| digest.to_string()),
            "needs": delta.base().streams.iter().map(|stream| json!({
                "diff_id": stream.diff_id.to_string(),
                "bytes": stream.bytes,
            })).collect::<Vec<_>>(),
            "layers": heads.map(|(ordinal, head)| self.layer_json(ordinal, head)).collect::<Vec<_>>(),
            "sections": delta.sections().iter().map(|section| json!({
                "kind": section.kind.name(),
                "offset": section.offset,
                "bytes": section.bytes,
            })).collect::<Vec<_>>(),
            "notes": delta.notes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn layer_json(&self, ordinal: usize, head: &LayerHead) -> Value {
        let cost = self.costs.as_ref().and_then(|costs| costs.get(ordinal));
        json!({
            "ordinal": ordinal,
            "digest": head.blob.to_string(),
            "stored_bytes": head.blob_bytes,
            "diff_id": head.stream.diff_id.to_string(),
            "stream_bytes": head.stream.bytes,
            "media_type": head.media_type,
            "body": body_word(head),
            "envelope": envelope_word(head),
            "exact": is_exact(head),
            "delta_bytes": self.section_bytes(head),
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

    /// The length of the section that makes a layer; nothing for one that is kept.
    fn section_bytes(&self, head: &LayerHead) -> u64 {
        let (kind, ordinal) = match head.body {
            LayerBody::Kept => return 0,
            LayerBody::Recipe(ordinal) => (SectionKind::Recipe, ordinal),
            LayerBody::Carried(ordinal) => (SectionKind::Carried, ordinal),
        };
        let mut sections = self.delta.sections().iter().filter(|section| section.kind == kind);
        sections.nth(ordinal as usize).map_or(0, |section| section.bytes)
    }
}

/// A description bound to the way it is shown.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    inspection: &'a Inspection,
    all_files: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let delta = &self.inspection.delta;
        let stored = delta.layers().iter().map(|head| head.blob_bytes).sum();
        let streams = delta.base().streams.iter().map(|stream| stream.bytes).sum();
        writeln!(f, "delta   {}", Human(delta.size_bytes()))?;
        writeln!(f, "makes   {} for {}", delta.digest(), delta.platform())?;
        writeln!(f, "        {} layers, {}", delta.layers().len(), Human(stored))?;
        match delta.base().manifest {
            Some(base) => writeln!(f, "from    {base}")?,
            None => writeln!(f, "from    any image with its streams")?,
        }
        let count = delta.base().streams.len();
        writeln!(f, "        {count} layers needed, {} uncompressed", Human(streams))?;
        if !self.inspection.is_exact() {
            writeln!(f, "        not all blobs can be remade: see the layers")?;
        }
        writeln!(f)?;
        for (number, head) in (1..).zip(delta.layers()) {
            self.layer(f, number, head)?;
        }
        if let Some(costs) = &self.inspection.costs {
            sums(f, costs)?;
            if self.all_files {
                files(f, costs)?;
            }
        } else if self.all_files {
            writeln!(f, "\nThe delta does not say what its files cost.")?;
        }
        delta.notes().iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

impl Text<'_> {
    fn layer(&self, f: &mut Formatter<'_>, number: usize, head: &LayerHead) -> fmt::Result {
        let cost = Human(self.inspection.section_bytes(head));
        let (body, size) = (body_word(head), Human(head.blob_bytes));
        write!(f, "layer {number:<2}  {}  {body:<8} {cost:>8} for {size:>8}", short(head.blob))?;
        writeln!(f, "{}", if is_exact(head) { "" } else { "  uncompressed only" })
    }
}

/// Sums over all layers, by how files come about.
fn sums(f: &mut Formatter<'_>, costs: &[LayerCost]) -> fmt::Result {
    let mut sums: BTreeMap<Provenance, (u64, u64, u64)> = BTreeMap::new();
    let mut add = |how, count, target_bytes, delta_bytes| {
        let sum = sums.entry(how).or_default();
        // Numbers of a stranger.
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
    writeln!(f, "\n{:<9} {:>8}", "headers", Human(headers))?;
    for (how, (count, target_bytes, delta_bytes)) in sums {
        let (cost, size) = (Human(delta_bytes), Human(target_bytes));
        writeln!(f, "{:<9} {cost:>8} for {size:>8} in {count} files", how.name())?;
    }
    Ok(())
}

fn files(f: &mut Formatter<'_>, costs: &[LayerCost]) -> fmt::Result {
    let mut files: Vec<&FileCost> = costs.iter().flat_map(|cost| &cost.files).collect();
    files.sort_by_key(|file| (Reverse(file.delta_bytes), &file.path));
    writeln!(f)?;
    files.into_iter().try_for_each(|file| {
        let (cost, size) = (Human(file.delta_bytes), Human(file.target_bytes));
        let path = escaped(&file.path);
        writeln!(f, "{cost:>8} for {size:>8}  {:<8}  {path}", file.how.name())
    })
}

fn is_exact(head: &LayerHead) -> bool {
    matches!(head.body, LayerBody::Carried(_)) || head.envelope != Envelope::Unmade
}

fn body_word(head: &LayerHead) -> &'static str {
    match head.body {
        LayerBody::Kept => "kept",
        LayerBody::Recipe(_) => "rebuilt",
        LayerBody::Carried(_) => "carried",
    }
}

fn envelope_word(head: &LayerHead) -> &'static str {
    match head.envelope {
        Envelope::Unmade => "unmade",
        Envelope::Base => "base",
        Envelope::Stored => "stored",
        Envelope::Deflate(_) => "deflate",
        Envelope::Zstd(_) => "zstd",
        Envelope::Chunked(_) => "zstd:chunked",
    }
}

/// Enough of a digest to tell layers apart.
fn short(digest: BlobDigest) -> String {
    digest.hex()[..12].to_owned()
}
