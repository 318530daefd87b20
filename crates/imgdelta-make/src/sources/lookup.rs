//! Entries of the base by path, by content and by masked name.
//! Never decides which source a payload gets; it returns the best entry of each kind.
//!
//! A base may have one path, one content or one masked name a million times. So an entry is found in
//! logarithmic time: of equal paths and contents only the last of each layer counts, and entries of
//! one masked name are sorted by size.

use super::{
    ChoiceInput, EntryPlace, PayloadSource, content_key, is_source, links::LinkedDirectories, names,
};
use imgdelta_core::{
    PayloadDigest, Result,
    path::{LayerPath, LayerPathRef},
    progress::Checkpoint,
};
use imgdelta_image::index::{Entry, LayerIndex};
use std::collections::HashMap;

/// The last place in each layer, ascending.
type LayerPlaces = Vec<EntryPlace>;

/// Payloads of a masked name: size and place, ascending.
type SizedPlaces = Vec<(u64, EntryPlace)>;

/// Entries of the base by their properties.
pub(super) struct BaseLookup<'a> {
    pub(super) input: ChoiceInput<'a>,
    paths: HashMap<LayerPathRef<'a>, LayerPlaces>,
    /// The entries whose directories are links in the base, by their paths without links.
    unlinked: HashMap<LayerPath, LayerPlaces>,
    /// The directories that are links in either image, the target's before the base's.
    links: LinkedDirectories<'a>,
    contents: HashMap<(PayloadDigest, u64), LayerPlaces>,
    masked: HashMap<Vec<u8>, SizedPlaces>,
}

impl<'a> BaseLookup<'a> {
    pub(super) fn of(input: ChoiceInput<'a>, checkpoint: &mut Checkpoint<'_>) -> Result<Self> {
        let headed = &input.base[..input.headed as usize];
        let links = LinkedDirectories::of(headed.iter().chain(input.target), checkpoint)?;
        let mut base = Self {
            input,
            paths: HashMap::new(),
            unlinked: HashMap::new(),
            links,
            contents: HashMap::new(),
            masked: HashMap::new(),
        };
        for (layer, index) in (0..).zip(input.base) {
            for (ordinal, entry) in (0..).zip(&index.entries) {
                checkpoint.step()?;
                let place = EntryPlace { layer, entry: ordinal };
                put(base.paths.entry(entry.path).or_default(), place);
                if let Some(path) = base.links.resolved(entry.path) {
                    put(base.unlinked.entry(path).or_default(), place);
                }
                if let Some(key) = content_key(&entry) {
                    put(base.contents.entry(key).or_default(), place);
                }
                if is_source(&entry) {
                    let name = names::masked(entry.path.as_bytes());
                    let size_bytes = entry.payload.end - entry.payload.start;
                    base.masked.entry(name).or_default().push((size_bytes, place));
                }
            }
        }
        for places in base.masked.values_mut() {
            checkpoint.step()?;
            places.sort_unstable();
        }
        Ok(base)
    }

    pub(super) fn entry(&self, place: EntryPlace) -> Entry<'a> {
        self.input.base[place.layer as usize].entries.at(place.entry as usize)
    }

    pub(super) fn is_headed(&self, place: EntryPlace) -> bool {
        place.layer < self.input.headed
    }

    /// Returns the base layer that has most paths of a target layer.
    pub(super) fn partner(
        &self,
        index: &LayerIndex,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Option<u32>> {
        let mut shared = vec![0_u64; self.input.base.len()];
        for entry in &index.entries {
            checkpoint.step()?;
            let places = self.paths.get(&entry.path).into_iter().flatten();
            for place in places.rev().take(MAX_LAYERS) {
                shared[place.layer as usize] += 1;
            }
        }
        let best = (0..).zip(shared).max_by_key(|&(layer, count)| (count, layer));
        Ok(best.filter(|&(_, count)| count > 0).map(|(layer, _)| layer))
    }

    /// Returns the base entry with the content of an entry, or that it has none.
    pub(super) fn content(
        &self,
        entry: &Entry<'_>,
        same_path: Option<EntryPlace>,
        partner: Option<u32>,
    ) -> Option<PayloadSource> {
        if entry.payload.is_empty() {
            return Some(PayloadSource::Empty);
        }
        let key = content_key(entry)?;
        let is_same = |place: &EntryPlace| content_key(&self.entry(*place)) == Some(key);
        let found = same_path.filter(is_same).or_else(|| self.with_content(key, partner));
        found.map(PayloadSource::Same)
    }

    /// Returns the best entry of a path: as it is spelled, else with links followed.
    pub(super) fn at_path(
        &self,
        path: LayerPathRef<'_>,
        partner: Option<u32>,
    ) -> Option<EntryPlace> {
        if let Some(places) = self.paths.get(&path) {
            return nearest(places, partner);
        }
        let resolved = self.links.resolved(path);
        let resolved = resolved.as_ref().map_or(path, LayerPathRef::from);
        let places =
            self.paths.get(&resolved).or_else(|| self.unlinked.get(resolved.as_bytes()))?;
        nearest(places, partner)
    }

    /// Returns the best entry of a content.
    pub(super) fn with_content(
        &self,
        key: (PayloadDigest, u64),
        partner: Option<u32>,
    ) -> Option<EntryPlace> {
        nearest(self.contents.get(&key)?, partner)
    }

    /// Returns the entry whose masked name is that of `path` and whose size is the closest.
    pub(super) fn with_masked_name(
        &self,
        path: LayerPathRef<'_>,
        size_bytes: u64,
    ) -> Option<EntryPlace> {
        let places = self.masked.get(&names::masked(path.as_bytes()))?;
        closest(places.len(), |at| places[at], size_bytes)
    }
}

/// Adds a place, which is higher than all in the list.
fn put(places: &mut LayerPlaces, place: EntryPlace) {
    match places.last_mut() {
        Some(last) if last.layer == place.layer => *last = place,
        _ => places.push(place),
    }
}

/// Returns the best of several places: in the partner layer, else in the highest layer.
///
/// The last place in a layer wins.
fn nearest(places: &LayerPlaces, partner: Option<u32>) -> Option<EntryPlace> {
    let in_partner =
        partner.and_then(|partner| places.binary_search_by_key(&partner, |place| place.layer).ok());
    in_partner.map(|at| places[at]).or_else(|| places.last().copied())
}

/// Returns the place of the closest size; of several, the lowest place.
///
/// `at` returns an element of a list that is sorted by size and then by place.
fn closest(
    len: usize,
    at: impl Fn(usize) -> (u64, EntryPlace),
    size_bytes: u64,
) -> Option<EntryPlace> {
    let first_of = |size_bytes: u64| {
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low.midpoint(high);
            if at(middle).0 < size_bytes {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    };
    let larger = first_of(size_bytes);
    let smaller = larger.checked_sub(1).map(|last| first_of(at(last).0));
    let candidates = [(larger < len).then_some(larger), smaller];
    let candidates = candidates.into_iter().flatten().map(at);
    candidates
        .min_by_key(|&(size, place)| (size.abs_diff(size_bytes), place))
        .map(|(_, place)| place)
}

/// Layers for which one path counts. No runtime mounts as many layers.
const MAX_LAYERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn place(layer: u32, entry: u32) -> EntryPlace {
        EntryPlace { layer, entry }
    }

    #[test]
    fn a_path_that_a_layer_has_many_times_is_one_place() {
        let mut places = Vec::new();
        for (layer, entry) in [(1, 0), (1, 5), (1, 9), (3, 2), (3, 4)] {
            put(&mut places, place(layer, entry));
        }
        assert_eq!(places, [place(1, 9), place(3, 4)]);
        assert_eq!(nearest(&places, Some(1)), Some(place(1, 9)));
        assert_eq!(nearest(&places, Some(2)), Some(place(3, 4)));
        assert_eq!(nearest(&places, None), Some(place(3, 4)));
        assert_eq!(nearest(&Vec::new(), None), None);
    }

    proptest! {
        #[test]
        fn the_closest_size_is_that_of_a_search_through_all(
            sizes in prop::collection::vec(0u64..20, 0..30),
            size_bytes in 0u64..20,
        ) {
            let mut places: SizedPlaces =
                (0..).zip(&sizes).map(|(entry, &size)| (size, place(0, entry))).collect();
            let distance = |&&(size, place): &&(u64, EntryPlace)| {
                (size.abs_diff(size_bytes), place)
            };
            let expected = places.iter().min_by_key(distance).map(|&(_, place)| place);
            places.sort_unstable();
            let found = closest(places.len(), |at| places[at], size_bytes);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn files_that_differ_in_digits_only_are_searched_by_size() {
        for files in [10_000_u32, 40_000] {
            let looks = Cell::new(0);
            let at = |at: usize| {
                looks.set(looks.get() + 1);
                (32, place(0, u32::try_from(at).unwrap()))
            };
            assert_eq!(closest(files as usize, at, 32), Some(place(0, 0)));
            assert_eq!(closest(files as usize, at, 90), Some(place(0, 0)));
            assert!(looks.get() <= 4 * 17, "{} looks", looks.get());
        }
    }
}
