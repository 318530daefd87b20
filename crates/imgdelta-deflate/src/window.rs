//! The 64 KiB sliding buffer and hash chains shared by all lazy matchers.
//!
//! zlib, Go and klauspost's upper levels keep the same furniture: a buffer twice the window that
//! drops its lower half when the parse comes near its end, a table of newest positions by hash,
//! and for each position the one before it with the same hash. Positions are buffer indices plus
//! one in 16 bits, zero meaning none: the tables stay small enough for the cache, at the price
//! of lowering every entry at each slide (about 2 % of the time). What is visible in the output,
//! that a candidate must still lie in the buffer, is kept exactly. Never searches.

/// Bytes the buffer holds.
pub(crate) const BUFFER_BYTES: usize = 65_536;
/// Bytes dropped at a slide, and the farthest distance.
pub(crate) const HALF_BYTES: usize = 32_768;
/// Bytes that every lazy matcher wants ahead unless the data ends.
pub(crate) const LOOKAHEAD_BYTES: usize = 262;
/// Scratch behind the buffer, so that wide reads stay inside.
const PAD_BYTES: usize = 512;
/// Zeros that [`Window::put_zeros`] may write behind the data.
const ZEROS_BYTES: usize = 8;

/// Buffer, heads and chains.
pub(crate) struct Window {
    bytes: Box<[u8]>,
    /// Bytes in the buffer.
    pub(crate) end: usize,
    heads: Box<[u16]>,
    chain: Box<[u16; HALF_BYTES]>,
    /// The buffer was slid: what was inserted can no longer be told from its bytes.
    is_worn: bool,
}

impl Window {
    /// Makes an empty window with `heads` hash values.
    pub(crate) fn new(heads: usize) -> Self {
        Self {
            bytes: vec![0; BUFFER_BYTES + PAD_BYTES].into_boxed_slice(),
            end: 0,
            heads: vec![0; heads].into_boxed_slice(),
            chain: table(),
            is_worn: false,
        }
    }

    /// Forgets everything. `hash` is what positions were inserted by, from the word there.
    ///
    /// Takes time in proportion to what the buffer held: archives have members by the thousand,
    /// most of them small beside the tables. Links need no clearing, as they are only followed
    /// from heads, and every position writes its own before a head leads to it.
    pub(crate) fn reset(&mut self, hash: impl Fn(u32) -> usize) {
        if self.is_worn || self.end > self.heads.len() / 4 {
            self.bytes.fill(0);
            self.heads.fill(0);
        } else {
            for index in 0..self.end {
                self.heads[hash(self.word(index))] = 0;
            }
            self.bytes[..self.end + ZEROS_BYTES].fill(0);
        }
        self.end = 0;
        self.is_worn = false;
    }

    /// Makes the window of a stream's middle: `plain` starts at [`base_of`] the position that is
    /// parsed next, which is `index` from there. Nothing is indexed yet.
    ///
    /// `has_slid` unless the base is the stream's start: then the upper half holds what the slide
    /// left there, which GNU gzip's comparisons run into behind the end of the data.
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
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(crate) fn byte(&self, index: usize) -> u8 {
        self.bytes[index]
    }

    #[inline]
    pub(crate) fn word(&self, index: usize) -> u32 {
        word(&self.bytes, index)
    }

    /// Takes as many bytes of `plain` as fit; returns how many.
    pub(crate) fn fill(&mut self, plain: &[u8]) -> usize {
        let count = plain.len().min(BUFFER_BYTES - self.end);
        self.bytes[self.end..self.end + count].copy_from_slice(&plain[..count]);
        self.end += count;
        count
    }

    /// Writes zeros behind the data, without making them data.
    pub(crate) fn put_zeros(&mut self, count: usize) {
        debug_assert!(count <= ZEROS_BYTES);
        self.bytes[self.end..self.end + count].fill(0);
    }

    /// Drops the lower half; positions in it become none.
    pub(crate) fn slide(&mut self) {
        self.is_worn = true;
        self.bytes.copy_within(HALF_BYTES..BUFFER_BYTES, 0);
        self.end -= HALF_BYTES;
        // Two loops, not one over both: only so are they vectorised.
        lower(&mut self.heads);
        lower(&mut self.chain[..]);
    }

    /// Makes `index` the newest position of `hash`; returns the one that was, plus one.
    #[inline]
    pub(crate) fn insert(&mut self, hash: usize, index: usize) -> usize {
        let head = &mut self.heads[hash];
        let before = *head;
        self.chain[index % HALF_BYTES] = before;
        *head = (index + 1) as u16;
        usize::from(before)
    }

    /// Returns the newest position of `hash`, plus one.
    #[inline]
    pub(crate) fn newest(&self, hash: usize) -> usize {
        usize::from(self.heads[hash])
    }

    /// Returns the position before `index` with the same hash, plus one.
    #[inline]
    pub(crate) fn older(&self, index: usize) -> usize {
        usize::from(self.chain[index % HALF_BYTES])
    }
}

/// Returns where in the stream the buffer starts when `position` is parsed.
///
/// The buffer is filled before it is parsed, parsed until less than [`LOOKAHEAD_BYTES`] are ahead,
/// and then slides: so the slides lie at places that do not depend on the parse.
pub(crate) fn base_of(position: u64) -> u64 {
    let reach = (BUFFER_BYTES - LOOKAHEAD_BYTES) as u64;
    position.saturating_sub(reach).next_multiple_of(HALF_BYTES as u64)
}

fn lower(entries: &mut [u16]) {
    for entry in entries {
        *entry = entry.saturating_sub(HALF_BYTES as u16);
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

/// Returns how many bytes at `a` and `b` agree, at most `most`; `a + most` and `b + most` must
/// lie in `bytes`.
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

/// Makes a zeroed table on the heap, whose length the compiler knows.
#[expect(clippy::unnecessary_box_returns, reason = "the tables are far too large for the stack")]
pub(crate) fn table<T: Clone + Default, const N: usize>() -> Box<[T; N]> {
    vec![T::default(); N]
        .into_boxed_slice()
        .try_into()
        .unwrap_or_else(|_| unreachable!("made with that length"))
}
