//! A set of layers as the text of an annotation: their ordinals, as ranges.
//!
//! `0-3 5` stands for five layers. Parses text from outside within bounds; knows no layer.

use super::media::MAX_PARTS;
use std::{fmt, ops::RangeInclusive};

/// Ordinals of layers, counted from 0, as ascending ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerSet(Vec<RangeInclusive<u64>>);

impl LayerSet {
    /// Collects the ordinals of the items that are true.
    pub fn of(layers: impl Iterator<Item = bool>) -> Self {
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for (ordinal, _) in (0..).zip(layers).filter(|(_, is_in)| *is_in) {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == ordinal => *last = *last.start()..=ordinal,
                _ => ranges.push(ordinal..=ordinal),
            }
        }
        Self(ranges)
    }

    /// Parses the text of [`LayerSet`]; `None` for any other spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for part in text.split(' ') {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
            let is_after = ranges.last().is_none_or(|last| *last.end() + 1 < start);
            if !is_after || start > end || end >= MAX_PARTS {
                return None;
            }
            ranges.push(start..=end);
        }
        let set = Self(ranges);
        (set.to_string() == text).then_some(set)
    }

    /// Returns true if it has a layer.
    pub fn contains(&self, ordinal: usize) -> bool {
        self.0.iter().any(|range| range.contains(&(ordinal as u64)))
    }

    /// Returns true if it has no layer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LayerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { " " };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{separator}{start}")?,
                (start, end) => write!(f, "{separator}{start}-{end}")?,
            }
        }
        Ok(())
    }
}
