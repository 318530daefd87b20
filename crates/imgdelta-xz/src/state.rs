//! Numbers of LZMA that both directions share, and the states between symbols.
//! Never touches bytes.

/// Probabilities have this many bits.
pub(crate) const PROBABILITY_BITS: u32 = 11;
/// Probability of a bit that has not been seen.
pub(crate) const FRESH: u16 = 1 << (PROBABILITY_BITS - 1);
/// Each bit moves its probability by one in 2^5 of the distance.
pub(crate) const RATE: u32 = 5;
/// The range is widened by eight bits when it falls below this.
pub(crate) const LEAST_RANGE: u32 = 1 << 24;

/// Shortest match.
pub(crate) const MIN_MATCH: usize = 2;
/// Longest match.
pub(crate) const MAX_MATCH: usize = 273;
/// Lengths with a model of three bits, of which there are two.
pub(crate) const SHORT_LENGTHS: usize = 8;
/// Lengths beyond those.
pub(crate) const LONG_LENGTHS: usize = 256;
/// Classes of match lengths with distance slots of their own.
pub(crate) const LENGTH_CLASSES: usize = 4;
/// Number of distance slots.
pub(crate) const SLOTS: usize = 64;
/// Slots below this one are distances.
pub(crate) const FIRST_BASED_SLOT: usize = 4;
/// Slots below this one have all their low bits modelled.
pub(crate) const FIRST_DIRECT_SLOT: usize = 14;
/// Distances below this one have all their bits modelled.
pub(crate) const MODELLED_DISTANCES: usize = 128;
/// Low bits that are modelled in distances of higher slots.
pub(crate) const ALIGN_BITS: u32 = 4;
/// Values of these bits.
pub(crate) const ALIGNS: usize = 1 << ALIGN_BITS;
/// Number of states.
pub(crate) const STATES: usize = 12;
/// Most classes of positions.
pub(crate) const POSITIONS: usize = 16;
/// Earlier distances that a symbol may repeat.
pub(crate) const REPEATS: usize = 4;

/// Most plain bytes of an LZMA2 chunk.
pub(crate) const MAX_CHUNK_PLAIN: usize = 1 << 21;
/// Most packed bytes of an LZMA2 chunk.
pub(crate) const MAX_CHUNK_PACKED: usize = 1 << 16;

/// Kinds of the last symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(u8);

impl State {
    /// Row of the state in tables.
    #[inline]
    pub(crate) fn row(self) -> usize {
        usize::from(self.0).min(STATES - 1)
    }

    /// True if the last symbol was a literal.
    #[inline]
    pub(crate) fn is_after_literal(self) -> bool {
        self.0 < 7
    }

    #[inline]
    pub(crate) fn after_literal(self) -> Self {
        Self(match self.0 {
            0..4 => 0,
            4..10 => self.0 - 3,
            _ => self.0 - 6,
        })
    }

    #[inline]
    pub(crate) fn after_match(self) -> Self {
        Self(if self.is_after_literal() { 7 } else { 10 })
    }

    #[inline]
    pub(crate) fn after_repeat(self) -> Self {
        Self(if self.is_after_literal() { 8 } else { 11 })
    }

    #[inline]
    pub(crate) fn after_short_repeat(self) -> Self {
        Self(if self.is_after_literal() { 9 } else { 11 })
    }
}

/// Bits of context that literals and positions have; an LZMA2 chunk may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Properties {
    /// High bits of the byte before that choose a literal's model (lc).
    pub literal_context: u8,
    /// Low bits of the position that choose a literal's model (lp).
    pub literal_position: u8,
    /// Low bits of the position that choose the model of other decisions (pb).
    pub position: u8,
}

impl Default for Properties {
    fn default() -> Self {
        Self { literal_context: 3, literal_position: 0, position: 2 }
    }
}

impl Properties {
    /// Reads the byte form; `None` if LZMA2 does not admit it.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let properties =
            Self { literal_context: byte % 9, literal_position: byte / 9 % 5, position: byte / 45 };
        let is_right = properties.literal_context + properties.literal_position <= 4
            && properties.position <= 4;
        is_right.then_some(properties)
    }

    /// Returns the byte form.
    pub(crate) fn to_byte(self) -> u8 {
        (self.position * 5 + self.literal_position) * 9 + self.literal_context
    }

    /// Mask of the position for decisions.
    #[inline]
    pub(crate) fn position_mask(self) -> usize {
        (1 << self.position) - 1
    }

    /// Number of literal models.
    pub(crate) fn literal_models(self) -> usize {
        1 << (self.literal_context + self.literal_position)
    }

    /// Ordinal of the model of a literal at `position`, behind the byte `before`.
    #[inline]
    pub(crate) fn literal_model(self, position: usize, before: u8) -> usize {
        let low = position & ((1 << self.literal_position) - 1);
        (low << self.literal_context) + (usize::from(before) >> (8 - self.literal_context))
    }
}

/// Class of a match length, for its distance slot.
#[inline]
pub(crate) fn length_class(len: usize) -> usize {
    (len - MIN_MATCH).min(LENGTH_CLASSES - 1)
}

/// Slot of a distance, which counts from 0.
#[inline]
pub(crate) fn slot_of(distance: u32) -> usize {
    if distance < 4 {
        return distance as usize;
    }
    let high = distance.ilog2();
    (high * 2 + (distance >> (high - 1) & 1)) as usize
}

/// Number of low bits of a slot, and the distance whose low bits are all 0.
#[inline]
pub(crate) fn slot_base(slot: usize) -> (u32, u32) {
    if slot < FIRST_BASED_SLOT {
        return (0, slot as u32);
    }
    let bits = (slot as u32 >> 1) - 1;
    (bits, (2 | (slot as u32 & 1)) << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_their_distances() {
        for distance in (0..5_000).chain([1 << 20, u32::MAX - 1, u32::MAX]) {
            let slot = slot_of(distance);
            let (bits, base) = slot_base(slot);
            assert!(base <= distance && u64::from(distance - base) < 1 << bits, "{distance}");
        }
        assert_eq!(slot_of(u32::MAX), SLOTS - 1);
    }

    #[test]
    fn properties_survive_the_byte_form() {
        let all = (0..=255).filter_map(Properties::from_byte);
        let mut count = 0;
        for properties in all {
            assert_eq!(Properties::from_byte(properties.to_byte()), Some(properties));
            count += 1;
        }
        assert_eq!(count, 15 * 5);
        assert_eq!(Properties::default().to_byte(), 0x5d);
    }
}
