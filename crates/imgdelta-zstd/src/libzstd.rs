//! Calls the reference encoder with the parameters of an earlier call.
//!
//! The output depends on the version, which is 1.5.7 here, on the level, and on the use of jobs. It
//! also depends on a size that is known in advance, and on the directive that came with the last
//! bytes. Never emulates another version.

use crate::frame::FrameHeader;
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, zstd_sys::ZSTD_EndDirective,
};

/// The parameters of a call of the reference encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibzstdCall {
    /// The compression level: 1 to 22, or negative.
    pub level: i32,
    /// True if the frame was compressed in jobs, as `zstd` does without `--single-thread`. The
    /// number of threads does not change the output.
    pub jobs: bool,
    /// True if the last bytes came with the end directive, false if the directive came after them.
    pub ends_with_data: bool,
}

/// Plain bytes of the shortest job. Shorter frames of known size are not compressed in jobs.
pub(crate) const JOB_BYTES: u64 = 512 << 10;

/// Highest level that is allowed for every size. It takes about 100 MB of memory.
const HIGHEST_LEVEL: i32 = 19;
/// Plain bytes up to which higher levels are allowed: there memory grows with a known size.
const SMALL_BYTES: u64 = 8 << 20;
const LEVELS: std::ops::RangeInclusive<i32> = -131_072..=22;

impl LibzstdCall {
    /// True if the level is one that the encoder has.
    pub(crate) fn exists(self) -> bool {
        LEVELS.contains(&self.level) && self.level != 0
    }
}

/// The reference encoder while it writes a frame.
pub(crate) struct LibzstdEncoder {
    context: CCtx<'static>,
    ends_with_data: bool,
    /// Plain bytes that the encoder does not have yet: less than a chunk, or the last chunk.
    chunk: Vec<u8>,
    /// Plain bytes of the frame that [`Self::write`] has not taken yet.
    left_bytes: u64,
    buffer: Vec<u8>,
}

impl LibzstdEncoder {
    /// Starts a frame with the parameters in `header`. `None` if the call is not possible, or if
    /// it would take too much memory.
    pub(crate) fn new(call: LibzstdCall, header: &FrameHeader, plain_bytes: u64) -> Option<Self> {
        let mut encoder = Self {
            context: CCtx::try_create()?,
            ends_with_data: call.ends_with_data,
            chunk: Vec::new(),
            left_bytes: plain_bytes,
            buffer: Vec::with_capacity(CCtx::out_size()),
        };
        encoder.prepare(call, header, plain_bytes)?;
        Some(encoder)
    }

    /// Starts another frame after [`Self::finish`]. The output is that of a new encoder.
    pub(crate) fn restart(
        &mut self,
        call: LibzstdCall,
        header: &FrameHeader,
        plain_bytes: u64,
    ) -> Option<()> {
        self.context.reset(ResetDirective::SessionAndParameters).ok()?;
        self.ends_with_data = call.ends_with_data;
        self.left_bytes = plain_bytes;
        self.prepare(call, header, plain_bytes)
    }

    fn prepare(&mut self, call: LibzstdCall, header: &FrameHeader, plain_bytes: u64) -> Option<()> {
        let knows_size = header.plain_bytes.is_some();
        let is_small = knows_size && plain_bytes <= SMALL_BYTES;
        if !call.exists() || (call.level > HIGHEST_LEVEL && !is_small) {
            return None;
        }
        let context = &mut self.context;
        let mut set = |parameter| context.set_parameter(parameter).ok();
        set(CParameter::CompressionLevel(call.level))?;
        set(CParameter::ChecksumFlag(header.checksum))?;
        if call.jobs {
            set(CParameter::NbWorkers(1))?;
        }
        if knows_size {
            self.context.set_pledged_src_size(Some(plain_bytes)).ok()?;
        }
        Some(())
    }

    /// Returns the first compressed bytes of a frame that is compressed in jobs, from its first
    /// [`JOB_BYTES`]. A usual job is at least eight times longer, and nothing comes out before a
    /// job is full.
    pub(crate) fn probe(
        call: LibzstdCall,
        header: &FrameHeader,
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

    /// Compresses plain bytes. `None` if the encoder fails or the frame gets too long.
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
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if !self.ends_with_data && !self.chunk.is_empty() {
            self.feed(ZSTD_EndDirective::ZSTD_e_continue, out)?;
        }
        self.feed(ZSTD_EndDirective::ZSTD_e_end, out)
    }

    fn feed(&mut self, directive: ZSTD_EndDirective, out: &mut Vec<u8>) -> Option<()> {
        let more_to_come = directive == ZSTD_EndDirective::ZSTD_e_continue;
        let mut input = InBuffer::around(&self.chunk);
        loop {
            // The command's own output size: with it the encoder compresses the last chunk
            // directly into the output, which changes the bytes.
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

#[cfg(test)]
mod tests {
    use crate::{EncoderModel, FrameRecipe, FrameWriter, LibzstdCall};

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Runs and repeats, so that every strategy finds copies.
            (state >> 28) as u8 * u8::from(state & 0x3000 != 0)
        };
        (0..bytes).map(|_| next()).collect()
    }

    /// A header without a size, or with four bytes of size.
    fn header(bytes: Option<usize>) -> Vec<u8> {
        match bytes {
            None => vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58],
            Some(bytes) => {
                let size = u32::try_from(bytes).unwrap().to_le_bytes();
                [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0], &size[..]].concat()
            }
        }
    }

    #[test]
    fn a_restarted_encoder_writes_what_a_new_one_writes() {
        let plain = noise(90_000);
        let lengths = [1, 90_000, 0, 5000, 2];
        for level in [-3, 3, 9, 12, 19] {
            for jobs in [false, true] {
                let model =
                    EncoderModel::Libzstd(LibzstdCall { level, jobs, ends_with_data: true });
                let mut reused = FrameWriter::new(model);
                for (round, &bytes) in lengths.iter().chain(&lengths).enumerate() {
                    let size = (round % 3 == 0).then_some(bytes);
                    let frame = FrameRecipe {
                        header: header(size),
                        plain_bytes: bytes as u64,
                        cuts: Vec::new(),
                    };
                    let [again, new] = [&mut reused, &mut FrameWriter::new(model)].map(|frames| {
                        let mut out = Vec::new();
                        frames.begin(&frame, &mut out).unwrap();
                        frames.write(&plain[..bytes], &mut out).unwrap();
                        frames.end(&mut out).unwrap();
                        out
                    });
                    assert!(again == new, "level {level}, jobs {jobs}, frame {round}");
                }
            }
        }
    }
}
