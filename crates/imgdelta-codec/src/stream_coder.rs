//! The names of the coders that a group consists of.
//! Never codes anything.

/// A coder of streams, or of one member's literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamCoder {
    /// The bytes themselves.
    Stored,
    /// A zstd frame.
    Zstd,
    /// LZ with adaptive range coding.
    Lz,
    /// Predictions mixed from many contexts.
    Mixed,
    /// A zstd frame with the base as prefix.
    ZstdWithBase,
    /// LZ with adaptive range coding, and with the base as prefix.
    LzWithBase,
    /// Predictions mixed from many contexts, among them the base's bytes at the same place.
    MixedWithBase,
}

impl StreamCoder {
    /// All coders.
    pub const ALL: [Self; 7] = [
        Self::Stored,
        Self::Zstd,
        Self::Lz,
        Self::Mixed,
        Self::ZstdWithBase,
        Self::LzWithBase,
        Self::MixedWithBase,
    ];

    /// Returns a short description.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
            Self::Lz => "LZ",
            Self::Mixed => "mixed contexts",
            Self::ZstdWithBase => "zstd, old file as prefix",
            Self::LzWithBase => "LZ, old file as prefix",
            Self::MixedWithBase => "mixed contexts, old file as reference",
        }
    }

    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
            Self::Lz => "lz",
            Self::Mixed => "mixed",
            Self::ZstdWithBase => "zstd-base",
            Self::LzWithBase => "lz-base",
            Self::MixedWithBase => "mixed-base",
        }
    }
}
