//! Packages by the directories that belong to them.
//! Never knows the files of a package.
//!
//! A path may have two thousand parts, and an image a million such paths. So the hashes of all
//! directories above a path are taken in one pass over its bytes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

/// Directories with the number of their package.
#[derive(Debug, Default)]
pub(crate) struct PackageDirectories {
    hasher: RandomState,
    by_hash: HashMap<u64, Vec<OwnedDirectory>>,
}

/// A directory and the number of its package.
type OwnedDirectory = (Box<[u8]>, usize);

impl PackageDirectories {
    /// Adds a directory; the first package of a directory keeps it.
    pub(crate) fn add(&mut self, directory: &[u8], package: usize) {
        let Some(&(_, hash)) = self.prefixes(directory).last() else { return };
        let known = self.by_hash.entry(hash).or_default();
        if known.iter().all(|(other, _)| **other != *directory) {
            known.push((directory.into(), package));
        }
    }

    /// Returns the package of the innermost directory that contains a path, or is the path.
    ///
    /// The directories above `node_modules` belong to the outer package. Without a manifest, a nested
    /// package has no owner.
    pub(crate) fn owner_of(&self, path: &[u8]) -> Option<usize> {
        if self.by_hash.is_empty() {
            return None;
        }
        for (end, hash) in self.prefixes(path).into_iter().rev() {
            let directory = &path[..end];
            let known = self.by_hash.get(&hash).into_iter().flatten();
            if let Some((_, package)) = known.into_iter().find(|(other, _)| **other == *directory) {
                return Some(*package);
            }
            if directory.rsplit(|&byte| byte == b'/').next() == Some(NODE_MODULES) {
                return None;
            }
        }
        None
    }

    /// Returns the end and the hash of each directory above a path, and of the path itself.
    fn prefixes(&self, path: &[u8]) -> Vec<(usize, u64)> {
        let mut prefixes = Vec::new();
        let mut hasher = self.hasher.build_hasher();
        let mut end = 0;
        for part in path.split(|&byte| byte == b'/') {
            hasher.write(part);
            end += part.len();
            prefixes.push((end, hasher.finish()));
            hasher.write(b"/");
            end += 1;
        }
        prefixes
    }
}

/// Directory of Node packages. The files of a package end at the next one of these.
pub(crate) const NODE_MODULES: &[u8] = b"node_modules";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_directory_owns_a_path() {
        let mut directories = PackageDirectories::default();
        for (package, directory) in
            [&b"node_modules/x"[..], b"node_modules/x/node_modules/y", b"a", b"a"]
                .iter()
                .enumerate()
        {
            directories.add(directory, package);
        }
        let owner = |path: &str| directories.owner_of(path.as_bytes());
        assert_eq!(owner("node_modules/x"), Some(0));
        assert_eq!(owner("node_modules/x/lib/index.js"), Some(0));
        assert_eq!(owner("node_modules/x/node_modules/y/index.js"), Some(1));
        assert_eq!(owner("node_modules/x/node_modules/z/index.js"), None);
        assert_eq!(owner("node_modules/xy"), None);
        assert_eq!(owner(&format!("a/{}", "b/".repeat(2000))), Some(2));
        assert_eq!(owner("b/a"), None);
    }
}
