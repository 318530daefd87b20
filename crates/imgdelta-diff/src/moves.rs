//! Pairs of removed and added files with equal content.
//! Never reads an entry: the caller passes digests and names.
//!
//! Thousands of files may have one content, so each file is looked at a fixed number of times.

use imgdelta_core::{PayloadDigest, Result, progress::Checkpoint};
use std::collections::{HashMap, VecDeque};

/// A removed or added file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovableFile<'a> {
    /// Digest of its content; none for a file that never counts as moved.
    pub(crate) digest: Option<PayloadDigest>,
    /// Last part of its path.
    pub(crate) name: &'a [u8],
}

/// The result of [`pair`].
#[derive(Debug, Default)]
pub(crate) struct MovePairs {
    /// For each added file, the place of its source in the list of removed files.
    pub(crate) sources: Vec<Option<usize>>,
    /// For each removed file, true if it is a source.
    pub(crate) is_taken: Vec<bool>,
    /// Number of removed files that were looked at as a source.
    pub(crate) candidates: u64,
}

/// Pairs added with removed files of equal content, those of equal names first.
///
/// Of several equal sources, the first in the list wins.
pub(crate) fn pair(
    removed: &[MovableFile<'_>],
    added: &[MovableFile<'_>],
    checkpoint: &mut Checkpoint<'_>,
) -> Result<MovePairs> {
    let mut by_name: HashMap<(PayloadDigest, &[u8]), VecDeque<usize>> = HashMap::new();
    let mut by_content: HashMap<PayloadDigest, VecDeque<usize>> = HashMap::new();
    for (place, old) in removed.iter().enumerate() {
        checkpoint.step()?;
        if let Some(digest) = old.digest {
            by_name.entry((digest, old.name)).or_default().push_back(place);
            by_content.entry(digest).or_default().push_back(place);
        }
    }
    let mut pairs = MovePairs {
        sources: vec![None; added.len()],
        is_taken: vec![false; removed.len()],
        candidates: 0,
    };
    for keeps_name in [true, false] {
        for (place, new) in added.iter().enumerate() {
            checkpoint.step()?;
            let Some(digest) = new.digest.filter(|_| pairs.sources[place].is_none()) else {
                continue;
            };
            let olds = if keeps_name {
                by_name.get_mut(&(digest, new.name))
            } else {
                by_content.get_mut(&digest)
            };
            // A file leaves its queue when it is looked at, so that nobody looks again.
            let Some(olds) = olds else { continue };
            while let Some(old) = olds.pop_front() {
                pairs.candidates += 1;
                if !std::mem::replace(&mut pairs.is_taken[old], true) {
                    pairs.sources[place] = Some(old);
                    break;
                }
            }
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_core::progress::Silent;
    use proptest::prelude::*;

    fn pair_all(removed: &[MovableFile<'_>], added: &[MovableFile<'_>]) -> MovePairs {
        pair(removed, added, &mut Checkpoint::new(&Silent)).unwrap()
    }

    /// Pairs by the definition: for each added file, the first free source in the whole list.
    fn pair_slowly(removed: &[MovableFile<'_>], added: &[MovableFile<'_>]) -> Vec<Option<usize>> {
        let mut is_taken = vec![false; removed.len()];
        let mut sources = vec![None; added.len()];
        for keeps_name in [true, false] {
            for (place, new) in added.iter().enumerate() {
                if sources[place].is_some() || new.digest.is_none() {
                    continue;
                }
                let fits = |old: &MovableFile<'_>| {
                    old.digest == new.digest && (!keeps_name || old.name == new.name)
                };
                let mut places = 0..removed.len();
                sources[place] = places.find(|&old| !is_taken[old] && fits(&removed[old]));
                if let Some(old) = sources[place] {
                    is_taken[old] = true;
                }
            }
        }
        sources
    }

    fn named(files: &[(u8, String)]) -> Vec<MovableFile<'_>> {
        let digest = |content: u8| (content > 0).then_some(PayloadDigest([content; 32]));
        files
            .iter()
            .map(|(content, name)| MovableFile { digest: digest(*content), name: name.as_bytes() })
            .collect()
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_the_definition(
            removed in prop::collection::vec((0u8..4, "[ab]{1,2}"), 0..30),
            added in prop::collection::vec((0u8..4, "[ab]{1,2}"), 0..30),
        ) {
            let (removed, added) = (named(&removed), named(&added));
            let pairs = pair_all(&removed, &added);
            prop_assert_eq!(pairs.sources, pair_slowly(&removed, &added));
        }
    }

    #[test]
    fn files_of_one_content_are_looked_at_twice_at_most() {
        for files in [1_000, 4_000] {
            let name = |side: char| (0..files).map(|n| (1, format!("{side}{n}"))).collect();
            let (olds, news): (Vec<_>, Vec<_>) = (name('a'), name('b'));
            let pairs = pair_all(&named(&olds), &named(&news));
            assert!(pairs.sources.iter().all(Option::is_some));
            assert!(pairs.candidates <= 2 * files, "{} for {files}", pairs.candidates);
        }
    }
}
