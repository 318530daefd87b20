//! Optimal code lengths with a limit, by package-merge.
//!
//! Several codes may be optimal, and all encoders of the Go family break ties in the same way. A
//! package goes before a leaf of equal weight. Of two equal frequencies, the larger symbol gets the
//! shorter code. Cost: about 15 passes over twice the symbols, 10 to 20 microseconds for a full
//! alphabet. Never breaks ties in another way.

const MAX_SYMBOLS: usize = 320;
const MAX_LIMIT: usize = 15;

/// Bits that mark the leaves in the sorted list of a level, the lightest first.
type LeafMarks = [u64; 2 * MAX_SYMBOLS / 64];

/// Sets `lengths` for the symbols with a frequency. The others get zero.
pub(crate) fn package_merge(frequencies: &[u32], limit: usize, lengths: &mut [u8]) {
    lengths.fill(0);
    let mut leaves = [0u64; MAX_SYMBOLS];
    let mut count = 0;
    for (symbol, &frequency) in frequencies.iter().enumerate() {
        if frequency != 0 {
            leaves[count] = u64::from(frequency) << 16 | symbol as u64;
            count += 1;
        }
    }
    let leaves = &mut leaves[..count];
    if count <= 2 {
        for leaf in leaves {
            lengths[(*leaf & 0xffff) as usize] = 1;
        }
        return;
    }
    leaves.sort_unstable();

    let limit = limit.min(count - 1).min(MAX_LIMIT);
    let used = leaves_per_level(leaves, limit);
    // The rarest symbol is in every level that has a leaf, so it has the longest code.
    let mut levels = limit;
    let mut ordered = used;
    ordered[..limit].sort_unstable();
    let mut next = 0;
    for (rank, leaf) in leaves.iter().enumerate() {
        while next < limit && ordered[next] <= rank {
            next += 1;
            levels -= 1;
        }
        lengths[(*leaf & 0xffff) as usize] = levels as u8;
    }
}

/// Returns the number of sorted leaves that the optimal solution uses at each level.
fn leaves_per_level(leaves: &[u64], limit: usize) -> [usize; MAX_LIMIT] {
    let count = leaves.len();
    let mut weights = [u64::MAX; MAX_SYMBOLS + 1];
    for (weight, leaf) in weights.iter_mut().zip(leaves) {
        *weight = leaf >> 16;
    }
    let mut marks = [[0u64; 2 * MAX_SYMBOLS / 64]; MAX_LIMIT];
    marks[0] = [u64::MAX; 2 * MAX_SYMBOLS / 64];
    let mut items = [0u64; 2 * MAX_SYMBOLS];
    items[..count].copy_from_slice(&weights[..count]);
    let mut item_count = count;
    for marks in &mut marks[1..limit] {
        let mut packages = [u64::MAX; MAX_SYMBOLS + 1];
        let package_count = item_count / 2;
        for (package, pair) in packages.iter_mut().zip(items[..item_count].chunks_exact(2)) {
            *package = pair[0] + pair[1];
        }
        item_count = (count + package_count).min(2 * count);
        merge(&weights, &packages, &mut items[..item_count], marks);
    }

    let mut used = [0; MAX_LIMIT];
    let mut wanted = 2 * count - 2;
    for level in (0..limit).rev() {
        used[level] = count_marks(&marks[level], wanted);
        wanted = 2 * (wanted - used[level]);
    }
    used
}

/// Merges leaves and packages, and marks the leaves. Both lists end with a heaviest sentinel.
fn merge(
    leaves: &[u64; MAX_SYMBOLS + 1],
    packages: &[u64; MAX_SYMBOLS + 1],
    items: &mut [u64],
    marks: &mut LeafMarks,
) {
    let (mut leaf, mut package) = (0, 0);
    for (index, item) in items.iter_mut().enumerate() {
        let (light, heavy) = (leaves[leaf], packages[package]);
        let is_leaf = light < heavy;
        *item = if is_leaf { light } else { heavy };
        leaf += usize::from(is_leaf);
        package += usize::from(!is_leaf);
        marks[index / 64] |= u64::from(is_leaf) << (index % 64);
    }
}

fn count_marks(marks: &LeafMarks, items: usize) -> usize {
    let whole: u32 = marks[..items / 64].iter().map(|word| word.count_ones()).sum();
    let rest =
        if items.is_multiple_of(64) { 0 } else { marks[items / 64] & ((1 << (items % 64)) - 1) };
    (whole + rest.count_ones()) as usize
}

#[cfg(test)]
mod tests {
    use super::package_merge;

    fn lengths(frequencies: &[u32], limit: usize) -> Vec<u8> {
        let mut lengths = vec![0; frequencies.len()];
        package_merge(frequencies, limit, &mut lengths);
        lengths
    }

    #[test]
    fn one_or_two_symbols_get_one_bit() {
        assert_eq!(lengths(&[0, 7, 0], 15), [0, 1, 0]);
        assert_eq!(lengths(&[9, 0, 1], 15), [1, 0, 1]);
    }

    #[test]
    fn of_equal_frequencies_the_larger_symbol_is_shorter() {
        assert_eq!(lengths(&[1, 1, 1], 15), [2, 2, 1]);
    }

    #[test]
    fn the_limit_is_kept_and_the_code_is_complete() {
        let fibonacci: Vec<u32> = (0..24)
            .scan((1u32, 1u32), |state, _| {
                *state = (state.1, state.0 + state.1);
                Some(state.0)
            })
            .collect();
        for limit in 5..=15 {
            let lengths = lengths(&fibonacci, limit);
            assert!(lengths.iter().all(|&n| n > 0 && usize::from(n) <= limit));
            let room: f64 = lengths.iter().map(|&n| 0.5f64.powi(i32::from(n))).sum();
            assert!((room - 1.0).abs() < 1e-12);
        }
    }
}
