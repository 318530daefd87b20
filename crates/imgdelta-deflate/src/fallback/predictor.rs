//! Predicts the next token and codes by how much it missed.
//!
//! What the encoder could have done here (the longest copy at this byte and at the next) is the
//! context in which its choice is coded; how it chooses is learnt on the way, so greedy and lazy
//! encoders both end up cheap. A distance is coded by how many nearer candidates would have
//! served. Never predicts from tokens that are not certain: the history is the true one.

use super::coder::{Coder, Number, Prob};
use super::history::{Found, History, NONE};
use crate::token::Token;

/// How the encoder is taken to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Habits {
    pub(super) tries: u16,
    pub(super) nice: u16,
    /// Copies up to this length have all their positions indexed.
    pub(super) inside: u16,
    /// Whether the last position of longer copies is indexed.
    pub(super) last: bool,
}

/// Habits that are tried: the fast, middle and slow levels of most encoders, then those of
/// zlib-ng's levels 2 to 6. Their numbers are in records: new ones go to the end.
pub(super) const HABITS: [Habits; 13] = [
    habits(1, 258, 0),
    habits(4, 32, 0),
    habits(2, 32, ALL),
    habits(8, 16, ALL),
    habits(16, 65, ALL),
    habits(35, 130, ALL),
    habits(128, 258, ALL),
    habits(1024, 258, ALL),
    Habits { last: true, ..habits(4, 8, 4) },
    Habits { last: true, ..habits(6, 16, 96) },
    Habits { last: true, ..habits(24, 32, 192) },
    Habits { last: true, ..habits(32, 32, 256) },
    Habits { last: true, ..habits(128, 128, 256) },
];

/// Every copy is as long as this at most.
const ALL: u16 = 258;

const fn habits(tries: u16, nice: u16, inside: u16) -> Habits {
    Habits { tries, nice, inside, last: false }
}

const LENGTHS: usize = 16;
const RELATIONS: usize = 6;
const DISTANCES: usize = 4;

/// The learnt behaviour.
pub(super) struct Predictor {
    habits: Habits,
    is_copy: Box<[[[[Prob; 2]; DISTANCES]; RELATIONS]; LENGTHS]>,
    is_longest: [[Prob; 2]; LENGTHS],
    shorter: [Prob; 256],
    is_long_way: Prob,
    is_nearest: [[Prob; 2]; LENGTHS],
    is_ranked: Prob,
    rank: Number,
    distance: Number,
    last_was_copy: bool,
    /// The longest copy at the next byte, if it was looked for.
    next: Option<Found>,
}

/// The side information contradicts the plain bytes.
pub(super) struct Contradiction;

impl Predictor {
    pub(super) fn new(habits: Habits) -> Self {
        Self {
            habits,
            is_copy: Box::new([[[[Prob::EVEN; 2]; DISTANCES]; RELATIONS]; LENGTHS]),
            is_longest: [[Prob::EVEN; 2]; LENGTHS],
            shorter: [Prob::EVEN; 256],
            is_long_way: Prob::EVEN,
            is_nearest: [[Prob::EVEN; 2]; LENGTHS],
            is_ranked: Prob::EVEN,
            rank: Number::new(),
            distance: Number::new(),
            last_was_copy: false,
            next: None,
        }
    }

    /// Forgets what was looked up; the history moved on by itself.
    pub(super) fn jump(&mut self) {
        self.next = None;
    }

    /// Codes one token and goes on behind it; when reading, `wanted` is ignored.
    pub(super) fn token<C: Coder>(
        &mut self,
        coder: &mut C,
        history: &mut History,
        wanted: Token,
    ) -> Result<Token, Contradiction> {
        if history.ahead() == 0 {
            return Err(Contradiction);
        }
        let (tries, nice) = (usize::from(self.habits.tries), usize::from(self.habits.nice));
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
            return Err(Contradiction);
        }
        if token.length() <= usize::from(self.habits.inside) {
            history.advance(token.length());
        } else {
            history.skip(token.length(), self.habits.last);
        }
        Ok(token)
    }

    fn copy<C: Coder>(
        &mut self,
        coder: &mut C,
        history: &mut History,
        wanted: Token,
        here: Found,
        relation: usize,
    ) -> Result<Token, Contradiction> {
        let mut length = here.length;
        let bucket = length_bucket(here.length);
        let wider = usize::from(relation >= 3);
        let is_longest = here != NONE
            && coder.bit(&mut self.is_longest[bucket][wider], wanted.length() == length);
        if !is_longest {
            length = coder.tree(&mut self.shorter, wanted.length().wrapping_sub(3) & 255) + 3;
        }
        let is_long_way = length == 258 && coder.bit(&mut self.is_long_way, wanted.is_long_way());
        let distance = self.distance(coder, history, wanted, length, is_longest)?;
        Ok(if is_long_way { Token::copy_long_way(distance) } else { Token::copy(length, distance) })
    }

    fn distance<C: Coder>(
        &mut self,
        coder: &mut C,
        history: &mut History,
        wanted: Token,
        length: usize,
        is_longest: bool,
    ) -> Result<usize, Contradiction> {
        let nearest = history.distance_at(length, 0);
        let bucket = length_bucket(length);
        if let Some(nearest) = nearest {
            let prob = &mut self.is_nearest[bucket][usize::from(is_longest)];
            if coder.bit(prob, wanted.distance() == nearest) {
                return Ok(nearest);
            }
        }
        // A reader cannot know the rank, and asking would cost it a walk for nothing.
        let rank = history.rank_of(length, wanted.distance());
        if coder.bit(&mut self.is_ranked, rank.is_some()) {
            let rank = coder.number(&mut self.rank, rank.unwrap_or(0));
            return history.distance_at(length, rank).ok_or(Contradiction);
        }
        let distance = coder.number(&mut self.distance, wanted.distance() as u32) as usize;
        if distance == 0 || distance > crate::alphabet::WINDOW_BYTES {
            return Err(Contradiction);
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

fn relation(here: Found, next: Option<Found>) -> usize {
    match next {
        None => 0,
        Some(next) if next.length + 1 < here.length => 1,
        Some(next) if next.length < here.length => 2,
        Some(next) if next.length == here.length => 3,
        Some(next) if next.length == here.length + 1 => 4,
        Some(_) => 5,
    }
}
