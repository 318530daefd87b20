//! Ceilings for what a stranger's image or delta may ask for.
//!
//! Limits are checked before memory is taken. They apply to reading; what imgdelta writes stays far
//! below them. The table `limits!` below is their one definition: documentation, field, default,
//! and name on the command line.

mod delta;
mod totals;

pub use delta::DeltaLimits;
pub use totals::{ImageTotals, LayerShare};

use std::{fmt, str::FromStr};

/// Defines [`Limits`] and [`LimitName`] from one table.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident / $variant:ident: $type:ty = $default:expr, $name:literal;)+) => {
        /// Ceilings for what is read. Every default lies far above any image seen in practice and
        /// far below an amount that would hurt the machine.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Names one of the [`Limits`], as `--limit` spells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum LimitName {
            $(#[doc = concat!("[`Limits::", stringify!($field), "`]")] $variant,)+
        }

        impl LimitName {
            /// All limits, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name that the command line uses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl Limits {
            /// Sets the limit that `change` names.
            pub fn change(&mut self, change: &LimitChange) {
                match change.name {
                    $(LimitName::$variant => {
                        self.$field = <$type>::try_from(change.value).unwrap_or(<$type>::MAX);
                    })+
                }
            }

            /// Returns the value of a limit.
            pub fn value(&self, name: LimitName) -> u64 {
                match name { $(LimitName::$variant => u64::from(self.$field),)+ }
            }
        }
    };
}

limits! {
    /// Bytes of a manifest, an index or a layout file: 16 MiB. Registries refuse more than 4 MiB.
    manifest_bytes / ManifestBytes: u64 = 16 << 20, "manifest-bytes";
    /// Bytes of an image config: 32 MiB. Histories with large build arguments reach a few.
    config_bytes / ConfigBytes: u64 = 32 << 20, "config-bytes";
    /// Layers of one image: 4,096. Overlay mounts end at a few hundred.
    layers / Layers: u64 = 4096, "layers";
    /// Descriptors in one index, and indexes nested in each other: 10,000. Multi-platform images
    /// have some dozens.
    descriptors / Descriptors: u64 = 10_000, "descriptors";
    /// Members of an archive that is read as an image: 1,000,000.
    archive_members / ArchiveMembers: u64 = 1_000_000, "archive-members";
    /// Uncompressed bytes of one layer: 256 GiB, beyond the largest model images.
    layer_bytes / LayerBytes: u64 = 256 << 30, "layer-bytes";
    /// Uncompressed bytes per compressed byte in a layer larger than `expansion-free-bytes`: 1,100.
    /// Deflate reaches at most 1,032, so that only zstd bombs exceed it.
    expansion / Expansion: u64 = 1100, "expansion";
    /// Uncompressed bytes that any layer may have at any compressed size: 1 GiB.
    expansion_free_bytes / ExpansionFreeBytes: u64 = 1 << 30, "expansion-free-bytes";
    /// Base-2 logarithm of a zstd layer's window, which is held in memory: 27, or 128 MiB, which
    /// registry clients accept. The format ends at 31.
    zstd_window_log / ZstdWindowLog: u32 = 27, "zstd-window-log";
    /// Entries of one layer: 4,000,000.
    layer_entries / LayerEntries: u64 = 4_000_000, "layer-entries";
    /// Bytes of all names, links and attributes of one layer: 256 MiB, sixty for each allowed entry.
    /// An index keeps them in memory.
    layer_text_bytes / LayerTextBytes: u64 = 256 << 20, "layer-text-bytes";
    /// Entries of all layers of one image: 16,000,000, some 2 GB of memory. Large images have one or
    /// two million.
    image_entries / ImageEntries: u64 = 16_000_000, "image-entries";
    /// Bytes of all names, links and attributes of one image: 1 GiB, four times as many as one layer
    /// may have.
    image_text_bytes / ImageTextBytes: u64 = 1 << 30, "image-text-bytes";
    /// Bytes of one PAX or GNU extension header (long names, attributes): 1 MiB, as in Go's reader.
    extension_bytes / ExtensionBytes: u64 = 1 << 20, "extension-bytes";
    /// Bytes of one package database: 64 MiB.
    database_bytes / DatabaseBytes: u64 = 64 << 20, "database-bytes";
    /// Bytes of a delta file: 256 GiB, as for a layer, since a delta may carry whole layers.
    delta_bytes / DeltaBytes: u64 = 256 << 30, "delta-bytes";
    /// Bytes of one recipe in a delta, its groups excluded: 256 MiB. Recipes are read whole.
    recipe_bytes / RecipeBytes: u64 = 256 << 20, "recipe-bytes";
    /// Payloads, and parts of payloads, that one recipe's groups make: 2,000,000.
    recipe_members / RecipeMembers: u64 = 2_000_000, "recipe-members";
    /// Unpacked bytes of one group's streams: 512 MiB. Written groups are far smaller.
    group_bytes / GroupBytes: u64 = 512 << 20, "group-bytes";
    /// Bytes of a file, or of a part of one, that a group makes as one member, and of the base bytes
    /// it uses: 4 GiB, to which programs are read. They are mapped and made piece by piece.
    member_bytes / MemberBytes: u64 = 4 << 30, "member-bytes";
    /// Bytes of a member's base that is put together in memory, since it lies in several ranges or
    /// is not mapped: 256 MiB.
    copied_bytes / CopiedBytes: u64 = 256 << 20, "copied-bytes";
    /// Bytes of the target that the members of one recipe read as their bases: 1 GiB. They stay
    /// readable until the last member is made.
    target_source_bytes / TargetSourceBytes: u64 = 1 << 30, "target-source-bytes";
    /// Memory for the tables of one recipe: 1 GiB, about a hundred bytes for each file that changed.
    recipe_memory / RecipeMemory: u64 = 1 << 30, "recipe-memory";
    /// Work that a delta may ask for per byte of target and base, in nanoseconds of one core: 1,500.
    /// Deltas for real upgrades ask for 10 to 20.
    work_per_byte / WorkPerByte: u64 = 1500, "work-per-byte";
    /// Work that any delta may ask for, in nanoseconds of one core: one second.
    free_work / FreeWork: u64 = 1_000_000_000, "free-work";
    /// Bytes of temporary files in addition to eight times the compressed and uncompressed layers
    /// that were read: 1 GiB. Archives that expand further are not opened.
    scratch_free_bytes / ScratchFreeBytes: u64 = 1 << 30, "scratch-free-bytes";
}

/// A change to one limit, as `NAME=NUMBER` with an optional unit (`500GB`, `64MiB`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitChange {
    name: LimitName,
    value: u64,
}

impl FromStr for LimitChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=NUMBER, with one of these names: {}", names()))?;
        let name = LimitName::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| format!("unknown limit {name:?}; the limits are {}", names()))?;
        let value = parse_size(value).ok_or_else(|| {
            format!("{value:?} is not a size: expected a number with an optional unit (kB, MB, GB, KiB, MiB, GiB)")
        })?;
        Ok(Self { name, value })
    }
}

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
    /// Returns `found` if the limit admits it, otherwise the error that names the limit.
    pub fn admit(
        &self,
        name: LimitName,
        found: u64,
        what: &'static str,
        place: impl fmt::Display,
    ) -> crate::Result<u64> {
        self.ceiling(name).admit(found, what, place)
    }

    /// Returns a limit as a value to check against later.
    pub fn ceiling(&self, name: LimitName) -> Ceiling {
        Ceiling { name: Some(name), value: self.value(name) }
    }
}

/// A limit in force: a value, and its name if users can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Name of the limit; none for a constant of the program.
    pub name: Option<LimitName>,
    /// Largest admitted count.
    pub value: u64,
}

impl Ceiling {
    /// Makes a ceiling that users cannot change.
    pub const fn fixed(value: u64) -> Self {
        Self { name: None, value }
    }

    /// Returns `found` if the ceiling admits it, otherwise the error that names the limit.
    pub fn admit(
        self,
        found: u64,
        what: &'static str,
        place: impl fmt::Display,
    ) -> crate::Result<u64> {
        if found <= self.value {
            return Ok(found);
        }
        let Self { name, value: limit } = self;
        Err(crate::Error::OverLimit { place: place.to_string(), what, name, found, limit })
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Lists the names for a message.
fn names() -> String {
    let names: Vec<&str> = LimitName::ALL.iter().map(|name| name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_limit_can_be_changed() {
        let defaults = format!("{:?}", Limits::default());
        for name in LimitName::ALL {
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
        let unknown = "layer=1".parse::<LimitChange>().unwrap_err();
        assert!(unknown.starts_with("unknown limit \"layer\""), "{unknown}");
        assert!("layer=1".parse::<LimitChange>().unwrap_err().contains("layer-bytes"));
        assert!("layers".parse::<LimitChange>().unwrap_err().contains("NAME=NUMBER"));
    }
}
