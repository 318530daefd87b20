//! Finds earlier places with the same bytes, as liblzma does: by chains or by binary trees.
//! Never decides which match is taken.
//!
//! Three tables by hash give the last place with the same two, three or four bytes. From the last
//! one a chain or a tree leads to older places. Which places are found depends on the order and
//! depth of that walk, so both are part of the model.

use super::settings::Finder;

/// An earlier place with the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) len: usize,
    /// Distance to the place, less one.
    pub(super) distance: u32,
}

/// Tables of earlier places.
pub(super) struct PlaceIndex {
    finder: Finder,
    nice_len: usize,
    depth: u32,
    /// Number of places that are known: the window and one more.
    cyclic: u32,
    /// Slot of the next place.
    cyclic_at: u32,
    pairs: Vec<u32>,
    triples: Vec<u32>,
    heads: Vec<u32>,
    /// A link for each place in a chain; two in a tree. They grow with the stream, up to the window:
    /// a short block must not cost what a long one does.
    links: Vec<u32>,
    /// Place of the buffer's first byte. The first place of a stream is `cyclic`, so that 0 is
    /// always too far away.
    shift: u32,
}

impl PlaceIndex {
    /// Makes empty tables.
    pub(super) fn new(finder: Finder, window: u32, nice_len: usize, depth: u32) -> Self {
        let cyclic = window + 1;
        let (pairs, triples) = match finder {
            Finder::Tree2 => (0, 0),
            Finder::Chain3 | Finder::Tree3 => (1 << PAIR_BITS, 0),
            Finder::Chain4 | Finder::Tree4 => (1 << PAIR_BITS, 1 << TRIPLE_BITS),
        };
        Self {
            finder,
            nice_len,
            depth,
            cyclic,
            cyclic_at: 0,
            pairs: vec![0; pairs],
            triples: vec![0; triples],
            heads: vec![0; head_mask(finder, window) as usize + 1],
            links: Vec::new(),
            shift: cyclic,
        }
    }

    /// Forgets that the buffer's first `count` bytes were in it.
    pub(super) fn slide(&mut self, count: usize) {
        self.shift += count as u32;
    }

    /// Adds the place `at`, and puts matches there into `found`, each longer than the one before.
    ///
    /// Near the end of the stream, where fewer bytes are left than are hashed, it does nothing.
    #[inline]
    pub(super) fn find(&mut self, buffer: &[u8], at: usize, found: &mut Vec<Match>) {
        found.clear();
        self.add::<true>(buffer, at, found);
    }

    /// Adds the place `at`.
    #[inline]
    pub(super) fn skip(&mut self, buffer: &[u8], at: usize, unused: &mut Vec<Match>) {
        self.add::<false>(buffer, at, unused);
    }

    #[inline]
    fn add<const FINDS: bool>(&mut self, buffer: &[u8], at: usize, found: &mut Vec<Match>) {
        let limit = (buffer.len() - at).min(self.nice_len);
        if limit < self.finder.hashed_bytes() {
            return;
        }
        self.make_room();
        let place = self.shift + at as u32;
        let mut best = 1;
        let head;
        if self.finder == Finder::Tree2 {
            let key = usize::from(u16::from_le_bytes([buffer[at], buffer[at + 1]]));
            head = std::mem::replace(&mut self.heads[key], place);
        } else {
            let mixed = HASH[usize::from(buffer[at])] ^ u32::from(buffer[at + 1]);
            let pair = (mixed & ((1 << PAIR_BITS) - 1)) as usize;
            let with_third = mixed ^ u32::from(buffer[at + 2]) << 8;
            let mask = self.heads.len() - 1;
            let last_pair = std::mem::replace(&mut self.pairs[pair], place);
            let mut last_triple = None;
            if self.triples.is_empty() {
                head = std::mem::replace(&mut self.heads[with_third as usize & mask], place);
            } else {
                let triple = (with_third & ((1 << TRIPLE_BITS) - 1)) as usize;
                let key = (with_third ^ HASH[usize::from(buffer[at + 3])] << 5) as usize & mask;
                last_triple = Some(std::mem::replace(&mut self.triples[triple], place));
                head = std::mem::replace(&mut self.heads[key], place);
            }
            if FINDS {
                best = self.recent(buffer, at, place, (last_pair, last_triple), limit, found);
                if best == limit {
                    // The longest possible match is there: the place is added, no more.
                    if self.finder.is_tree() {
                        self.walk_tree::<false>(buffer, at, head, (limit, best), found);
                    } else {
                        self.links[self.cyclic_at as usize] = head;
                    }
                    self.step();
                    return;
                }
            }
        }
        if self.finder.is_tree() {
            self.walk_tree::<FINDS>(buffer, at, head, (limit, best), found);
        } else {
            self.links[self.cyclic_at as usize] = head;
            if FINDS {
                self.walk_chain(buffer, at, head, (limit, best), found);
            }
        }
        self.step();
    }

    /// Looks at the last places with the same two and three bytes; returns the best length.
    #[inline]
    fn recent(
        &self,
        buffer: &[u8],
        at: usize,
        place: u32,
        (pair, triple): (u32, Option<u32>),
        limit: usize,
        found: &mut Vec<Match>,
    ) -> usize {
        let is_near = |delta: u32| delta < self.cyclic && buffer[at - delta as usize] == buffer[at];
        let mut delta = place - pair;
        let mut best = 1;
        let Some(triple) = triple else {
            best = 2;
            if is_near(delta) {
                best = common(buffer, at - delta as usize, at, 2, limit);
                found.push(Match { len: best, distance: delta - 1 });
            }
            return best;
        };
        if is_near(delta) {
            best = 2;
            found.push(Match { len: 2, distance: delta - 1 });
        }
        let of_triple = place - triple;
        if of_triple != delta && is_near(of_triple) {
            best = 3;
            found.push(Match { len: 3, distance: of_triple - 1 });
            delta = of_triple;
        }
        if let Some(last) = found.last_mut() {
            best = common(buffer, at - delta as usize, at, best, limit);
            last.len = best;
            if best == limit {
                return best;
            }
        }
        best.max(3)
    }

    /// Makes room for the links of the next place.
    #[inline]
    fn make_room(&mut self) {
        let per_place = if self.finder.is_tree() { 2 } else { 1 };
        let needed = (self.cyclic_at as usize + 1) * per_place;
        if self.links.len() < needed {
            let most = self.cyclic as usize * per_place;
            self.links.resize((needed * 2).max(LEAST_LINKS).min(most), 0);
        }
    }

    #[inline]
    fn step(&mut self) {
        self.cyclic_at += 1;
        if self.cyclic_at == self.cyclic {
            self.cyclic_at = 0;
        }
    }

    /// Slot of the place `delta` before the current one.
    #[inline]
    fn slot(&self, delta: u32) -> usize {
        let wrapped = if delta > self.cyclic_at { self.cyclic } else { 0 };
        (self.cyclic_at + wrapped - delta) as usize
    }

    fn walk_chain(
        &self,
        buffer: &[u8],
        at: usize,
        mut candidate: u32,
        (limit, mut best): (usize, usize),
        found: &mut Vec<Match>,
    ) {
        let place = self.shift + at as u32;
        let current = &buffer[at..at + limit];
        for _ in 0..self.depth {
            let delta = place - candidate;
            if delta >= self.cyclic {
                return;
            }
            let start = at - delta as usize;
            let other = &buffer[start..start + limit];
            candidate = self.links[self.slot(delta)];
            if other[best] == current[best] && other[0] == current[0] {
                let len = common_of(other, current, 1);
                if len > best {
                    best = len;
                    found.push(Match { len, distance: delta - 1 });
                    if len == limit {
                        return;
                    }
                }
            }
        }
    }

    /// Makes the place the root of the tree, and splits the older ones into its two branches.
    fn walk_tree<const FINDS: bool>(
        &mut self,
        buffer: &[u8],
        at: usize,
        mut candidate: u32,
        (limit, mut best): (usize, usize),
        found: &mut Vec<Match>,
    ) {
        let place = self.shift + at as u32;
        let current = &buffer[at..at + limit];
        // Ends of the branches with smaller and with larger strings.
        let mut smaller = self.cyclic_at as usize * 2;
        let mut larger = smaller + 1;
        let (mut smaller_len, mut larger_len) = (0, 0);
        for _ in 0..self.depth {
            let delta = place - candidate;
            if delta >= self.cyclic {
                break;
            }
            let node = self.slot(delta) * 2;
            let start = at - delta as usize;
            let other = &buffer[start..start + limit];
            let mut len = usize::min(smaller_len, larger_len);
            if other[len] == current[len] {
                len = common_of(other, current, len + 1);
                if FINDS && len > best {
                    best = len;
                    found.push(Match { len, distance: delta - 1 });
                }
                if len == limit {
                    self.links[smaller] = self.links[node];
                    self.links[larger] = self.links[node + 1];
                    return;
                }
            }
            if other[len] < current[len] {
                self.links[smaller] = candidate;
                smaller = node + 1;
                candidate = self.links[smaller];
                smaller_len = len;
            } else {
                self.links[larger] = candidate;
                larger = node;
                candidate = self.links[larger];
                larger_len = len;
            }
        }
        self.links[smaller] = 0;
        self.links[larger] = 0;
    }
}

/// Returns how many bytes from two places on are equal, up to `limit`; the first `len` are.
#[inline]
pub(super) fn common(buffer: &[u8], one: usize, other: usize, len: usize, limit: usize) -> usize {
    common_of(&buffer[one..one + limit], &buffer[other..other + limit], len)
}

/// Returns how many bytes at the start of two slices of one length are equal; the first `len` are.
#[inline]
fn common_of(one: &[u8], other: &[u8], mut len: usize) -> usize {
    let limit = one.len().min(other.len());
    while let (Some(left), Some(right)) =
        (one[len..].first_chunk::<8>(), other[len..].first_chunk::<8>())
    {
        let difference = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if difference != 0 {
            return len + difference.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    while len < limit && one[len] == other[len] {
        len += 1;
    }
    len
}

/// Mask of the table of heads: it grows with the window, up to a limit.
fn head_mask(finder: Finder, window: u32) -> u32 {
    if finder == Finder::Tree2 {
        return 0xffff;
    }
    // The next 2^n - 1 of the window, halved.
    let halved = ((u64::from(window).next_power_of_two() - 1) as u32 >> 1) | 0xffff;
    match halved > 1 << 24 {
        true if finder.hashed_bytes() == 3 => (1 << 24) - 1,
        true => halved >> 1,
        false => halved,
    }
}

/// Links that are made at first.
const LEAST_LINKS: usize = 1 << 14;
/// Bits of the table by two bytes.
const PAIR_BITS: u32 = 10;
/// Bits of the table by three bytes.
const TRIPLE_BITS: u32 = 16;

/// The table of CRC-32, by which bytes are mixed.
static HASH: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ if value & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};
