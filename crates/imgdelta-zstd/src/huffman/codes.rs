//! Builds Huffman codes of at most eleven bits from counts of bytes.
//!
//! Equal counts and trees that are too deep leave choices, and each choice changes the output.
//! The choices are those of zstd's HUF before 1.5.3, from which klauspost's huff0 was ported.
//! Never writes codes.

use crate::bits::high_bit;

/// Bits of the longest code that the format allows.
pub(super) const MOST_BITS: u32 = 11;

/// The code of each byte.
pub(super) struct HuffmanCodes {
    /// Code and length of each byte, up to the last byte that occurs. Bytes that do not occur have
    /// length 0.
    codes: Vec<(u16, u8)>,
    /// Length of the longest code.
    pub(super) log: u32,
}

impl HuffmanCodes {
    /// Builds codes. At least two of the counts and the last one must not be zero.
    pub(super) fn build(counts: &[u32], total: usize) -> Self {
        let mut order: Vec<usize> = (0..counts.len()).collect();
        // The sort is stable: of two equal counts the lower byte comes first.
        order.sort_by_key(|&symbol| std::cmp::Reverse(counts[symbol]));
        order.retain(|&symbol| counts[symbol] > 0);
        let sorted: Vec<u32> = order.iter().map(|&symbol| counts[symbol]).collect();
        let mut lengths = depths(&sorted);
        let log = limit(&mut lengths, &sorted, wanted_log(total, counts.len()));

        let mut per_length = [0u16; MOST_BITS as usize + 1];
        for &length in &lengths {
            per_length[usize::from(length)] += 1;
        }
        let mut first = [0u16; MOST_BITS as usize + 1];
        let mut code = 0u16;
        for length in (1..=log as usize).rev() {
            first[length] = code;
            code = (code + per_length[length]) >> 1;
        }
        let mut codes = vec![(0u16, 0u8); counts.len()];
        for (&symbol, &length) in order.iter().zip(&lengths) {
            codes[symbol].1 = length;
        }
        for (code, length) in codes.iter_mut().filter(|(_, length)| *length > 0) {
            let next = &mut first[usize::from(*length)];
            *code = *next;
            *next += 1;
        }
        Self { codes, log }
    }

    /// Returns the code of a byte and its length.
    #[inline]
    pub(super) fn of(&self, byte: u8) -> (u32, u32) {
        let (code, length) = self.codes[usize::from(byte)];
        (u32::from(code), u32::from(length))
    }

    /// Returns the lengths of all codes, up to the last byte with a code.
    pub(super) fn lengths(&self) -> impl ExactSizeIterator<Item = u8> {
        self.codes.iter().map(|&(_, length)| length)
    }

    /// True if every counted byte has a code.
    pub(super) fn covers(&self, counts: &[u32]) -> bool {
        counts.len() <= self.codes.len()
            && counts.iter().zip(&self.codes).all(|(&count, code)| count == 0 || code.1 > 0)
    }

    /// Returns the bytes of the coded literals, without the description of the codes.
    pub(super) fn bytes(&self, counts: &[u32]) -> u32 {
        let bits = counts.iter().zip(&self.codes);
        (7 + bits.map(|(&count, code)| count * u32::from(code.1)).sum::<u32>()) >> 3
    }
}

/// Returns the depth limit, which is lower for few literals.
fn wanted_log(total: usize, kinds: usize) -> u32 {
    let total = total as u32;
    let by_total = (high_bit(total.wrapping_sub(1)) as u8).wrapping_sub(1);
    let needed = (high_bit(total) + 1).min(high_bit(kinds as u32 - 1).wrapping_add(2));
    MOST_BITS.min(u32::from(by_total)).max(needed).clamp(5, MOST_BITS)
}

/// Returns the depths in a tree without a limit, for counts in descending order.
fn depths(sorted: &[u32]) -> Vec<u8> {
    let leaves = sorted.len();
    // Leaves are taken from the end of `sorted`, inner nodes in the order of their creation. A leaf
    // goes first only if its count is smaller.
    let mut joints: Vec<u32> = Vec::with_capacity(leaves);
    let mut parents = vec![0usize; 2 * leaves - 1];
    let mut leaf = leaves;
    let mut joint = 0;
    for made in 0..leaves - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let take_leaf = match (leaf.checked_sub(1), joints.get(joint)) {
                (Some(leaf), Some(&joint)) => sorted[leaf] < joint,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let taken = if take_leaf {
                leaf -= 1;
                sum += sorted[leaf];
                leaf
            } else {
                sum += joints[joint];
                joint += 1;
                leaves + joint - 1
            };
            parents[taken] = leaves + made;
        }
        joints.push(sum);
    }
    let mut depths = vec![0u8; 2 * leaves - 1];
    for node in (0..2 * leaves - 2).rev() {
        if node >= leaves {
            depths[node] = depths[parents[node]] + 1;
        }
    }
    for node in 0..leaves {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// Limits the depths and returns the greatest one.
///
/// Codes that are too long become `most` bits long, which uses too much of the code space. Shorter
/// codes are then lengthened, the cheapest first, until the codes fit.
fn limit(lengths: &mut [u8], sorted: &[u32], most: u32) -> u32 {
    let deepest = u32::from(lengths.last().copied().unwrap_or(0));
    if deepest <= most {
        return deepest;
    }
    let over = deepest - most;
    let full = most as u8;
    let mut debt = 0i32;
    let mut last = lengths.len() - 1;
    while u32::from(lengths[last]) > most {
        debt += (1 << over) - (1 << (deepest - u32::from(lengths[last])));
        lengths[last] = full;
        last -= 1;
    }
    while lengths[last] == full {
        last -= 1;
    }
    debt >>= over;

    // Index of the rarest code of each length, by the difference to the limit.
    let mut rarest: [Option<usize>; MOST_BITS as usize + 2] = [None; MOST_BITS as usize + 2];
    let mut length = full;
    for place in (0..=last).rev() {
        if lengths[place] < length {
            length = lengths[place];
            rarest[usize::from(full - length)] = Some(place);
        }
    }
    while debt > 0 {
        let mut by = high_bit(debt as u32) as usize + 1;
        while by > 1 {
            if let Some(high) = rarest[by] {
                let Some(low) = rarest[by - 1] else { break };
                if sorted[high] <= 2 * sorted[low] {
                    break;
                }
            }
            by -= 1;
        }
        while by <= MOST_BITS as usize && rarest[by].is_none() {
            by += 1;
        }
        let Some(place) = rarest[by] else { break };
        debt -= 1 << (by - 1);
        if rarest[by - 1].is_none() {
            rarest[by - 1] = Some(place);
        }
        lengths[place] += 1;
        rarest[by] = place.checked_sub(1).filter(|&next| lengths[next] == full - by as u8);
    }
    // Some code space is left: the most frequent of the longest codes become one bit shorter.
    while debt < 0 {
        let place = if let Some(place) = rarest[1] {
            place + 1
        } else {
            while lengths[last] == full {
                last -= 1;
            }
            last + 1
        };
        lengths[place] -= 1;
        rarest[1] = Some(place);
        debt += 1;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the used part of the code space, in units of the longest code.
    fn space(codes: &HuffmanCodes) -> u32 {
        codes
            .lengths()
            .filter(|&length| length > 0)
            .map(|length| 1 << (codes.log - u32::from(length)))
            .sum()
    }

    #[test]
    fn codes_of_skewed_counts_fill_the_code_space() {
        for growth in [1.0, 1.1, 1.3, 1.62, 2.0, 3.0] {
            let counts: Vec<u32> =
                (0..40).map(|n| (f64::powi(growth, n % 20) as u32 % 60_000).max(1)).collect();
            let total = counts.iter().sum::<u32>();
            let codes = HuffmanCodes::build(&counts, total as usize);
            assert!(codes.log <= MOST_BITS);
            assert_eq!(space(&codes), 1 << codes.log, "growth {growth}");
        }
    }

    #[test]
    fn two_symbols_take_a_bit_each() {
        let codes = HuffmanCodes::build(&[0, 90, 10], 100);
        assert_eq!(codes.lengths().collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!((codes.of(1), codes.of(2)), ((0, 1), (1, 1)));
        assert_eq!(codes.bytes(&[0, 90, 10]), 13);
        assert!(codes.covers(&[0, 1]) && !codes.covers(&[1]) && !codes.covers(&[0, 0, 0, 1]));
    }
}
