//! How much a stranger's image may ask of us before we refuse.
//!
//! Limits are met before memory is taken. They are for reading: nothing we write comes near them.

use imgdelta_format::ReadLimits;
use std::str::FromStr;

/// Ceilings for what is read. Every default is far above any image seen in practice and far
/// below what would hurt the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a manifest, an index or a layout file: 16 MiB. Registries refuse more than 4 MiB.
    pub manifest_bytes: u64,
    /// Bytes of an image config: 32 MiB. Histories with large build arguments reach a few.
    pub config_bytes: u64,
    /// Layers of one image: 4,096. Overlay mounts stop at a few hundred.
    pub layers: u64,
    /// Descriptors in one index, and indexes nested in each other: 10,000. Multi-platform images
    /// have some dozens.
    pub descriptors: u64,
    /// Members of an archive that is read as an image: 1,000,000.
    pub archive_members: u64,
    /// Uncompressed bytes of one layer: 256 GiB, beyond the largest model images.
    pub layer_bytes: u64,
    /// Uncompressed bytes per compressed byte once a layer passes [`Limits::expansion_free_bytes`]:
    /// 1,100, just above what deflate can do at all (1,032), so that only zstd bombs are met.
    pub expansion: u64,
    /// Uncompressed bytes that any layer may reach whatever its compressed size: 1 GiB.
    pub expansion_free_bytes: u64,
    /// Memory of a zstd layer's window: 2^31 bytes at most by the format's `--long=31`; we take
    /// 128 MiB (`--long=27`, what registries' clients accept).
    pub zstd_window_log: u32,
    /// Entries of one layer: 4,000,000.
    pub layer_entries: u64,
    /// Bytes of all names, links and attributes of one layer: 256 MiB, sixty for each of the
    /// entries allowed. They are what an index keeps in memory.
    pub layer_text_bytes: u64,
    /// Bytes of one PAX or GNU extension header (long names, attributes): 1 MiB, as Go's reader.
    pub extension_bytes: u64,
    /// Bytes of one package database that is read: 64 MiB.
    pub database_bytes: u64,
    /// Bytes of a delta file: 256 GiB, as of a layer: what does not pay is carried.
    pub delta_bytes: u64,
    /// Bytes of one recipe in a delta without its groups: 256 MiB. They are read whole.
    pub recipe_bytes: u64,
    /// Payloads and parts of payloads that one recipe's groups make: 2,000,000.
    pub recipe_members: u64,
    /// Unpacked bytes of one group's streams: 512 MiB. Groups are cut far below that.
    pub group_bytes: u64,
    /// Bytes of a file, or of a part of one, that a group makes in one go, and of the base bytes
    /// it makes it from: 1 GiB. The writer cuts larger files in parts.
    pub member_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 16 << 20,
            config_bytes: 32 << 20,
            layers: 4096,
            descriptors: 10_000,
            archive_members: 1_000_000,
            layer_bytes: 256 << 30,
            expansion: 1100,
            expansion_free_bytes: 1 << 30,
            zstd_window_log: 27,
            layer_entries: 4_000_000,
            layer_text_bytes: 256 << 20,
            extension_bytes: 1 << 20,
            database_bytes: 64 << 20,
            delta_bytes: 256 << 30,
            recipe_bytes: 256 << 20,
            recipe_members: 2_000_000,
            group_bytes: 512 << 20,
            member_bytes: 1 << 30,
        }
    }
}

/// A change to one limit, as `NAME=NUMBER` with an optional unit (`500GB`, `64MiB`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitChange {
    name: &'static str,
    value: u64,
}

impl FromStr for LimitChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=NUMBER, with a name of {}", NAMES.join(", ")))?;
        let name = NAMES
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| format!("no limit is called {name:?}: there is {}", NAMES.join(", ")))?;
        let value = parse_size(value).ok_or_else(|| {
            format!("{value:?} is no size: expected a number with kB, MB, GB, KiB, MiB or GiB")
        })?;
        Ok(Self { name, value })
    }
}

/// What the user calls the limits, in the order of the fields.
const NAMES: [&str; 17] = [
    "manifest-bytes",
    "config-bytes",
    "layers",
    "descriptors",
    "archive-members",
    "layer-bytes",
    "expansion",
    "zstd-window-log",
    "layer-entries",
    "layer-text-bytes",
    "extension-bytes",
    "database-bytes",
    "delta-bytes",
    "recipe-bytes",
    "recipe-members",
    "group-bytes",
    "member-bytes",
];

/// Reads a size with an optional unit: `500GB`, `64 MiB`.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" | "k" | "K" => 1000,
        "MB" | "M" => 1_000_000,
        "GB" | "G" => 1_000_000_000,
        "TB" | "T" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

impl Limits {
    /// Sets the one limit that `change` names.
    pub fn change(&mut self, change: &LimitChange) {
        match change.name {
            "manifest-bytes" => self.manifest_bytes = change.value,
            "config-bytes" => self.config_bytes = change.value,
            "layers" => self.layers = change.value,
            "descriptors" => self.descriptors = change.value,
            "archive-members" => self.archive_members = change.value,
            "layer-bytes" => self.layer_bytes = change.value,
            "expansion" => self.expansion = change.value,
            // The format ends at 31; more is as good as no limit.
            "zstd-window-log" => {
                self.zstd_window_log = u32::try_from(change.value).unwrap_or(u32::MAX).min(31);
            }
            "layer-entries" => self.layer_entries = change.value,
            "layer-text-bytes" => self.layer_text_bytes = change.value,
            "extension-bytes" => self.extension_bytes = change.value,
            "database-bytes" => self.database_bytes = change.value,
            "delta-bytes" => self.delta_bytes = change.value,
            "recipe-bytes" => self.recipe_bytes = change.value,
            "recipe-members" => self.recipe_members = change.value,
            "group-bytes" => self.group_bytes = change.value,
            "member-bytes" => self.member_bytes = change.value,
            other => unreachable!("{other} is not in the table of names"),
        }
    }

    /// Returns the ceilings for the parts of a delta.
    pub fn of_deltas(&self) -> ReadLimits {
        let mut limits = ReadLimits::default();
        limits.layers = self.layers;
        limits.sources = self.layers;
        limits.payloads = self.layer_entries;
        limits.recipe_bytes = self.recipe_bytes;
        limits.members = self.recipe_members;
        // The outline carries both documents.
        let documents = self.manifest_bytes.saturating_add(self.config_bytes);
        limits.outline_bytes = limits.outline_bytes.max(documents);
        limits
    }

    /// Returns `found`, or the error that names the limit it is over.
    pub fn admit(
        limit: u64,
        found: u64,
        what: &'static str,
        place: impl std::fmt::Display,
    ) -> crate::Result<u64> {
        if found <= limit {
            return Ok(found);
        }
        Err(crate::Error::OverLimit { place: place.to_string(), what, found, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_limit_can_be_changed() {
        let defaults = format!("{:?}", Limits::default());
        for name in NAMES {
            let mut limits = Limits::default();
            limits.change(&format!("{name}=7").parse().unwrap());
            assert_ne!(format!("{limits:?}"), defaults, "{name}");
        }
    }

    #[test]
    fn sizes_have_units_and_mistakes_say_what_is_expected() {
        assert_eq!(parse_size("500GB"), Some(500_000_000_000));
        assert_eq!(parse_size("64 MiB"), Some(64 << 20));
        for text in ["", "GB", "-1", "1.5GB", "99999999999TiB", "7 bytes"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert!("layer=1".parse::<LimitChange>().unwrap_err().contains("layer-bytes"));
        assert!("layers".parse::<LimitChange>().unwrap_err().contains("NAME=NUMBER"));
    }
}
