//! The kinds of streams that a group consists of.
//! Never holds bytes: `group` reads and writes them.
//!
//! Everything that a member cannot derive from its base is split by kind. Like compresses with
//! like: copy lengths next to copy lengths, literals next to literals.

/// A kind of stream, in the order in which they lie in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// One byte a member: its view and the form of its script.
    Members,
    /// Length of the literal before each copy, and of the one at the end.
    LiteralLengths,
    /// Length of each copy.
    CopyLengths,
    /// Start of each copy in the base, relative to the end of the copy before.
    BaseOffsets,
    /// The target's file headers, as differences from the base's.
    Headers,
    /// Number of a member's overrides, and the distance of each from the one before.
    OverrideGaps,
    /// Number of addresses that each override covers.
    OverrideLengths,
    /// Shift of each override, relative to the one before.
    OverrideShifts,
    /// Pages of the base without references in data, as run lengths.
    PageFlags,
    /// Number of a member's mispredicted fields, and the correct ones before each.
    MissGaps,
    /// Error of each mispredicted field.
    MissValues,
    /// Number of a member's byte patches, and the distance of each from the one before.
    PatchGaps,
    /// Bytes that each patch covers, less one.
    PatchRuns,
    /// Each patched byte, less its predicted value.
    PatchValues,
    /// Bytes that no base has.
    Literals,
    /// Bytes that no base has, packed with a prefix made from the base.
    PackedLiterals,
    /// Number of edits of each copy.
    EditCounts,
    /// Instructions between edits.
    EditGaps,
    /// Fields that each edit changes.
    EditParts,
    /// New registers of edited instructions.
    EditRegisters,
    /// Number that each edit adds to a displacement.
    EditDisplacements,
    /// Number that each edit adds to an immediate.
    EditImmediates,
    /// Number of a member's mispredicted distances, and the correct ones before each.
    DistanceGaps,
    /// Error of each mispredicted distance.
    DistanceValues,
    /// Parts of programs without a base.
    Parts,
    /// Code of programs without a base.
    Code,
    /// Unwind records of programs without a base.
    UnwindRecords,
    /// Numbers of tables of programs without a base.
    TableNumbers,
    /// Codes of literals and of corrections.
    Codes,
}

impl StreamKind {
    /// All streams in wire order.
    pub const ALL: [Self; 29] = [
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
        Self::EditCounts,
        Self::EditGaps,
        Self::EditParts,
        Self::EditRegisters,
        Self::EditDisplacements,
        Self::EditImmediates,
        Self::DistanceGaps,
        Self::DistanceValues,
        Self::Parts,
        Self::Code,
        Self::UnwindRecords,
        Self::TableNumbers,
        Self::Codes,
    ];

    /// Returns the stream's name for errors and reports.
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
            Self::EditCounts => "edit counts",
            Self::EditGaps => "edit gaps",
            Self::EditParts => "edit parts",
            Self::EditRegisters => "edit registers",
            Self::EditDisplacements => "edit displacements",
            Self::EditImmediates => "edit immediates",
            Self::DistanceGaps => "distance gaps",
            Self::DistanceValues => "distance values",
            Self::Parts => "parts",
            Self::Code => "code",
            Self::UnwindRecords => "unwind records",
            Self::TableNumbers => "table numbers",
            Self::Codes => "codes",
        }
    }
}
