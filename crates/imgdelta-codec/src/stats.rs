//! The cost of one member in its group, by kind.
//! Never decides: the encoder counts, callers print and cut groups by it.

use crate::view::View;

/// What became of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// The view that was chosen.
    pub view: View,
    /// Target bytes laid out from the base.
    pub copied_bytes: u64,
    /// Target bytes that had to be spelled out.
    pub literal_bytes: u64,
    /// Target bytes that were laid out or predicted wrongly, and patched.
    pub patched_bytes: u64,
    /// Fields whose prediction had to be corrected.
    pub missed_fields: u64,
    /// About how many bytes the member adds to its group.
    pub estimated_bytes: u64,
}
