//! A stable sort that is compiled once for all types of items.
//! Never meant for hot loops: each comparison is an indirect call.
//!
//! The standard library's stable sort takes 6 kB of a program for each type and each order.

use std::cmp::Ordering;

/// Sorts slices by positions, which one function sorts for all types.
pub trait SharedSort<T> {
    /// Sorts as [`slice::sort_by`] does.
    fn shared_sort_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering);

    /// Sorts as [`slice::sort_by_key`] does.
    fn shared_sort_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K);
}

impl<T> SharedSort<T> for [T] {
    fn shared_sort_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let order =
            sorted_positions(self.len(), &mut |one, other| compare(&self[one], &self[other]));
        arrange(order, &mut |one, other| self.swap(one, other));
    }

    fn shared_sort_by_key<K: Ord>(&mut self, mut key: impl FnMut(&T) -> K) {
        self.shared_sort_by(|one, other| key(one).cmp(&key(other)));
    }
}

/// Returns the positions of items in their order; equal items keep theirs.
fn sorted_positions(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|&one, &other| compare(one, other).then(one.cmp(&other)));
    order
}

/// Swaps items until place `at` has the item that was at `order[at]`.
fn arrange(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            // A place that is done refers to itself.
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;

    #[test]
    fn items_are_in_the_order_of_the_standard_sort() {
        for count in 0..70_usize {
            // Few keys, so that many items are equal.
            let items: Vec<(usize, usize)> = (0..count).map(|at| (at * 37 % 11 % 5, at)).collect();
            let (mut expected, mut found) = (items.clone(), items);
            expected.sort_by_key(|(key, _)| Reverse(*key));
            found.shared_sort_by_key(|(key, _)| Reverse(*key));
            assert_eq!(expected, found);
            expected.sort_by_key(|one| one.1 % 7);
            found.shared_sort_by(|one, other| (one.1 % 7).cmp(&(other.1 % 7)));
            assert_eq!(expected, found);
        }
    }
}
