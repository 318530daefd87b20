//! Packs bits into bytes as deflate does, the lowest bit first.
//!
//! Finished bytes stay in the writer until the caller takes them. Never knows their meaning.

/// A [`BitWriter`] while it takes many codes in a row.
pub(crate) struct BitRun<'a> {
    writer: &'a mut BitWriter,
    at: usize,
    buffer: u64,
    count: u32,
}

impl BitRun<'_> {
    /// Appends the lowest `count` bits of `bits`. Takes at most 48 bits between two calls of
    /// [`BitRun::make_room`].
    #[inline]
    pub(crate) fn put(&mut self, bits: u32, count: u32) {
        self.buffer |= u64::from(bits) << (self.count & 63);
        self.count += count;
    }

    /// Makes room for 48 bits.
    #[inline]
    pub(crate) fn make_room(&mut self) {
        if self.count >= 16 {
            self.flush();
        }
    }

    /// Stores the complete bytes.
    #[inline]
    fn flush(&mut self) {
        if let Some(slot) = self.writer.bytes.get_mut(self.at..self.at + 8) {
            slot.copy_from_slice(&self.buffer.to_le_bytes());
        }
        let whole = self.count / 8;
        self.at += whole as usize;
        self.buffer >>= 8 * whole;
        self.count %= 8;
    }

    /// Ends the run.
    pub(crate) fn end(mut self) {
        self.flush();
        let Self { writer, at, buffer, count } = self;
        writer.bytes.truncate(at);
        writer.buffer = buffer;
        writer.count = count;
    }
}

/// Appends bits to a growing byte string.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    buffer: u64,
    count: u32,
}

impl BitWriter {
    /// Makes an empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops all bits and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.buffer = 0;
        self.count = 0;
    }

    /// Makes a writer whose first byte starts with `phase` zero bits, to be joined to other bits.
    pub(crate) fn at_phase(phase: u32) -> Self {
        Self { bytes: Vec::new(), buffer: 0, count: phase % 8 }
    }

    /// Appends the lowest `count` bits of `bits`, at most 32. The bits above must be zero.
    #[inline]
    pub fn put(&mut self, bits: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(bits) < 1 << count);
        self.buffer |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.buffer as u32).to_le_bytes());
            self.buffer >>= 32;
            self.count -= 32;
        }
    }

    /// Reserves memory for `most` bytes, so that a run of codes needs no check for each code.
    /// [`BitRun::end`] gives the rest back.
    pub(crate) fn run(&mut self, most: usize) -> BitRun<'_> {
        let at = self.bytes.len();
        // Each store writes eight bytes, even if fewer are complete.
        self.bytes.resize(at + most + 16, 0);
        let (buffer, count) = (self.buffer, self.count);
        let mut run = BitRun { writer: self, at, buffer, count };
        run.flush();
        run
    }

    /// Fills the current byte with zero bits.
    pub fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        while self.count > 0 {
            self.bytes.push(self.buffer as u8);
            self.buffer >>= 8;
            self.count -= 8;
        }
    }

    /// Aligns and appends whole bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the number of complete bytes that were not taken yet.
    pub(crate) fn whole_bytes(&self) -> usize {
        self.bytes.len() + self.count as usize / 8
    }

    /// Returns the number of used bits in the current byte, 0 to 7.
    pub fn phase(&self) -> u32 {
        self.count % 8
    }

    /// Moves all finished bytes to the end of `out`.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        while self.count >= 8 {
            self.bytes.push(self.buffer as u8);
            self.buffer >>= 8;
            self.count -= 8;
        }
        out.append(&mut self.bytes);
    }

    /// Writes a stored block of at most 65535 bytes.
    pub fn stored_block(&mut self, bytes: &[u8], is_final: bool) {
        debug_assert!(bytes.len() <= 0xffff);
        self.put(u32::from(is_final), 3);
        self.align();
        let length = bytes.len() as u16;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&(!length).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes an empty block with the fixed code, which takes ten bits.
    pub fn empty_fixed_block(&mut self, is_final: bool) {
        self.put(2 | u32::from(is_final), 10);
    }
}
