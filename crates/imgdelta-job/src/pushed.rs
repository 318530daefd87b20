//! Pushed tags that no scan has seen.
//!
//! Bounded: beyond some hundred names one scan of all repositories replaces them, and beyond some
//! tags a scan of the whole repository. Scans nothing.

use imgdelta_registry::RepositoryName;
use std::collections::{BTreeMap, BTreeSet};

/// The tags to scan after notifications.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushedTags {
    /// These tags by repository; without a tag, all of the repository.
    Named(BTreeMap<RepositoryName, BTreeSet<String>>),
    /// All repositories, since too many were named.
    All,
}

impl Default for PushedTags {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl PushedTags {
    /// Adds tags.
    pub fn add(&mut self, pushed: BTreeMap<RepositoryName, BTreeSet<String>>) {
        let Self::Named(named) = self else { return };
        for (name, tags) in pushed {
            match named.get_mut(&name) {
                // All of the repository already.
                Some(known) if known.is_empty() => {}
                Some(known) => known.extend(tags),
                None => drop(named.insert(name.clone(), tags)),
            }
            if let Some(known) = named.get_mut(&name).filter(|known| known.len() > MAX_TAGS) {
                known.clear();
            }
        }
        if named.len() > MAX_NAMES {
            *self = Self::All;
        }
    }

    /// Returns the tags, and forgets them.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// Each name is a few requests; a scan of all repositories has a limit of its own.
const MAX_NAMES: usize = 500;
/// Each tag is a few requests; a scan of the repository reads only the tags that its rule needs.
const MAX_TAGS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn pushes(
        names: std::ops::Range<usize>,
        tags: &[&str],
    ) -> BTreeMap<RepositoryName, BTreeSet<String>> {
        let tags: BTreeSet<String> = tags.iter().map(ToString::to_string).collect();
        names.map(|number| (format!("web/{number}").parse().unwrap(), tags.clone())).collect()
    }

    #[test]
    fn notifications_of_one_tag_are_one_scan() {
        let mut pushed = PushedTags::default();
        for _ in 0..1000 {
            pushed.add(pushes(3..4, &["v1"]));
        }
        pushed.add(pushes(3..4, &["v2"]));
        assert_eq!(pushed.take(), PushedTags::Named(pushes(3..4, &["v1", "v2"])));
        assert_eq!(pushed, PushedTags::default());
    }

    #[test]
    fn a_flood_of_tags_becomes_one_scan_of_the_repository() {
        let mut pushed = PushedTags::default();
        for number in 0..1000 {
            pushed.add(pushes(3..4, &[&format!("v{number}")]));
        }
        assert_eq!(pushed.take(), PushedTags::Named(pushes(3..4, &[])));
    }

    #[test]
    fn a_flood_of_names_becomes_one_scan_of_all_repositories() {
        let mut pushed = PushedTags::default();
        for start in 0..1000 {
            pushed.add(pushes(start * 100..(start + 1) * 100, &["v1"]));
        }
        assert_eq!(pushed.take(), PushedTags::All);
        pushed.add(pushes(0..MAX_NAMES, &["v1"]));
        assert_eq!(pushed.take(), PushedTags::Named(pushes(0..MAX_NAMES, &["v1"])));
    }
}
