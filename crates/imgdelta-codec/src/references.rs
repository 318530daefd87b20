//! Views with fields, in the decoder: headers, overrides and page flags are read, then fields set.
//! Never touches a field before all of those are read and checked.

use crate::{
    elf::MemoryImage,
    error::{CodecError, Result},
    fields::Fields,
    group::StreamReader,
    literals::{self, LiteralHistory},
    map::{AddressMap, Override},
    offsets,
    predict::{PageFlags, Predictor},
    prefix::LiteralPrefix,
    script::{self, BaseCopy},
    spelling::{self, Spelling},
    stream::StreamKind,
    view::View,
    zones,
};

/// Corrects the fields of `target`, which has been laid out from `copies`.
///
/// `history` is given if the literals are still to be unpacked.
pub(crate) fn correct(
    reader: &mut StreamReader,
    history: Option<&mut LiteralHistory>,
    view: View,
    base: &[u8],
    target: &mut [u8],
    copies: &[BaseCopy],
) -> Result<()> {
    let mut header = Vec::new();
    if view == View::Elf {
        header = read_header(reader, base, target.len())?;
    }
    let Some((base_image, fields)) = read_base(view, base) else {
        return Err(CodecError::BaseUnlike {
            what: "number of headers that suit the view",
            expected: 1,
            found: 0,
        });
    };
    let target_image = match view {
        View::Elf => MemoryImage::parse(&header, target.len()),
        _ => MemoryImage::flat(target.len()),
    };
    let Some(target_image) = target_image else {
        return Err(reader.malformed(StreamKind::Headers, "readable headers of the target", 1, 0));
    };
    let overrides = read_overrides(reader, base_image.span)?;
    let pages = PageFlags::read(reader, base.len())?;
    let steps = AddressMap::plain_steps(copies, &base_image, &target_image);
    let map = AddressMap::new(&steps, &overrides, &base_image);
    if let Some(history) = history {
        let prefix = LiteralPrefix {
            base,
            copies,
            base_image: &base_image,
            target_image: &target_image,
            fields: &fields,
            map: &map,
        };
        let len = script::literal_bytes(copies, target.len());
        script::fill(&literals::read(reader, history, &prefix, len)?, copies, target);
    }
    spelling::respell(target, copies, &target_image, Spelling::Distance);

    let mut misses = MissReader::open(reader)?;
    let predictor = Predictor::new(&base_image, &target_image, &fields, &map, &pages);
    predictor.each::<CodecError>(copies, |field| {
        let more = field.more.wrapping_add(misses.next(reader)?);
        if more != 0 {
            field.field.form.add(&mut target[field.at..], more);
        }
        Ok(())
    })?;
    misses.finish(reader)?;
    target[..header.len()].copy_from_slice(&header);
    Ok(())
}

/// Returns image and fields of a base; `None` if it does not suit the view.
pub(crate) fn read_base(view: View, base: &[u8]) -> Option<(MemoryImage, Fields)> {
    let image = match view {
        View::Elf => MemoryImage::parse(base, base.len())?,
        _ => MemoryImage::flat(base.len())?,
    };
    let fields = fields(view, base, &image);
    Some((image, fields))
}

/// Returns the fields that a view finds in a file.
pub(crate) fn fields(view: View, file: &[u8], image: &MemoryImage) -> Fields {
    match view {
        View::Elf => zones::fields(file, image),
        _ => offsets::fields(file, view, image),
    }
}

/// Reads the target's headers: their length, and their difference from the base's.
fn read_header(reader: &mut StreamReader, base: &[u8], target_len: usize) -> Result<Vec<u8>> {
    let len = reader.number(StreamKind::Headers)?;
    match usize::try_from(len) {
        Ok(len) if len <= target_len => {
            let mut header = reader.bytes(StreamKind::Headers, len)?.to_vec();
            header.iter_mut().zip(base).for_each(|(byte, base)| *byte ^= base);
            Ok(header)
        }
        _ => Err(reader.malformed(StreamKind::Headers, "length", target_len as u64, len)),
    }
}

/// Reads the overrides: ascending, apart, within the image.
fn read_overrides(reader: &mut StreamReader, span: u32) -> Result<Vec<Override>> {
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
struct MissReader {
    left: u64,
    /// Correct predictions before the next wrong one; never reached if none is left.
    gap: u64,
}

impl MissReader {
    fn open(reader: &mut StreamReader) -> Result<Self> {
        let left = reader.number(StreamKind::MissGaps)?;
        let gap = if left > 0 { reader.number(StreamKind::MissGaps)? } else { u64::MAX };
        Ok(Self { left, gap })
    }

    /// Returns the error of the next prediction.
    #[inline]
    fn next(&mut self, reader: &mut StreamReader) -> Result<i64> {
        if self.gap > 0 {
            self.gap -= 1;
            return Ok(0);
        }
        self.left -= 1;
        self.gap = if self.left > 0 { reader.number(StreamKind::MissGaps)? } else { u64::MAX };
        reader.signed(StreamKind::MissValues)
    }

    /// Checks that every correction was used.
    fn finish(self, reader: &StreamReader) -> Result<()> {
        if self.left > 0 {
            return Err(reader.malformed(StreamKind::MissGaps, "corrections left", 0, self.left));
        }
        Ok(())
    }
}
