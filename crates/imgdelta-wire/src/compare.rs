//! The lengths of equal runs in two byte slices, eight bytes at a time and without unsafe code.
//! Never looks past the end of the shorter slice.

/// Returns the number of equal bytes at the starts of `a` and `b`.
#[inline]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
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

/// Returns the number of equal bytes at the ends of `a` and `b`.
#[inline]
pub fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

/// Returns the first offset at which `a` and `b`, of equal length, differ.
pub fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = common_prefix(a, b);
    (common < a.len().min(b.len())).then_some(common)
}

#[cfg(test)]
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
