//! Lists of paths from databases, within bounds of memory.
//! Knows nothing of any database's syntax.

use imgdelta_core::path::LayerPath;
use std::cmp::Ordering;

/// Memory that reading databases may still take.
///
/// The size of a payload is not a bound: a directory's name, stored once, can be part of many paths,
/// and each path is an allocation.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    payload_bytes: usize,
    packages: usize,
    paths: usize,
    path_bytes: usize,
}

impl Default for ReadBudget {
    fn default() -> Self {
        Self {
            payload_bytes: PAYLOAD_BYTES,
            packages: PACKAGES,
            paths: PATHS,
            path_bytes: PATH_BYTES,
        }
    }
}

impl ReadBudget {
    /// Counts a payload before it is read.
    pub(crate) fn admit_payload(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.payload_bytes = self
            .payload_bytes
            .checked_sub(bytes)
            .ok_or("not read, since the layer's databases are too large")?;
        Ok(())
    }

    /// Counts a package; false if it exceeds the budget.
    pub(crate) fn admit_package(&mut self) -> bool {
        let left = self.packages.checked_sub(1);
        self.packages = left.unwrap_or(0);
        left.is_some()
    }

    fn admit_path(&mut self, bytes: usize) -> bool {
        let (Some(paths), Some(path_bytes)) =
            (self.paths.checked_sub(1), self.path_bytes.checked_sub(bytes))
        else {
            return false;
        };
        (self.paths, self.path_bytes) = (paths, path_bytes);
        true
    }
}

/// A list of paths that is being read.
pub(crate) struct PathList<'a> {
    paths: Vec<LayerPath>,
    budget: &'a mut ReadBudget,
    is_over: bool,
    spelling: Vec<u8>,
}

impl<'a> PathList<'a> {
    pub(crate) fn new(budget: &'a mut ReadBudget) -> Self {
        Self { paths: Vec::new(), budget, is_over: false, spelling: Vec::new() }
    }

    /// Adds a path. One that is too long or exceeds the budget only marks the list as incomplete.
    pub(crate) fn push(&mut self, spelling: &[u8]) {
        if spelling.len() > LONGEST || !self.budget.admit_path(spelling.len()) {
            self.is_over = true;
            return;
        }
        let path = LayerPath::parse(spelling);
        if !path.as_bytes().is_empty() {
            self.paths.push(path);
        }
    }

    /// Adds `directory/name`.
    pub(crate) fn push_in(&mut self, directory: &[u8], name: &[u8]) {
        if directory.len() + name.len() > LONGEST {
            self.is_over = true;
            return;
        }
        let mut spelling = std::mem::take(&mut self.spelling);
        spelling.clear();
        spelling.extend_from_slice(directory);
        spelling.push(b'/');
        spelling.extend_from_slice(name);
        self.push(&spelling);
        self.spelling = spelling;
    }

    /// Returns the sorted list, and a flag that is true if paths are missing.
    ///
    /// Each path occurs once. Directories that contain others of the list are dropped: dpkg lists
    /// `/usr` in every package.
    pub(crate) fn finish(self) -> (Vec<LayerPath>, bool) {
        let mut paths = self.paths;
        if !paths.is_sorted_by(|a, b| tree_order(a, b).is_le()) {
            paths.sort_unstable_by(tree_order);
        }
        let mut kept: Vec<LayerPath> = Vec::with_capacity(paths.len());
        for path in paths {
            // In tree order, the content of a directory follows it at once.
            if kept.last().is_some_and(|last| path.is_within(last)) {
                kept.pop();
            }
            kept.push(path);
        }
        kept.shrink_to_fit();
        (kept, self.is_over)
    }
}

/// Flaw of a database of which paths are missing.
pub(crate) const OVER: &str = "a file list or a path in it is too long; the rest is left out";

/// Flaw of a database of which packages are missing.
pub(crate) const TOO_MANY: &str = "it lists too many packages; the rest is left out";

/// Orders a directory right before its content: `a`, `a/b`, `a-c`.
///
/// The order of bytes would put `a-c` before `a/b`.
fn tree_order(a: &LayerPath, b: &LayerPath) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((a, b)) => a.cmp(b),
    }
}

/// Longest path of Linux.
const LONGEST: usize = 4096;
/// All payloads of a layer: twice the default limit of one database.
const PAYLOAD_BYTES: usize = 128 << 20;
/// Three times all of Debian.
const PACKAGES: usize = 200_000;
/// Twice a full desktop.
const PATHS: usize = 1_000_000;
/// Sixty-four bytes per path, which is usual.
const PATH_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_contain_others_are_dropped() {
        let mut budget = ReadBudget::default();
        let mut list = PathList::new(&mut budget);
        for path in ["/.", "/usr", "/usr/a", "/usr/a-c", "/usr/a/b", "/usr/a/b", "/empty"] {
            list.push(path.as_bytes());
        }
        list.push_in(b"usr/a", b"../x");
        let (paths, is_over) = list.finish();
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["/empty", "/usr/a/b", "/usr/a-c", "/usr/x"]);
        assert!(!is_over);
    }

    #[test]
    fn long_paths_and_long_lists_are_marked() {
        let mut budget = ReadBudget { paths: 1, ..ReadBudget::default() };
        let mut list = PathList::new(&mut budget);
        list.push(&[b'a'; LONGEST + 1]);
        assert!(list.is_over && list.paths.is_empty());
        let mut list = PathList::new(&mut budget);
        list.push(b"a");
        assert!(!list.is_over);
        list.push(b"b");
        assert_eq!(list.finish(), (vec![LayerPath::parse(b"a")], true));
    }
}
