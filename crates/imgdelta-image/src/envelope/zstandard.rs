//! Zstandard frames in sequence, including skippable ones.
//!
//! A frame's window is read from its header before the decoder takes that memory. The last frame
//! must be whole, and nothing may follow it, as for zstd(1).

use super::{BlobInput, DecodeError, StreamOutput};
use imgdelta_core::{LimitName, limits::Ceiling};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// Decodes all frames.
pub(super) fn decode(
    input: &mut BlobInput<'_>,
    output: &mut StreamOutput<'_>,
    window_log: u32,
) -> Result<(), DecodeError> {
    let unusable = |error| DecodeError::Other(imgdelta_core::Error::io("zstd decoder")(error));
    let mut decoder = Decoder::new().map_err(unusable)?;
    let window_log = window_log.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
    decoder.set_parameter(DParameter::WindowLogMax(window_log)).map_err(unusable)?;
    let mut buffer = vec![0; STREAM_BUFFER_BYTES];
    let mut is_between_frames = true;
    loop {
        if is_between_frames {
            let header = input.peek(HEADER_BYTES)?;
            if header.is_empty() {
                return Ok(());
            }
            if let Some(window_bytes) = window_bytes(header) {
                let place = output.place();
                let name = Some(LimitName::ZstdWindowLog);
                let ceiling = Ceiling { name, value: 1 << window_log };
                ceiling.admit(window_bytes, "zstd window", place)?;
            }
        }
        let bytes = input.fill()?;
        let is_at_end = bytes.is_empty();
        let mut from = InBuffer::around(bytes);
        let mut into = OutBuffer::around(&mut buffer[..]);
        let outcome = decoder.run(&mut from, &mut into);
        let (consumed, produced) = (from.pos(), into.pos());
        input.consume(consumed);
        let hint = outcome
            .map_err(|error| input.malformed(format_args!("zstd frame is damaged ({error})")))?;
        output.push(&buffer[..produced], input.position())?;
        is_between_frames = hint == 0;
        if is_at_end && produced == 0 && !is_between_frames {
            return Err(input.malformed("zstd frame ends early"));
        }
    }
}

/// Returns the memory that a frame's header requires; `None` without a frame, or for a skippable one.
fn window_bytes(header: &[u8]) -> Option<u64> {
    let rest = header.strip_prefix(&MAGIC)?;
    let (&descriptor, rest) = rest.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = u64::from(*rest.first()?);
        let base = 1 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    // Without a window descriptor the whole content is the window.
    let rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let content = |count| {
        let mut bytes = [0; 8];
        bytes[..count].copy_from_slice(rest.get(..count)?);
        Some(u64::from_le_bytes(bytes))
    };
    match descriptor >> 6 {
        0 => content(1),
        1 => content(2).map(|size| size + 256),
        2 => content(4),
        _ => content(8),
    }
}

/// Large enough to make calls rare, small enough for the second-level cache.
const STREAM_BUFFER_BYTES: usize = 256 << 10;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The longest frame header (RFC 8878, section 3.1.1.1).
const HEADER_BYTES: usize = 18;
/// The range that the library accepts on every platform.
const WINDOW_LOG_MIN: u32 = 10;
const WINDOW_LOG_MAX: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_the_format_says() {
        let header = |rest: &[u8]| window_bytes(&[&MAGIC, rest].concat());
        assert_eq!(header(&[0x00, 0x00]), Some(1024));
        assert_eq!(header(&[0x00, 17 << 3]), Some(1 << 27));
        assert_eq!(header(&[0x00, 17 << 3 | 1]), Some((1 << 27) + (1 << 24)));
        assert_eq!(header(&[0x20, 5]), Some(5));
        assert_eq!(header(&[0x60, 1, 0]), Some(257));
        assert_eq!(header(&[0xa0, 0, 0, 1, 0]), Some(1 << 16));
        assert_eq!(header(&[0xe1, 9, 0, 0, 0, 0, 1, 0, 0, 0]), Some(1 << 32));
        assert_eq!(header(&[0xe0, 0]), None);
        assert_eq!(window_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0"), None);
    }
}
