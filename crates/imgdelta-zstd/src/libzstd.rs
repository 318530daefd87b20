//! Calls the reference encoder with the parameters of an earlier call.
//!
//! The output depends on the version, which is 1.5.7 here, on the level, on a longer window, and on
//! the use of jobs. It also depends on a size that is known in advance, and on the way in which the
//! plain bytes came. Never emulates another version.

use crate::frame::FrameHeader;
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, compress_bound,
    zstd_sys::ZSTD_EndDirective,
};

/// The parameters of a call of the reference encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibzstdCall {
    /// The compression level: 1 to 22, or negative.
    pub level: i32,
    /// True if the frame was compressed in jobs, as `zstd` does without `--single-thread`. The
    /// number of threads does not change the output.
    pub jobs: bool,
    /// Division of the frame's plain bytes into calls.
    pub input: LibzstdInput,
    /// Base-2 logarithm of the window that `zstd --long` sets, with matches far away; 0 without.
    pub long_window: u8,
}

/// Division of a frame's plain bytes into calls of the reference encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibzstdInput {
    /// Piece by piece; the end directive came after the last bytes.
    EndAfterData,
    /// Piece by piece; the end directive came together with the last bytes.
    EndWithData,
    /// All in one call.
    OneCall,
}

/// Plain bytes of the shortest job. Shorter frames of known size are not compressed in jobs.
pub(crate) const JOB_BYTES: u64 = 512 << 10;
/// Plain bytes of a full block.
pub(crate) const BLOCK_BYTES: u64 = 128 << 10;

const LEVELS: std::ops::RangeInclusive<i32> = -131_072..=22;
/// Windows of `--long`: 27 is its default, and `zstd` reads no larger ones by default.
const LONG_WINDOWS: std::ops::RangeInclusive<u8> = 10..=27;

impl LibzstdCall {
    /// Most memory for an encoder. Level 19 takes nearly as much for a long frame in jobs.
    pub const MOST_MEMORY_BYTES: u64 = 256 << 20;

    /// Returns a call in pieces, in one thread, without a longer window.
    pub fn new(level: i32) -> Self {
        Self { level, jobs: false, input: LibzstdInput::EndAfterData, long_window: 0 }
    }

    /// True if the parameters are ones that the encoder has.
    pub(crate) fn exists(self) -> bool {
        let is_window = self.long_window == 0 || LONG_WINDOWS.contains(&self.long_window);
        LEVELS.contains(&self.level) && self.level != 0 && is_window
    }

    /// True if the encoder of a frame takes no more memory than allowed.
    pub(crate) fn fits(self, knows_size: bool, plain_bytes: u64) -> bool {
        self.memory_bytes(knows_size, plain_bytes) <= Self::MOST_MEMORY_BYTES
    }

    /// Estimates the most memory that the encoder of a frame takes: tables, window and buffers.
    /// `knows_size` says whether the encoder knows the plain bytes in advance.
    pub fn memory_bytes(self, knows_size: bool, plain_bytes: u64) -> u64 {
        let (window, _) = self.logs(knows_size, plain_bytes);
        let buffers = match (self.input, self.jobs) {
            (LibzstdInput::OneCall, _) => plain_bytes.saturating_mul(2),
            // The job that is compressed, and three that are collected; then the output of a job.
            (_, true) => {
                let (_, chain, _) = usual_logs(self.level);
                let job = if self.long_window == 0 { (window + 2).max(20) } else { chain + 3 };
                let job = 1_u64 << job.max(window);
                plain_bytes.min(4 * job).saturating_add(plain_bytes.min(job))
            }
            (_, false) => 1 << window,
        };
        buffers
            .saturating_add(self.table_bytes(knows_size, plain_bytes))
            .saturating_add(SMALL_TABLES)
    }

    /// Returns the bytes of the tables, which the encoder clears for each frame.
    pub(crate) fn table_bytes(self, knows_size: bool, plain_bytes: u64) -> u64 {
        let (window, table_bytes) = self.logs(knows_size, plain_bytes);
        let of_long = if self.long_window == 0 { 0 } else { (1_u64 << window) / 8 };
        table_bytes + of_long
    }

    /// Returns the window's logarithm and the bytes of the tables of the match finder.
    fn logs(self, knows_size: bool, plain_bytes: u64) -> (u32, u64) {
        let (window, chain, hash) = usual_logs(self.level);
        let window = if self.long_window == 0 { window } else { self.long_window.into() };
        let needed = 64 - (plain_bytes.max(1 << 10) - 1).leading_zeros();
        let needed = if knows_size { needed } else { u64::BITS };
        let window = window.min(needed);
        (window, 4 * ((1_u64 << chain.min(window + 1)) + (1_u64 << hash.min(window + 1))))
    }
}

/// Returns the logarithms of a level for plain bytes of unknown size: window, chain table, hash table.
pub(crate) fn usual_logs(level: i32) -> (u32, u32, u32) {
    match level {
        ..=1 => (19, 13, 14),
        2 => (20, 15, 16),
        3 => (21, 16, 17),
        4 => (21, 18, 18),
        5..=6 => (21, 18, 19),
        7..=8 => (21, 19, 20),
        9 => (22, 20, 21),
        10..=11 => (22, 21, 22),
        12 | 14 => (22, 22, 23),
        13 | 16 => (22, 22, 22),
        15 => (22, 23, 23),
        17..=18 => (23, 23, 22),
        19 => (23, 24, 22),
        20 => (25, 25, 23),
        21 => (26, 26, 24),
        _ => (27, 27, 25),
    }
}

/// Memory for entropy tables, sequences and a block.
const SMALL_TABLES: u64 = 4 << 20;

/// The reference encoder while it writes a frame.
pub(crate) struct LibzstdEncoder {
    context: CCtx<'static>,
    input: LibzstdInput,
    /// Plain bytes that the encoder does not have yet: less than a chunk, the last chunk, or all of
    /// the frame.
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
            input: call.input,
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
        self.input = call.input;
        self.left_bytes = plain_bytes;
        self.prepare(call, header, plain_bytes)
    }

    fn prepare(&mut self, call: LibzstdCall, header: &FrameHeader, plain_bytes: u64) -> Option<()> {
        let knows_size = header.plain_bytes.is_some();
        // In one call the encoder always knows the size.
        let is_possible = knows_size || call.input != LibzstdInput::OneCall;
        if !call.exists() || !is_possible || !call.fits(knows_size, plain_bytes) {
            return None;
        }
        let context = &mut self.context;
        let mut set = |parameter| context.set_parameter(parameter).ok();
        set(CParameter::CompressionLevel(call.level))?;
        set(CParameter::ChecksumFlag(header.checksum))?;
        if call.long_window > 0 {
            set(CParameter::EnableLongDistanceMatching(true))?;
            set(CParameter::WindowLog(call.long_window.into()))?;
        }
        if call.jobs {
            set(CParameter::NbWorkers(1))?;
        }
        if knows_size {
            self.context.set_pledged_src_size(Some(plain_bytes)).ok()?;
        }
        Some(())
    }

    /// Returns the first block of a frame, with the header before it, from the frame's first bytes.
    ///
    /// A call in jobs or in one piece has no output for long, and only its first block is what a
    /// shorter input gives.
    pub(crate) fn first_block(
        call: LibzstdCall,
        header: &FrameHeader,
        plain_bytes: u64,
        first: &[u8],
    ) -> Option<Vec<u8>> {
        let call = LibzstdCall { input: LibzstdInput::EndAfterData, ..call };
        let mut encoder = Self::new(call, header, plain_bytes)?;
        let mut out = Vec::new();
        encoder.chunk.extend_from_slice(first);
        encoder.feed(ZSTD_EndDirective::ZSTD_e_flush, &mut out)?;
        Some(out)
    }

    /// Compresses plain bytes. `None` if the encoder fails or the frame gets too long.
    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if self.input == LibzstdInput::OneCall {
            self.left_bytes = self.left_bytes.checked_sub(plain.len() as u64)?;
            self.chunk.extend_from_slice(plain);
            return Some(());
        }
        while !plain.is_empty() {
            let taken = plain.len().min(CCtx::in_size() - self.chunk.len());
            self.chunk.extend_from_slice(&plain[..taken]);
            plain = &plain[taken..];
            self.left_bytes = self.left_bytes.checked_sub(taken as u64)?;
            let is_last = self.left_bytes == 0 && self.input == LibzstdInput::EndWithData;
            if self.chunk.len() == CCtx::in_size() && !is_last {
                self.feed(ZSTD_EndDirective::ZSTD_e_continue, out)?;
            }
        }
        Some(())
    }

    /// Ends the frame.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Option<()> {
        match self.input {
            LibzstdInput::OneCall => {
                let start = out.len();
                let mut made = Vec::with_capacity(compress_bound(self.chunk.len()));
                self.context.compress2(&mut made, &self.chunk).ok()?;
                out.extend_from_slice(&made);
                self.chunk = Vec::new();
                return (out.len() > start).then_some(());
            }
            LibzstdInput::EndAfterData if !self.chunk.is_empty() => {
                self.feed(ZSTD_EndDirective::ZSTD_e_continue, out)?;
            }
            LibzstdInput::EndAfterData | LibzstdInput::EndWithData => {}
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
    use crate::{EncoderModel, FrameRecipe, FrameWriter, LibzstdCall, LibzstdInput};

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
                let input = LibzstdInput::EndWithData;
                let call = LibzstdCall { jobs, input, ..LibzstdCall::new(level) };
                let model = EncoderModel::Libzstd(call);
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
