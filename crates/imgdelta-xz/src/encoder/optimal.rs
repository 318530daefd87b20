//! The parser of the presets 4 to 9: the cheapest way through the next bytes, by prices.
//! Never writes a symbol.
//!
//! Each place ahead has the cheapest way to it that is known. The places are visited in order, and
//! each offers ways to later ones: a literal, a short repeat, repeats and matches of all lengths,
//! and these followed by a literal and a repeat of the last distance. Ways end where no later place
//! is offered, or before a match that is long enough to be taken at once.
//!
//! Of two equally cheap ways the first one offered stays, so the order of the offers is part of the
//! model.

use super::{
    finder::{Match, common},
    lookahead::Lookahead,
    prices::{self, INFINITE},
    symbols::{Symbol, SymbolWriter, literal_price},
};
use crate::state::{MAX_MATCH, REPEATS, State};

/// Places that a parse may visit.
pub(super) const PLACES: usize = 1 << 12;

/// Code of a literal; lower codes are repeats by their age, and distances from [`REPEATS`] on.
const LITERAL: u32 = u32::MAX;

/// The cheapest known way to a place.
#[derive(Clone, Copy, Default)]
struct Place {
    price: u32,
    /// Place that the last symbol starts at.
    from: usize,
    /// Code of the last symbol.
    code: u32,
    /// True if a literal stands before the last symbol.
    after_literal: bool,
    /// True if another symbol stands before that literal: it starts at `first_from` with `first`.
    after_pair: bool,
    first_from: usize,
    first: u32,
    /// State and distances at the place.
    state: State,
    distances: [u32; REPEATS],
}

impl Place {
    #[inline]
    fn set(&mut self, price: u32, from: usize, code: u32) {
        if price < self.price {
            (self.price, self.from, self.code) = (price, from, code);
            self.after_literal = false;
        }
    }
}

/// Chooses symbols by prices.
pub(super) struct OptimalParser {
    found: Vec<Match>,
    longest: usize,
    places: Vec<Place>,
    /// The place of the next symbol that is decided, and the last place.
    next: usize,
    end: usize,
}

/// The parts of the encoder that a step of the parse reads.
struct Step<'a> {
    source: &'a Lookahead,
    writer: &'a SymbolWriter,
    /// Index of the byte at the visited place.
    at: usize,
    /// Its position in the stream.
    position: usize,
    /// Bytes that the parse may still look at.
    limit: usize,
}

impl Step<'_> {
    #[inline]
    fn place_class(&self, offset: usize) -> usize {
        (self.position + offset) & self.writer.model.properties.position_mask()
    }

    /// Price of a literal, with that of the decision, `offset` bytes from the visited place.
    #[inline]
    fn literal_price(&self, offset: usize, state: State, distance: u32) -> u32 {
        let (buffer, at) = (&self.source.buffer, self.at + offset);
        let model = self.writer.literal_model(self.position + offset, buffer[at - 1]);
        let other = (!state.is_after_literal()).then(|| buffer[at - distance as usize - 1]);
        let decision = self.writer.model.is_match[state.row()][self.place_class(offset)];
        prices::of_zero(decision) + literal_price(model, buffer[at], other)
    }

    /// Price of the decisions for a repeat, `offset` bytes from the visited place.
    #[inline]
    fn repeat_decision(&self, offset: usize, state: State) -> u32 {
        let model = &self.writer.model;
        prices::of_one(model.is_match[state.row()][self.place_class(offset)])
            + prices::of_one(model.is_repeat[state.row()])
    }

    /// Returns for how many bytes a distance repeats behind `len` equal bytes and another one.
    #[inline]
    fn repeated_later(&self, distance: u32, len: usize) -> usize {
        let start = len + 1;
        let limit = self.limit.min(start + self.source.nice_len);
        if start >= limit {
            return 0;
        }
        let other = self.at - distance as usize - 1;
        common(&self.source.buffer, other, self.at, start, limit) - start
    }

    /// Price of a literal and a repeat of the last distance, `offset` bytes from the visited place,
    /// where `state` holds.
    #[inline]
    fn literal_and_repeat(&self, offset: usize, state: State, distance: u32, len: usize) -> u32 {
        let after = state.after_literal();
        self.literal_price(offset, state, distance)
            + self.repeat_decision(offset + 1, after)
            + self.long_repeat_price(0, len, after, self.place_class(offset + 1))
    }

    #[inline]
    fn long_repeat_price(&self, age: usize, len: usize, state: State, class: usize) -> u32 {
        self.writer.repeat_lengths.price(len, class) + self.writer.repeat_price(age, state, class)
    }
}

impl OptimalParser {
    pub(super) fn new() -> Self {
        Self {
            found: Vec::new(),
            longest: 0,
            places: vec![Place::default(); PLACES],
            next: 0,
            end: 0,
        }
    }

    /// Forgets the symbols that are decided.
    pub(super) fn clear(&mut self) {
        (self.next, self.end) = (0, 0);
    }

    /// Chooses the next symbol.
    pub(super) fn next(&mut self, source: &mut Lookahead, writer: &mut SymbolWriter) -> Symbol {
        if self.next != self.end {
            let place = self.places[self.next];
            let len = place.from - self.next;
            self.next = place.from;
            return symbol(place.code, len);
        }
        if source.ahead == 0 {
            writer.renew_prices();
        }
        let position = source.position() as usize;
        let mut end = match self.start(source, writer, position) {
            Ok(end) => end,
            Err(symbol) => return symbol,
        };
        let mut distances = writer.distances;
        let mut current = 1;
        while current < end {
            self.longest = source.find(&mut self.found);
            if self.longest >= source.nice_len {
                break;
            }
            let limit = (source.left() + 1).min(PLACES - 1 - current);
            let (at, position) = (source.at - 1, position + current);
            let step = Step { source: &*source, writer: &*writer, at, position, limit };
            self.visit(&step, current, &mut end, &mut distances);
            current += 1;
        }
        self.decide(current)
    }

    /// Offers ways from the first place, and returns the last place that is offered; or the symbol,
    /// if it is clear without a parse.
    fn start(
        &mut self,
        source: &mut Lookahead,
        writer: &SymbolWriter,
        position: usize,
    ) -> Result<usize, Symbol> {
        if source.ahead == 0 {
            self.longest = source.find(&mut self.found);
        }
        let longest = self.longest;
        let limit = (source.left() + 1).min(MAX_MATCH);
        if limit < 2 {
            return Err(Symbol::Literal);
        }
        let at = source.next();
        let repeated = writer.distances.map(|distance| source.repeated(at, distance, limit));
        let mut age = 0;
        for candidate in 1..REPEATS {
            if repeated[candidate] > repeated[age] {
                age = candidate;
            }
        }
        if repeated[age] >= source.nice_len {
            source.skip(repeated[age] - 1);
            return Err(Symbol::Repeat(age, repeated[age]));
        }
        if longest >= source.nice_len {
            source.skip(longest - 1);
            return Err(Symbol::Match(self.found[self.found.len() - 1].distance, longest));
        }
        let state = writer.state;
        let last = writer.distances[0];
        let is_like_last = source.buffer[at] == source.buffer[at - last as usize - 1];
        if longest < 2 && !is_like_last && repeated[age] < 2 {
            return Err(Symbol::Literal);
        }
        let step = Step { source: &*source, writer, at, position, limit };
        let class = step.place_class(0);
        self.places[0].state = state;
        self.places[0].distances = writer.distances;
        let price = step.literal_price(0, state, last);
        let first = &mut self.places[1];
        (first.price, first.from, first.code) = (price, 0, LITERAL);
        first.after_literal = false;
        let repeat_decision = step.repeat_decision(0, state);
        if is_like_last {
            first.set(repeat_decision + writer.short_repeat_price(state, class), 0, 0);
        }
        let end = longest.max(repeated[age]);
        if end < 2 {
            return Err(symbol(first.code, 1));
        }
        for place in &mut self.places[2..=end] {
            place.price = INFINITE;
        }
        for (age, &len) in repeated.iter().enumerate() {
            if len >= 2 {
                let price = repeat_decision + writer.repeat_price(age, state, class);
                for len in (2..=len).rev() {
                    let price = price + writer.repeat_lengths.price(len, class);
                    self.places[len].set(price, 0, age as u32);
                }
            }
        }
        let decision = prices::of_one(writer.model.is_match[state.row()][class])
            + prices::of_zero(writer.model.is_repeat[state.row()]);
        let least = if repeated[0] >= 2 { repeated[0] + 1 } else { 2 };
        let mut len = least;
        for found in &self.found {
            // Each length is offered at the least distance that has it.
            while len <= found.len {
                let price = decision + writer.match_price(found.distance, len, class);
                self.places[len].set(price, 0, found.distance + REPEATS as u32);
                len += 1;
            }
        }
        Ok(end)
    }

    /// Offers ways from a place behind the first.
    fn visit(
        &mut self,
        step: &Step<'_>,
        current: usize,
        end: &mut usize,
        distances: &mut [u32; REPEATS],
    ) {
        let state = self.arrive(current, distances);
        let (buffer, at, writer) = (&step.source.buffer, step.at, step.writer);
        let price = self.places[current].price;
        let class = step.place_class(0);
        let is_like_last = buffer[at] == buffer[at - distances[0] as usize - 1];

        let literal = price + step.literal_price(0, state, distances[0]);
        let mut is_next_short = false;
        let next = &mut self.places[current + 1];
        if literal < next.price {
            next.set(literal, current, LITERAL);
            is_next_short = true;
        }
        let repeat_decision = price + step.repeat_decision(0, state);
        if is_like_last && !(next.from < current && next.code == 0) {
            let short = repeat_decision + writer.short_repeat_price(state, class);
            if short <= next.price {
                (next.price, next.from, next.code) = (short, current, 0);
                next.after_literal = false;
                is_next_short = true;
            }
        }
        if step.limit < 2 {
            return;
        }
        if !is_next_short && !is_like_last {
            self.offer_literal_and_repeat(step, current, end, (literal, state, distances[0]));
        }
        let mut least = 2;
        for (age, &distance) in distances.iter().enumerate() {
            let limit = step.limit.min(step.source.nice_len);
            let len = step.source.repeated(at, distance, limit);
            if len < 2 {
                continue;
            }
            self.reach(current + len, end);
            let of_age = repeat_decision + writer.repeat_price(age, state, class);
            for len in (2..=len).rev() {
                let price = of_age + writer.repeat_lengths.price(len, class);
                self.places[current + len].set(price, current, age as u32);
            }
            if age == 0 {
                least = len + 1;
            }
            let price = of_age + writer.repeat_lengths.price(len, class);
            let after = state.after_repeat();
            self.offer_more(step, current, end, (price, after, distance, len, age as u32));
        }
        self.offer_matches(step, current, end, (price, state, least));
    }

    /// Settles the state and the distances at a place; returns the state.
    fn arrive(&mut self, current: usize, distances: &mut [u32; REPEATS]) -> State {
        let place = self.places[current];
        let mut from = place.from;
        let mut state;
        if place.after_literal {
            from -= 1;
            if place.after_pair {
                state = self.places[place.first_from].state;
                state = if place.first < REPEATS as u32 {
                    state.after_repeat()
                } else {
                    state.after_match()
                };
            } else {
                state = self.places[from].state;
            }
            state = state.after_literal();
        } else {
            state = self.places[from].state;
        }
        if from + 1 == current {
            state = match place.code {
                0 => state.after_short_repeat(),
                _ => state.after_literal(),
            };
        } else {
            let code;
            if place.after_literal && place.after_pair {
                (from, code) = (place.first_from, place.first);
                state = state.after_repeat();
            } else {
                code = place.code;
                state =
                    if code < REPEATS as u32 { state.after_repeat() } else { state.after_match() };
            }
            *distances = self.places[from].distances;
            if let Some(rotated) = distances.get_mut(..=code as usize) {
                rotated.rotate_right(1);
            } else {
                distances.rotate_right(1);
                distances[0] = code - REPEATS as u32;
            }
        }
        let place = &mut self.places[current];
        place.state = state;
        place.distances = *distances;
        state
    }

    /// Makes all places up to `place` known.
    #[inline]
    fn reach(&mut self, place: usize, end: &mut usize) {
        while *end < place {
            *end += 1;
            self.places[*end].price = INFINITE;
        }
    }

    /// Offers a literal, followed by a repeat of the last distance.
    fn offer_literal_and_repeat(
        &mut self,
        step: &Step<'_>,
        current: usize,
        end: &mut usize,
        (literal, state, distance): (u32, State, u32),
    ) {
        let limit = step.limit.min(step.source.nice_len + 1);
        let other = step.at - distance as usize - 1;
        let len = common(&step.source.buffer, other, step.at, 1, limit) - 1;
        if len < 2 {
            return;
        }
        let after = state.after_literal();
        let price = literal
            + step.repeat_decision(1, after)
            + step.long_repeat_price(0, len, after, step.place_class(1));
        let target = current + 1 + len;
        self.reach(target, end);
        let place = &mut self.places[target];
        if price < place.price {
            (place.price, place.from, place.code) = (price, current + 1, 0);
            (place.after_literal, place.after_pair) = (true, false);
        }
    }

    /// Offers a symbol, whose price is known, followed by a literal and a repeat of its distance.
    #[inline]
    fn offer_more(
        &mut self,
        step: &Step<'_>,
        current: usize,
        end: &mut usize,
        (price, state, distance, len, code): (u32, State, u32, usize, u32),
    ) {
        let later = step.repeated_later(distance, len);
        if later < 2 {
            return;
        }
        let price = price + step.literal_and_repeat(len, state, distance, later);
        let target = current + len + 1 + later;
        self.reach(target, end);
        let place = &mut self.places[target];
        if price < place.price {
            (place.price, place.from, place.code) = (price, current + len + 1, 0);
            (place.after_literal, place.after_pair) = (true, true);
            (place.first_from, place.first) = (current, code);
        }
    }

    /// Offers the matches that were found at a place.
    fn offer_matches(
        &mut self,
        step: &Step<'_>,
        current: usize,
        end: &mut usize,
        (price, state, least): (u32, State, usize),
    ) {
        let limit = step.limit.min(step.source.nice_len);
        if self.longest > limit {
            self.longest = limit;
            let count = self.found.partition_point(|found| found.len < limit);
            self.found.truncate(count + 1);
            self.found[count].len = limit;
        }
        if self.longest < least {
            return;
        }
        let (writer, class) = (step.writer, step.place_class(0));
        let decision = price
            + prices::of_one(writer.model.is_match[state.row()][class])
            + prices::of_zero(writer.model.is_repeat[state.row()]);
        self.reach(current + self.longest, end);
        let after = state.after_match();
        let mut len = least;
        for ordinal in 0..self.found.len() {
            let found = self.found[ordinal];
            let code = found.distance + REPEATS as u32;
            while len <= found.len {
                let price = decision + writer.match_price(found.distance, len, class);
                self.places[current + len].set(price, current, code);
                if len == found.len {
                    let more = (price, after, found.distance, len, code);
                    self.offer_more(step, current, end, more);
                }
                len += 1;
            }
        }
    }

    /// Turns the way to the last place round, and returns its first symbol.
    fn decide(&mut self, last: usize) -> Symbol {
        self.end = last;
        let mut current = last;
        let Place { mut from, mut code, .. } = self.places[current];
        while current != 0 {
            let place = self.places[current];
            if place.after_literal {
                let literal = &mut self.places[from];
                (literal.code, literal.after_literal) = (LITERAL, false);
                literal.from = from - 1;
                if place.after_pair {
                    let first = &mut self.places[from - 1];
                    first.after_literal = false;
                    (first.from, first.code) = (place.first_from, place.first);
                }
            }
            let here = from;
            let forward = code;
            Place { from, code, .. } = self.places[here];
            (self.places[here].code, self.places[here].from) = (forward, current);
            current = here;
        }
        self.next = self.places[0].from;
        symbol(self.places[0].code, self.next)
    }
}

/// Returns the symbol of a code.
fn symbol(code: u32, len: usize) -> Symbol {
    match code {
        LITERAL => Symbol::Literal,
        age if age < REPEATS as u32 => Symbol::Repeat(age as usize, len),
        distance => Symbol::Match(distance - REPEATS as u32, len),
    }
}
