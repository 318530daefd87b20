//! What a pull will do and did, in words and as a document.
//!
//! docs/pull-json.md describes the document. Decides nothing.

use super::{Chosen, PullPlan, Way};
use imgdelta_core::{
    BlobDigest, Note,
    size::{Exact, Human},
};
use serde_json::{Value, json};
use std::fmt;

/// The name and version of the document; a reader refuses another.
pub const PULL_SCHEMA: &str = "imgdelta.pull/1";

/// What a pull did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// Where the image was written to.
    pub place: String,
    /// The digest of its manifest.
    pub manifest: BlobDigest,
    /// Bytes of bodies that were received, whatever for.
    pub received_bytes: u64,
    /// What a plain pull would have fetched.
    pub plain_bytes: u64,
    /// What was remarkable.
    pub notes: Vec<Note>,
    document: Value,
    lines: Vec<String>,
}

impl Way {
    /// Returns how listings name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Base => "base",
            Self::Remade { .. } => "remade",
            Self::Recipe { .. } => "recipe",
            Self::Registry => "registry",
        }
    }
}

impl Chosen {
    /// Returns the digest of its manifest.
    pub fn digest(&self) -> BlobDigest {
        self.artifact.descriptor.digest
    }

    fn json(&self) -> Value {
        json!({
            "artifact": self.digest().to_string(),
            "base": self.artifact.base.map(|base| base.to_string()),
            "front_bytes": self.artifact.front.size_bytes,
        })
    }
}

impl PullPlan {
    /// Returns what will be fetched, for machines.
    pub fn json(&self) -> Value {
        self.document(None)
    }

    fn document(&self, received_bytes: Option<u64>) -> Value {
        json!({
            "schema": PULL_SCHEMA,
            "source": self.source.image.name,
            "place": self.output.to_string(),
            "manifest": self.source.image.digest.to_string(),
            "platform": self.source.image.platform.to_string(),
            "delta": self.deltas.first().map(Chosen::json),
            "deltas": self.deltas.iter().enumerate().map(|(ordinal, delta)| {
                let mut told = delta.json();
                told["layers"] = self.layers_by(ordinal).into();
                told
            }).collect::<Vec<_>>(),
            "layers": self.layers.iter().map(|layer| json!({
                "digest": layer.blob.digest.to_string(),
                "bytes": layer.blob.size_bytes,
                "diff_id": layer.diff_id.to_string(),
                "way": layer.way.word(),
                "delta": layer.way.delta().map(|delta| self.deltas[delta].digest().to_string()),
                "fetch_bytes": layer.fetch_bytes,
            })).collect::<Vec<_>>(),
            "plain_bytes": self.plain_bytes,
            "decided_bytes": self.decided_bytes,
            "fetch_bytes": self.fetch_bytes(),
            "received_bytes": received_bytes,
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    /// Counts the layers that come by one of the deltas.
    fn layers_by(&self, delta: usize) -> usize {
        self.layers.iter().filter(|layer| layer.way.delta() == Some(delta)).count()
    }

    fn counts(&self) -> String {
        let ways = ["there", "base", "remade", "recipe", "registry"];
        let count = |word| self.layers.iter().filter(|layer| layer.way.word() == word).count();
        let counts = ways.iter().map(|word| (count(*word), *word)).filter(|(count, _)| *count > 0);
        counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }

    /// Returns the deltas that layers come by.
    fn used(&self) -> impl Iterator<Item = BlobDigest> {
        let used = self.deltas.iter().enumerate().filter(|(at, _)| self.layers_by(*at) > 0);
        used.map(|(_, delta)| delta.digest())
    }

    /// Returns in one line what will be fetched.
    pub fn line(&self) -> String {
        format!(
            "{} to fetch, {} fetched to decide; a plain pull is {} ({})",
            Human(self.fetch_bytes()),
            Human(self.decided_bytes),
            Human(self.plain_bytes),
            self.counts()
        )
    }
}

impl fmt::Display for PullPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = &self.source.image;
        writeln!(f, "image   {} for {}", image.digest, image.platform)?;
        self.used().try_for_each(|delta| writeln!(f, "delta   {delta}"))?;
        writeln!(f, "layers  {} ({})", self.layers.len(), self.counts())?;
        writeln!(
            f,
            "fetch   {}, and {} to decide; a plain pull is {}",
            Exact(self.fetch_bytes()),
            Human(self.decided_bytes),
            Exact(self.plain_bytes)
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

impl Pulled {
    pub(super) fn new(plan: PullPlan, received_bytes: u64) -> Self {
        let image = &plan.source.image;
        let mut lines = vec![
            format!("image   {} for {}", image.digest, image.platform),
            format!("to      {}", plan.output),
        ];
        lines.extend(plan.used().map(|delta| format!("delta   {delta}")));
        lines.push(format!("layers  {} ({})", plan.layers.len(), plan.counts()));
        Self {
            place: plan.output.to_string(),
            manifest: image.digest,
            received_bytes,
            plain_bytes: plan.plain_bytes,
            document: plan.document(Some(received_bytes)),
            lines,
            notes: plan.notes,
        }
    }

    /// Returns the result for machines.
    pub fn json(&self) -> Value {
        self.document.clone()
    }
}

impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let (received, plain) = (Exact(self.received_bytes), Exact(self.plain_bytes));
        writeln!(f, "fetched {received}; a plain pull is {plain}")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}
