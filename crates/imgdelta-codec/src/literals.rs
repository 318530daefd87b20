//! Literals of one member packed on their own, with its base and earlier literals as the prefix.
//! Never decides if that pays: the encoder compares.
//!
//! Libraries built by one tool have the same new code. So the literals that earlier members packed
//! this way may precede the base's part of the prefix. A member names the number of those bytes,
//! counted from the last. The number stays right when another group's members are put before it.

#[cfg(feature = "encode")]
use crate::prefix::LiteralPrefix;
use crate::{
    error::{CodecError, Result},
    group::StreamReader,
    stream::StreamKind,
    stream_coder::StreamCoder,
};
use imgdelta_coding::{
    LzError, PackError,
    aligned::{MixerState, Stretch},
    frame::FrameReader,
    lz::RawKind,
};
use imgdelta_fields::elf::Machine;
#[cfg(feature = "encode")]
use imgdelta_fields::field_index::FieldCache;
use imgdelta_wire::{Cursor, WireError};

/// Coders of packed literals.
const ZSTD: u64 = 0;
const LZ: u64 = 1;
const ALIGNED: u64 = 2;
/// The same with the mixer state of the aligned code before.
const CONTINUED: u64 = 3;

/// Most literals of a member behind an LZ code, which are unpacked at once: as many as a frame's
/// window holds.
const MAX_LZ: usize = 4 << 20;

/// Returns the kind of the literals behind an LZ code, by the machine of the base.
fn raw_kind(machine: Machine) -> RawKind {
    match machine {
        Machine::X86_64 => RawKind::X86_64,
        Machine::Aarch64 => RawKind::Aarch64,
        Machine::ClassData | Machine::None => RawKind::Bytes,
    }
}

/// Calls `found` with the coder of each member's literals in a stream, and the bytes of its code.
/// Codes that follow a reference are in another stream, and are left out.
pub(crate) fn coders(stream: &[u8], found: &mut dyn FnMut(StreamCoder, usize)) -> Result<()> {
    let mut records = Cursor::new(stream);
    while !records.is_empty() {
        let (coder, _taken) = (number(&mut records)?, number(&mut records)?);
        let packed_len = number(&mut records)?;
        let coder = match coder {
            ZSTD => StreamCoder::ZstdWithBase,
            LZ => StreamCoder::LzWithBase,
            _ => continue,
        };
        let code = records.take(packed_len).map_err(of_wire)?;
        found(coder, code.len());
    }
    Ok(())
}

fn number(records: &mut Cursor<'_>) -> Result<u64> {
    records.varint().map_err(of_wire)
}

#[cold]
fn of_wire(error: WireError) -> CodecError {
    CodecError::Malformed {
        stream: Some(StreamKind::PackedLiterals),
        at: error.at(),
        what: "bytes left",
        expected: error.expected(),
        found: error.found(),
    }
}

/// Most bytes that a member takes from earlier literals.
pub(crate) const MAX_HISTORY: usize = 1 << 20;

/// The literals packed so far: their last bytes, unpacked.
#[derive(Debug, Default)]
pub(crate) struct LiteralHistory(Vec<u8>);

impl LiteralHistory {
    /// Returns the bytes that the next member may take.
    pub(crate) fn usable(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(MAX_HISTORY)..]
    }

    /// Returns the bytes that literals of this length take.
    #[cfg(feature = "encode")]
    pub(crate) fn taken_by(&self, len: usize) -> &[u8] {
        let usable = self.usable();
        &usable[usable.len().saturating_sub(len.saturating_mul(HISTORY_SHARE))..]
    }

    /// Adds a member's literals.
    pub(crate) fn add(&mut self, literals: &[u8]) {
        self.0.extend_from_slice(literals);
        // Not each time: moving the bytes may take longer than decoding the member.
        if self.0.len() > 2 * MAX_HISTORY {
            let old = self.0.len() - MAX_HISTORY;
            self.0.drain(..old);
        }
    }

    /// Removes all literals: the next member does not refer to them.
    #[cfg(feature = "encode")]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The place of a member's packed literals.
#[derive(Debug)]
pub(crate) struct PackedLiterals {
    /// Bytes of earlier literals before the base's part of the prefix.
    pub(crate) taken: Vec<u8>,
    coder: u64,
    packed: Vec<u8>,
    at: u64,
}

impl PackedLiterals {
    /// Reads the next member's packed literals; they are unpacked later.
    pub(crate) fn read(reader: &mut StreamReader, history: &LiteralHistory) -> Result<Self> {
        let coder = reader.number(StreamKind::PackedLiterals)?;
        if coder > CONTINUED {
            return Err(reader.malformed(StreamKind::PackedLiterals, "coder", CONTINUED, coder));
        }
        let usable = history.usable();
        let taken = reader.number(StreamKind::PackedLiterals)?;
        let start = usize::try_from(taken).ok().and_then(|taken| usable.len().checked_sub(taken));
        let Some(start) = start else {
            let usable = usable.len() as u64;
            return Err(reader.malformed(
                StreamKind::PackedLiterals,
                "bytes before",
                usable,
                taken,
            ));
        };
        let packed_len = reader.number(StreamKind::PackedLiterals)?;
        let packed_len = usize::try_from(packed_len).unwrap_or(usize::MAX);
        let stream = match coder {
            ALIGNED | CONTINUED => StreamKind::Codes,
            _ => StreamKind::PackedLiterals,
        };
        if coder >= ALIGNED && packed_len == 0 {
            // The stream's length bounds the work.
            return Err(reader.malformed(StreamKind::PackedLiterals, "bytes of a code", 1, 0));
        }
        let at = reader.at(stream);
        let packed = reader.bytes(stream, packed_len)?.to_vec();
        Ok(Self { taken: usable[start..].to_vec(), coder, packed, at })
    }

    /// Returns the bytes that unpacking `len` literals adds to the prefix.
    pub(crate) fn room(&self, len: usize) -> usize {
        if self.coder == LZ && len <= MAX_LZ { len } else { 0 }
    }

    /// Begins to unpack them behind their prefix; they are `len` bytes.
    pub(crate) fn unpack<'a>(
        &self,
        prefix: &'a mut Vec<u8>,
        len: usize,
        machine: Machine,
    ) -> Result<LiteralReader<'a>> {
        if self.coder == ZSTD {
            let frame = FrameReader::open(&self.packed, prefix, len as u64, self.at);
            return Ok(LiteralReader::Frame(frame.map_err(of_pack)?));
        }
        let of_lz = |error| of_pack(PackError::of_lz(error, self.at));
        if len > MAX_LZ {
            let what = "raw bytes of an LZ code";
            return Err(of_lz(LzError { what, expected: MAX_LZ as u64, found: len as u64 }));
        }
        let at = prefix.len();
        let bytes = imgdelta_coding::lz::unpack(
            &self.packed,
            std::mem::take(prefix),
            len,
            raw_kind(machine),
        )
        .map_err(of_lz)?;
        Ok(LiteralReader::Lz { bytes, at })
    }
}

impl PackedLiterals {
    /// Returns true for an aligned code, which has a reference instead of a prefix.
    pub(crate) fn is_aligned(&self) -> bool {
        self.coder >= ALIGNED
    }

    /// Unpacks literals that are an aligned code, with the group's `mixer`.
    pub(crate) fn unpack_aligned(
        &self,
        mixer: &mut Option<MixerState>,
        reference: &[u8],
        stretches: &[Stretch],
    ) -> Result<LiteralReader<'static>> {
        if self.coder == ALIGNED {
            // Not two at a time.
            *mixer = None;
            *mixer = Some(MixerState::default());
        }
        let Some(mixer) = mixer else {
            let (stream, what) = (Some(StreamKind::PackedLiterals), "aligned codes before");
            return Err(CodecError::Malformed { stream, at: self.at, what, expected: 1, found: 0 });
        };
        let bytes = mixer.unpack(&self.packed, reference, stretches);
        let bytes = bytes.map_err(|error| {
            let LzError { what, expected, found } = error;
            let stream = Some(StreamKind::Codes);
            CodecError::Malformed { stream, at: self.at, what, expected, found }
        })?;
        Ok(LiteralReader::Lz { bytes, at: 0 })
    }
}

/// A member's literals, handed out part by part.
pub(crate) enum LiteralReader<'a> {
    /// Unpacked part by part.
    Frame(FrameReader<'a>),
    /// Unpacked behind their prefix; those from `at` are left.
    Lz { bytes: Vec<u8>, at: usize },
}

impl LiteralReader<'_> {
    /// Fills `place` with the next literals, of which there are as many as the member has.
    pub(crate) fn fill(&mut self, history: &mut LiteralHistory, place: &mut [u8]) -> Result<()> {
        match self {
            Self::Frame(frame) => frame.read(place).map_err(of_pack)?,
            Self::Lz { bytes, at } => {
                place.copy_from_slice(&bytes[*at..*at + place.len()]);
                *at += place.len();
            }
        }
        history.add(place);
        Ok(())
    }

    /// Checks that all literals were read.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Frame(frame) => frame.finish().map_err(of_pack),
            Self::Lz { .. } => Ok(()),
        }
    }
}

/// Moves an error in packed literals to the stream that holds them.
#[cold]
fn of_pack(error: PackError) -> CodecError {
    match CodecError::from(error) {
        CodecError::Malformed { at, what, expected, found, .. } => {
            let stream = Some(StreamKind::PackedLiterals);
            CodecError::Malformed { stream, at, what, expected, found }
        }
        other => other,
    }
}

/// Bytes of earlier literals that are taken for each literal: more cost time and find little.
#[cfg(feature = "encode")]
const HISTORY_SHARE: usize = 16;

/// Packs a member's literals in the spelling of [`crate::spelling`].
#[cfg(feature = "encode")]
pub(crate) fn pack(
    writer: &mut crate::group::StreamWriter,
    history: &LiteralHistory,
    prefix: &LiteralPrefix<'_>,
    fields: &mut FieldCache<'_>,
    literals: &[u8],
    coding: Coding,
) {
    let taken = history.taken_by(literals.len());
    let (built, machine) = (prefix.build(fields, taken, literals.len()), prefix.base.image.machine);
    let (coder, packed) = coding.shortest(built, literals, machine);
    writer.number(StreamKind::PackedLiterals, coder);
    writer.number(StreamKind::PackedLiterals, taken.len() as u64);
    writer.number(StreamKind::PackedLiterals, packed.len() as u64);
    writer.bytes(StreamKind::PackedLiterals, &packed);
}

/// Writes literals that are an aligned code behind `taken` bytes of earlier ones. The mixer state of the
/// code before goes on if `is_continued`.
#[cfg(feature = "encode")]
pub(crate) fn write_aligned(
    writer: &mut crate::group::StreamWriter,
    taken: usize,
    code: &[u8],
    is_continued: bool,
) {
    let coder = if is_continued { CONTINUED } else { ALIGNED };
    for number in [coder, taken as u64, code.len() as u64] {
        writer.number(StreamKind::PackedLiterals, number);
    }
    writer.bytes(StreamKind::Codes, code);
}

/// The codings of packed literals that are tried.
#[cfg(feature = "encode")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    /// Level of the zstd frame.
    pub(crate) level: i32,
    /// Bytes of a frame of a low level, if LZ codes are tried.
    pub(crate) quick_frame: Option<usize>,
}

#[cfg(feature = "encode")]
impl Coding {
    /// Returns the number of the coder that packs the literals shortest, and their packed bytes.
    ///
    /// A frame of a high level takes more time than all the rest: it is made only if it may win.
    fn shortest(self, prefix: Vec<u8>, literals: &[u8], machine: Machine) -> (u64, Vec<u8>) {
        let frame = |prefix: &[u8]| imgdelta_coding::frame::pack(literals, prefix, self.level);
        let Some(quick) = self.quick_frame.filter(|_| literals.len() <= MAX_LZ) else {
            return (ZSTD, frame(&prefix));
        };
        let packer = imgdelta_coding::lz::PrefixPacker::new(prefix, literals.len())
            .of_kind(raw_kind(machine));
        let (code, prefix) = packer.pack_and_return_prefix(literals);
        let Some(code) = code else { return (ZSTD, frame(&prefix)) };
        if code.len() >= quick - quick / 32 {
            let frame = frame(&prefix);
            if frame.len() < code.len() {
                return (ZSTD, frame);
            }
        }
        (LZ, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_the_last_mebibyte_and_never_more_than_two() {
        let mut history = LiteralHistory::default();
        let mut all = Vec::new();
        for number in 0..50_u32 {
            let literals = vec![number as u8; 100_000];
            history.add(&literals);
            all.extend(literals);
            assert_eq!(history.usable(), &all[all.len().saturating_sub(MAX_HISTORY)..]);
            assert!(history.0.len() <= 2 * MAX_HISTORY, "{} bytes", history.0.len());
        }
    }
}
