//! The order in which archives of the target are closed.
//! Never reads a payload.
//!
//! An inner payload may be an archive, and it may repeat an archive from anywhere in the layer.
//! So the depth of an archive does not say which others must be closed before it.

use std::ops::Range;

/// An archive and one that it is made of, each by its ordinal.
pub(super) type Need = (u32, u32);

/// Returns the rank of each archive, which is above the ranks of all archives that it is made of.
///
/// The error is an archive that is made of itself, or of another such archive.
pub(super) fn ranks(count: usize, needs: &[Need]) -> Result<Vec<u32>, usize> {
    let mut by_needed = needs.to_vec();
    by_needed.sort_unstable_by_key(|(_, needed)| *needed);
    let mut open_needs = vec![0_u32; count];
    for (archive, _) in needs {
        open_needs[*archive as usize] += 1;
    }
    let mut ranks = vec![0; count];
    let mut ready: Vec<usize> = (0..count).filter(|archive| open_needs[*archive] == 0).collect();
    while let Some(closed) = ready.pop() {
        for (archive, _) in &by_needed[users(&by_needed, closed)] {
            let archive = *archive as usize;
            ranks[archive] = ranks[archive].max(ranks[closed] + 1);
            open_needs[archive] -= 1;
            if open_needs[archive] == 0 {
                ready.push(archive);
            }
        }
    }
    open_needs.iter().position(|needs| *needs > 0).map_or(Ok(ranks), Err)
}

/// Returns the range of the needs for one archive.
fn users(by_needed: &[Need], archive: usize) -> Range<usize> {
    let start = by_needed.partition_point(|(_, needed)| (*needed as usize) < archive);
    let end = by_needed.partition_point(|(_, needed)| (*needed as usize) <= archive);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_ranks_above_all_that_it_is_made_of() {
        assert_eq!(ranks(0, &[]), Ok(vec![]));
        assert_eq!(ranks(3, &[]), Ok(vec![0, 0, 0]));
        // The second needs the first twice; the third needs both; the last stands alone.
        let needs = [(2, 1), (1, 0), (2, 0), (1, 0)];
        assert_eq!(ranks(4, &needs), Ok(vec![0, 1, 2, 0]));
        // Nested archives follow those that they lie in.
        assert_eq!(ranks(3, &[(0, 1), (1, 2)]), Ok(vec![2, 1, 0]));
    }

    #[test]
    fn a_circle_has_no_order() {
        assert_eq!(ranks(1, &[(0, 0)]), Err(0));
        assert_eq!(ranks(3, &[(1, 2), (2, 1)]), Err(1));
        assert_eq!(ranks(4, &[(3, 0), (1, 3), (3, 1)]), Err(1));
    }

    #[test]
    fn a_long_chain_is_ranked_without_recursion() {
        let count = 200_000;
        let needs: Vec<Need> = (1..count).map(|archive| (archive, archive - 1)).collect();
        assert_eq!(ranks(count as usize, &needs).unwrap().last(), Some(&(count - 1)));
    }
}
