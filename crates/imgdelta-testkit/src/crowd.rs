//! Pairs of layers with many entries that are alike, for tests and benches of the work they cost.
//!
//! Each is small when it is compressed, and honest images have some of them: outputs of builds that
//! are named by content, or thousands of equal small files in a directory that was renamed.

use crate::tar_stream::{HeaderBlock, Tar};

/// The property that the entries share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// Files of one content, all renamed in the second layer.
    OneContent,
    /// Files whose names differ in digits only, all of other content in the second layer.
    NamesByDigits,
    /// Files of one path.
    OnePath,
    /// Files behind two links to a path of two thousand parts, which they use in turn.
    DeepLinks,
    /// Empty files in a directory at a depth of 500, and an opaque marker at each depth, deepest first.
    OpaqueDepths,
    /// Empty files under a global PAX record with a user name of a megabyte.
    GlobalUser,
    /// Hard links to one file.
    HardLinks,
    /// Directories with one file each.
    Directories,
    /// Empty files of short names, a thousand in each directory.
    ShortNames,
    /// Empty files with an attribute each.
    Attributes,
}

impl Crowd {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::OneContent,
        Self::NamesByDigits,
        Self::OnePath,
        Self::DeepLinks,
        Self::OpaqueDepths,
        Self::GlobalUser,
        Self::HardLinks,
        Self::Directories,
        Self::ShortNames,
        Self::Attributes,
    ];

    /// Returns the streams of two layers with about `entries` entries each.
    pub fn layers(self, entries: usize) -> [Vec<u8>; 2] {
        [self.layer(entries, 0), self.layer(entries, 1)]
    }

    fn layer(self, entries: usize, side: usize) -> Vec<u8> {
        let mut tar = self.head();
        for n in 0..entries {
            tar = self.add(tar, n, n + side * entries, side);
        }
        if self == Self::OpaqueDepths {
            for depth in (1..=DEPTH).rev() {
                let marker = format!("{}.wh..wh..opq", "a/".repeat(depth));
                tar = tar.pax(b'x', &[(b"path", marker.as_bytes())]).file("p", b"");
            }
        }
        // One more file, so that the layers differ.
        tar.file(if side == 0 { "old" } else { "new" }, b"").zeros(2).0
    }

    /// Returns the entries at the start of a layer.
    fn head(self) -> Tar {
        let tar = Tar::new();
        match self {
            Self::DeepLinks => {
                let deep = vec!["a"; PARTS].join("/");
                let pax = |tar: Tar| tar.pax(b'x', &[(b"linkpath", deep.as_bytes())]);
                pax(pax(tar).symlink("l", "")).symlink("m", "")
            }
            Self::GlobalUser => tar.pax(b'g', &[(b"uname", &vec![b'u'; USER_BYTES])]),
            Self::HardLinks => tar.file("file", b"content"),
            _ => tar,
        }
    }

    /// Adds an entry: the `n`-th of its layer, and the `unique`-th of both layers.
    fn add(self, tar: Tar, n: usize, unique: usize, side: usize) -> Tar {
        let content = (unique as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(4);
        match self {
            Self::OneContent => tar.file(&format!("{}{n}", ["a", "b"][side]), b"same"),
            Self::NamesByDigits => tar.file(&format!("d/f{unique}"), &content),
            Self::OnePath => tar.file("d/x", &content),
            Self::DeepLinks => tar.file(&format!("{}/{n}", ["l", "m"][n % 2]), b""),
            Self::OpaqueDepths => {
                let path = format!("{}{n}", "a/".repeat(DEPTH));
                tar.pax(b'x', &[(b"path", path.as_bytes())]).file("p", b"")
            }
            Self::HardLinks => tar.hard_link(&format!("h{n}"), "file"),
            Self::Directories => {
                tar.dir(&format!("d{n}")).file(&format!("d{n}/{}", ["a", "b"][side]), &content)
            }
            Self::GlobalUser | Self::ShortNames => tar.file(&format!("{}/{n}", n / 1000), b""),
            Self::Attributes => {
                let value = unique.to_string();
                let tar = tar.pax(b'x', &[(b"SCHILY.xattr.user.n", value.as_bytes())]);
                tar.add(&HeaderBlock::new(b'0', n.to_string().as_bytes(), 0), b"")
            }
        }
    }
}

const PARTS: usize = 2000;
const DEPTH: usize = 500;
const USER_BYTES: usize = 1_000_000;
