//! Archives opened and closed: the same bytes come out, and invalid ones are refused.

use super::*;
use imgdelta_core::{progress::Silent, scratch::ScratchFile};
use imgdelta_deflate::{DetectOptions, detect_gzip, detect_raw};
use imgdelta_image::{volume::AddressSpace, volume::FileExtent};
use imgdelta_testkit::{
    ElfSection, SectionPacking, ZipMember, ZipStyle, elf_of, gpu_container, gzip, has, tar_of,
    zip_of,
};
use proptest::prelude::*;
use std::{io::Write, sync::Arc};

fn space(bytes: &[u8]) -> AddressSpace {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut space = AddressSpace::default();
    let file = Arc::new(ScratchFile::from(file));
    let extent = Arc::new(FileExtent::new("test".into(), file).unwrap());
    space.push(&extent, 0..bytes.len() as u64).unwrap();
    space
}

/// An archive's parts, each with the recipe of its compression.
struct TestArchive {
    bytes: Vec<Vec<u8>>,
    recipes: Vec<Option<InnerCompression>>,
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
        match &self.recipes[inner] {
            Some(InnerCompression::Deflate(recipe)) => InnerCoding::Deflate(recipe),
            Some(InnerCompression::Xz(recipe)) => InnerCoding::Xz(recipe),
            Some(InnerCompression::Zstd(recipe)) => InnerCoding::Zstd(recipe),
            Some(InnerCompression::Lz4(encoder)) => InnerCoding::Lz4(*encoder),
            None => InnerCoding::Plain,
        }
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
            PartCompression::Plain | PartCompression::Hollow | PartCompression::Index => None,
            PartCompression::Lz4 { .. } => {
                Lz4Encoder::find(&content, stored).map(InnerCompression::Lz4)
            }
            PartCompression::Deflate { .. } => {
                detect_raw(stored, DetectOptions::default()).map(InnerCompression::Deflate)
            }
            PartCompression::Gzip => {
                detect_gzip(stored, DetectOptions::default()).map(InnerCompression::Deflate)
            }
            PartCompression::Sections => Some(InnerCompression::Deflate(sections_recipe(&slice))),
            PartCompression::Xz => {
                let options = imgdelta_xz::DetectOptions::default();
                imgdelta_xz::detect(stored, options).map(InnerCompression::Xz)
            }
            PartCompression::Zstd => {
                let options = imgdelta_zstd::DetectOptions::default();
                let recipe = imgdelta_zstd::detect_file(stored, &content[..], &[], options);
                recipe.unwrap().map(InnerCompression::Zstd)
            }
        });
        contents.bytes.push(content);
    }
    if !opening.structure.is_empty() {
        contents.bytes.push(opening.structure);
        contents.recipes.push(None);
    }
    Some(contents)
}

/// Returns a recipe with a member for each compressed section of an ELF file.
fn sections_recipe(slice: &ArchiveBytes<'_>) -> imgdelta_deflate::Recipe {
    let mut recipe = imgdelta_deflate::Recipe::default();
    for range in section_streams(slice).unwrap() {
        let stream = slice.read(range.start, range.end - range.start).unwrap().unwrap();
        let found = detect_raw(&stream[2..], DetectOptions::default()).unwrap();
        assert_eq!(found.tail.len(), 4);
        let [member] = &found.members[..] else { panic!("a raw stream has one member") };
        let header = stream[..2].to_vec();
        let member = imgdelta_deflate::RecipeMember { header, plain_bytes: 0, ..member.clone() };
        recipe.members.push(member);
    }
    recipe
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

/// An xz file of one block as `xz -1` makes it.
fn xz_of(content: &[u8]) -> Vec<u8> {
    use imgdelta_xz::{
        BlockForm, BlockRun, CheckKind, Packing, Properties, Recipe, Remaker, SearchEffort,
        StreamRecipe,
    };
    let form = BlockForm {
        header_bytes: 12,
        has_packed_bytes: false,
        has_plain_bytes: false,
        filters: Vec::new(),
        window_code: 16,
        packing: Packing::Liblzma(Properties::default(), SearchEffort::PRESETS[1]),
    };
    let runs = vec![BlockRun { form: 0, plain_bytes: 0, count: 0 }];
    let stream = StreamRecipe { check: CheckKind::Crc32, runs, padding: 1 };
    let recipe = Recipe { forms: vec![form], streams: vec![stream] };
    let (mut made, mut remaker) = (Vec::new(), Remaker::new(&recipe));
    remaker.write(content, &mut made).unwrap();
    remaker.finish(&mut made).unwrap();
    made
}

#[test]
fn zstd_files_come_back() {
    let archive = ::zstd::bulk::compress(&b"some text ".repeat(900), 3).unwrap();
    assert_eq!(recognise(&archive), Some(ArchiveKind::Zstd));
    let mut contents = open(ArchiveKind::Zstd, &archive).unwrap();
    assert_eq!(contents.bytes, [b"some text ".repeat(900)]);
    assert!(closed(ArchiveKind::Zstd, &contents).unwrap() == archive);
    let whole = open(ArchiveKind::Zstd, &[&archive[..], b"more"].concat());
    assert!(whole.is_none(), "with more behind it");
    contents.recipes[0] = open(ArchiveKind::Xz, &xz_of(b"one")).unwrap().recipes[0].take();
    assert!(closed(ArchiveKind::Zstd, &contents).is_err(), "with a compression of xz");
}

/// A Debian package with three members.
fn package_of(control: &[u8], data: &[u8]) -> Vec<u8> {
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", control), ("data.tar.xz", data)]
    {
        let length = content.len();
        writeln!(package, "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`", 0, 0, 0, 100_644)
            .unwrap();
        package.extend_from_slice(content);
        if length % 2 == 1 {
            package.push(b'\n');
        }
    }
    package
}

#[test]
fn xz_files_of_several_streams_come_back() {
    let archive = [xz_of(b"one"), xz_of(&[b'y'; 9000])].concat();
    assert_eq!(recognise(&archive), Some(ArchiveKind::Xz));
    let contents = open(ArchiveKind::Xz, &archive).unwrap();
    assert_eq!(contents.bytes, [[&b"one"[..], &[b'y'; 9000]].concat()]);
    assert!(closed(ArchiveKind::Xz, &contents).unwrap() == archive);
    assert!(open(ArchiveKind::Xz, &archive[..archive.len() - 4]).is_some(), "without padding");
    assert!(open(ArchiveKind::Xz, &archive[..archive.len() - 1]).is_none());
    assert!(open(ArchiveKind::Xz, &[&archive[..], b"more"].concat()).is_none());
}

#[test]
fn xz_files_need_their_own_compression() {
    let mut contents = open(ArchiveKind::Xz, &xz_of(b"one")).unwrap();
    let recipe = contents.recipes[0].take();
    assert!(closed(ArchiveKind::Xz, &contents).is_err(), "without a compression");
    contents.recipes[0] = open(ArchiveKind::Gzip, &gzip(b"one")).unwrap().recipes[0].take();
    assert!(closed(ArchiveKind::Xz, &contents).is_err(), "with that of gzip");
    contents.recipes[0] = recipe.clone();
    assert!(closed(ArchiveKind::Gzip, &contents).is_err(), "as a gzip file");
    let mut zip = open(ArchiveKind::Zip, &zip_of(&members(), ZipStyle::Descriptors)).unwrap();
    zip.recipes[0] = recipe;
    assert!(closed(ArchiveKind::Zip, &zip).is_err(), "in a zip file");
}

#[test]
fn debian_packages_come_back() {
    let package = package_of(&xz_of(b"control"), b"any data");
    assert_eq!(recognise(&package), Some(ArchiveKind::Ar));
    let contents = open(ArchiveKind::Ar, &package).unwrap();
    assert_eq!(contents.bytes[..3], [b"2.0\n".to_vec(), xz_of(b"control"), b"any data".to_vec()]);
    assert_eq!(contents.bytes.len(), 4);
    assert!(closed(ArchiveKind::Ar, &contents).unwrap() == package);
    assert!(open(ArchiveKind::Ar, &package[..package.len() - 1]).is_none());
    assert!(open(ArchiveKind::Ar, b"!<arch>\n").is_none());
    assert_eq!(recognise(b"!<arch>\n/               0           "), None, "a static library");
}

/// Returns an ELF file with programs for graphics processors: two are compressed, by two encoders.
fn fatbin_of(program: &[u8]) -> Vec<u8> {
    let long = program.repeat(9);
    let middle = Lz4Encoder::Middle.encode(&long).unwrap();
    let chain = Lz4Encoder::Chain2.encode(program).unwrap();
    let containers = [
        gpu_container(&[(80, &middle, long.len() as u64), (90, b"not compressed", 0)]),
        gpu_container(&[(80, &chain, program.len() as u64)]),
    ];
    let containers = containers.concat();
    let sections =
        [(".text", &b"code"[..]), (".nv_fatbin", &containers[..]), (".data", &b"data"[..])];
    elf_of(&sections.map(|(name, content)| (name, content, SectionPacking::Plain)), false)
}

#[test]
fn programs_for_graphics_processors_become_parts() {
    let program = b"one program, one program, two programs";
    let archive = fatbin_of(program);
    let space = space(&archive);
    let slice = ArchiveBytes::new(&space, 0, archive.len() as u64);
    let (kind, opened) = OpenedArchive::find(ArchiveKind::Elf, &slice).unwrap().unwrap();
    assert_eq!(kind, ArchiveKind::Fatbin);
    let names: Vec<_> = opened.parts.iter().map(|part| &part.name[..]).collect();
    assert_eq!(names, [&b"host"[..], b"2-sm_80-0", b"2-sm_80-1"]);
    let mut contents = open(kind, &archive).unwrap();
    assert_eq!(contents.bytes[1..], [program.repeat(9), program.to_vec()]);
    assert!(closed(kind, &contents).unwrap() == archive);
    // All but the programs is in the first part, at the same place.
    let mut hollow = archive.clone();
    for part in &opened.parts[1..] {
        hollow[bytes::length(part.stored.start)..bytes::length(part.stored.end)].fill(0);
    }
    assert!(contents.bytes[0] == hollow && hollow != archive);
    // A program without a known encoder travels as it is stored.
    let stored =
        bytes::length(opened.parts[2].stored.start)..bytes::length(opened.parts[2].stored.end);
    contents.bytes[2] = archive[stored].to_vec();
    contents.recipes[2] = None;
    assert!(closed(kind, &contents).unwrap() == archive);
    contents.bytes[2].push(0);
    assert!(closed(kind, &contents).is_err(), "a program that is too long");
    contents.bytes.pop();
    assert!(closed(kind, &contents).is_err(), "a program less");
    contents.bytes.truncate(0);
    assert!(closed(kind, &contents).is_err(), "without a file");
}

#[test]
fn programs_that_cannot_be_taken_out_are_refused() {
    let sound = fatbin_of(b"one program, one program, two programs");
    assert!(open(ArchiveKind::Fatbin, &sound).is_some());
    assert!(open(ArchiveKind::Elf, &sound).is_none());
    let at = sound.windows(4).position(|window| window == b"\x50\xed\x55\xba").unwrap();
    let table = usize::try_from(u64::from_le_bytes(sound[40..48].try_into().unwrap())).unwrap();
    let header_of = |number: usize| table + 64 * number;
    for (place, bytes, parts, why) in [
        (at, &b"other"[..], 0, "no container"),
        (at + 8, &[255; 8], 0, "a container that leaves the section"),
        // What is behind a damaged entry stays closed, the next container does not.
        (at + 16 + 4, &[63], 2, "a header that is too short"),
        (at + 16 + 40, &[0; 8], 2, "a program that is not compressed"),
        (at + 16 + 42, &[1], 2, "a program that is encrypted"),
        (at + 16 + 64, &[255; 4], 0, "a damaged block"),
        (at + 16 + 56, &[1], 0, "a length that is not the content's"),
        (header_of(2), &[0], 0, "a section of another name"),
    ] {
        let mut damaged = sound.clone();
        damaged[place..place + bytes.len()].copy_from_slice(bytes);
        let opened = open(ArchiveKind::Fatbin, &damaged);
        assert_eq!(opened.as_ref().map_or(0, |contents| contents.bytes.len()), parts, "{why}");
        if let Some(contents) = opened {
            assert!(closed(ArchiveKind::Fatbin, &contents).unwrap() == damaged, "{why}");
        }
    }
}

#[test]
fn names_of_sections_in_a_program_are_refused() {
    let names = b"\0.text\0.nv_fatbin\0.data\0.shstrtab\0";
    let mut archive = fatbin_of(names);
    let at = archive.windows(names.len()).position(|window| window == names).unwrap();
    let table = usize::try_from(u64::from_le_bytes(archive[40..48].try_into().unwrap())).unwrap();
    let offset = table + 64 * 4 + 24;
    archive[offset..offset + 8].copy_from_slice(&(at as u64).to_le_bytes());
    // With zeros for the program, nobody would find the section.
    assert!(open(ArchiveKind::Fatbin, &archive).is_none());
}

#[test]
fn compressions_survive_the_byte_form() {
    let fatbin = fatbin_of(b"one, one, one, two");
    for (kind, archive, part) in [
        (ArchiveKind::Xz, xz_of(b"one"), 0),
        (ArchiveKind::Gzip, gzip(b"one"), 0),
        (ArchiveKind::Fatbin, fatbin, 1),
    ] {
        let compression = open(kind, &archive).unwrap().recipes[part].take().unwrap();
        let read = InnerCompression::from_bytes(&compression.to_bytes()).unwrap();
        assert_eq!(read, compression);
    }
    for wrong in [&[0xfd, 9][..], &[0xf4], &[0xf4, 5], &[0xf4, 0, 0]] {
        assert!(InnerCompression::from_bytes(wrong).is_err());
    }
    assert!(InnerCompression::from_bytes(&[]).is_err());
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
        (ArchiveKind::Xz, xz_of(b"one two three")),
        (ArchiveKind::Ar, package_of(b"one two three", b"four")),
        (ArchiveKind::Fatbin, fatbin_of(b"one two three")),
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

const TEXT: &[u8] = &[7; 3000];

fn elf_sections(packing: SectionPacking) -> Vec<ElfSection<'static>> {
    vec![
        (".text", b"code", SectionPacking::Plain),
        (".zdebug_info", TEXT, packing),
        (".between", b"plain", SectionPacking::Plain),
        (".zdebug_line", &TEXT[..40], packing),
        (".symtab", b"symbols", SectionPacking::Plain),
    ]
}

#[test]
fn compressed_sections_are_opened_to_an_elf_file_and_closed() {
    for (packing, headers_first) in [
        (SectionPacking::Compressed, false),
        (SectionPacking::Compressed, true),
        (SectionPacking::Gnu, false),
        (SectionPacking::Gnu, true),
    ] {
        let file = elf_of(&elf_sections(packing), headers_first);
        let contents = open(ArchiveKind::Elf, &file).unwrap();
        // The part is the file that a linker without compression writes.
        let plain = elf_of(&elf_sections(SectionPacking::Plain), headers_first);
        assert!(contents.bytes[0] == plain, "{packing:?}");
        assert!(contents.bytes[1].len() < 10);
        assert!(closed(ArchiveKind::Elf, &contents).unwrap() == file, "{packing:?}");
    }
}

#[test]
fn programs_of_real_linkers_are_opened_and_closed() {
    if !has(&["gcc", "objcopy"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let functions = (0..200).map(|at| format!("int f{at}(int a) {{ return a * {at} + {at}; }}\n"));
    let source = functions.collect::<String>() + "int main(void) { return f7(1) + f150(2); }\n";
    std::fs::write(path("main.c"), source).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        assert!(command.args(arguments).current_dir(place.path()).status().unwrap().success());
    };
    run("gcc", &["-g", "-gz=none", "-o", "plain", "main.c"]);
    for form in ["zlib-gabi", "zlib-gnu"] {
        let option = format!("--compress-debug-sections={form}");
        run("objcopy", &[&option, "plain", form]);
        let file = std::fs::read(path(form)).unwrap();
        let contents = open(ArchiveKind::Elf, &file).unwrap();
        let Some(InnerCompression::Deflate(recipe)) = &contents.recipes[0] else {
            panic!("{form}")
        };
        assert!(recipe.members.len() > 3, "{form}");
        // binutils compresses with zlib.
        let is_known = |member: &imgdelta_deflate::RecipeMember| {
            !matches!(member.model, imgdelta_deflate::EncoderModel::Tokens(_))
        };
        assert!(recipe.members.iter().all(is_known), "{form}");
        assert!(closed(ArchiveKind::Elf, &contents).unwrap() == file, "{form}");
    }
}

#[test]
fn elf_files_without_compressed_sections_or_of_other_forms_stay_closed() {
    let plain = elf_of(&elf_sections(SectionPacking::Plain), false);
    assert!(open(ArchiveKind::Elf, &plain).is_none());
    let file = elf_of(&elf_sections(SectionPacking::Compressed), false);
    assert!(open(ArchiveKind::Elf, &file).is_some());
    let table = usize::try_from(u64::from_le_bytes(*file[40..].first_chunk().unwrap())).unwrap();
    let info = table + 2 * 64;
    let data = usize::try_from(u64::from_le_bytes(*file[info + 24..].first_chunk().unwrap()));
    let data = data.unwrap();
    for (what, at, value) in [
        ("32 bits", 4, 1),
        ("big-endian", 5, 2),
        ("entries of another length", 58, 65),
        ("a table behind the file", 41, 0xff),
        ("a table in the file header", 40, 8),
        ("an offset inside a section", info + 64 + 24, file[info + 24] + 1),
        ("a section over the table", info + 33, 0xff),
        ("a program header behind the section", 56, 1),
        ("another length of the content", data + 8, 1),
        ("a content of four gigabytes", data + 12, 1),
        ("a damaged stream", data + 30, file[data + 30] ^ 0x80),
        ("a wrong checksum", data + bytes::length(40), file[data + 40] ^ 1),
    ] {
        let mut damaged = file.clone();
        damaged[at] = value;
        let opened = open(ArchiveKind::Elf, &damaged);
        // Sections that are not valid stay as they are, and the other one is opened.
        assert!(opened.is_none_or(|contents| contents.bytes[0].len() < TEXT.len()), "{what}");
    }
    let mut zstd = file.clone();
    zstd[data] = 2;
    let contents = open(ArchiveKind::Elf, &zstd).unwrap();
    assert!(closed(ArchiveKind::Elf, &contents).unwrap() == zstd);
}

type PartsChange = fn(&mut TestArchive);

#[test]
fn elf_files_of_hostile_parts_are_refused() {
    let file = elf_of(&elf_sections(SectionPacking::Compressed), false);
    let sound = || open(ArchiveKind::Elf, &file).unwrap();
    let changes: [(&str, PartsChange); 9] = [
        ("no structure", |archive| archive.bytes.truncate(1)),
        ("no compression", |archive| archive.recipes[0] = None),
        ("fewer compressions", |archive| {
            let Some(InnerCompression::Deflate(recipe)) = &mut archive.recipes[0] else { panic!() };
            recipe.members.truncate(1);
        }),
        ("a section that does not exist", |archive| archive.bytes[1][1] = 100),
        ("a form that does not exist", |archive| archive.bytes[1][2] = 2),
        ("another order", |archive| {
            archive.bytes[1][1..].rotate_left(3);
        }),
        ("more bytes", |archive| archive.bytes[1].push(0)),
        ("a huge count", |archive| archive.bytes[1][0] = 0x7f),
        ("no ELF file", |archive| archive.bytes[0].clear()),
    ];
    for (what, change) in changes {
        let mut contents = sound();
        change(&mut contents);
        let made = closed(ArchiveKind::Elf, &contents);
        assert!(matches!(made, Err(Error::BadInput { .. })), "{what}");
    }
}

proptest! {
    #[test]
    fn damaged_elf_files_are_refused_or_come_back(
        at in 0..2000_usize, value in any::<u8>(), headers_first in any::<bool>(),
    ) {
        let mut file = elf_of(&elf_sections(SectionPacking::Compressed), headers_first);
        let at = at % file.len();
        file[at] = value;
        if let Some(contents) = open(ArchiveKind::Elf, &file) {
            prop_assert!(closed(ArchiveKind::Elf, &contents).unwrap() == file);
        }
    }

    #[test]
    fn damaged_elf_parts_are_closed_to_bytes_or_an_error(
        at in 0..5000_usize, value in any::<u8>(), of_structure in any::<bool>(),
    ) {
        let file = elf_of(&elf_sections(SectionPacking::Gnu), false);
        let mut contents = open(ArchiveKind::Elf, &file).unwrap();
        let bytes = &mut contents.bytes[usize::from(of_structure)];
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = closed(ArchiveKind::Elf, &contents);
    }
}
