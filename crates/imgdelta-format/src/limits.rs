//! Ceilings for a delta: one set for readers, one for writers.
//! Never measures anything.
//!
//! Two sets on purpose: a reader accepts several times what this version writes, so that later
//! versions may write more.

/// Ceilings for reading. Counts bound what is kept in memory; bytes bound what is unpacked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Layers of one delta: 4,096, as for an image.
    pub layers: u64,
    /// Sections of one delta: 10,000. A layer has at most one of its own.
    pub sections: u64,
    /// Unpacked bytes of the outline: 256 MiB. Manifest, config and recipes of envelopes.
    pub outline_bytes: u64,
    /// Bytes of a recipe without its groups: 256 MiB. Mostly header columns, a few bytes an entry.
    pub recipe_bytes: u64,
    /// Unpacked bytes of a recipe's columns: 64 MiB, sixteen for each payload allowed.
    pub column_bytes: u64,
    /// Base streams of one recipe: 4,096.
    pub sources: u64,
    /// Payloads of one layer: 4,000,000, as many as a layer may have entries.
    pub payloads: u64,
    /// Groups of one recipe: 1,000,000.
    pub groups: u64,
    /// Members of all groups of one recipe: 2,000,000, about a hundred bytes of memory each.
    pub members: u64,
    /// Base ranges of all members of one recipe: 4,000,000. The usual member has none.
    pub slices: u64,
    /// Archives of the base that one recipe opens: 1,000,000; the same for the target.
    pub archives: u64,
    /// Unpacked bytes of the list of costs: 64 MiB.
    pub cost_bytes: u64,
    /// Files in the list of costs: 1,000,000.
    pub cost_files: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            layers: 4096,
            sections: 10_000,
            outline_bytes: 256 << 20,
            recipe_bytes: 256 << 20,
            column_bytes: 64 << 20,
            sources: 4096,
            payloads: 4_000_000,
            groups: 1_000_000,
            members: 2_000_000,
            slices: 4_000_000,
            archives: 1_000_000,
            cost_bytes: 64 << 20,
            cost_files: 1_000_000,
        }
    }
}

/// Ceilings for a writer; a layer above one is carried whole.
pub mod written {
    /// Layers of one delta; Overlay mounts stop at a few hundred.
    pub const LAYERS: u64 = 1024;
    /// Base streams of one recipe: all layers of a base.
    pub const SOURCES: u64 = 1024;
    /// Payloads of one layer.
    pub const PAYLOADS: u64 = 1_000_000;
    /// Groups of one recipe.
    pub const GROUPS: u64 = 100_000;
    /// Members of all groups of one recipe.
    pub const MEMBERS: u64 = 500_000;
    /// Base ranges of all members of one recipe.
    pub const SLICES: u64 = 1_000_000;
    /// Bytes of a recipe without its groups.
    pub const RECIPE_BYTES: u64 = 64 << 20;
    /// Files in the list of costs: the most expensive, if there are more.
    pub const COST_FILES: u64 = 100_000;
}
