//! A plan and its result, as text and as JSON.
//!
//! docs/pull-json.md describes the JSON document. Decides nothing.

use super::{
    layers::{PullDelta, PullLayer},
    plan::PullPlan,
    ways::ChainStep,
};
use imgdelta_core::{
    BlobDigest, Note,
    size::{Exact, Human},
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// Name and version of the JSON document; a reader refuses others.
pub const PULL_SCHEMA: &str = "imgdelta.pull/1";

/// Result of a pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullReport {
    /// The destination.
    pub place: String,
    /// Digest of the image's manifest.
    pub manifest: BlobDigest,
    /// The layers, each with the source that it came from in the end.
    pub layers: Vec<PullLayer>,
    /// Bytes of all received bodies, retries included.
    pub received_bytes: u64,
    /// Bytes of a plain pull.
    pub plain_bytes: u64,
    /// Remarks, such as a fallback with its reason.
    pub notes: Vec<Note>,
    document: Value,
    lines: Vec<String>,
}

impl PullDelta {
    fn json(&self) -> Value {
        json!({
            "artifact": self.digest().to_string(),
            "base": self.artifact.base.map(|base| base.to_string()),
            "front_bytes": self.artifact.front.size_bytes,
        })
    }
}

impl PullPlan {
    /// Returns the plan as the JSON document of docs/pull-json.md.
    pub fn json(&self) -> Value {
        self.document(None)
    }

    /// Returns the downloads in one line.
    pub fn line(&self) -> String {
        format!(
            "{} to fetch, {} fetched to decide; a plain pull is {}; layers: {}",
            Human(self.fetch_bytes()),
            Human(self.decided_bytes),
            Human(self.plain_bytes),
            self.counts()
        )
    }

    fn document(&self, received_bytes: Option<u64>) -> Value {
        json!({
            "schema": PULL_SCHEMA,
            "source": self.source.image.name,
            "place": self.output.to_string(),
            "manifest": self.source.image.digest.to_string(),
            "platform": self.source.image.platform.to_string(),
            "delta": self.deltas.first().map(PullDelta::json),
            "deltas": self.deltas.iter().enumerate().map(|(ordinal, delta)| {
                let mut document = delta.json();
                document["layers"] = self.layers_of(ordinal).into();
                document
            }).collect::<Vec<_>>(),
            "layers": self.layers.iter().map(|layer| json!({
                "digest": layer.blob.digest.to_string(),
                "bytes": layer.blob.size_bytes,
                "diff_id": layer.diff_id.to_string(),
                "way": layer.source.word(),
                "chain": layer.chain.iter().map(|step| json!({
                    "artifact": step.delta.to_string(),
                    "base": step.base.map(|base| base.to_string()),
                    "makes": step.image.to_string(),
                    "recipe": step.recipe.digest.to_string(),
                    "bytes": step.recipe.size_bytes,
                })).collect::<Vec<_>>(),
                "delta": layer.source.delta().map(|delta| self.deltas[delta].digest().to_string()),
                "fetch_bytes": layer.fetch_bytes,
            })).collect::<Vec<_>>(),
            "plain_bytes": self.plain_bytes,
            "decided_bytes": self.decided_bytes,
            "fetch_bytes": self.fetch_bytes(),
            "received_bytes": received_bytes,
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    /// Counts the layers that use a delta.
    fn layers_of(&self, delta: usize) -> usize {
        self.layers.iter().filter(|layer| layer.source.delta() == Some(delta)).count()
    }

    /// Counts the layers by their sources, in the order of the layers.
    fn counts(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for layer in &self.layers {
            let words = layer.source.words();
            match counts.iter_mut().find(|(known, _)| *known == words) {
                Some((_, count)) => *count += 1,
                None => counts.push((words, 1)),
            }
        }
        let counts = counts.iter().map(|(words, count)| format!("{count} {words}"));
        counts.collect::<Vec<_>>().join("; ")
    }

    /// Returns one line for each delta of the chains, with its base, the image that it makes, and the
    /// bytes of the recipes that are used.
    fn chain_lines(&self) -> Vec<String> {
        let steps = self.layers.iter().flat_map(|layer| &layer.chain);
        let mut deltas: Vec<&ChainStep> = Vec::new();
        let mut recipes = HashSet::new();
        let mut bytes = HashMap::<BlobDigest, u64>::new();
        for step in steps {
            if recipes.insert(step.recipe.digest) {
                *bytes.entry(step.delta).or_default() += step.recipe.size_bytes;
            }
            if deltas.iter().all(|known| known.delta != step.delta) {
                deltas.push(step);
            }
        }
        let lines = deltas.into_iter().map(|step| {
            let base = step.base.map_or_else(|| "an unnamed base".to_owned(), |it| short(&it));
            let bytes = Human(bytes.get(&step.delta).copied().unwrap_or_default());
            format!("chain   {base} to {}, {bytes}, delta {}", short(&step.image), step.delta)
        });
        lines.collect()
    }

    /// Returns the deltas that layers use.
    fn used_deltas(&self) -> impl Iterator<Item = BlobDigest> {
        let used = self.deltas.iter().enumerate().filter(|(at, _)| self.layers_of(*at) > 0);
        used.map(|(_, delta)| delta.digest())
    }
}

impl fmt::Display for PullPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = &self.source.image;
        writeln!(f, "image   {}\n        for {}", image.digest, image.platform)?;
        self.used_deltas().try_for_each(|delta| writeln!(f, "delta   {delta}"))?;
        self.chain_lines().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "layers  {}: {}", self.layers.len(), self.counts())?;
        writeln!(
            f,
            "fetch   {}, and {} to decide;\n        a plain pull is {}",
            Exact(self.fetch_bytes()),
            Human(self.decided_bytes),
            Exact(self.plain_bytes)
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

impl PullReport {
    pub(super) fn new(plan: PullPlan) -> Self {
        let received_bytes = plan.source.received_bytes();
        let image = &plan.source.image;
        let mut lines = vec![
            format!("image   {}", image.digest),
            format!("        for {}", image.platform),
            format!("to      {}", plan.output),
        ];
        lines.extend(plan.used_deltas().map(|delta| format!("delta   {delta}")));
        lines.extend(plan.chain_lines());
        lines.push(format!("layers  {}: {}", plan.layers.len(), plan.counts()));
        Self {
            place: plan.output.to_string(),
            manifest: image.digest,
            received_bytes,
            plain_bytes: plan.plain_bytes,
            document: plan.document(Some(received_bytes)),
            lines,
            layers: plan.layers,
            notes: plan.notes,
        }
    }

    /// Returns the report as the JSON document of docs/pull-json.md.
    pub fn json(&self) -> Value {
        self.document.clone()
    }
}

impl fmt::Display for PullReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let (received, plain) = (Exact(self.received_bytes), Exact(self.plain_bytes));
        writeln!(f, "fetched {received}; a plain pull is {plain}")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

/// Returns the start of a digest, which names an image among a few.
fn short(digest: &BlobDigest) -> String {
    format!("{}:{}", digest.algorithm().name(), &digest.hex()[..12])
}
