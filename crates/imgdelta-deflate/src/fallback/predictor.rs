//! Predicts the next token and codes the error of the prediction.
//!
//! The context of each choice is the longest copy at this byte and at the next one. Adaptive
//! probabilities learn the encoder's choices, so that greedy and lazy encoders both get short
//! records. A distance is coded as the number of nearer candidates of sufficient length.
//! Never predicts from a guess: the history has the real tokens.

use super::coder::{BitCoder, BitProbability, NumberModel};
use super::history::{CopyOption, MatchHistory, NONE};
use crate::token::Token;

/// The assumed search of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SearchProfile {
    pub(super) tries: u16,
    pub(super) nice: u16,
    /// Length up to which all positions of a copy are indexed.
    pub(super) inside: u16,
    /// True if the last position of a longer copy is indexed.
    pub(super) last: bool,
}

/// The profiles that are tried: fast, middle and slow levels of most encoders, then levels 2 to 6 of
/// zlib-ng. Records have the index of a profile, so new ones go to the end.
pub(super) const SEARCH_PROFILES: [SearchProfile; 13] = [
    profile(1, 258, 0),
    profile(4, 32, 0),
    profile(2, 32, ALL),
    profile(8, 16, ALL),
    profile(16, 65, ALL),
    profile(35, 130, ALL),
    profile(128, 258, ALL),
    profile(1024, 258, ALL),
    SearchProfile { last: true, ..profile(4, 8, 4) },
    SearchProfile { last: true, ..profile(6, 16, 96) },
    SearchProfile { last: true, ..profile(24, 32, 192) },
    SearchProfile { last: true, ..profile(32, 32, 256) },
    SearchProfile { last: true, ..profile(128, 128, 256) },
];

/// Length of the longest copy.
const ALL: u16 = 258;

const fn profile(tries: u16, nice: u16, inside: u16) -> SearchProfile {
    SearchProfile { tries, nice, inside, last: false }
}

const LENGTHS: usize = 16;
const RELATIONS: usize = 6;
const DISTANCES: usize = 4;

/// The adaptive probabilities for tokens.
pub(super) struct TokenPredictor {
    profile: SearchProfile,
    is_copy: Box<[[[[BitProbability; 2]; DISTANCES]; RELATIONS]; LENGTHS]>,
    is_longest: [[BitProbability; 2]; LENGTHS],
    shorter: [BitProbability; 256],
    is_long_form: BitProbability,
    is_nearest: [[BitProbability; 2]; LENGTHS],
    is_ranked: BitProbability,
    rank: NumberModel,
    distance: NumberModel,
    last_was_copy: bool,
    /// The longest copy at the next byte. `None` if it was not searched.
    next: Option<CopyOption>,
}

/// The record contradicts the plain bytes.
pub(super) struct RecordMismatch;

impl TokenPredictor {
    pub(super) fn new(profile: SearchProfile) -> Self {
        Self {
            profile,
            is_copy: Box::new([[[[BitProbability::EVEN; 2]; DISTANCES]; RELATIONS]; LENGTHS]),
            is_longest: [[BitProbability::EVEN; 2]; LENGTHS],
            shorter: [BitProbability::EVEN; 256],
            is_long_form: BitProbability::EVEN,
            is_nearest: [[BitProbability::EVEN; 2]; LENGTHS],
            is_ranked: BitProbability::EVEN,
            rank: NumberModel::new(),
            distance: NumberModel::new(),
            last_was_copy: false,
            next: None,
        }
    }

    /// Drops the searched copy, because the history advances without tokens.
    pub(super) fn jump(&mut self) {
        self.next = None;
    }

    /// Codes one token and advances behind it. A decoder ignores `wanted`.
    pub(super) fn token<C: BitCoder>(
        &mut self,
        coder: &mut C,
        history: &mut MatchHistory,
        wanted: Token,
    ) -> Result<Token, RecordMismatch> {
        if history.ahead() == 0 {
            return Err(RecordMismatch);
        }
        let (tries, nice) = (usize::from(self.profile.tries), usize::from(self.profile.nice));
        let here = match self.next.take() {
            Some(found) => found,
            None => history.best(0, tries, nice),
        };
        let next = if here == NONE { None } else { Some(history.best(1, tries, nice)) };
        let relation = relation(here, next);
        let bucket = length_bucket(here.length);
        let prob = &mut self.is_copy[bucket][relation][distance_bucket(here.distance)]
            [usize::from(self.last_was_copy)];
        if !coder.bit(prob, wanted.is_copy()) {
            let token = Token::literal(history.byte());
            self.last_was_copy = false;
            self.next = next;
            history.advance(1);
            return Ok(token);
        }
        self.last_was_copy = true;
        let token = self.copy(coder, history, wanted, here, relation)?;
        if token.length() > history.ahead() {
            return Err(RecordMismatch);
        }
        if token.length() <= usize::from(self.profile.inside) {
            history.advance(token.length());
        } else {
            history.skip(token.length(), self.profile.last);
        }
        Ok(token)
    }

    fn copy<C: BitCoder>(
        &mut self,
        coder: &mut C,
        history: &mut MatchHistory,
        wanted: Token,
        here: CopyOption,
        relation: usize,
    ) -> Result<Token, RecordMismatch> {
        let mut length = here.length;
        let bucket = length_bucket(here.length);
        let wider = usize::from(relation >= 3);
        let is_longest = here != NONE
            && coder.bit(&mut self.is_longest[bucket][wider], wanted.length() == length);
        if !is_longest {
            length = coder.tree(&mut self.shorter, wanted.length().wrapping_sub(3) & 255) + 3;
        }
        let is_long_form =
            length == 258 && coder.bit(&mut self.is_long_form, wanted.is_long_form());
        let nearest = match here.distance {
            distance if is_longest && here.is_nearest => Some(distance),
            _ => history.distance_at(length, 0),
        };
        let distance = self.distance(coder, history, wanted, (length, nearest), is_longest)?;
        Ok(if is_long_form {
            Token::copy_long_form(distance)
        } else {
            Token::copy(length, distance)
        })
    }

    fn distance<C: BitCoder>(
        &mut self,
        coder: &mut C,
        history: &mut MatchHistory,
        wanted: Token,
        (length, nearest): (usize, Option<usize>),
        is_longest: bool,
    ) -> Result<usize, RecordMismatch> {
        let bucket = length_bucket(length);
        if let Some(nearest) = nearest {
            let prob = &mut self.is_nearest[bucket][usize::from(is_longest)];
            if coder.bit(prob, wanted.distance() == nearest) {
                return Ok(nearest);
            }
        }
        // A decoder does this search for nothing: it ignores the rank.
        let rank = history.rank_of(length, wanted.distance());
        if coder.bit(&mut self.is_ranked, rank.is_some()) {
            let rank = coder.number(&mut self.rank, rank.unwrap_or(0));
            return history.distance_at(length, rank).ok_or(RecordMismatch);
        }
        let distance = coder.number(&mut self.distance, wanted.distance() as u32) as usize;
        if distance == 0 || distance > crate::alphabet::WINDOW_BYTES {
            return Err(RecordMismatch);
        }
        Ok(distance)
    }
}

fn length_bucket(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=8 => length - 2,
        9..=10 => 7,
        11..=12 => 8,
        13..=16 => 9,
        17..=24 => 10,
        25..=32 => 11,
        33..=64 => 12,
        65..=128 => 13,
        129..=257 => 14,
        _ => 15,
    }
}

fn distance_bucket(distance: usize) -> usize {
    match distance {
        0..=256 => 0,
        257..=4096 => 1,
        4097..=16384 => 2,
        _ => 3,
    }
}

fn relation(here: CopyOption, next: Option<CopyOption>) -> usize {
    match next {
        None => 0,
        Some(next) if next.length + 1 < here.length => 1,
        Some(next) if next.length < here.length => 2,
        Some(next) if next.length == here.length => 3,
        Some(next) if next.length == here.length + 1 => 4,
        Some(_) => 5,
    }
}
