//! Layers with the number of their entries of one path or content.
//! Never knows the path or content.
//!
//! A comparison has one for each path of an image, so that it takes 16 bytes unless several layers
//! have the path.

/// The number of entries in each of some layers; the lowest layer first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LayerCounts {
    One([(u32, u32); 1]),
    Many(Box<[(u32, u32)]>),
}

impl Default for LayerCounts {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl LayerCounts {
    /// Counts an entry of a layer, which is not lower than those before.
    ///
    /// Layers beyond [`MAX_LAYERS`] are not counted.
    pub(super) fn count(&mut self, layer: usize) {
        let layer = u32::try_from(layer).expect("layers are limited");
        let counts = match self {
            Self::One(counts) => &mut counts[..],
            Self::Many(counts) => &mut counts[..],
        };
        if let Some((_, entries)) = counts.last_mut().filter(|(last, _)| *last == layer) {
            *entries = entries.saturating_add(1);
        } else if counts.is_empty() {
            *self = Self::One([(layer, 1)]);
        } else if counts.len() < MAX_LAYERS {
            *self = Self::Many([&*counts, &[(layer, 1)]].concat().into());
        }
    }

    /// Returns the layers and the numbers of their entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = match self {
            Self::One(counts) => &counts[..],
            Self::Many(counts) => counts,
        };
        counts.iter().map(|&(layer, entries)| (layer as usize, u64::from(entries)))
    }
}

/// Layers for which one path or content counts. No runtime mounts as many layers.
pub(super) const MAX_LAYERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_up_to_the_limit() {
        let mut counts = LayerCounts::default();
        assert_eq!(counts.iter().count(), 0);
        for layer in [3, 3, 5, 9, 9, 9] {
            counts.count(layer);
        }
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(3, 2), (5, 1), (9, 3)]);
        (10..1000).for_each(|layer| counts.count(layer));
        assert_eq!(counts.iter().count(), MAX_LAYERS);
        assert_eq!(size_of::<LayerCounts>(), 16);
    }
}
