//! The views with fields, from the side of the decoder: headers, overrides, flags, then the fields.
//! Never makes anything up as it goes: all is read and checked before the first field is touched.

use crate::{
    elf::Image,
    error::{CodecError, Result},
    fields::Fields,
    group::Sources,
    literals::{self, History},
    map::{AddressMap, Override},
    offsets,
    predict::{PageFlags, Predictor},
    prefix::Prefix,
    script::{self, Copy},
    spelling::{self, Spell},
    stream::Stream,
    view::View,
    zones,
};

/// Corrects the fields of `target`, which has been laid out from `copies`.
///
/// `history` is there if the literals are still to be unpacked.
pub(crate) fn correct(
    sources: &mut Sources,
    history: Option<&mut History>,
    view: View,
    base: &[u8],
    target: &mut [u8],
    copies: &[Copy],
) -> Result<()> {
    let mut header = Vec::new();
    if view == View::Elf {
        header = read_header(sources, base, target.len())?;
    }
    let Some((base_image, fields)) = read_base(view, base) else {
        return Err(CodecError::BaseUnlike {
            what: "number of headers that suit the view",
            expected: 1,
            found: 0,
        });
    };
    let target_image = match view {
        View::Elf => Image::parse(&header, target.len()),
        _ => Image::flat(target.len()),
    };
    let Some(target_image) = target_image else {
        return Err(sources.malformed(Stream::Headers, "readable headers of the target", 1, 0));
    };
    let overrides = read_overrides(sources, base_image.span)?;
    let pages = PageFlags::read(sources, base.len())?;
    let steps = AddressMap::plain_steps(copies, &base_image, &target_image);
    let map = AddressMap::new(&steps, &overrides, &base_image);
    if let Some(history) = history {
        let prefix = Prefix {
            base,
            copies,
            base_image: &base_image,
            target_image: &target_image,
            fields: &fields,
            map: &map,
        };
        let len = script::literal_bytes(copies, target.len());
        script::fill(&literals::read(sources, history, &prefix, len)?, copies, target);
    }
    spelling::respell(target, copies, &target_image, Spell::Distance);

    let mut misses = Misses::open(sources)?;
    let predictor = Predictor::new(&base_image, &target_image, &fields, &map, &pages);
    predictor.each::<CodecError>(copies, |field| {
        let more = field.more.wrapping_add(misses.next(sources)?);
        if more != 0 {
            field.field.form.add(&mut target[field.at..], more);
        }
        Ok(())
    })?;
    misses.finish(sources)?;
    target[..header.len()].copy_from_slice(&header);
    Ok(())
}

/// Image and fields of a base; `None` when it does not suit the view.
pub(crate) fn read_base(view: View, base: &[u8]) -> Option<(Image, Fields)> {
    let image = match view {
        View::Elf => Image::parse(base, base.len())?,
        _ => Image::flat(base.len())?,
    };
    let fields = fields(view, base, &image);
    Some((image, fields))
}

/// The fields a view sees in a file.
pub(crate) fn fields(view: View, file: &[u8], image: &Image) -> Fields {
    match view {
        View::Elf => zones::fields(file, image),
        _ => offsets::fields(file, view, image),
    }
}

/// Reads the target's headers: their length, and what differs from the base's.
fn read_header(sources: &mut Sources, base: &[u8], target_len: usize) -> Result<Vec<u8>> {
    let len = sources.number(Stream::Headers)?;
    match usize::try_from(len) {
        Ok(len) if len <= target_len => {
            let mut header = sources.bytes(Stream::Headers, len)?.to_vec();
            header.iter_mut().zip(base).for_each(|(byte, base)| *byte ^= base);
            Ok(header)
        }
        _ => Err(sources.malformed(Stream::Headers, "length", target_len as u64, len)),
    }
}

/// Reads the overrides: ascending, apart, within the image.
fn read_overrides(sources: &mut Sources, span: u32) -> Result<Vec<Override>> {
    let count = sources.number(Stream::OverrideGaps)?;
    let mut overrides = Vec::new();
    let (mut end, mut shift) = (0_u64, 0_i64);
    for _ in 0..count {
        let gap = sources.number(Stream::OverrideGaps)?;
        let len = sources.number(Stream::OverrideLengths)?;
        let start = end.saturating_add(gap);
        end = start.saturating_add(len);
        if len == 0 || end > u64::from(span) {
            return Err(sources.malformed(Stream::OverrideLengths, "end", span.into(), end));
        }
        shift = shift.saturating_add(sources.signed(Stream::OverrideShifts)?);
        let Some(fitting) = i32::try_from(shift).ok().filter(|&shift| shift != i32::MIN) else {
            return Err(sources.malformed(
                Stream::OverrideShifts,
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

/// The corrections of fields, as they come.
struct Misses {
    left: u64,
    /// Right predictions before the next wrong one; never reached when none is left.
    gap: u64,
}

impl Misses {
    fn open(sources: &mut Sources) -> Result<Self> {
        let left = sources.number(Stream::MissGaps)?;
        let gap = if left > 0 { sources.number(Stream::MissGaps)? } else { u64::MAX };
        Ok(Self { left, gap })
    }

    /// By how much the next prediction is off.
    #[inline]
    fn next(&mut self, sources: &mut Sources) -> Result<i64> {
        if self.gap > 0 {
            self.gap -= 1;
            return Ok(0);
        }
        self.left -= 1;
        self.gap = if self.left > 0 { sources.number(Stream::MissGaps)? } else { u64::MAX };
        sources.signed(Stream::MissValues)
    }

    /// Checks that each correction had its field.
    fn finish(self, sources: &Sources) -> Result<()> {
        if self.left > 0 {
            return Err(sources.malformed(Stream::MissGaps, "corrections left", 0, self.left));
        }
        Ok(())
    }
}
