//! Gzip members: framed here, inflated by zlib-rs.
//!
//! Own framing gives exact offsets, every member of a multi-member file, and gzip(1)'s leniency
//! about bytes after the last one. Never accepts a member whose checksum or length is wrong.

use super::{BlobInput, DecodeError, StreamOutput};
use zlib_rs::{Inflate, InflateFlush, Status, crc32::crc32};

/// Decodes all members; returns the number of bytes after the last one.
pub(super) fn decode(
    input: &mut BlobInput<'_>,
    output: &mut StreamOutput<'_>,
) -> Result<u64, DecodeError> {
    let mut inflater = Inflate::new(RAW, WINDOW_BITS);
    let mut buffer = vec![0; STREAM_BUFFER_BYTES];
    let trailing_start = loop {
        let member_start = input.position();
        match (input.byte()?, member_start) {
            (Some(ID1), _) => {}
            (None, _) => return Ok(0),
            (Some(_), trailing_start) => break trailing_start,
        }
        match input.byte()? {
            Some(ID2) => {}
            _ => break member_start,
        }
        header(input)?;
        body(input, output, &mut inflater, &mut buffer)?;
        inflater.reset(RAW);
    };
    loop {
        let count = input.fill()?.len();
        if count == 0 {
            return Ok(input.position() - trailing_start);
        }
        input.consume(count);
    }
}

/// Reads a member's header after its two magic bytes.
fn header(input: &mut BlobInput<'_>) -> Result<(), DecodeError> {
    let mut crc = crc32(0, &[ID1, ID2]);
    let mut fixed = [0; 8];
    for byte in &mut fixed {
        *byte = header_byte(input, &mut crc)?;
    }
    let [method, flags, ..] = fixed;
    if method != DEFLATE {
        return Err(input.malformed(format_args!("gzip header names unknown method {method}")));
    }
    if flags & RESERVED != 0 {
        return Err(input.malformed(format_args!("gzip header has unknown flags {flags:#04x}")));
    }
    if flags & EXTRA != 0 {
        let low = header_byte(input, &mut crc)?;
        let high = header_byte(input, &mut crc)?;
        for _ in 0..u16::from_le_bytes([low, high]) {
            header_byte(input, &mut crc)?;
        }
    }
    for text in [NAME, COMMENT] {
        // Both have any length; they are skipped, so the blob's size bounds them.
        while flags & text != 0 && header_byte(input, &mut crc)? != 0 {}
    }
    if flags & HEADER_CRC != 0 {
        let expected = crc.to_le_bytes();
        let found = [header_byte(input, &mut crc)?, header_byte(input, &mut crc)?];
        if found != expected[..2] {
            return Err(input.malformed("gzip header does not match its own checksum"));
        }
    }
    Ok(())
}

fn header_byte(input: &mut BlobInput<'_>, crc: &mut u32) -> Result<u8, DecodeError> {
    let Some(byte) = input.byte()? else {
        return Err(input.malformed("gzip header ends early"));
    };
    *crc = crc32(*crc, &[byte]);
    Ok(byte)
}

/// Inflates a member's content and compares its trailer.
fn body(
    input: &mut BlobInput<'_>,
    output: &mut StreamOutput<'_>,
    inflater: &mut Inflate,
    buffer: &mut [u8],
) -> Result<(), DecodeError> {
    let mut crc = 0;
    loop {
        let bytes = input.fill()?;
        let is_at_end = bytes.is_empty();
        let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(bytes, buffer, InflateFlush::NoFlush);
        let consumed = moved(inflater.total_in(), in_before);
        let produced = moved(inflater.total_out(), out_before);
        input.consume(consumed);
        let status = status.map_err(|error| {
            input.malformed(format_args!("deflate stream is damaged ({})", error.as_str()))
        })?;
        crc = crc32(crc, &buffer[..produced]);
        output.push(&buffer[..produced], input.position())?;
        match status {
            Status::StreamEnd => break,
            _ if is_at_end && produced == 0 => {
                return Err(input.malformed("deflate stream ends early"));
            }
            _ => {}
        }
    }
    trailer(input, crc, inflater.total_out())
}

fn trailer(input: &mut BlobInput<'_>, crc: u32, member_bytes: u64) -> Result<(), DecodeError> {
    let mut trailer = [0; 8];
    for byte in &mut trailer {
        *byte = input.byte()?.ok_or_else(|| input.malformed("gzip trailer ends early"))?;
    }
    let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
    let expected = u32::from_le_bytes([c0, c1, c2, c3]);
    if crc != expected {
        return Err(input.malformed(format_args!(
            "gzip checksum is {crc:08x}, the trailer says {expected:08x}"
        )));
    }
    // The trailer counts modulo 2^32.
    let expected = u32::from_le_bytes([l0, l1, l2, l3]);
    if member_bytes & u64::from(u32::MAX) != u64::from(expected) {
        return Err(input.malformed(format_args!(
            "gzip member is {member_bytes} bytes, the trailer says {expected}"
        )));
    }
    Ok(())
}

/// Returns the advance of a counter in one call, which is at most a buffer's length.
fn moved(now: u64, before: u64) -> usize {
    usize::try_from(now - before).expect("at most a buffer's length")
}

/// Large, since inflating copies the last 32 KiB of the buffer on every call; small enough that the
/// hash finds it in the second-level cache.
const STREAM_BUFFER_BYTES: usize = 256 << 10;

/// A stream without the header of zlib, in front of which gzip puts its own.
const RAW: bool = false;
/// Deflate looks back at most 2^15 bytes.
const WINDOW_BITS: u8 = 15;

// RFC 1952, section 2.3.1.
const ID1: u8 = 0x1f;
const ID2: u8 = 0x8b;
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;
