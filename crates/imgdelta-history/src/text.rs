//! A history as text for people: a block for each version, the newest first.
//! Never prints a stranger's control characters.

use crate::{history::History, version::Version};
use imgdelta_core::{
    date::to_seconds,
    path::escaped,
    size::{Exact, Human},
};
use imgdelta_registry::TagName;
use std::fmt::{self, Display, Formatter};

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.repository)?;
        if self.versions.is_empty() {
            writeln!(f, "no images with tags")?;
        }
        for version in &self.versions {
            write_version(f, version)?;
        }
        if self.omitted_tags > 0 {
            writeln!(f, "\n… and {} more tags; --last N reads more versions", self.omitted_tags)?;
        }
        if !self.notes.is_empty() {
            writeln!(f, "\nNotes")?;
        }
        for note in &self.notes {
            writeln!(f, "  {}", escaped(note.to_string().as_bytes()))?;
        }
        Ok(())
    }
}

fn write_version(f: &mut Formatter<'_>, version: &Version) -> fmt::Result {
    let tags: Vec<&str> = version.tags.iter().map(TagName::as_str).collect();
    let created = version.created.as_deref().map_or("no date".into(), to_seconds);
    writeln!(f, "\n{}  {}", tags.join(", "), escaped(created.as_bytes()))?;
    let layers = version.layers.len();
    writeln!(f, "  {}", version.digest)?;
    writeln!(f, "  {} in {layers} layers", Exact(version.bytes()))?;
    if let Some(change) = &version.change {
        let (from, bytes) = (&change.from, Human(change.pull_bytes));
        writeln!(f, "  since {from}: {bytes} in {} of {layers} layers", change.pull_layers)?;
    }
    for delta in &version.deltas {
        let from = match (&delta.from, &delta.base) {
            (Some(tag), _) => tag.to_string(),
            (None, Some(base)) => format!("{} (without a tag here)", &base.hex()[..12]),
            (None, None) => "an unnamed base".to_owned(),
        };
        writeln!(f, "  delta from {from}: {}", Exact(delta.bytes))?;
    }
    Ok(())
}
