//! The cost of one member in its group, by kind.
//! Never decides: the encoder counts, callers print and cut groups by it.

use imgdelta_fields::view::View;

/// Counts of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// The view of the base.
    pub view: View,
    /// Target bytes laid out from the base.
    pub copied_bytes: u64,
    /// Target bytes stored as literals.
    pub literal_bytes: u64,
    /// Target bytes that copies or predictions got wrong, and that are patched.
    pub patched_bytes: u64,
    /// Fields whose prediction is corrected.
    pub missed_fields: u64,
}
