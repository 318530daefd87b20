//! klauspost's levels 5 and 6: a table by four bytes, and one by seven bytes with two positions.
//!
//! Level 5 is the default of pgzip, and so of podman, buildah, skopeo and umoci. Level 6 is the
//! default of Go from 1.27 on. It also tries the last distance, and tries more around the end of a
//! copy. Cost: 60 to 150 MB/s. Never follows chains.

use super::chunk::{
    Chunk, ChunkMatch, MIN_CHUNK_BYTES, NEAR, PositionPair, TokenEmitter, hash4, hash7,
};
use crate::alphabet::MAX_COPY;
use crate::token::Token;
use crate::window::table;

const BITS: u32 = 15;
const ENTRIES: usize = 1 << BITS;
/// Length below which level 5 tries a longer copy around the end of a copy.
const SHORT_COPY: usize = 30;

/// The parser of level 5, or of level 6 if `SIX` is true.
pub(super) struct Level5Parser<const SIX: bool> {
    short: Box<[u32; ENTRIES]>,
    long: Box<[PositionPair; ENTRIES]>,
}

impl<const SIX: bool> Level5Parser<SIX> {
    pub(super) fn new() -> Self {
        Self { short: table(), long: table() }
    }

    pub(super) fn lower(&mut self, down: u32) {
        for entry in &mut self.short[..] {
            *entry = entry.saturating_sub(down);
        }
        self.long.iter_mut().for_each(|pair| pair.lower(down));
    }

    #[inline]
    fn set_short(&mut self, position: u32, bytes: u64) {
        self.short[hash4::<BITS>(bytes) % ENTRIES] = position;
    }

    #[inline]
    fn push_long(&mut self, position: u32, bytes: u64) -> PositionPair {
        let slot = &mut self.long[hash7::<BITS>(bytes) % ENTRIES];
        let old = *slot;
        slot.push(position);
        old
    }

    /// Indexes a position in both tables. Returns the old entry of the long table.
    #[inline]
    fn index(&mut self, chunk: &Chunk<'_>, at: usize) -> PositionPair {
        let bytes = chunk.long(at);
        self.set_short(chunk.position(at), bytes);
        self.push_long(chunk.position(at), bytes)
    }

    pub(super) fn parse(&mut self, chunk: Chunk<'_>, tokens: &mut Vec<Token>) {
        if chunk.end() - chunk.start < MIN_CHUNK_BYTES {
            return;
        }
        let limit = chunk.limit();
        let mut out = TokenEmitter::new(chunk, tokens);
        let mut next = chunk.start;
        let mut repeat = 1;
        while let Some(mut found) = self.search(&chunk, &mut next, out.emitted, repeat, limit) {
            if found.length == 0 || found.length == MAX_COPY {
                found.length = chunk.common(found.at, found.from);
            }
            self.improve_end(&chunk, &mut found, limit);
            let done = out.copy(found);
            repeat = done.at - done.from;
            let mut at = out.emitted;
            if next >= at {
                at = next + 1;
            }
            if at >= limit {
                if SIX {
                    let mut inside = next + 1;
                    while inside + 8 < chunk.end() {
                        self.index(&chunk, inside);
                        inside += 2;
                    }
                }
                break;
            }
            self.index_inside(&chunk, at, done.length, next);
            next = at;
        }
        out.finish();
    }

    /// Finds the next copy. A length of 0 is not measured yet.
    #[inline]
    fn search(
        &mut self,
        chunk: &Chunk<'_>,
        next: &mut usize,
        emitted: usize,
        repeat: usize,
        limit: usize,
    ) -> Option<ChunkMatch> {
        loop {
            let at = *next;
            *next = at + 1 + ((at - emitted) >> if SIX { 7 } else { 6 });
            if *next > limit {
                return None;
            }
            let bytes = chunk.long(at);
            let position = chunk.position(at);
            let slot = &mut self.short[hash4::<BITS>(bytes) % ENTRIES];
            let short = std::mem::replace(slot, position);
            let long = self.push_long(position, bytes);
            // One branch for all three candidates.
            let (newest, has_newest) = chunk.candidate(long.newest, at, NEAR);
            let (before, has_before) = chunk.candidate(long.before, at, NEAR);
            let (from, has_short) = chunk.candidate(short, at, NEAR);
            if !(has_newest | has_before | has_short) {
                continue;
            }
            let ahead = self.index(chunk, *next);
            if has_newest && has_before {
                let length = chunk.common_258(at, newest);
                let other = chunk.common_258(at, before);
                return Some(if other > length {
                    ChunkMatch { at, from: before, length: other }
                } else {
                    ChunkMatch { at, from: newest, length }
                });
            }
            if has_newest | has_before {
                let from = if has_newest { newest } else { before };
                return Some(ChunkMatch { at, from, length: 0 });
            }
            let found = ChunkMatch { at, from, length: chunk.common_258(at, from) };
            return Some(look_ahead::<SIX>(chunk, found, *next, ahead, repeat));
        }
    }

    /// Tries a copy that ends later, by the bytes behind the end of this one.
    #[inline]
    fn improve_end(&self, chunk: &Chunk<'_>, found: &mut ChunkMatch, limit: usize) {
        let end = found.at + found.length;
        if end >= limit || !SIX && found.length >= SHORT_COPY {
            return;
        }
        let known = self.long[hash7::<BITS>(chunk.long(end)) % ENTRIES];
        let at = found.at + 2;
        // Returns true if the distance is in reach, and the start of the copy if it is usable.
        let start = |position: u32, length: usize| {
            let from = i64::from(position) - i64::from(chunk.base) - length as i64 + 2;
            let distance = at as i64 - from;
            let usable = from >= 0 && distance > 0 && distance <= i64::from(NEAR);
            (distance <= i64::from(NEAR), usable.then_some(from as usize))
        };
        let try_at = |from: Option<usize>, found: &mut ChunkMatch| {
            if let Some(from) = from {
                let length = chunk.common(at, from);
                if length > found.length {
                    *found = ChunkMatch { at, from, length };
                }
            }
        };
        let (near, from) = start(known.newest, found.length);
        try_at(from, found);
        if SIX && near {
            let (_, from) = start(known.before, found.length);
            try_at(from, found);
        }
    }

    #[inline]
    fn index_inside(&mut self, chunk: &Chunk<'_>, at: usize, length: usize, next: usize) {
        if SIX {
            let mut inside = next + 1;
            while inside + 1 < at {
                self.index(chunk, inside);
                self.push_long(chunk.position(inside + 1), chunk.long(inside + 1));
                inside += 2;
            }
            return;
        }
        let mut inside = at - length + 1;
        if inside + 1 < at {
            self.index(chunk, inside);
            self.push_long(chunk.position(inside + 1), chunk.long(inside + 1));
            self.set_short(chunk.position(inside + 2), chunk.long(inside + 2));
            inside += 4;
            while inside + 1 < at {
                self.push_long(chunk.position(inside), chunk.long(inside));
                self.set_short(chunk.position(inside + 1), chunk.long(inside + 1));
                inside += 3;
            }
        }
        self.index(chunk, at - 1);
    }
}

/// Prefers a longer copy that starts a little later.
#[inline]
fn look_ahead<const SIX: bool>(
    chunk: &Chunk<'_>,
    mut found: ChunkMatch,
    next: usize,
    ahead: PositionPair,
    repeat: usize,
) -> ChunkMatch {
    if SIX {
        let at = found.at + 1;
        let from = at - repeat;
        if chunk.long(from) as u32 == chunk.long(at) as u32 {
            let length = chunk.common_258(at, from);
            if length > found.length {
                return ChunkMatch { at, from, length };
            }
        }
    }
    if chunk.position(next).wrapping_sub(ahead.newest) > NEAR {
        return found;
    }
    for candidate in [ahead.newest, ahead.before] {
        if let Some(from) = chunk.matches(candidate, next, NEAR) {
            let length = chunk.common_258(next, from);
            if length > found.length {
                found = ChunkMatch { at: next, from, length };
                if !SIX {
                    break;
                }
            }
        }
    }
    found
}
