//! The kinds of streams that a group consists of.
//! Never holds bytes: `group` reads and writes them.
//!
//! Everything a member cannot derive from its base is split by kind, because like compresses with
//! like: copy lengths next to copy lengths, literals next to literals.

/// A kind of leftover, in the order the streams lie in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// One byte a member: its view and how its script is written.
    Members,
    /// Length of the literal before each copy, and of the one at the end.
    LiteralLengths,
    /// Length of each copy.
    CopyLengths,
    /// Where each copy starts in the base, against where it was expected.
    BaseOffsets,
    /// The target's file headers, against the base's.
    Headers,
    /// How many overrides a member has, and the distance of each from the one before.
    OverrideGaps,
    /// How many addresses each override covers.
    OverrideLengths,
    /// The shift each override sets, against the one before.
    OverrideShifts,
    /// Which pages of the base take no references in data, as run lengths.
    PageFlags,
    /// How many fields a member mispredicts, and the well-predicted ones before each.
    MissGaps,
    /// By how much each mispredicted field is off.
    MissValues,
    /// How many byte patches a member has, and the distance of each from the one before.
    PatchGaps,
    /// How many bytes each patch covers, less one.
    PatchRuns,
    /// What each patched byte is, less what it was predicted to be.
    PatchValues,
    /// Bytes that no base has.
    Literals,
    /// Bytes that no base has, packed against what one has.
    PackedLiterals,
}

impl Stream {
    /// Every stream, in wire order.
    pub const ALL: [Self; 16] = [
        Self::Members,
        Self::LiteralLengths,
        Self::CopyLengths,
        Self::BaseOffsets,
        Self::Headers,
        Self::OverrideGaps,
        Self::OverrideLengths,
        Self::OverrideShifts,
        Self::PageFlags,
        Self::MissGaps,
        Self::MissValues,
        Self::PatchGaps,
        Self::PatchRuns,
        Self::PatchValues,
        Self::Literals,
        Self::PackedLiterals,
    ];

    /// The stream's name as it appears in errors and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::LiteralLengths => "literal lengths",
            Self::CopyLengths => "copy lengths",
            Self::BaseOffsets => "base offsets",
            Self::Headers => "headers",
            Self::OverrideGaps => "override gaps",
            Self::OverrideLengths => "override lengths",
            Self::OverrideShifts => "override shifts",
            Self::PageFlags => "page flags",
            Self::MissGaps => "miss gaps",
            Self::MissValues => "miss values",
            Self::PatchGaps => "patch gaps",
            Self::PatchRuns => "patch runs",
            Self::PatchValues => "patch values",
            Self::Literals => "literals",
            Self::PackedLiterals => "packed literals",
        }
    }
}
