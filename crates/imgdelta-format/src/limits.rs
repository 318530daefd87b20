//! Ceilings for a delta: one set for readers, one for writers.
//! Never measures anything.
//!
//! Two sets on purpose: a reader accepts several times what this version writes, so that later
//! versions may write more.

/// Defines [`ReadLimits`] and [`ReadLimitName`] from one table.
macro_rules! read_limits {
    ($(#[doc = $doc:literal] $field:ident / $variant:ident = $default:expr;)+) => {
        /// Ceilings for reading. Counts bound what is kept in memory; bytes bound what is unpacked.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct ReadLimits {
            $(#[doc = $doc] pub $field: u64,)+
        }

        impl Default for ReadLimits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Names one of the [`ReadLimits`], so that an error can name what a user may raise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ReadLimitName {
            $(#[doc = concat!("[`ReadLimits::", stringify!($field), "`]")] $variant,)+
        }

        impl ReadLimitName {
            /// All limits, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl ReadLimits {
            /// Returns the value of a limit.
            pub fn value(&self, name: ReadLimitName) -> u64 {
                match name { $(ReadLimitName::$variant => self.$field,)+ }
            }

            /// Sets the value of a limit.
            pub fn set(&mut self, name: ReadLimitName, value: u64) {
                match name { $(ReadLimitName::$variant => self.$field = value,)+ }
            }
        }
    };
}

read_limits! {
    /// Layers of one delta: 4,096, as for an image.
    layers / Layers = 4096;
    /// Sections of one delta: 10,000. A layer has at most one of its own.
    sections / Sections = 10_000;
    /// Unpacked bytes of the outline: 256 MiB. Manifest, config and recipes of envelopes.
    outline_bytes / OutlineBytes = 256 << 20;
    /// Bytes of a recipe without its groups: 256 MiB. Mostly header columns, a few bytes an entry.
    recipe_bytes / RecipeBytes = 256 << 20;
    /// Unpacked bytes of a recipe's columns: 64 MiB, sixteen for each payload allowed.
    column_bytes / ColumnBytes = 64 << 20;
    /// Base streams of one recipe: 4,096.
    sources / Sources = 4096;
    /// Payloads of one layer: 4,000,000, as many as a layer may have entries.
    payloads / Payloads = 4_000_000;
    /// Groups of one recipe: 1,000,000.
    groups / Groups = 1_000_000;
    /// Members of all groups of one recipe: 2,000,000, about a hundred bytes of memory each.
    members / Members = 2_000_000;
    /// Base ranges of all members of one recipe: 4,000,000. The usual member has none.
    slices / Slices = 4_000_000;
    /// Archives of the base that one recipe opens: 1,000,000; the same for the target.
    archives / Archives = 1_000_000;
    /// Unpacked bytes of the list of costs: 64 MiB.
    cost_bytes / CostBytes = 64 << 20;
    /// Files in the list of costs: 1,000,000.
    cost_files / CostFiles = 1_000_000;
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
    /// Bytes of the target that the members of one recipe read as their bases.
    pub const TARGET_SOURCE_BYTES: u64 = 256 << 20;
    /// Memory for the tables of recipes of which one reads a stream that another makes.
    pub const LINKED_MEMORY: u64 = 32 << 20;
    /// Bytes of a recipe without its groups.
    pub const RECIPE_BYTES: u64 = 64 << 20;
    /// Files in the list of costs: the most expensive, if there are more.
    pub const COST_FILES: u64 = 100_000;
}
