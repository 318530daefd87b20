//! Patches of a member as a code: which bytes a code corrects, and its place in the streams.
//! Never decides if the code pays: the encoder compares.

use crate::{
    error::{CodecError, Result},
    group::StreamReader,
    residue::PatchReader,
    stream::StreamKind,
};
use imgdelta_coding::{
    LzError,
    aligned::Kind,
    corrections::{BLOCK, CorrectionReader, CorrectionState},
};
use imgdelta_fields::fields::Field;

/// Bytes that cannot be wrong: literals, and fields that take all bits of their bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct ExactBytes(Vec<u64>);

impl ExactBytes {
    /// Returns a set of bytes of so many, of which none is exact.
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    /// Adds `len` bytes from `at` on.
    pub(crate) fn add(&mut self, at: usize, len: usize) {
        let mut at = at;
        let end = at + len;
        while at < end {
            let to = end.min((at / 64 + 1) * 64);
            self.0[at / 64] |= u64::MAX >> (64 - (to - at)) << (at % 64);
            at = to;
        }
    }

    /// Adds the bytes of a field at `at`, if it takes all their bits.
    #[inline]
    pub(crate) fn add_field(&mut self, field: Field, at: usize) {
        if field.form.is_all_bits() {
            self.add(at, field.form.size());
        }
    }

    /// Returns the exact bytes.
    #[cfg(feature = "encode")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(number, word)| {
            (0..64)
                .filter(move |place| word >> place & 1 == 1)
                .map(move |place| number * 64 + place)
        })
    }

    /// Returns a bit for each byte, in words of 64.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

/// Returns the kinds of a member without fields.
pub(crate) fn plain_kinds(len: usize) -> Vec<(usize, Kind)> {
    vec![(len, Kind::Text)]
}

/// Writes a code, which goes on with the state of the code before if `is_continued`.
#[cfg(feature = "encode")]
pub(crate) fn write(writer: &mut crate::group::StreamWriter, code: &[u8], is_continued: bool) {
    let number = code.len() as u64 * 2 + u64::from(is_continued);
    writer.number(StreamKind::PatchGaps, number);
    writer.bytes(StreamKind::Codes, code);
}

/// The code of a member's corrections, from its streams.
pub(crate) struct CorrectionCode {
    bytes: Vec<u8>,
    /// Place of the code in its stream.
    at: u64,
}

impl CorrectionCode {
    /// Reads a code. Makes a new `state` unless the code goes on with the one there.
    pub(crate) fn read(
        reader: &mut StreamReader,
        state: &mut Option<CorrectionState>,
    ) -> Result<Self> {
        let number = reader.number(StreamKind::PatchGaps)?;
        let at = reader.at(StreamKind::Codes);
        let len = usize::try_from(number / 2).unwrap_or(usize::MAX);
        let bytes = reader.bytes(StreamKind::Codes, len)?.to_vec();
        if number % 2 == 0 {
            // Not two at a time.
            *state = None;
            *state = Some(CorrectionState::default());
        } else if state.is_none() {
            return Err(reader.malformed(StreamKind::PatchGaps, "codes before", 1, 0));
        }
        Ok(Self { bytes, at })
    }
}

/// The patches of a member, read piece by piece: from a code of corrections, if it has one, and then
/// from streams.
pub(crate) struct MemberPatches<'a> {
    patches: PatchReader,
    code: Option<OpenCode<'a>>,
}

/// A code of corrections that is being read.
struct OpenCode<'a> {
    reader: CorrectionReader<'a>,
    /// Place of the code in its stream.
    at: u64,
    kinds: Vec<(usize, Kind)>,
    /// Exact bytes of the present piece.
    exact: ExactBytes,
}

impl<'a> MemberPatches<'a> {
    /// Begins to read patches that have no code in front of them.
    pub(crate) fn of_streams(patches: PatchReader) -> Self {
        Self { patches, code: None }
    }

    /// Begins to read a code in front of other patches.
    pub(crate) fn of_code(
        code: &'a CorrectionCode,
        state: &'a mut CorrectionState,
        kinds: Vec<(usize, Kind)>,
        patches: PatchReader,
    ) -> Self {
        let (reader, exact) = (CorrectionReader::new(state, &code.bytes), ExactBytes::default());
        Self { patches, code: Some(OpenCode { reader, at: code.at, kinds, exact }) }
    }

    /// Returns a number that places of pieces are a multiple of.
    pub(crate) fn step(&self) -> usize {
        if self.code.is_some() { BLOCK } else { 1 }
    }

    /// Begins a piece of so many bytes.
    pub(crate) fn begin(&mut self, len: usize) {
        if let Some(code) = &mut self.code {
            code.exact = ExactBytes::new(len);
        }
    }

    /// Returns the exact bytes of the present piece, if they matter.
    pub(crate) fn exact(&mut self) -> Option<&mut ExactBytes> {
        self.code.as_mut().map(|code| &mut code.exact)
    }

    /// Corrects a piece, which starts at `start` in the member.
    pub(crate) fn lay_over(
        &mut self,
        reader: &mut StreamReader,
        piece: &mut [u8],
        start: usize,
    ) -> Result<()> {
        if let Some(code) = &mut self.code {
            let corrected = code.reader.correct(piece, start, code.exact.words(), &code.kinds);
            corrected.map_err(|error| {
                let LzError { what, expected, found } = error;
                let (stream, at) = (Some(StreamKind::Codes), code.at);
                CodecError::Malformed { stream, at, what, expected, found }
            })?;
        }
        self.patches.lay_over(reader, piece, start)
    }

    /// Checks that every patch was applied.
    pub(crate) fn finish(&self, reader: &StreamReader) -> Result<()> {
        self.patches.finish(reader)
    }
}
