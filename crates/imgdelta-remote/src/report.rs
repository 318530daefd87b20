//! The list of deltas as text and as JSON.
//! Never asks a registry.

use crate::{ImageDeltas, ListedDelta};
use imgdelta_core::{
    path::escaped,
    size::{Grouped, Human},
    table::{Column, Table},
};
use serde_json::{Value, json};
use std::fmt;

/// Name and version of the JSON document; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.deltas/1";

/// A list of deltas as text for lines of a width.
#[derive(Debug)]
pub struct ImageDeltasText<'a> {
    deltas: &'a ImageDeltas,
    width: Option<usize>,
}

impl ImageDeltas {
    /// Returns the text for lines of `width` characters, or of any length.
    pub fn text(&self, width: Option<usize>) -> ImageDeltasText<'_> {
        ImageDeltasText { deltas: self, width }
    }

    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "image": self.image.name,
            "digest": self.image.digest.to_string(),
            "platform": self.image.platform.to_string(),
            "full_pull_bytes": self.full_bytes(),
            "deltas": self.deltas.iter().map(delta_json).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn full_bytes(&self) -> u64 {
        let layers = self.image.layers.iter().map(|layer| layer.descriptor.size_bytes);
        layers.fold(0, u64::saturating_add)
    }
}

fn delta_json(delta: &ListedDelta) -> Value {
    let base = delta.base.as_ref();
    json!({
        "digest": delta.digest().to_string(),
        "bytes": delta.bytes,
        "old": base.map(|base| base.digest.to_string()),
        "old_tags": base.map(|base| &base.tags),
        "pull_bytes": base.and_then(|base| base.pull_bytes),
        "recipes": delta.artifact.recipes.len(),
        "whole_layers": delta.artifact.carried.len(),
        "creator": delta.artifact.creator.as_ref().map(|name| escaped(name.as_bytes()).to_string()),
        "signatures": delta.signatures.iter().map(|kind| kind.word()).collect::<Vec<_>>(),
    })
}

impl fmt::Display for ImageDeltasText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageDeltas { image, deltas, notes, .. } = self.deltas;
        writeln!(f, "image   {}", escaped(image.name.as_bytes()))?;
        writeln!(f, "        {}", image.digest)?;
        let (full, layers) = (Human(self.deltas.full_bytes()), image.layers.len());
        writeln!(f, "        for {}, {layers} layers, {full} from scratch", image.platform)?;
        if deltas.is_empty() {
            writeln!(f, "deltas  none")?;
        } else {
            writeln!(f, "deltas  {}\n", deltas.len())?;
            let columns = [
                Column::words("delta"),
                Column::number("bytes"),
                Column::number("plain pull").spare(2),
                Column::number("saved"),
                Column::words("pushed by"),
                // Left out if there is no signature.
                Column::words("signature").spare(1),
                Column::words("from the old image"),
            ];
            let mut table = Table::new(&columns, 2);
            for delta in deltas {
                table.push(row(delta));
            }
            writeln!(f, "{}", table.title(self.width))?;
            table.rows(self.width).iter().try_for_each(|row| writeln!(f, "{row}"))?;
        }
        notes.iter().try_for_each(|note| writeln!(f, "note    {note}"))
    }
}

fn row(delta: &ListedDelta) -> [String; 7] {
    let base = delta.base.as_ref();
    let plain = base.and_then(|base| base.pull_bytes);
    let from = match base {
        None => "any with the layers that it needs".to_owned(),
        Some(base) => {
            let digest = &base.digest.hex()[..12];
            let is_gone = if base.pull_bytes.is_none() { ", not in this repository" } else { "" };
            match &base.tags[..] {
                [] => format!("{digest}{is_gone}"),
                tags => format!("{} ({digest})", tags.join(", ")),
            }
        }
    };
    let creator = delta.artifact.creator.as_ref();
    let creator = creator.map_or("unknown".into(), |name| escaped(name.as_bytes()));
    let signatures: Vec<_> = delta.signatures.iter().map(|kind| kind.word()).collect();
    [
        delta.short_name(),
        Grouped(delta.bytes).to_string(),
        plain.map_or_else(|| "-".to_owned(), |plain| Grouped(plain).to_string()),
        plain.map_or_else(|| "-".to_owned(), |plain| saved(delta.bytes, plain)),
        creator.into_owned(),
        signatures.join(", "),
        from,
    ]
}

/// Returns the share that a delta saves, in per cent.
fn saved(delta: u64, plain: u64) -> String {
    let share = u128::from(plain.saturating_sub(delta)) * 1000 / u128::from(plain.max(1));
    format!("{}.{} %", share / 10, share % 10)
}

#[cfg(test)]
mod tests {
    use super::saved;

    #[test]
    fn a_share_is_rounded_down_and_never_negative() {
        assert_eq!(saved(676_303, 97_247_990), "99.3 %");
        assert_eq!(saved(10, 0), "0.0 %");
        assert_eq!(saved(0, 10), "100.0 %");
    }
}
