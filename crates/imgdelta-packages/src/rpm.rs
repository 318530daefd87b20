//! Reads rpm's package headers: name, version, architecture, source and files.
//! Never reads signatures, scripts or file states.

use crate::{
    blobs::PackageBlobs,
    finding::DatabaseContent,
    package::{Ecosystem, Package, PackageFiles, some_text, text},
    path_list::{OVER, PathList, ReadBudget, TOO_MANY},
};

/// True if a path lies in a directory of rpm's database.
pub(crate) fn is_in_database(path: &[u8]) -> bool {
    [&b"var/lib/rpm/"[..], b"usr/lib/sysimage/rpm/"]
        .iter()
        .any(|directory| path.strip_prefix(*directory).is_some_and(|name| !name.contains(&b'/')))
}

/// Reads each blob as a package's header.
pub(crate) fn read(blobs: &PackageBlobs<'_>, budget: &mut ReadBudget) -> DatabaseContent {
    let mut flaw = blobs.flaw;
    let mut packages = Vec::new();
    for blob in &blobs.blobs {
        if !budget.admit_package() {
            flaw = Some(TOO_MANY);
            break;
        }
        match RpmHeader::open(blob).and_then(|header| package(&header, budget, &mut flaw)) {
            Some(package) => packages.push(package),
            None => flaw = Some("a package's header is not valid"),
        }
    }
    DatabaseContent::new(packages, flaw.map(Into::into))
}

fn package(
    header: &RpmHeader<'_>,
    budget: &mut ReadBudget,
    flaw: &mut Option<&'static str>,
) -> Option<Package> {
    let name = text(header.string(NAME)?);
    let mut version = text(header.string(VERSION)?);
    if name.is_empty() || version.is_empty() {
        return None;
    }
    if let Some(release) = header.string(RELEASE) {
        version = format!("{version}-{}", text(release));
    }
    if let Some(epoch) =
        header.numbers(EPOCH).and_then(|mut epochs| epochs.next()).filter(|&epoch| epoch > 0)
    {
        version = format!("{epoch}:{version}");
    }
    let mut list = PathList::new(budget);
    if add_files(header, &mut list).is_none() {
        *flaw = Some("a package's file list is not valid");
    }
    let (files, is_over) = list.finish();
    if is_over {
        *flaw = Some(OVER);
    }
    let mut package = Package::new(Ecosystem::Rpm, name, version, PackageFiles::Listed(files));
    package.architecture = header.string(ARCH).and_then(some_text);
    package.source = header.string(SOURCE_RPM).and_then(some_text);
    Some(package)
}

/// Adds each base name in the directory of its index; `None` if a list is too short.
fn add_files(header: &RpmHeader<'_>, list: &mut PathList<'_>) -> Option<()> {
    // Packages like gpg-pubkey have no files.
    let Some(names) = header.strings(BASE_NAMES) else { return Some(()) };
    let directories: Vec<_> = header.strings(DIR_NAMES)?.collect();
    let mut indexes = header.numbers(DIR_INDEXES)?;
    for name in names {
        let directory = directories.get(usize::try_from(indexes.next()?).ok()?)?;
        list.push_in(directory, name);
    }
    Some(())
}

/// A header: an index of tags, and the store of their values. Numbers are big-endian.
struct RpmHeader<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

impl<'a> RpmHeader<'a> {
    fn open(blob: &'a [u8]) -> Option<Self> {
        let (index_len, rest) = blob.split_first_chunk()?;
        let (store_len, rest) = rest.split_first_chunk()?;
        let index_bytes = to_usize(*index_len)?.checked_mul(INDEX_ENTRY_BYTES)?;
        let (index, rest) = rest.split_at_checked(index_bytes)?;
        Some(Self { index, store: rest.get(..to_usize(*store_len)?)? })
    }

    /// Returns the type and the count of a tag's value, and the store from this value on.
    fn value(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry =
            self.index.chunks_exact(INDEX_ENTRY_BYTES).find(|e| e[..4] == tag.to_be_bytes())?;
        let word = |at: usize| entry[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        let offset = usize::try_from(word(8)?).ok()?;
        Some((word(4)?, usize::try_from(word(12)?).ok()?, self.store.get(offset..)?))
    }

    fn string(&self, tag: u32) -> Option<&'a [u8]> {
        self.strings(tag)?.next()
    }

    /// Returns the strings of a tag, which end with zero bytes; at most the stated count.
    fn strings(&self, tag: u32) -> Option<impl Iterator<Item = &'a [u8]>> {
        let (kind, count, mut bytes) = self.value(tag)?;
        let strings = std::iter::from_fn(move || {
            let end = bytes.iter().position(|&byte| byte == 0)?;
            let string = &bytes[..end];
            bytes = &bytes[end + 1..];
            Some(string)
        });
        matches!(kind, STRING | STRING_ARRAY | I18N_STRING).then(|| strings.take(count))
    }

    fn numbers(&self, tag: u32) -> Option<impl Iterator<Item = u32>> {
        let (kind, count, bytes) = self.value(tag)?;
        let numbers = bytes.as_chunks().0.iter().take(count).map(|&word| u32::from_be_bytes(word));
        (kind == INT32).then_some(numbers)
    }
}

fn to_usize(word: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(word)).ok()
}

/// Tag, type, offset, count.
const INDEX_ENTRY_BYTES: usize = 16;

const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kind::DatabaseKind, read as read_database};
    use imgdelta_core::path::LayerPath;

    const FILE: &[u8] = include_bytes!("../../../testdata/packages/rpmdb.sqlite");

    fn read_file(file: &[u8]) -> DatabaseContent {
        read_database(DatabaseKind::RpmSqlite, &LayerPath::parse(b"var/lib/rpm/rpmdb.sqlite"), file)
    }

    #[test]
    fn a_database_becomes_packages() {
        let DatabaseContent::Packages(packages) = read_file(FILE) else { panic!("not broken") };
        assert_eq!(packages.len(), 24);
        let bash = packages.iter().find(|package| package.name == "bash").unwrap();
        assert_eq!(bash.version, "5.2.26-3.fc40");
        assert_eq!(bash.architecture.as_deref(), Some("x86_64"));
        assert_eq!(bash.source.as_deref(), Some("bash-5.2.26-3.fc40.src.rpm"));
        let files = ["usr/bin/bash", "usr/bin/sh"];
        assert_eq!(
            bash.files,
            PackageFiles::Listed(files.map(|file| LayerPath::parse(file.as_bytes())).into())
        );
        let shadow = packages.iter().find(|package| package.name == "shadow-utils").unwrap();
        assert_eq!(shadow.version, "2:4.15.1-1.fc40");
        let key = packages.iter().find(|package| package.name == "gpg-pubkey").unwrap();
        assert_eq!(
            (key.architecture.clone(), &key.files),
            (None, &PackageFiles::Listed(Vec::new()))
        );
    }

    #[test]
    fn a_cut_database_keeps_whole_packages() {
        let whole = FILE.len();
        for cut in [10, 600, whole / 2, whole - 1] {
            let DatabaseContent::Broken { packages, .. } = read_file(&FILE[..cut]) else {
                panic!("broken at {cut}")
            };
            assert!(packages.len() < 24);
        }
    }

    #[test]
    fn huge_counts_take_no_memory() {
        let word = u32::to_be_bytes;
        let entry = |tag: u32, kind: u32, offset: u32| {
            [word(tag), word(kind), word(offset), word(u32::MAX)].concat()
        };
        let mut blob = [word(5), word(12)].concat();
        for (tag, kind, offset) in [
            (NAME, STRING, 0),
            (VERSION, STRING, 2),
            (BASE_NAMES, STRING_ARRAY, 0),
            (DIR_NAMES, STRING_ARRAY, 2),
        ] {
            blob.extend(entry(tag, kind, offset));
        }
        blob.extend(entry(DIR_INDEXES, INT32, 4));
        blob.extend(b"a\x001\0\0\0\0\0\0\0\0\0");
        let blobs = PackageBlobs { blobs: vec![blob.into()], flaw: None };
        let content = read(&blobs, &mut ReadBudget::default());
        assert!(matches!(content, DatabaseContent::Broken { .. }));
        assert_eq!(content.packages()[0].name, "a");
        assert!(RpmHeader::open(&[0xff; 64]).is_none());
    }
}
