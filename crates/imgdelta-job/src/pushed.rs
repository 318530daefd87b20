//! Repositories with pushes that no scan has seen.
//!
//! Bounded: beyond some hundred names one scan of all repositories replaces them. Scans nothing.

use imgdelta_registry::RepositoryName;
use std::collections::BTreeSet;

/// The repositories to scan after notifications, each once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushedRepositories {
    /// These repositories.
    Named(BTreeSet<RepositoryName>),
    /// All repositories, since too many were named.
    All,
}

impl Default for PushedRepositories {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl PushedRepositories {
    /// Adds repositories.
    pub fn add(&mut self, names: BTreeSet<RepositoryName>) {
        if let Self::Named(pushed) = self {
            pushed.extend(names);
            if pushed.len() > MAX_NAMES {
                *self = Self::All;
            }
        }
    }

    /// Returns the repositories, and forgets them.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// Each name is a few requests; a scan of all repositories has a limit of its own.
const MAX_NAMES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(range: std::ops::Range<usize>) -> BTreeSet<RepositoryName> {
        range.map(|number| format!("web/{number}").parse().unwrap()).collect()
    }

    #[test]
    fn notifications_of_one_repository_are_one_scan() {
        let mut pushed = PushedRepositories::default();
        for _ in 0..1000 {
            pushed.add(names(3..4));
        }
        assert_eq!(pushed.take(), PushedRepositories::Named(names(3..4)));
        assert_eq!(pushed, PushedRepositories::default());
    }

    #[test]
    fn a_flood_of_names_becomes_one_scan_of_all_repositories() {
        let mut pushed = PushedRepositories::default();
        for start in 0..1000 {
            pushed.add(names(start * 100..(start + 1) * 100));
        }
        assert_eq!(pushed.take(), PushedRepositories::All);
        pushed.add(names(0..MAX_NAMES));
        assert_eq!(pushed.take(), PushedRepositories::Named(names(0..MAX_NAMES)));
    }
}
