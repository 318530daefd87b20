//! The settings of liblzma's encoder, and those of its presets.
//! Never encodes.

use crate::state::{MAX_MATCH, Properties};

/// Settings of an LZMA2 encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncoderSettings {
    /// Bytes before the current one that matches may reach.
    pub window: u32,
    /// Contexts of literals and positions.
    pub properties: Properties,
    /// Effort of the search.
    pub effort: SearchEffort,
}

/// The part of the settings that leaves no trace in the stream except by its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SearchEffort {
    /// True if symbols are chosen by prices; false if one byte ahead is looked at.
    pub is_optimal: bool,
    /// Search for earlier places.
    pub finder: Finder,
    /// A match of this length is taken at once.
    pub nice_len: u16,
    /// Most candidates that are compared for a place; 0 derives the number from `nice_len`.
    pub depth: u32,
}

/// A search for earlier places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finder {
    /// Chains by three bytes (hc3).
    Chain3,
    /// Chains by four bytes (hc4).
    Chain4,
    /// Trees by two bytes (bt2).
    Tree2,
    /// Trees by three bytes (bt3).
    Tree3,
    /// Trees by four bytes (bt4).
    Tree4,
}

impl Finder {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Chain3, Self::Chain4, Self::Tree2, Self::Tree3, Self::Tree4];

    pub(crate) fn is_tree(self) -> bool {
        matches!(self, Self::Tree2 | Self::Tree3 | Self::Tree4)
    }

    /// Bytes by which a place is found.
    pub(crate) fn hashed_bytes(self) -> usize {
        match self {
            Self::Tree2 => 2,
            Self::Chain3 | Self::Tree3 => 3,
            Self::Chain4 | Self::Tree4 => 4,
        }
    }
}

impl SearchEffort {
    /// Efforts of the presets: 0 to 3, 4, 5, 6 (and 7 to 9, which only have larger windows), and the
    /// extreme ones, which are 3e and 5e on one hand, the others on the other.
    pub const PRESETS: [Self; 9] = [
        Self::of(false, Finder::Chain3, 128, 4),
        Self::of(false, Finder::Chain4, 128, 8),
        Self::of(false, Finder::Chain4, 273, 24),
        Self::of(false, Finder::Chain4, 273, 48),
        Self::of(true, Finder::Tree4, 16, 0),
        Self::of(true, Finder::Tree4, 32, 0),
        Self::of(true, Finder::Tree4, 64, 0),
        Self::of(true, Finder::Tree4, 192, 0),
        Self::of(true, Finder::Tree4, 273, 512),
    ];

    const fn of(is_optimal: bool, finder: Finder, nice_len: u16, depth: u32) -> Self {
        Self { is_optimal, finder, nice_len, depth }
    }

    /// Least `nice_len` with these settings: that of the finder.
    pub(crate) fn nice_len(self) -> usize {
        usize::from(self.nice_len).clamp(self.finder.hashed_bytes(), MAX_MATCH)
    }

    /// Number of candidates for a place.
    pub(crate) fn depth(self) -> u32 {
        match self.depth {
            0 if self.finder.is_tree() => 16 + u32::from(self.nice_len) / 2,
            0 => 4 + u32::from(self.nice_len) / 4,
            depth => depth,
        }
    }

    /// Nanoseconds for a byte of usual content, on one core. The numbers are rounded measurements
    /// on a machine of 2020.
    pub fn nanoseconds_per_byte(self) -> u32 {
        // Trees cost by their depth, and prices by the lengths that are compared.
        match (self.is_optimal, self.finder.is_tree()) {
            (false, false) => 60 + 2 * self.depth(),
            (false, true) => 150 + 2 * self.depth(),
            (true, _) => 200 + 3 * self.depth(),
        }
    }
}

impl EncoderSettings {
    /// Returns the memory that an encoder of `plain_bytes` takes, in bytes.
    pub fn memory_bytes(&self, plain_bytes: u64) -> u64 {
        let window = u64::from(self.window);
        let links = if self.effort.finder.is_tree() { 8 } else { 4 };
        let heads = window.next_power_of_two() / 2 * 4;
        window.min(plain_bytes) * (links + 1) + window.min(plain_bytes) / 2 + heads + FIXED_BYTES
    }
}

/// Memory of an encoder besides that which grows with the window.
const FIXED_BYTES: u64 = 4 << 20;
