//! Bits to bytes, lowest bit first, as deflate packs them.
//!
//! Finished bytes wait in the writer until its owner takes them. Never knows what it writes.

/// A growing byte string that takes bits.
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

    /// Forgets all bits, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.buffer = 0;
        self.count = 0;
    }

    /// Makes a writer whose first byte has `phase` bits already, zero here: for bits that are to be
    /// joined to others.
    pub(crate) fn at_phase(phase: u32) -> Self {
        Self { bytes: Vec::new(), buffer: 0, count: phase % 8 }
    }

    /// Appends the lowest `count` bits of `bits`, at most 32; the bits above must be zero.
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

    /// Fills up the current byte with zero bits.
    pub fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        while self.count > 0 {
            self.bytes.push(self.buffer as u8);
            self.buffer >>= 8;
            self.count -= 8;
        }
    }

    /// Appends whole bytes after aligning.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns how many bits of the current byte are used, 0 to 7.
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

    /// Writes a stored block: header, padding, lengths, bytes; at most 65535 of them.
    pub fn stored_block(&mut self, bytes: &[u8], is_final: bool) {
        debug_assert!(bytes.len() <= 0xffff);
        self.put(u32::from(is_final), 3);
        self.align();
        let length = bytes.len() as u16;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&(!length).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes an empty block with the fixed code: ten bits.
    pub fn empty_fixed_block(&mut self, is_final: bool) {
        self.put(2 | u32::from(is_final), 10);
    }
}
