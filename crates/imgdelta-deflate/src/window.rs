//! The 64 KiB sliding buffer and hash chains that all lazy parsers share.
//!
//! zlib, Go and klauspost's upper levels use the same structures. A buffer of twice the window
//! drops its lower half when it is nearly full. A table has the newest position of each hash, and
//! chains have the older ones. Here each chain entry has four older positions, because a walk over
//! single links waits for memory at every step.
//! A position is a buffer index plus one in 16 bits, and zero means none. So the tables fit into
//! the cache, and each slide lowers all entries (about 3 % of the time). The slides are at the same
//! places as in the originals, because a candidate must still be in the buffer.
//! Never searches.

use crate::alphabet::MAX_COPY;

/// Bytes of the buffer.
pub(crate) const BUFFER_BYTES: usize = 65_536;
/// Bytes dropped at a slide, and the farthest distance.
pub(crate) const HALF_BYTES: usize = 32_768;
/// Bytes that every lazy parser needs ahead, except at the end of the data.
pub(crate) const LOOKAHEAD_BYTES: usize = 262;
/// Bytes behind the buffer, for wide reads near its end.
const PAD_BYTES: usize = 512;
/// Most zeros that [`SearchWindow::put_zeros`] writes behind the data.
const ZEROS_BYTES: usize = 8;

/// The buffer. A 16-bit index plus an 8-bit offset is always inside, so the search needs no bounds
/// checks.
pub(crate) type WindowBuffer = [u8; BUFFER_BYTES + PAD_BYTES];

/// Buffer, heads and chains, for at most `HEADS` hash values.
pub(crate) struct SearchWindow<const HEADS: usize> {
    bytes: Box<WindowBuffer>,
    /// Bytes in the buffer.
    pub(crate) end: usize,
    heads: Box<[u16; HEADS]>,
    /// Number of hash values in use.
    used_heads: usize,
    /// Bytes dropped at a slide. The buffer uses twice as many.
    half: usize,
    chain: Box<[[u16; LINKS]; HALF_BYTES]>,
    /// True after a slide: the buffer no longer has all bytes whose hashes were inserted.
    has_slid: bool,
}

impl<const HEADS: usize> SearchWindow<HEADS> {
    /// Makes an empty window with `used_heads` hash values.
    pub(crate) fn new(used_heads: usize) -> Self {
        Self {
            bytes: table(),
            end: 0,
            heads: table(),
            used_heads: used_heads.min(HEADS),
            half: HALF_BYTES,
            chain: table(),
            has_slid: false,
        }
    }

    /// Makes the window smaller. `half` is a power of two.
    pub(crate) fn with_half(mut self, half: usize) -> Self {
        self.half = half.min(HALF_BYTES);
        self
    }

    /// True if no more bytes fit.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.end == 2 * self.half
    }

    /// Empties the window. `hash` is the hash function of the inserted positions.
    ///
    /// Takes time in proportion to the bytes in the buffer: archives have thousands of members, and
    /// most are much smaller than the tables. Links are not cleared, because each position writes
    /// its links before a head leads to it.
    pub(crate) fn reset(&mut self, hash: impl Fn(u32) -> usize) {
        if self.has_slid || self.end > self.used_heads / 4 {
            self.bytes.fill(0);
            self.heads[..self.used_heads].fill(0);
        } else {
            for index in 0..self.end {
                self.heads[hash(self.word(index)) % HEADS] = 0;
            }
            self.bytes[..self.end + ZEROS_BYTES].fill(0);
        }
        self.end = 0;
        self.has_slid = false;
    }

    /// Makes a window in the middle of a stream, with an empty index. `plain` starts at
    /// [`base_of`] the next position to parse, which has the index `index` in it.
    ///
    /// `has_slid` is false if `plain` starts with the stream. After a slide, the upper half of the
    /// buffer still has old bytes. GNU gzip compares with them behind the end of the data.
    pub(crate) fn resume(heads: usize, plain: &[u8], index: usize, has_slid: bool) -> Self {
        let mut window = Self::new(heads);
        if has_slid {
            let kept = &plain[..plain.len().min(HALF_BYTES)];
            window.bytes[HALF_BYTES..HALF_BYTES + kept.len()].copy_from_slice(kept);
        }
        window.bytes[..index].copy_from_slice(&plain[..index]);
        window.end = index;
        window
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &WindowBuffer {
        &self.bytes
    }

    #[inline]
    pub(crate) fn byte(&self, index: usize) -> u8 {
        self.bytes[index]
    }

    #[inline]
    pub(crate) fn word(&self, index: usize) -> u32 {
        word(&self.bytes[..], index)
    }

    /// Takes the bytes of `plain` that fit, and returns their number.
    pub(crate) fn fill(&mut self, plain: &[u8]) -> usize {
        let count = plain.len().min(2 * self.half - self.end);
        self.bytes[self.end..self.end + count].copy_from_slice(&plain[..count]);
        self.end += count;
        count
    }

    /// Writes zeros behind the end of the data.
    pub(crate) fn put_zeros(&mut self, count: usize) {
        debug_assert!(count <= ZEROS_BYTES);
        self.bytes[self.end..self.end + count].fill(0);
    }

    /// Drops the lower half and its positions.
    pub(crate) fn slide(&mut self) {
        self.has_slid = true;
        let half = self.half;
        self.bytes.copy_within(half..2 * half, 0);
        self.end -= half;
        // The compiler vectorises two separate loops, and not one loop over both tables.
        lower(&mut self.heads[..self.used_heads], half as u16);
        lower(self.chain.as_flattened_mut(), half as u16);
    }

    /// Returns the index of a position's links, which a slide does not change.
    #[inline]
    fn slot(&self, index: usize) -> usize {
        (index & (self.half - 1)) % HALF_BYTES
    }

    /// Makes `index` the newest position of `hash`. Returns the previous one, plus one.
    #[inline]
    pub(crate) fn insert(&mut self, hash: usize, index: usize) -> usize {
        let before = self.heads[hash % HEADS];
        let [one, two, three, _] = self.chain[self.slot(usize::from(before.wrapping_sub(1)))];
        self.chain[self.slot(index)] = [before, one, two, three];
        self.heads[hash % HEADS] = (index + 1) as u16;
        usize::from(before)
    }

    /// Returns the newest position of `hash`, plus one.
    #[inline]
    pub(crate) fn newest(&self, hash: usize) -> usize {
        usize::from(self.heads[hash % HEADS])
    }

    /// Makes each position in `start..end` the newest of its hash.
    #[inline]
    pub(crate) fn insert_all(&mut self, start: usize, end: usize, hash: impl Fn(u32) -> usize) {
        for index in start..end {
            let word = word(&self.bytes[..], usize::from(index as u16));
            self.insert(hash(word), index);
        }
    }

    /// Calls `check` with the positions of one hash, the newest first. `newest` is a position plus
    /// one, and not zero. Stops before `lowest`, after `tries` positions, or if `check` returns
    /// `StopSearch(true)`.
    #[inline]
    pub(crate) fn walk(
        &self,
        newest: usize,
        lowest: usize,
        mut tries: u32,
        mut check: impl FnMut(u16) -> StopSearch,
    ) {
        let mut candidate = (newest - 1) as u16;
        if check(candidate).0 {
            return;
        }
        // The position at the farthest distance has the same slot as the current position, which
        // has overwritten its links.
        while usize::from(candidate) != lowest {
            for older in self.chain[self.slot(usize::from(candidate))] {
                tries -= 1;
                if usize::from(older) <= lowest || tries == 0 {
                    return;
                }
                candidate = older - 1;
                if check(candidate).0 {
                    return;
                }
            }
        }
    }
}

/// Returns the stream position of the buffer's start while `position` is parsed.
///
/// An encoder fills the buffer, parses until less than [`LOOKAHEAD_BYTES`] are ahead, and then
/// slides. So the places of the slides do not depend on the parse.
pub(crate) fn base_of(position: u64) -> u64 {
    let reach = (BUFFER_BYTES - LOOKAHEAD_BYTES) as u64;
    position.saturating_sub(reach).next_multiple_of(HALF_BYTES as u64)
}

/// True to stop a search, false to go on.
pub(crate) struct StopSearch(pub(crate) bool);

/// Older positions per chain entry. With a single link a search waits for memory half of its time.
const LINKS: usize = 4;

fn lower(entries: &mut [u16], down: u16) {
    for entry in entries {
        *entry = entry.saturating_sub(down);
    }
}

/// Returns four bytes, little endian.
#[inline]
pub(crate) fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[index..index + 4].try_into().expect("four bytes"))
}

/// Returns eight bytes, little endian.
#[inline]
pub(crate) fn long(bytes: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(bytes[index..index + 8].try_into().expect("eight bytes"))
}

/// Returns the number of equal bytes at `a` and `b`, at most 258. Also compares behind the data.
#[inline]
pub(crate) fn common_258(bytes: &WindowBuffer, a: u16, b: u16) -> usize {
    let (a, b) = (usize::from(a), usize::from(b));
    let mut done = 0;
    while done < MAX_COPY {
        let difference = long(bytes, a + done) ^ long(bytes, b + done);
        if difference != 0 {
            return (done + (difference.trailing_zeros() / 8) as usize).min(MAX_COPY);
        }
        done += 8;
    }
    MAX_COPY
}

/// Returns the number of equal bytes at `a` and `b`, at most `most`. Both ranges of `most` bytes
/// must be in `bytes`.
#[inline]
pub(crate) fn common(bytes: &[u8], a: usize, b: usize, most: usize) -> usize {
    let (left, right) = (&bytes[a..a + most], &bytes[b..b + most]);
    let mut done = 0;
    while done + 8 <= most {
        let difference = long(left, done) ^ long(right, done);
        if difference != 0 {
            return done + (difference.trailing_zeros() / 8) as usize;
        }
        done += 8;
    }
    while done < most && left[done] == right[done] {
        done += 1;
    }
    done
}

/// Makes a zeroed table on the heap, with a length that the compiler knows.
#[expect(clippy::unnecessary_box_returns, reason = "the tables are far too large for the stack")]
pub(crate) fn table<T: Clone + Default, const N: usize>() -> Box<[T; N]> {
    vec![T::default(); N]
        .into_boxed_slice()
        .try_into()
        .unwrap_or_else(|_| unreachable!("made with that length"))
}
