//! The parser of the presets 0 to 3: the best match, unless the next byte has a better one.
//! Never knows a price.

use super::{
    finder::Match,
    lookahead::Lookahead,
    symbols::{Symbol, SymbolWriter},
};
use crate::state::{MAX_MATCH, REPEATS};

/// Looks one byte ahead, and keeps the matches that it found there.
#[derive(Default)]
pub(super) struct FastParser {
    found: Vec<Match>,
    longest: usize,
}

impl FastParser {
    /// Chooses the next symbol.
    pub(super) fn next(&mut self, source: &mut Lookahead, writer: &SymbolWriter) -> Symbol {
        if source.ahead == 0 {
            self.longest = source.find(&mut self.found);
        }
        let mut longest = self.longest;
        let at = source.next();
        let limit = (source.left() + 1).min(MAX_MATCH);
        if limit < 2 {
            return Symbol::Literal;
        }
        let (mut repeated, mut age) = (0, 0);
        for (candidate, &distance) in writer.distances.iter().enumerate() {
            let len = source.repeated(at, distance, limit);
            if len >= 2 && len >= source.nice_len {
                source.skip(len - 1);
                return Symbol::Repeat(candidate, len);
            }
            if len > repeated {
                (repeated, age) = (len, candidate);
            }
        }
        if longest >= source.nice_len {
            source.skip(longest - 1);
            return Symbol::Match(self.found[self.found.len() - 1].distance, longest);
        }
        let mut distance = 0;
        if longest >= 2 {
            let mut count = self.found.len();
            distance = self.found[count - 1].distance;
            // A match that is shorter by one and much nearer is better.
            while count > 1 && longest == self.found[count - 2].len + 1 {
                if !is_much_nearer(self.found[count - 2].distance, distance) {
                    break;
                }
                count -= 1;
                longest = self.found[count - 1].len;
                distance = self.found[count - 1].distance;
            }
            if longest == 2 && distance >= 0x80 {
                longest = 1;
            }
        }
        let is_repeat_better = repeated + 1 >= longest
            || (repeated + 2 >= longest && distance > 1 << 9)
            || (repeated + 3 >= longest && distance > 1 << 15);
        if repeated >= 2 && is_repeat_better {
            source.skip(repeated - 1);
            return Symbol::Repeat(age, repeated);
        }
        if longest < 2 || limit <= 2 {
            return Symbol::Literal;
        }
        self.longest = source.find(&mut self.found);
        if self.longest >= 2 {
            let next = self.found[self.found.len() - 1].distance;
            let is_next_better = (self.longest >= longest && next < distance)
                || (self.longest == longest + 1 && !is_much_nearer(distance, next))
                || self.longest > longest + 1
                || (self.longest + 1 >= longest && longest >= 3 && is_much_nearer(next, distance));
            if is_next_better {
                return Symbol::Literal;
            }
        }
        let (at, wanted) = (at + 1, (longest - 1).max(2));
        for age in 0..REPEATS {
            let start = at - writer.distances[age] as usize - 1;
            let bytes = &source.buffer;
            // Near the end the comparison stops where the stream does, and cannot succeed.
            if bytes.get(at..at + wanted).is_some_and(|next| next == &bytes[start..start + wanted])
            {
                return Symbol::Literal;
            }
        }
        source.skip(longest - 2);
        Symbol::Match(distance, longest)
    }
}

/// True if the first distance is so much smaller that it makes up for a byte.
fn is_much_nearer(near: u32, far: u32) -> bool {
    far >> 7 > near
}
