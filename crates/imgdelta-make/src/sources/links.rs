//! Paths whose directories are symbolic links, as a runtime finds them.
//! Never looks at payloads.
//!
//! The entries `bin/tool` and `usr/bin/tool` are one file if `/bin` is a link to `usr/bin`.

use imgdelta_core::{
    Result,
    path::{LayerPath, LayerPathRef},
    progress::Checkpoint,
};
use imgdelta_image::index::{EntryKind, LayerIndex};
use std::{collections::HashMap, sync::Arc};

/// The symbolic links of some layers.
pub(super) struct LinkedDirectories<'a> {
    /// Targets by path; a link of a higher layer hides those below.
    targets: HashMap<&'a [u8], &'a [u8]>,
}

impl<'a> LinkedDirectories<'a> {
    /// Collects the links of layers, the lowest first.
    pub(super) fn of(
        layers: impl IntoIterator<Item = &'a Arc<LayerIndex>>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Self> {
        let mut targets = HashMap::new();
        for entry in layers.into_iter().flat_map(|index| &index.entries) {
            checkpoint.step()?;
            if let (EntryKind::Symlink, Some(target)) = (entry.kind, entry.link)
                && target.len() <= MAX_TARGET_BYTES
            {
                targets.insert(entry.path.as_bytes(), target);
            }
        }
        Ok(Self { targets })
    }

    /// Returns a path with the links in its directories followed; `None` if there are none, or too
    /// many.
    ///
    /// Only short links in the first directories are followed, so that a path costs a bounded time. A
    /// link that is not followed costs bytes and is never wrong.
    pub(super) fn resolved(&self, path: LayerPathRef<'_>) -> Option<LayerPath> {
        let mut resolved = self.follow_first(path)?;
        for _ in 0..MAX_HOPS {
            match self.follow_first((&resolved).into()) {
                Some(further) => resolved = further,
                None => return Some(resolved),
            }
        }
        None
    }

    /// Replaces the topmost directory that is a link by its target.
    fn follow_first(&self, path: LayerPathRef<'_>) -> Option<LayerPath> {
        if self.targets.is_empty() {
            return None;
        }
        let path = path.as_bytes();
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        let (end, target) = slashes
            .take(MAX_DEPTH)
            .find_map(|(end, _)| Some((end, *self.targets.get(&path[..end])?)))?;
        let mut spelling = Vec::new();
        if !target.starts_with(b"/") {
            let above = path[..end].iter().rposition(|&byte| byte == b'/');
            spelling.extend_from_slice(&path[..above.map_or(0, |slash| slash + 1)]);
        }
        spelling.extend_from_slice(target);
        spelling.extend_from_slice(&path[end..]);
        Some(LayerPath::parse(&spelling))
    }
}

/// Links followed for one path after the first; more are most likely a circle.
const MAX_HOPS: usize = 4;

/// Directories of a path that may be links.
const MAX_DEPTH: usize = 16;

/// Longer targets are not those of a distribution's directories.
const MAX_TARGET_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn links(pairs: &[(&'static str, &'static str)]) -> LinkedDirectories<'static> {
        let targets = pairs.iter().map(|(path, target)| (path.as_bytes(), target.as_bytes()));
        LinkedDirectories { targets: targets.collect() }
    }

    fn resolved(links: &LinkedDirectories<'_>, path: &str) -> Option<String> {
        Some(links.resolved(LayerPathRef::of_known(path.as_bytes()))?.to_string())
    }

    #[test]
    fn directories_that_are_links_are_followed() {
        let links = links(&[
            ("bin", "usr/bin"),
            ("usr/bin", "../system/bin"),
            ("opt/app", "/srv/app"),
            ("srv/app/lib", "../lib64"),
        ]);
        for (path, expected) in [
            ("bin/tool", Some("/system/bin/tool")),
            ("usr/bin/tool", Some("/system/bin/tool")),
            ("opt/app/lib/a.so", Some("/srv/lib64/a.so")),
            ("opt/app", None),
            ("etc/passwd", None),
        ] {
            assert_eq!(resolved(&links, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn circles_have_no_target() {
        let circle = links(&[("a", "b"), ("b", "a")]);
        assert_eq!(resolved(&circle, "a/file"), None);
        let growing = links(&[("a", "a/a")]);
        assert_eq!(resolved(&growing, "a/file"), None);
    }
}
