//! The adaptive model that both directions share: the probabilities of all decisions.
//! Never touches bytes.

use crate::state::{
    ALIGNS, FRESH, LENGTH_CLASSES, LONG_LENGTHS, MODELLED_DISTANCES, POSITIONS, Properties,
    SHORT_LENGTHS, SLOTS, STATES, slot_base,
};

/// Probabilities that a literal's bits are zero, in one context.
pub(crate) type LiteralModel = [u16; 0x300];

/// Probabilities of match lengths.
#[derive(Clone, Debug)]
pub(crate) struct LengthModel {
    pub(crate) is_middle: u16,
    pub(crate) is_high: u16,
    pub(crate) low: [[u16; SHORT_LENGTHS]; POSITIONS],
    pub(crate) middle: [[u16; SHORT_LENGTHS]; POSITIONS],
    pub(crate) high: [u16; LONG_LENGTHS],
}

impl LengthModel {
    pub(crate) fn new() -> Self {
        Self {
            is_middle: FRESH,
            is_high: FRESH,
            low: [[FRESH; SHORT_LENGTHS]; POSITIONS],
            middle: [[FRESH; SHORT_LENGTHS]; POSITIONS],
            high: [FRESH; LONG_LENGTHS],
        }
    }
}

/// Probabilities that decisions are 0, in parts of 2048.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) properties: Properties,
    pub(crate) is_match: [[u16; POSITIONS]; STATES],
    pub(crate) is_repeat: [u16; STATES],
    pub(crate) is_older: [u16; STATES],
    pub(crate) is_second_older: [u16; STATES],
    pub(crate) is_third_older: [u16; STATES],
    pub(crate) is_long_repeat: [[u16; POSITIONS]; STATES],
    pub(crate) literals: Vec<LiteralModel>,
    pub(crate) match_lengths: LengthModel,
    pub(crate) repeat_lengths: LengthModel,
    pub(crate) slots: [[u16; SLOTS]; LENGTH_CLASSES],
    /// Low bits of distances below [`MODELLED_DISTANCES`], at [`low_bits_at`].
    pub(crate) low_bits: [u16; MODELLED_DISTANCES],
    pub(crate) align: [u16; ALIGNS],
}

impl Model {
    pub(crate) fn new(properties: Properties) -> Self {
        Self {
            properties,
            is_match: [[FRESH; POSITIONS]; STATES],
            is_repeat: [FRESH; STATES],
            is_older: [FRESH; STATES],
            is_second_older: [FRESH; STATES],
            is_third_older: [FRESH; STATES],
            is_long_repeat: [[FRESH; POSITIONS]; STATES],
            literals: vec![[FRESH; 0x300]; properties.literal_models()],
            match_lengths: LengthModel::new(),
            repeat_lengths: LengthModel::new(),
            slots: [[FRESH; SLOTS]; LENGTH_CLASSES],
            low_bits: [FRESH; MODELLED_DISTANCES],
            align: [FRESH; ALIGNS],
        }
    }
}

/// First place of a slot's low bits in [`Model::low_bits`], less one: their tree starts at 1.
#[inline]
pub(crate) fn low_bits_at(slot: usize) -> usize {
    slot_base(slot).1 as usize - slot
}
