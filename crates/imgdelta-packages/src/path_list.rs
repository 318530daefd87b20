//! Lists of paths as databases give them, made short and held within bounds.
//!
//! It knows nothing of any database's syntax.

use imgdelta_core::path::LayerPath;
use std::cmp::Ordering;

/// What reading databases may still take. A path costs its bytes and an allocation, and a few
/// bytes of a database can name a long one (a directory's name is written once for many files):
/// payload size alone bounds nothing.
#[derive(Debug)]
pub(super) struct Budget {
    payload_bytes: usize,
    packages: usize,
    paths: usize,
    path_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            payload_bytes: PAYLOAD_BYTES,
            packages: PACKAGES,
            paths: PATHS,
            path_bytes: PATH_BYTES,
        }
    }
}

impl Budget {
    /// Counts a payload before it is read.
    pub(super) fn admit_payload(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.payload_bytes = self
            .payload_bytes
            .checked_sub(bytes)
            .ok_or("not read: the layer's databases are too large")?;
        Ok(())
    }

    /// Counts a package; one too many is not to be kept.
    pub(super) fn admit_package(&mut self) -> bool {
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

/// Paths on their way into a list.
pub(super) struct PathList<'a> {
    paths: Vec<LayerPath>,
    budget: &'a mut Budget,
    is_over: bool,
    spelling: Vec<u8>,
}

impl<'a> PathList<'a> {
    pub(super) fn new(budget: &'a mut Budget) -> Self {
        Self { paths: Vec::new(), budget, is_over: false, spelling: Vec::new() }
    }

    /// Adds a path; one that no file system takes, or past the budget, only marks the list.
    pub(super) fn push(&mut self, spelling: &[u8]) {
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
    pub(super) fn push_in(&mut self, directory: &[u8], name: &[u8]) {
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

    /// Ends the list: sorted, each path once, without directories that hold others of the list
    /// (dpkg names `/usr` in every package; whose they are is nobody's question). The flag says
    /// that paths are missing.
    pub(super) fn finish(self) -> (Vec<LayerPath>, bool) {
        let mut paths = self.paths;
        if !paths.is_sorted_by(|a, b| tree_order(a, b).is_le()) {
            paths.sort_unstable_by(tree_order);
        }
        let mut kept: Vec<LayerPath> = Vec::with_capacity(paths.len());
        for path in paths {
            // In tree order what a directory holds follows it at once.
            if kept.last().is_some_and(|last| path.is_within(last)) {
                kept.pop();
            }
            kept.push(path);
        }
        kept.shrink_to_fit();
        (kept, self.is_over)
    }
}

/// What a list says when paths are missing.
pub(super) const OVER: &str =
    "its file list is too long, or names paths that are; the rest is left out";

/// What a database says when packages are missing.
pub(super) const TOO_MANY: &str = "it names too many packages; the rest is left out";

/// Orders a directory right before what it holds: `a`, `a/b`, `a-c`, where bytes alone would put
/// `a-c` between.
fn tree_order(a: &LayerPath, b: &LayerPath) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((a, b)) => a.cmp(b),
    }
}

/// Linux takes no path longer than this.
const LONGEST: usize = 4096;
/// All payloads of a layer: twice what one database may have by default.
const PAYLOAD_BYTES: usize = 128 << 20;
/// All of Debian is a third of it.
const PACKAGES: usize = 200_000;
/// A desktop with everything has half of it.
const PATHS: usize = 1_000_000;
/// Sixty-four bytes a path, as is usual.
const PATH_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_hold_others_are_left_out() {
        let mut budget = Budget::default();
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
        let mut budget = Budget { paths: 1, ..Budget::default() };
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
