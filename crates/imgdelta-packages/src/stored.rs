//! Findings as bytes, which are stored in a layer's index.
//! Never accepts bytes that the writer does not write.
//!
//! The memory of reading is bounded by the number of bytes, and for paths by a constant.
//!
//! The format is a version byte, the number of findings, and for each finding its entry, kind and
//! body. Numbers are varints. A text is its length and its bytes, and empty if there is none. A path
//! is stored as the number of bytes shared with the previous path, and the rest. That reduces lists
//! to a quarter.

use crate::{
    finding::{DatabaseContent, Finding},
    package::{Ecosystem, Package, PackageFiles},
};
use imgdelta_core::path::LayerPath;
use imgdelta_wire::{Cursor, varint};

/// Returns findings as bytes.
pub fn write_findings(findings: &[Finding]) -> Vec<u8> {
    let mut out = vec![VERSION];
    write_len(&mut out, findings.len());
    for finding in findings {
        varint::write(&mut out, u64::from(finding.entry));
        match &finding.content {
            DatabaseContent::Packages(packages) => {
                out.push(PACKAGES);
                write_packages(&mut out, packages);
            }
            DatabaseContent::FileList(paths) => {
                out.push(FILE_LIST);
                write_paths(&mut out, paths);
            }
            DatabaseContent::Broken { what, packages } => {
                out.push(BROKEN);
                varint::write_prefixed(&mut out, what.as_bytes());
                write_packages(&mut out, packages);
            }
        }
    }
    out
}

/// Returns the findings from the bytes of [`write_findings`]; `None` for other bytes.
pub fn read_findings(bytes: &[u8]) -> Option<Vec<Finding>> {
    let mut reader = FindingReader { cursor: Cursor::new(bytes), path_bytes_left: PATH_BYTES };
    if reader.byte()? != VERSION {
        return None;
    }
    let findings = reader.many(3, |reader| {
        let entry = u32::try_from(reader.cursor.varint().ok()?).ok()?;
        let content = match reader.byte()? {
            PACKAGES => DatabaseContent::Packages(reader.packages()?),
            FILE_LIST => DatabaseContent::FileList(reader.paths()?),
            BROKEN => {
                DatabaseContent::Broken { what: reader.text()?, packages: reader.packages()? }
            }
            _ => return None,
        };
        Some(Finding { entry, content })
    })?;
    reader.cursor.is_empty().then_some(findings)
}

fn write_packages(out: &mut Vec<u8>, packages: &[Package]) {
    write_len(out, packages.len());
    for package in packages {
        let place = Ecosystem::ALL.iter().position(|&one| one == package.ecosystem);
        write_len(out, place.expect("ALL names every ecosystem"));
        varint::write_prefixed(out, package.name.as_bytes());
        varint::write_prefixed(out, package.version.as_bytes());
        for text in [&package.architecture, &package.source, &package.state] {
            varint::write_prefixed(out, text.as_deref().unwrap_or_default().as_bytes());
        }
        match &package.files {
            PackageFiles::Unknown => out.push(UNKNOWN),
            PackageFiles::ListedApart => out.push(LISTED_APART),
            PackageFiles::Under(directory) => {
                out.push(UNDER);
                varint::write_prefixed(out, directory.as_bytes());
            }
            PackageFiles::Listed(paths) => {
                out.push(LISTED);
                write_paths(out, paths);
            }
        }
    }
}

fn write_paths(out: &mut Vec<u8>, paths: &[LayerPath]) {
    write_len(out, paths.len());
    let mut before: &[u8] = b"";
    for path in paths {
        let path = path.as_bytes();
        let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
        write_len(out, shared);
        varint::write_prefixed(out, &path[shared..]);
        before = path;
    }
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    varint::write(out, len as u64);
}

/// Reader of stored findings.
struct FindingReader<'a> {
    cursor: Cursor<'a>,
    path_bytes_left: usize,
}

impl<'a> FindingReader<'a> {
    fn packages(&mut self) -> Option<Vec<Package>> {
        self.many(7, |reader| {
            Some(Package {
                ecosystem: *Ecosystem::ALL.get(usize::from(reader.byte()?))?,
                name: reader.text()?,
                version: reader.text()?,
                architecture: present(reader.text()?),
                source: present(reader.text()?),
                state: present(reader.text()?),
                files: match reader.byte()? {
                    UNKNOWN => PackageFiles::Unknown,
                    LISTED_APART => PackageFiles::ListedApart,
                    UNDER => PackageFiles::Under(reader.bytes().and_then(clean)?),
                    LISTED => PackageFiles::Listed(reader.paths()?),
                    _ => return None,
                },
            })
        })
    }

    fn paths(&mut self) -> Option<Vec<LayerPath>> {
        let mut spelling = Vec::new();
        self.many(2, |reader| {
            let shared = reader.len()?;
            let rest = reader.bytes()?;
            // The shared part is as long as possible, so that equal findings have equal bytes.
            let differs = spelling.get(shared).is_none_or(|byte| rest.first() != Some(byte));
            if shared > spelling.len() || !differs {
                return None;
            }
            spelling.truncate(shared);
            spelling.extend_from_slice(rest);
            reader.path_bytes_left = reader.path_bytes_left.checked_sub(spelling.len())?;
            clean(&spelling)
        })
    }

    /// Reads a count and as many items, each of at least `least` bytes.
    fn many<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.len()?;
        if count > self.cursor.rest().len() / least {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(Into::into)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        self.cursor.prefixed().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.cursor.u8().ok()
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.cursor.varint().ok()?).ok()
    }
}

/// Returns a text, or `None` if it is empty: an absent text is stored as an empty one.
fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Returns a path if it has the spelling of [`LayerPath`].
fn clean(spelling: &[u8]) -> Option<LayerPath> {
    let path = LayerPath::parse(spelling);
    (path.as_bytes() == spelling).then_some(path)
}

const VERSION: u8 = 1;

const PACKAGES: u8 = 0;
const FILE_LIST: u8 = 1;
const BROKEN: u8 = 2;

const UNKNOWN: u8 = 0;
const LISTED: u8 = 1;
const UNDER: u8 = 2;
const LISTED_APART: u8 = 3;

/// Paths of one layer's findings: twice the bound of the collector.
const PATH_BYTES: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};

    fn paths() -> impl Strategy<Value = Vec<LayerPath>> {
        vec("(usr|lib)/[a-c]{1,3}(/[a-z.]{1,4})?", 0..8)
            .prop_map(|all| all.iter().map(|path| LayerPath::parse(path.as_bytes())).collect())
    }

    fn packages() -> impl Strategy<Value = Vec<Package>> {
        let files = prop_oneof![
            Just(PackageFiles::Unknown),
            Just(PackageFiles::ListedApart),
            Just(PackageFiles::Under(LayerPath::parse(b"app/node_modules/a"))),
            paths().prop_map(PackageFiles::Listed),
        ];
        let texts = option::of("\\PC{1,4}");
        let package = (0..5usize, "\\PC{0,8}", "[0-9.]{0,6}", vec(texts, 3), files);
        let package = package.prop_map(|(ecosystem, name, version, mut texts, files)| Package {
            ecosystem: Ecosystem::ALL[ecosystem],
            name,
            version,
            architecture: texts.pop().flatten(),
            source: texts.pop().flatten(),
            state: texts.pop().flatten(),
            files,
        });
        vec(package, 0..4)
    }

    fn findings() -> impl Strategy<Value = Vec<Finding>> {
        let content = prop_oneof![
            packages().prop_map(DatabaseContent::Packages),
            paths().prop_map(DatabaseContent::FileList),
            ("\\PC*", packages())
                .prop_map(|(what, packages)| DatabaseContent::Broken { what, packages }),
        ];
        vec((any::<u32>(), content).prop_map(|(entry, content)| Finding { entry, content }), 0..5)
    }

    proptest! {
        #[test]
        fn findings_come_back(findings in findings()) {
            let bytes = write_findings(&findings);
            prop_assert_eq!(read_findings(&bytes), Some(findings));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read_findings(&bytes[..cut]), None);
            }
        }

        #[test]
        fn damage_is_refused_or_reads_as_other_findings(
            findings in findings(), at: prop::sample::Index, bit in 0..8u8,
        ) {
            let mut bytes = write_findings(&findings);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Some(other) = read_findings(&bytes) {
                prop_assert_eq!(write_findings(&other), bytes);
            }
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>) {
            read_findings(&bytes);
            bytes.insert(0, VERSION);
            read_findings(&bytes);
        }
    }

    #[test]
    fn huge_counts_and_growing_paths_are_refused() {
        assert_eq!(read_findings(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0x7f]), None);
        // One long path, then many that share all of it and add one byte.
        let mut bytes = vec![VERSION, 1, 0, FILE_LIST];
        write_len(&mut bytes, 100_001);
        write_len(&mut bytes, 0);
        varint::write_prefixed(&mut bytes, &b"a".repeat(100_000));
        for shared in 100_000..200_000 {
            write_len(&mut bytes, shared);
            varint::write_prefixed(&mut bytes, b"b");
        }
        assert_eq!(read_findings(&bytes), None);
        assert_eq!(
            read_findings(&[VERSION, 1, 0, FILE_LIST, 1, 0, 4, b'a', b'/', b'.', b'.']),
            None
        );
    }
}
