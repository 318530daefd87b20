//! The first byte of a member: its view and the form of its script.
//! Never reads further: what follows differs from view to view.

use crate::{error::Result, group::StreamReader, stream::StreamKind};
use imgdelta_fields::view::View;

/// A member's view and the form of its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the byte")]
pub(crate) struct MemberHead {
    pub(crate) view: View,
    /// The member is one copy from the base's start; it has no script.
    pub(crate) is_whole: bool,
    /// The member's literals are packed on their own; only programs with a script have such.
    pub(crate) is_packed: bool,
    /// Copies of the member may have edits; only programs with a script have such.
    pub(crate) is_edited: bool,
    /// The member's patches are a code.
    pub(crate) is_corrected: bool,
    /// The unwind table is computed; only programs with a script have such.
    pub(crate) has_table: bool,
}

impl MemberHead {
    /// Reads the next member's first byte.
    pub(crate) fn read(reader: &mut StreamReader) -> Result<Self> {
        let byte = reader.byte(StreamKind::Members)?;
        let (is_whole, is_packed) = (byte & WHOLE != 0, byte & PACKED != 0);
        let is_edited = byte & EDITED != 0;
        let has_table = byte & TABLE != 0;
        let is_corrected = byte & CORRECTED != 0;
        let number = byte & !(WHOLE | PACKED | EDITED | TABLE | CORRECTED);
        let Some(view) = View::from_wire(number) else {
            return Err(reader.malformed(StreamKind::Members, "view", 5, number.into()));
        };
        if (is_packed || is_edited || has_table) && (is_whole || view != View::Elf) {
            let what = "literals apart, edits, or an unwind table";
            return Err(reader.malformed(StreamKind::Members, what, 0, byte.into()));
        }
        if (is_whole || is_corrected) && view == View::Program {
            let what = "a whole copy, or corrections";
            return Err(reader.malformed(StreamKind::Members, what, 0, byte.into()));
        }
        if is_corrected && view == View::Names {
            let what = "corrections of names";
            return Err(reader.malformed(StreamKind::Members, what, 0, byte.into()));
        }
        Ok(Self { view, is_whole, is_packed, is_edited, is_corrected, has_table })
    }

    /// Returns the head of a program without a base.
    #[cfg(feature = "encode")]
    pub(crate) fn of_program() -> Self {
        Self::of_view(View::Program)
    }

    /// Returns the head of a view with all its bits off.
    #[cfg(feature = "encode")]
    pub(crate) fn of_view(view: View) -> Self {
        let (is_whole, is_packed, is_edited) = (false, false, false);
        Self { view, is_whole, is_packed, is_edited, is_corrected: false, has_table: false }
    }

    /// Returns the byte of a head whose patches become a code.
    #[cfg(feature = "encode")]
    pub(crate) fn corrected(byte: u8) -> u8 {
        byte | CORRECTED
    }

    /// Returns the byte.
    #[cfg(feature = "encode")]
    pub(crate) fn byte(self) -> u8 {
        let whole = if self.is_whole { WHOLE } else { 0 };
        let packed = if self.is_packed { PACKED } else { 0 };
        let edited = if self.is_edited { EDITED } else { 0 };
        let table = if self.has_table { TABLE } else { 0 };
        let corrected = if self.is_corrected { CORRECTED } else { 0 };
        self.view.wire() | whole | packed | edited | table | corrected
    }
}

const WHOLE: u8 = 0x80;
const PACKED: u8 = 0x40;
const EDITED: u8 = 0x20;
const TABLE: u8 = 0x10;
const CORRECTED: u8 = 0x08;
