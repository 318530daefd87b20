//! Archives opened and closed: the same bytes come out, and invalid ones are refused.

use super::*;
use imgdelta_core::progress::Silent;
use imgdelta_deflate::{DetectOptions, detect_gzip, detect_raw};
use imgdelta_image::{volume::AddressSpace, volume::FileExtent};
use imgdelta_testkit::{ZipMember, ZipStyle, gzip, tar_of, zip_of};
use proptest::prelude::*;
use std::{io::Write, sync::Arc};

fn space(bytes: &[u8]) -> AddressSpace {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut space = AddressSpace::default();
    let extent = Arc::new(FileExtent::new("test".into(), file, false).unwrap());
    space.push(&extent, 0..bytes.len() as u64).unwrap();
    space
}

/// An archive's parts, each with the recipe of its compression.
struct TestArchive {
    bytes: Vec<Vec<u8>>,
    recipes: Vec<Option<imgdelta_deflate::Recipe>>,
}

impl InnerPayloads for TestArchive {
    fn count(&self) -> usize {
        self.bytes.len()
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.bytes[inner].len() as u64
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&self.bytes[inner][at..at + buffer.len()]);
        Ok(())
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        self.recipes[inner].as_ref().map_or(InnerCoding::Plain, InnerCoding::Deflate)
    }

    fn place(&self) -> String {
        "test".into()
    }
}

/// Opens an archive; `None` if it is not valid.
fn open(kind: ArchiveKind, archive: &[u8]) -> Option<TestArchive> {
    let space = space(archive);
    let slice = ArchiveBytes::new(&space, 0, archive.len() as u64);
    let opening = OpenedArchive::read(kind, &slice).unwrap()?;
    let mut contents = TestArchive { bytes: Vec::new(), recipes: Vec::new() };
    for part in &opening.parts {
        let mut content = Vec::new();
        let inflated = part.inflate(&slice, 1 << 20, &Silent, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(inflated.unwrap()?, content.len() as u64);
        let range = part.stored.start..part.stored.end;
        let stored = &archive[usize::try_from(range.start).unwrap()..]
            [..bytes::length(range.end - range.start)];
        contents.recipes.push(match part.compression {
            PartCompression::Plain => None,
            PartCompression::Deflate { .. } => detect_raw(stored, DetectOptions::default()),
            PartCompression::Gzip => detect_gzip(stored, DetectOptions::default()),
        });
        contents.bytes.push(content);
    }
    if !opening.structure.is_empty() {
        contents.bytes.push(opening.structure);
        contents.recipes.push(None);
    }
    Some(contents)
}

fn closed(kind: ArchiveKind, contents: &TestArchive) -> Result<Vec<u8>> {
    let mut made = Vec::new();
    let bytes = close(kind, contents, &Silent, &mut |at, piece| {
        let end = usize::try_from(at).unwrap() + piece.len();
        made.resize(made.len().max(end), 0);
        made[end - piece.len()..end].copy_from_slice(piece);
        Ok(())
    })?;
    assert_eq!(bytes, made.len() as u64);
    Ok(made)
}

fn members() -> Vec<ZipMember<'static>> {
    vec![
        ("META-INF/", b"", false),
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nManifest-Version: 1.0\r\n", true),
        ("a/empty", b"", true),
        ("a/stored", b"as it is", false),
        ("a/text", &[b'x'; 5000], true),
    ]
}

#[test]
fn zip_files_of_all_styles_come_back() {
    for style in ZipStyle::ALL {
        let archive = zip_of(&members(), style);
        let contents = open(ArchiveKind::Zip, &archive).unwrap_or_else(|| panic!("{style:?}"));
        assert_eq!(contents.bytes[0], b"Manifest-Version: 1.0\r\nManifest-Version: 1.0\r\n");
        // A compressed empty member stores two bytes.
        assert_eq!(contents.bytes[1], [3, 0], "{style:?}");
        assert_eq!(contents.bytes[2], b"as it is");
        assert_eq!(contents.bytes[3], [b'x'; 5000]);
        assert_eq!(contents.bytes.len(), 5);
        assert!(closed(ArchiveKind::Zip, &contents).unwrap() == archive, "{style:?}");
    }
}

#[test]
fn structure_does_not_depend_on_contents() {
    let with = |content| zip_of(&[("name", content, true)], ZipStyle::Descriptors);
    let [one, other] = [&b"one content"[..], &b"quite another one, and longer"[..]]
        .map(|content| open(ArchiveKind::Zip, &with(content)).unwrap().bytes.pop().unwrap());
    assert_eq!(one, other);
}

#[test]
fn gzip_files_of_several_members_come_back() {
    let archive = [gzip(b"one"), gzip(b""), gzip(&[b'y'; 9000]), vec![0; 17]].concat();
    let contents = open(ArchiveKind::Gzip, &archive).unwrap();
    assert_eq!(contents.bytes, [[&b"one"[..], &[b'y'; 9000]].concat()]);
    assert_eq!(closed(ArchiveKind::Gzip, &contents).unwrap(), archive);
}

#[test]
fn tar_files_with_any_bytes_between_contents_come_back() {
    let long = "directory/".repeat(20);
    let sound = tar_of(&[("a", b"one"), (&long, &[7; 2000]), ("empty", b""), ("b", b"two")]);
    let contents = open(ArchiveKind::Tar, &sound).unwrap();
    assert_eq!(contents.bytes[..3], [b"one".to_vec(), vec![7; 2000], b"two".to_vec()]);
    let twice = [sound.clone(), sound.clone(), b"rubbish".repeat(200)].concat();
    assert_eq!(open(ArchiveKind::Tar, &twice).unwrap().bytes.len(), 7);
    for archive in [sound, twice] {
        let contents = open(ArchiveKind::Tar, &archive).unwrap();
        assert!(closed(ArchiveKind::Tar, &contents).unwrap() == archive);
    }
}

#[test]
fn cut_archives_do_not_grow_and_flipped_bytes_do_not_panic() {
    for (kind, archive) in [
        (ArchiveKind::Zip, zip_of(&members(), ZipStyle::Descriptors)),
        (ArchiveKind::Gzip, [gzip(b"one two three"), gzip(b"four")].concat()),
        (ArchiveKind::Tar, tar_of(&[("a", b"one two three"), ("b", b"four")])),
    ] {
        for cut in 0..archive.len() {
            let Some(contents) = open(kind, &archive[..cut]) else { continue };
            if let Ok(made) = closed(kind, &contents) {
                assert!(made.len() <= archive.len());
            }
        }
        for at in 0..archive.len() {
            let mut flipped = archive.clone();
            flipped[at] ^= 0x55;
            if let Some(contents) = open(kind, &flipped) {
                let _ = closed(kind, &contents);
            }
        }
    }
}

#[test]
fn wrong_structures_are_refused() {
    let archive = zip_of(&members(), ZipStyle::Ahead);
    let sound = open(ArchiveKind::Zip, &archive).unwrap();
    let structure = sound.bytes.last().unwrap();
    for cut in 0..structure.len() {
        let mut bytes = sound.bytes.clone();
        bytes.last_mut().unwrap().truncate(cut);
        let contents = TestArchive { bytes, recipes: sound.recipes.clone() };
        assert!(
            matches!(closed(ArchiveKind::Zip, &contents), Err(Error::BadInput { .. })),
            "{cut} bytes"
        );
    }
    // A billion members take no memory.
    let mut bytes = sound.bytes.clone();
    *bytes.last_mut().unwrap() = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let contents = TestArchive { bytes, recipes: sound.recipes };
    assert!(matches!(closed(ArchiveKind::Zip, &contents), Err(Error::BadInput { .. })));
}

#[test]
fn content_longer_than_the_limit_is_refused() {
    let archive = zip_of(&[("bomb", &vec![0; 100_000], true)], ZipStyle::Ahead);
    let space = space(&archive);
    let slice = ArchiveBytes::new(&space, 0, archive.len() as u64);
    let opening = OpenedArchive::read(ArchiveKind::Zip, &slice).unwrap().unwrap();
    let mut seen = 0;
    let inflated = opening.parts[0].inflate(&slice, 1000, &Silent, &mut |piece| {
        seen += piece.len();
        Ok(())
    });
    assert_eq!((inflated.unwrap(), seen), (None, 0));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        is_zip in any::<bool>(),
    ) {
        if is_zip {
            bytes.splice(0..0, *b"PK\x03\x04");
            bytes.extend(*b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x10\0\0\0\x08\0\0\0\0\0");
        }
        for kind in [ArchiveKind::Zip, ArchiveKind::Gzip, ArchiveKind::Tar] {
            if let Some(contents) = open(kind, &bytes) {
                let _ = closed(kind, &contents);
            }
        }
    }

    #[test]
    fn arbitrary_members_come_back(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        style in 0..4_usize,
    ) {
        let members: Vec<ZipMember<'_>> =
            contents.iter().enumerate().map(|(n, content)| ("name", &content[..], n % 2 == 0)).collect();
        let archive = zip_of(&members, ZipStyle::ALL[style]);
        let opened = open(ArchiveKind::Zip, &archive).unwrap();
        prop_assert_eq!(closed(ArchiveKind::Zip, &opened).unwrap(), archive);
    }
}
