//! The 64 KiB sliding buffer and hash chains shared by all lazy matchers.
//!
//! zlib, Go and klauspost's upper levels keep the same furniture: a buffer twice the window that
//! drops its lower half when the parse comes near its end, a table of newest positions by hash,
//! and for each position the one before it with the same hash; here the four before it, as a
//! walk along single links spends its time waiting for the next one. Positions are buffer
//! indices plus one in 16 bits, zero meaning none: the tables stay small enough for the cache, at
//! the price of lowering every entry at each slide (about 3 % of the time). What is visible in the output,
//! that a candidate must still lie in the buffer, is kept exactly. Never searches.

use crate::alphabet::MAX_COPY;

/// Bytes the buffer holds.
pub(crate) const BUFFER_BYTES: usize = 65_536;
/// Bytes dropped at a slide, and the farthest distance.
pub(crate) const HALF_BYTES: usize = 32_768;
/// Bytes that every lazy matcher wants ahead unless the data ends.
pub(crate) const LOOKAHEAD_BYTES: usize = 262;
/// Scratch behind the buffer, so that wide reads stay inside.
const PAD_BYTES: usize = 512;
/// Zeros that [`SearchWindow::put_zeros`] may write behind the data.
const ZEROS_BYTES: usize = 8;

/// The buffer. An index in 16 bits and an offset in eight lie inside by their types alone, which
/// spares the search its checks.
pub(crate) type WindowBuffer = [u8; BUFFER_BYTES + PAD_BYTES];

/// Buffer, heads and chains; `HEADS` hash values at most.
pub(crate) struct SearchWindow<const HEADS: usize> {
    bytes: Box<WindowBuffer>,
    /// Bytes in the buffer.
    pub(crate) end: usize,
    heads: Box<[u16; HEADS]>,
    /// Hash values in use: the first so many.
    used_heads: usize,
    /// Bytes dropped at a slide; the buffer is used up to twice as many.
    half: usize,
    chain: Box<[[u16; LINKS]; HALF_BYTES]>,
    /// The buffer was slid: what was inserted can no longer be told from its bytes.
    is_worn: bool,
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
            is_worn: false,
        }
    }

    /// Makes the window smaller than usual; a power of two.
    pub(crate) fn with_half(mut self, half: usize) -> Self {
        self.half = half.min(HALF_BYTES);
        self
    }

    /// Returns whether no more bytes fit.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.end == 2 * self.half
    }

    /// Forgets everything. `hash` is what positions were inserted by, from the word there.
    ///
    /// Takes time in proportion to what the buffer held: archives have members by the thousand,
    /// most of them small beside the tables. Links need no clearing, as they are only followed
    /// from heads, and every position writes its own before a head leads to it.
    pub(crate) fn reset(&mut self, hash: impl Fn(u32) -> usize) {
        if self.is_worn || self.end > self.used_heads / 4 {
            self.bytes.fill(0);
            self.heads[..self.used_heads].fill(0);
        } else {
            for index in 0..self.end {
                self.heads[hash(self.word(index)) % HEADS] = 0;
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

    /// Takes as many bytes of `plain` as fit; returns how many.
    pub(crate) fn fill(&mut self, plain: &[u8]) -> usize {
        let count = plain.len().min(2 * self.half - self.end);
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
        let half = self.half;
        self.bytes.copy_within(half..2 * half, 0);
        self.end -= half;
        // Two loops, not one over both: only so are they vectorised.
        lower(&mut self.heads[..self.used_heads], half as u16);
        lower(self.chain.as_flattened_mut(), half as u16);
    }

    /// Returns where the links of a position are: the same place before and after a slide.
    #[inline]
    fn slot(&self, index: usize) -> usize {
        (index & (self.half - 1)) % HALF_BYTES
    }

    /// Makes `index` the newest position of `hash`; returns the one that was, plus one.
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

    /// Makes each position from `start` to before `end` the newest of its hash.
    #[inline]
    pub(crate) fn insert_all(&mut self, start: usize, end: usize, hash: impl Fn(u32) -> usize) {
        for index in start..end {
            let word = word(&self.bytes[..], usize::from(index as u16));
            self.insert(hash(word), index);
        }
    }

    /// Shows `look` the position before `newest` (a position plus one, not zero) and the older
    /// ones with the same hash, the newest first, as long as they are not before `lowest`, until
    /// `tries` were looked at or it has seen enough.
    #[inline]
    pub(crate) fn walk(
        &self,
        newest: usize,
        lowest: usize,
        mut tries: u32,
        mut look: impl FnMut(u16) -> StopSearch,
    ) {
        let mut candidate = (newest - 1) as u16;
        if look(candidate).0 {
            return;
        }
        // The farthest position of all has lost its links to the one that is searched for.
        while usize::from(candidate) != lowest {
            for older in self.chain[self.slot(usize::from(candidate))] {
                tries -= 1;
                if usize::from(older) <= lowest || tries == 0 {
                    return;
                }
                candidate = older - 1;
                if look(candidate).0 {
                    return;
                }
            }
        }
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

/// Whether a search may end.
pub(crate) struct StopSearch(pub(crate) bool);

/// Positions before it that each one knows. With one link, a walk waits for the cache at every
/// step, half the time of a search; four answer at once.
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

/// Returns how many bytes at `a` and `b` agree, at most 258. Looks behind the data as well.
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
