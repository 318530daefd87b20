//! The work that the making side puts into a group.
//! Never seen by a decoder: groups of every effort have the same format.

#[cfg(feature = "encode")]
use imgdelta_wire::matcher::SearchDepth;

/// Time to spend on a smaller group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// For deltas that are made while a person waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}

#[cfg(feature = "encode")]
impl Effort {
    /// Returns the depth of a search for copies.
    pub(crate) fn search_depth(self) -> SearchDepth {
        match self {
            // Half the index; gaps only where the base has something at the same place.
            Self::Fast => SearchDepth { seed: 32, step: 16, window: 4 << 10 },
            Self::Default => SearchDepth { seed: 32, step: 8, window: 32 << 10 },
            // Twice the index. Shorter seeds were tried: in programs they find too many false
            // matches.
            Self::Best => SearchDepth { seed: 32, step: 4, window: 128 << 10 },
        }
    }
}
