//! The reference encoder, called as others call it.
//!
//! Its output depends on its version (the one this crate is built with, 1.5.7), its level, on
//! whether the size was known beforehand, whether it worked in jobs, and on how the last bytes
//! came: with the word that they are the last, or before it. Never emulates another version.

use crate::frame::Header;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

/// How the reference encoder was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// 1 to 22, or negative.
    pub level: i32,
    /// Whether the frame was cut in jobs, as `zstd` without `--single-thread` does; the number
    /// of threads changes nothing.
    pub jobs: bool,
    /// Whether the last bytes came with the word that they were.
    pub ends_with_data: bool,
}

/// Plain bytes of the shortest job, and of the smallest size at which there are jobs.
pub(crate) const JOB_BYTES: u64 = 512 << 10;

/// Highest level whose memory (some 100 MB) is granted whatever the size.
const HIGHEST_LEVEL: i32 = 19;
/// With the three levels above, memory follows the size, if it is known.
const SMALL_BYTES: u64 = 8 << 20;
const LEVELS: std::ops::RangeInclusive<i32> = -131_072..=22;

impl Call {
    /// Whether the call can be made again with memory that is bounded.
    pub(crate) fn exists(self) -> bool {
        LEVELS.contains(&self.level) && self.level != 0
    }
}

/// A frame in the making.
pub(crate) struct Libzstd {
    context: CCtx<'static>,
    ends_with_data: bool,
    /// Plain bytes that are not given to the encoder yet: less than a chunk, or the last one.
    chunk: Vec<u8>,
    /// Plain bytes still to come.
    left_bytes: u64,
    buffer: Vec<u8>,
}

impl Libzstd {
    /// Starts a frame with what `header` says; `None` if the call is not possible.
    pub(crate) fn new(call: Call, header: &Header, plain_bytes: u64) -> Option<Self> {
        let knows_size = header.plain_bytes.is_some();
        let is_small = knows_size && plain_bytes <= SMALL_BYTES;
        if !call.exists() || (call.level > HIGHEST_LEVEL && !is_small) {
            return None;
        }
        let mut context = CCtx::try_create()?;
        let mut set = |parameter| context.set_parameter(parameter).ok();
        set(CParameter::CompressionLevel(call.level))?;
        set(CParameter::ChecksumFlag(header.checksum))?;
        if call.jobs {
            set(CParameter::NbWorkers(1))?;
        }
        if knows_size {
            context.set_pledged_src_size(Some(plain_bytes)).ok()?;
        }
        Some(Self {
            context,
            ends_with_data: call.ends_with_data,
            chunk: Vec::new(),
            left_bytes: plain_bytes,
            buffer: Vec::with_capacity(CCtx::out_size()),
        })
    }

    /// Returns the beginning of what a call that works in jobs makes of a frame, from its first
    /// [`JOB_BYTES`]: without this, nothing would come before the first job, which is eight times
    /// as long and more.
    pub(crate) fn probe(
        call: Call,
        header: &Header,
        plain_bytes: u64,
        first: &[u8],
    ) -> Option<Vec<u8>> {
        let mut encoder = Self::new(call, header, plain_bytes)?;
        encoder.context.set_parameter(CParameter::JobSize(JOB_BYTES as u32)).ok()?;
        let mut out = Vec::new();
        encoder.chunk.extend_from_slice(first);
        encoder.feed(ZSTD_EndDirective::ZSTD_e_flush, &mut out)?;
        Some(out)
    }

    /// Takes plain bytes; `None` if the encoder fails.
    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        while !plain.is_empty() {
            let taken = plain.len().min(CCtx::in_size() - self.chunk.len());
            self.chunk.extend_from_slice(&plain[..taken]);
            plain = &plain[taken..];
            self.left_bytes = self.left_bytes.checked_sub(taken as u64)?;
            let is_last = self.left_bytes == 0 && self.ends_with_data;
            if self.chunk.len() == CCtx::in_size() && !is_last {
                self.feed(ZSTD_EndDirective::ZSTD_e_continue, out)?;
            }
        }
        Some(())
    }

    /// Ends the frame.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Option<()> {
        if !self.ends_with_data && !self.chunk.is_empty() {
            self.feed(ZSTD_EndDirective::ZSTD_e_continue, out)?;
        }
        self.feed(ZSTD_EndDirective::ZSTD_e_end, out)
    }

    fn feed(&mut self, directive: ZSTD_EndDirective, out: &mut Vec<u8>) -> Option<()> {
        let more_to_come = directive == ZSTD_EndDirective::ZSTD_e_continue;
        let mut input = InBuffer::around(&self.chunk);
        loop {
            // As much room as the command gives: with it the last chunk is compressed in place.
            self.buffer.clear();
            let mut output = OutBuffer::around(&mut self.buffer);
            let pending = self.context.compress_stream2(&mut output, &mut input, directive).ok()?;
            out.extend_from_slice(output.as_slice());
            if input.pos() == self.chunk.len() && (more_to_come || pending == 0) {
                break;
            }
        }
        self.chunk.clear();
        Some(())
    }
}
