//! Small questions about byte slices, answered eight bytes at a time without unsafe code.
//! Never panics: a read past the end is `None`, or stops the comparison.

/// The little-endian `u16` at `at`.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// The little-endian `u32` at `at`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// The little-endian `u64` at `at`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// How many bytes `a` and `b` have in common from their starts.
#[cfg(feature = "encode")]
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, rest_a) = a.as_chunks::<8>();
    let (words_b, rest_b) = b.as_chunks::<8>();
    for (i, (x, y)) in words_a.iter().zip(words_b).enumerate() {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 {
            return i * 8 + (differing.trailing_zeros() / 8) as usize;
        }
    }
    let done = words_a.len().min(words_b.len()) * 8;
    let (rest_a, rest_b) = match words_a.len().cmp(&words_b.len()) {
        std::cmp::Ordering::Equal => (rest_a, rest_b),
        std::cmp::Ordering::Less => (rest_a, &b[done..]),
        std::cmp::Ordering::Greater => (&a[done..], rest_b),
    };
    done + rest_a.iter().zip(rest_b).take_while(|(x, y)| x == y).count()
}

/// How many bytes `a` and `b` have in common from their ends.
#[cfg(feature = "encode")]
#[inline]
pub(crate) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

/// Where `a` and `b`, of equal length, first differ.
#[cfg(feature = "encode")]
pub(crate) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = common_prefix(a, b);
    (common < a.len().min(b.len())).then_some(common)
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;

    #[test]
    fn common_prefix_equals_the_naive_way() {
        let a: Vec<u8> = (0..40).collect();
        for cut in 0..40 {
            for wrong in 0..40 {
                let mut b = a.clone();
                b[wrong] = 99;
                let naive = a[..cut].iter().zip(&b).take_while(|(x, y)| x == y).count();
                assert_eq!(common_prefix(&a[..cut], &b), naive);
                assert_eq!(common_prefix(&b, &a[..cut]), naive);
            }
        }
    }
}
