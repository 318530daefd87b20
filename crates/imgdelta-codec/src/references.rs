//! Views with fields, in the decoder: headers, overrides and the corrections of predictions.
//! Never touches a field: the decoder applies what is read here.

use crate::{error::Result, group::StreamReader, map::Override, stream::StreamKind};
use imgdelta_fields::{
    elf::MemoryImage,
    object::{self, SectionOrder},
    view::View,
};

/// Returns the most bytes of a base that are walked for the fields of one member.
///
/// A writer's copies mostly follow each other in the base, so that it is walked once or twice. A
/// hostile script could have a block walked for each byte of the target.
pub(crate) fn walk_limit(base_len: usize, target_len: usize) -> u64 {
    (16 << 20) + 8 * base_len as u64 + 32 * target_len as u64
}

/// Returns the image of the target, whose headers were read.
pub(crate) fn target_image(
    reader: &StreamReader,
    view: View,
    header: &[u8],
    len: usize,
) -> Result<MemoryImage> {
    view.image(header, len).ok_or_else(|| {
        reader.malformed(StreamKind::Headers, "readable headers of the target", 1, 0)
    })
}

/// Reads the target's headers: their length, and their difference from the base's.
pub(crate) fn read_header(
    reader: &mut StreamReader,
    base: &[u8],
    target_len: usize,
) -> Result<Vec<u8>> {
    let len = reader.number(StreamKind::Headers)?;
    match usize::try_from(len) {
        Ok(len) if len <= target_len => {
            let mut header = reader.bytes(StreamKind::Headers, len)?.to_vec();
            match object::headers(base) {
                Some(mut base) => {
                    let order = SectionOrder::of(&base);
                    order.fold(&mut base, false);
                    xor(&mut header, &base);
                    order.fold(&mut header, true);
                }
                None => xor(&mut header, base),
            }
            Ok(header)
        }
        _ => Err(reader.malformed(StreamKind::Headers, "length", target_len as u64, len)),
    }
}

/// Writes the target's headers.
#[cfg(feature = "encode")]
pub(crate) fn write_header(streams: &mut crate::group::StreamWriter, base: &[u8], header: &[u8]) {
    let mut header = header.to_vec();
    match object::headers(base) {
        Some(mut base) => {
            let order = SectionOrder::of(&base);
            order.fold(&mut base, false);
            order.fold(&mut header, false);
            xor(&mut header, &base);
        }
        None => xor(&mut header, base),
    }
    streams.number(StreamKind::Headers, header.len() as u64);
    streams.bytes(StreamKind::Headers, &header);
}

fn xor(bytes: &mut [u8], others: &[u8]) {
    bytes.iter_mut().zip(others).for_each(|(byte, other)| *byte ^= other);
}

/// Reads the overrides: ascending, apart, within the image.
pub(crate) fn read_overrides(reader: &mut StreamReader, span: u32) -> Result<Vec<Override>> {
    let count = reader.number(StreamKind::OverrideGaps)?;
    let mut overrides = Vec::new();
    let (mut end, mut shift) = (0_u64, 0_i64);
    for _ in 0..count {
        let gap = reader.number(StreamKind::OverrideGaps)?;
        let len = reader.number(StreamKind::OverrideLengths)?;
        let start = end.saturating_add(gap);
        end = start.saturating_add(len);
        if len == 0 || end > u64::from(span) {
            return Err(reader.malformed(StreamKind::OverrideLengths, "end", span.into(), end));
        }
        shift = shift.saturating_add(reader.signed(StreamKind::OverrideShifts)?);
        let Some(fitting) = i32::try_from(shift).ok().filter(|&shift| shift != i32::MIN) else {
            return Err(reader.malformed(
                StreamKind::OverrideShifts,
                "shift",
                0,
                shift.unsigned_abs(),
            ));
        };
        // Both lie within the span, which is a `u32`.
        let (start, len) = (start as u32, len as u32);
        overrides.push(Override { start, len, shift: fitting });
    }
    Ok(overrides)
}

/// The corrections of fields, read one by one.
pub(crate) struct MissReader {
    left: u64,
    /// Correct predictions before the next wrong one; never reached if none is left.
    gap: u64,
    /// Streams of gaps and values.
    gaps: StreamKind,
    values: StreamKind,
}

impl MissReader {
    pub(crate) fn open(
        reader: &mut StreamReader,
        gaps: StreamKind,
        values: StreamKind,
    ) -> Result<Self> {
        let left = reader.number(gaps)?;
        let gap = if left > 0 { reader.number(gaps)? } else { u64::MAX };
        Ok(Self { left, gap, gaps, values })
    }

    /// Returns the error of the next prediction.
    #[inline]
    pub(crate) fn next(&mut self, reader: &mut StreamReader) -> Result<i64> {
        if self.gap > 0 {
            self.gap -= 1;
            return Ok(0);
        }
        self.left -= 1;
        self.gap = if self.left > 0 { reader.number(self.gaps)? } else { u64::MAX };
        reader.signed(self.values)
    }

    /// Checks that every correction was used.
    pub(crate) fn finish(self, reader: &StreamReader) -> Result<()> {
        if self.left > 0 {
            return Err(reader.malformed(self.gaps, "corrections left", 0, self.left));
        }
        Ok(())
    }
}
