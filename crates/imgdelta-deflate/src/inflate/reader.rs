//! The bit buffer, and the caller's two buffers during a call.
//!
//! Never interprets the bits.

/// Up to 64 unused bits, the next one lowest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BitReader {
    pub(super) buffer: u64,
    pub(super) count: u32,
}

/// The caller's buffers, with the positions in them.
pub(super) struct CallBuffers<'a> {
    pub(super) input: &'a [u8],
    pub(super) read: usize,
    pub(super) output: &'a mut [u8],
    pub(super) position: usize,
}

impl BitReader {
    /// Reads whole bytes until 56 to 63 bits are available or the input ends.
    #[inline]
    pub(super) fn refill(&mut self, io: &mut CallBuffers<'_>) {
        while self.count < 56 {
            let Some(&byte) = io.input.get(io.read) else { return };
            self.buffer |= u64::from(byte) << self.count;
            self.count += 8;
            io.read += 1;
        }
    }

    #[inline]
    pub(super) fn has(&self, bits: u32) -> bool {
        self.count >= bits
    }

    /// Drops available bits, at most 63.
    #[inline]
    pub(super) fn drop(&mut self, bits: u32) {
        self.buffer >>= bits;
        self.count -= bits;
    }

    /// Takes available bits, at most 16.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = (self.buffer & ((1 << bits) - 1)) as u32;
        self.drop(bits);
        value
    }

    /// Drops the last whole bytes that were read.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.count -= bytes as u32 * 8;
        if self.count < 64 {
            self.buffer &= (1 << self.count) - 1;
        }
    }
}

impl CallBuffers<'_> {
    /// Copies from the history. Returns the number of bytes that did not fit.
    pub(super) fn copy(&mut self, length: usize, distance: usize) -> usize {
        let n = length.min(self.output.len() - self.position);
        let start = self.position - distance;
        if distance >= n {
            self.output.copy_within(start..start + n, self.position);
        } else {
            for i in 0..n {
                self.output[self.position + i] = self.output[start + i];
            }
        }
        self.position += n;
        length - n
    }
}
