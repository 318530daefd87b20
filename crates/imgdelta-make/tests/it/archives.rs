//! Archives in layers are opened and rebuilt exactly; invalid recipes for them are refused.

use crate::support;
use imgdelta_apply::{
    delta::{
        ArchiveKind, ArchiveTarget, Delta, DeltaWriter, Outline, PayloadOrigin, Provenance, Recipe,
        TargetLayer,
    },
    rebuild::{self, LayerForm},
    sink,
};
use imgdelta_core::{
    Context, Error, Limits, Result, limits::Ceiling, progress::Silent, scratch::is_full,
};
use imgdelta_deflate::{EncoderCache, EncoderModel, ZlibStrategy};
use imgdelta_image::{image::Image, survey::SurveyOptions};
use imgdelta_layer::archive::{InnerCoding, InnerPayloads, close};
use imgdelta_make::{
    archives::ArchiveOptions, cost::Cost, options::CreateOptions, pair::ImagePair,
};
use imgdelta_testkit::{
    Packing, SectionPacking, TestImage, ZipMember, ZipStyle, elf_of, gpu_container, gzip, noise,
    tar_of, zip_of,
};
use imgdelta_xz::{
    BlockForm, BlockRun, CheckKind, Properties, Remaker, SearchEffort, StreamRecipe,
};
use imgdelta_zstd::{FileRecipe, LibzstdCall, LibzstdInput, lz4::Lz4Encoder};
use std::sync::Arc;
use support::open;

/// Two images of one layer each, in a temporary directory.
struct TestPair {
    dir: tempfile::TempDir,
    images: [Image; 2],
}

impl TestPair {
    fn new(base: &[u8], target: &[u8]) -> Self {
        Self::packed(base, target, Packing::Plain)
    }

    fn packed(base: &[u8], target: &[u8], packing: Packing) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = [("base", base), ("target", target)].map(|(name, layer)| {
            let at = dir.path().join(name);
            TestImage::new(vec![layer.to_vec()], packing).blobs().write_layout(&at);
            open(&at)
        });
        Self { dir, images }
    }

    fn context(&self, threads: usize) -> Context {
        support::context(self.dir.path(), threads)
    }

    /// Makes and proves a delta.
    fn make(&self, archives: ArchiveOptions, threads: usize) -> (Vec<u8>, Cost) {
        self.make_with(&CreateOptions::default().archives(archives), threads)
    }

    fn make_with(&self, options: &CreateOptions, threads: usize) -> (Vec<u8>, Cost) {
        let context = self.context(threads);
        let pair =
            ImagePair::read(self.images.clone(), &SurveyOptions::default(), &context).unwrap();
        let plan = pair.plan(options).unwrap();
        let draft = plan.encode().unwrap();
        let cost = draft.cost().unwrap();
        let mut bytes = Vec::new();
        draft.prove().unwrap().write_to(&mut bytes).unwrap();
        (bytes, cost)
    }

    /// Applies a delta and checks the digest of the target's manifest.
    fn apply(&self, bytes: Vec<u8>) -> Result<()> {
        let delta = Delta::open(Arc::new(bytes), "test", &Limits::default())?;
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let place = format!("oci:{}", out.path().display());
        let sink = sink::create(&place.parse()?, &self.context(2))?;
        let base = [self.images[0].clone()];
        rebuild::apply(&delta, &base, sink, LayerForm::Exact, &self.context(2))?;
        assert_eq!(open(out.path()).digest, self.images[1].digest);
        Ok(())
    }
}

fn delta_of(bytes: &[u8]) -> Delta {
    Delta::open(Arc::new(bytes.to_vec()), "test", &Limits::default()).unwrap()
}

fn recipe_of(bytes: &[u8]) -> Recipe {
    Recipe::clone(&delta_of(bytes).recipe(0).unwrap())
}

/// Encodes a delta between images with an archive of 30 MB of zeros in the target.
fn encode_with_zeros(limits: &Limits) -> Result<(i64, Vec<u8>)> {
    let zeros = gzip(&vec![0; 30 << 20]);
    let files = |archive: &[u8]| tar_of(&[("text", &noise(1, 40_000)), ("zeros.gz", archive)]);
    let scene = TestPair::new(&files(&gzip(b"small")), &files(&zeros));
    let context = scene.context(2).limits(limits.clone());
    let options = SurveyOptions::default();
    let pair = ImagePair::read(scene.images.clone(), &options, &context)?;
    let plan = pair.plan(&CreateOptions::default())?;
    let room_bytes = i64::try_from(context.scratch.room_bytes()).unwrap();
    let mut bytes = Vec::new();
    plan.encode()?.prove()?.write_to(&mut bytes)?;
    Ok((room_bytes, bytes))
}

/// A content of prose with addresses, a few bytes different in each version.
fn debug_text(version: u8) -> Vec<u8> {
    let mut text: Vec<u8> =
        noise(5, 60_000).iter().flat_map(|byte| [b'a' + byte % 16, 0x40 | (byte % 8)]).collect();
    for at in (0..text.len()).step_by(9000) {
        text[at] = version;
    }
    text
}

#[test]
fn programs_for_graphics_processors_are_seen_through() {
    let layer = |version: u8, encoder: Lz4Encoder| {
        let (host, code) = (noise(6, 20_000), debug_text(version));
        let pack = |plain: &[u8]| encoder.encode(plain).unwrap();
        let (first, second) = (pack(&code), pack(&code[..30_000]));
        // No encoder makes a block of literals for this content.
        let literals = [&[0xf0, 255, 255, 255, 135], &code[..915]].concat();
        let containers = [
            gpu_container(&[(80, &first, code.len() as u64), (90, &literals, 915)]),
            gpu_container(&[(80, &second, 30_000), (90, b"not compressed", 0)]),
        ];
        let containers = containers.concat();
        let sections = [
            (".text", &host[..], SectionPacking::Plain),
            (".nv_fatbin", &containers[..], SectionPacking::Plain),
        ];
        tar_of(&[("lib/libcuda.so", &elf_of(&sections, false))])
    };
    let pair = TestPair::new(&layer(1, Lz4Encoder::Chain2), &layer(3, Lz4Encoder::Middle));
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let (opaque, _) = pair.make(ArchiveOptions::default().depth(0), 2);
    assert!(bytes.len() * 4 < opaque.len(), "{} of {} bytes", bytes.len(), opaque.len());
    let nested = recipe_of(&bytes).nested;
    assert_eq!(nested.closed, [ArchiveTarget { kind: ArchiveKind::Fatbin, inner: 4 }]);
    assert_eq!(nested.coders, [0, 1, 0, 1]);
    assert_eq!(nested.compressions, [[0xf4, 0]]);
    pair.apply(bytes).unwrap();
}

/// The parts of a runtime image of Java: a list of resources, and these.
struct RuntimeImage([Vec<u8>; 2]);

impl RuntimeImage {
    /// Returns one with `count` classes, each of 60 bytes.
    fn new(count: usize) -> Self {
        let mut list = b"\xda\xda\xfe\xca\0\0\x01\0\0\0\0\0".to_vec();
        list.extend(u32::try_from(count).unwrap().to_le_bytes());
        for number in 0..count {
            list.extend(format!("java.base\0java/package{}\0", number / 8).bytes());
            list.extend(format!("Class{number}\0class\0").bytes());
            list.extend([60, 0, 0, 0, 0, 0, 0, 0]);
        }
        Self([list, noise(9, count * 60)])
    }

    fn file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        close(ArchiveKind::Jimage, self, &Silent, &mut |at, piece| {
            assert_eq!(at, file.len() as u64);
            file.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        file
    }
}

impl InnerPayloads for RuntimeImage {
    fn count(&self) -> usize {
        2
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.0[inner].len() as u64
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&self.0[inner][at..at + buffer.len()]);
        Ok(())
    }

    fn coding(&self, _: usize) -> InnerCoding<'_> {
        InnerCoding::Plain
    }

    fn place(&self) -> String {
        "test".into()
    }
}

#[test]
fn runtime_images_of_java_are_seen_through() {
    // One class more, and every row of the index has another place.
    let layer = |count| tar_of(&[("lib/modules", &RuntimeImage::new(count).file())]);
    let pair = TestPair::new(&layer(2000), &layer(2001));
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let (opaque, _) = pair.make(ArchiveOptions::default().depth(0), 2);
    assert!(bytes.len() * 8 < opaque.len(), "{} of {} bytes", bytes.len(), opaque.len());
    let nested = recipe_of(&bytes).nested;
    assert_eq!(nested.closed, [ArchiveTarget { kind: ArchiveKind::Jimage, inner: 2 }]);
    assert_eq!(nested.coders, [0, 0]);
    pair.apply(bytes).unwrap();
}

#[test]
fn compressed_sections_of_programs_are_seen_through() {
    for packing in [SectionPacking::Compressed, SectionPacking::Gnu] {
        let layer = |version: u8| {
            let (info, code) = (debug_text(version), noise(6, 20_000));
            let sections = [
                (".text", &code[..], SectionPacking::Plain),
                (".zdebug_info", &info[..], packing),
                (".zdebug_line", &info[..30_000], packing),
            ];
            tar_of(&[("bin/server", &elf_of(&sections, version == 2))])
        };
        let pair = TestPair::new(&layer(1), &layer(3));
        let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
        let (opaque, _) = pair.make(ArchiveOptions::default().depth(0), 2);
        assert!(bytes.len() * 4 < opaque.len(), "{} of {} bytes", bytes.len(), opaque.len());
        let nested = recipe_of(&bytes).nested;
        assert_eq!((nested.opened.len(), nested.closed.len()), (1, 1));
        assert_eq!(nested.closed[0].kind, ArchiveKind::Elf);
        pair.apply(bytes).unwrap();
        // Programs whose headers stand elsewhere, and those that were not compressed before.
        for base in [
            layer(2),
            tar_of(&[(
                "bin/server",
                &elf_of(&[(".a", &debug_text(1), SectionPacking::Plain)], false),
            )]),
        ] {
            let pair = TestPair::new(&base, &layer(3));
            let (bytes, _) = pair.make(ArchiveOptions::default(), 1);
            pair.apply(bytes).unwrap();
        }
    }
}

#[test]
fn archives_that_expand_beyond_the_ceiling_are_taken_as_they_are() {
    // With room for the zeros, the plan keeps them in a scratch file.
    let with_room = |free_bytes| {
        let mut limits = Limits::default();
        limits.scratch_free_bytes = free_bytes;
        limits.free_work = u64::MAX;
        limits.work_per_byte = 1 << 20;
        encode_with_zeros(&limits).unwrap().0
    };
    let (roomy, tight) = (with_room(200 << 20), with_room(20 << 20));
    let kept_bytes = (180 << 20) - (roomy - tight);
    assert!((30 << 20..31 << 20).contains(&kept_bytes), "{kept_bytes}");
}

#[test]
fn archives_that_ask_for_too_much_work_are_taken_as_they_are() {
    let opened = |limits: Limits| {
        let (_, bytes) = encode_with_zeros(&limits).unwrap();
        !recipe_of(&bytes).nested.closed.is_empty()
    };
    // 30 MB of content are compressed again for a layer of 80 kB.
    assert!(!opened(Limits::default()));
    let mut limits = Limits::default();
    limits.work_per_byte = 1 << 20;
    assert!(opened(limits));
}

#[test]
fn scratch_files_beyond_the_ceiling_are_an_error_that_names_the_limit() {
    // Uncompressed layers are read in place.
    let (base, target) = (tar_of(&[("a", &noise(1, 90_000))]), tar_of(&[("a", b"")]));
    let scene = TestPair::packed(&base, &target, Packing::Gzip);
    let context = scene.context(2).scratch_ceiling(Ceiling::fixed(50_000));
    let read = ImagePair::read(scene.images.clone(), &SurveyOptions::default(), &context);
    let error = read.err().unwrap();
    assert!(is_full(&error), "{error}");
    assert!(error.to_string().contains("more than the limit of 50000"), "{error}");
}

/// Returns the delta with another recipe before the same groups.
fn with(bytes: &[u8], recipe: &Recipe) -> Vec<u8> {
    let delta = Delta::open(Arc::new(bytes.to_vec()), "test", &Limits::default()).unwrap();
    let outline = Outline {
        algorithm: delta.digest().algorithm(),
        media_type: delta.media_type().to_owned(),
        manifest: delta.manifest().to_vec(),
        config: delta.config_bytes().to_vec(),
        platform: delta.platform().to_string(),
        base: None,
        layers: delta.layers().iter().map(TargetLayer::outline).collect(),
    };
    let stored = delta.recipe(0).unwrap();
    let groups: Vec<u8> =
        (0..stored.groups.len()).flat_map(|group| stored.group(group).unwrap()).collect();
    let mut writer = DeltaWriter::new(Vec::new(), &outline).unwrap();
    writer.recipe(recipe, &mut groups.as_slice()).unwrap();
    writer.finish().unwrap().0
}

/// Text that compresses to about a third.
fn text(seed: u32, lines: u32) -> Vec<u8> {
    let line = |n: u32| format!("line {} says {}\n", n, (n ^ seed).wrapping_mul(2_654_435_761));
    (0..lines).map(line).collect::<String>().into_bytes()
}

/// Compresses like gzip(1), at a level.
fn gzip_at(bytes: &[u8], level: u8) -> Vec<u8> {
    let model = EncoderModel::Zlib {
        level,
        mem_level: 8,
        window_bits: 15,
        strategy: ZlibStrategy::Default,
    };
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03".to_vec();
    EncoderCache::new().remake_raw(&model, bytes, &mut out).unwrap();
    let mut crc = [gzip(bytes)].concat();
    out.extend(crc.split_off(crc.len() - 8));
    out
}

/// Returns a jar with one changed class and two others.
fn jar(changed: &[u8], style: ZipStyle) -> Vec<u8> {
    let (one, other) = (text(1, 700), text(2, 900));
    let members: Vec<ZipMember<'_>> = vec![
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n", true),
        ("a/One.class", &one, true),
        ("a/Changed.class", changed, true),
        ("a/Other.class", &other, true),
    ];
    zip_of(&members, style)
}

#[test]
fn a_changed_member_costs_only_its_changes() {
    let mut changed = text(3, 800);
    changed[5000] ^= 1;
    for style in ZipStyle::ALL {
        let base = tar_of(&[("lib/app.jar", &jar(&text(3, 800), style))]);
        let target = tar_of(&[("lib/app.jar", &jar(&changed, style))]);
        let pair = TestPair::new(&base, &target);
        let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
        let recipe = recipe_of(&bytes);
        // Unchanged members are copied in their stored form; the changed one is rebuilt.
        let count = |wanted: fn(&PayloadOrigin) -> bool| {
            recipe.origins.iter().filter(|origin| wanted(origin)).count()
        };
        assert_eq!(count(|origin| *origin == PayloadOrigin::Closed), 1, "{style:?}");
        assert_eq!(count(|origin| matches!(origin, PayloadOrigin::Packed(_))), 3, "{style:?}");
        assert_eq!(recipe.nested.compressions.len(), 1, "{style:?}");
        assert_eq!(cost.layers[0].files[&Provenance::OPENED].count, 1);
        let file_bytes = cost.files.iter().map(|file| file.bytes).sum::<u64>();
        assert!(file_bytes < 150, "{style:?}: {file_bytes} bytes");
        let (closed, _) = pair.make(ArchiveOptions::default().depth(0), 2);
        assert!(closed.len() > 4 * bytes.len(), "{} {}", closed.len(), bytes.len());
        let (again, _) = pair.make(ArchiveOptions::default(), 5);
        assert!(again == bytes, "the bytes depend on the number of threads");
        pair.apply(bytes).unwrap();
        pair.apply(closed).unwrap();
    }
}

#[test]
fn members_are_found_in_other_archives_and_under_other_names() {
    let (one, two) = (text(4, 500), text(5, 500));
    let base = tar_of(&[
        ("one.jar", &zip_of(&[("a", &one, true), ("b", b"b", true)], ZipStyle::Ahead)),
        ("two.jar", &zip_of(&[("c", &two, true), ("d", b"d", true)], ZipStyle::Ahead)),
        ("loose.txt", &text(6, 300)),
    ]);
    // One member from each archive, renamed; a plain file; a compressed member, now stored.
    let both = zip_of(
        &[("x", &two, true), ("y", &one, true), ("z", &text(6, 300), true), ("b", b"b", false)],
        ZipStyle::Descriptors,
    );
    let pair = TestPair::new(&base, &tar_of(&[("both.jar", &both)]));
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let recipe = recipe_of(&bytes);
    let inner = &recipe.origins[1..];
    assert!(
        matches!(
            inner[..4],
            [
                PayloadOrigin::Packed(_),
                PayloadOrigin::Packed(_),
                PayloadOrigin::Base(_),
                PayloadOrigin::Part(_)
            ]
        ),
        "{inner:?}"
    );
    pair.apply(bytes).unwrap();
}

#[test]
fn archives_in_archives_are_opened_to_the_requested_depth() {
    let nested = |seed| {
        let jar = jar(&text(seed, 400), ZipStyle::Ahead);
        let war =
            zip_of(&[("lib/app.jar", &jar, false), ("index", b"same", true)], ZipStyle::Ahead);
        tar_of(&[("app.war.gz", &gzip_at(&war, 6))])
    };
    let pair = TestPair::new(&nested(8), &nested(9));
    let made = [0, 1, 2, 3].map(|depth| pair.make(ArchiveOptions::default().depth(depth), 2).0);
    let closed = |bytes: &[u8]| recipe_of(bytes).nested.closed.len();
    assert_eq!([0, 1, 2, 3], [0, 1, 2, 3].map(|depth: usize| closed(&made[depth])));
    for bytes in made {
        pair.apply(bytes).unwrap();
    }
}

#[test]
fn members_of_compressed_tars_are_found_in_any_archive() {
    let packed = |members: &[(&str, &[u8])]| gzip_at(&tar_of(members), 6);
    let (one, two, three) = (text(21, 500), text(22, 500), text(23, 500));
    let base = tar_of(&[
        ("one.tgz", &packed(&[("a/one", &one), ("a/three", &three)])),
        ("two.tar.gz", &packed(&[("two", &two)])),
    ]);
    let target = tar_of(&[("both.tgz", &packed(&[("b/two", &two), ("b/one", &one)]))]);
    let pair = TestPair::new(&base, &target);
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let recipe = recipe_of(&bytes);
    assert_eq!(recipe.nested.closed.len(), 2, "the file and the tar in it");
    let is_part = |origin: &&PayloadOrigin| matches!(origin, PayloadOrigin::Part(_));
    assert_eq!(recipe.origins.iter().filter(is_part).count(), 2);
    pair.apply(bytes).unwrap();
}

#[test]
fn gzip_files_of_any_encoder_are_rebuilt() {
    let (old, mut new) = (text(10, 2000), text(10, 2000));
    new.splice(100..110, *b"other");
    for (level, first) in [(9, 6), (1, 1), (6, 9)] {
        let base = tar_of(&[("doc.gz", &gzip_at(&old, first))]);
        let pair = TestPair::new(&base, &tar_of(&[("doc.gz", &gzip_at(&new, level))]));
        let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
        assert_eq!(cost.layers[0].files[&Provenance::OPENED].count, 1);
        assert!(cost.files.iter().map(|file| file.bytes).sum::<u64>() < 120, "{cost}");
        pair.apply(bytes).unwrap();
    }
    // An unknown encoder: the file stays closed if a record of the choices is too large.
    let base = tar_of(&[("doc.gz", &gzip(&old))]);
    let pair = TestPair::new(&base, &tar_of(&[("doc.gz", &gzip(&new))]));
    pair.apply(pair.make(ArchiveOptions::default(), 2).0).unwrap();
}

/// An xz file as a preset makes it, numbered as in [`SearchEffort::PRESETS`].
fn xz_of(content: &[u8], preset: usize) -> Vec<u8> {
    let form = BlockForm {
        header_bytes: 20,
        has_packed_bytes: true,
        has_plain_bytes: true,
        filters: Vec::new(),
        window_code: 16,
        packing: imgdelta_xz::Packing::Liblzma(
            Properties::default(),
            SearchEffort::PRESETS[preset],
        ),
    };
    let runs = vec![BlockRun { form: 0, plain_bytes: 0, count: 0 }];
    let stream = StreamRecipe { check: CheckKind::Crc32, runs, padding: 0 };
    let recipe = imgdelta_xz::Recipe { forms: vec![form], streams: vec![stream] };
    let (mut made, mut remaker) = (Vec::new(), Remaker::new(&recipe));
    remaker.write(content, &mut made).unwrap();
    remaker.finish(&mut made).unwrap();
    made
}

/// The default preset of xz, and a fast one.
const DEFAULT_XZ: usize = 6;
const FAST_XZ: usize = 1;

#[test]
fn xz_files_of_the_same_name_cost_only_their_changes() {
    let (old, mut new) = (text(20, 2000), text(20, 2000));
    new.splice(5000..5010, *b"other");
    let base = tar_of(&[("modules/6.1.7/fs/a.ko.xz", &xz_of(&old, DEFAULT_XZ))]);
    let target = tar_of(&[("modules/6.1.8/fs/a.ko.xz", &xz_of(&new, DEFAULT_XZ))]);
    let pair = TestPair::new(&base, &target);
    let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
    assert_eq!(recipe_of(&bytes).nested.closed[0].kind, ArchiveKind::Xz);
    assert!(cost.files.iter().map(|file| file.bytes).sum::<u64>() < 120, "{cost}");
    pair.apply(bytes).unwrap();
    // Where the receiver's time counts more, the file stays closed.
    let (closed, _) = pair.make(ArchiveOptions::default().nanoseconds_per_byte(200), 2);
    assert!(recipe_of(&closed).nested.closed.is_empty());
    pair.apply(closed).unwrap();
}

#[test]
fn a_delta_states_the_time_for_closing_its_archives() {
    let (old, new) = (text(20, 2000), text(20, 2100));
    let [base, target] =
        [old, new.clone()].map(|file| tar_of(&[("a.xz", &xz_of(&file, DEFAULT_XZ))]));
    let pair = TestPair::new(&base, &target);
    let stated = |bytes: &[u8]| delta_of(bytes).layers()[0].archive_milliseconds;

    let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
    // The default preset takes more than 200 ns a byte.
    let least = new.len() as u64 * 200 / 1_000_000;
    assert!(stated(&bytes) > least, "{} ms for {least}", stated(&bytes));
    assert!(cost.rebuild_time.as_millis() >= u128::from(stated(&bytes)), "{cost}");

    let options = CreateOptions::default().reuse(&delta_of(&bytes)).unwrap();
    let (again, _) = pair.make_with(&options, 2);
    assert_eq!(stated(&again), stated(&bytes));

    let (closed, cost) = pair.make(ArchiveOptions::default().depth(0), 2);
    assert_eq!(stated(&closed), 0);
    assert!(cost.rebuild_time.as_millis() < u128::from(stated(&bytes)), "{cost}");
}

#[test]
fn slow_xz_files_without_a_counterpart_stay_closed() {
    for (preset, is_opened) in [(DEFAULT_XZ, false), (FAST_XZ, true)] {
        let base = tar_of(&[("old.xz", &xz_of(&text(21, 2000), preset))]);
        let target = tar_of(&[("other.xz", &xz_of(&text(21, 1990), preset))]);
        let pair = TestPair::new(&base, &target);
        let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
        assert_eq!(!recipe_of(&bytes).nested.closed.is_empty(), is_opened, "preset {preset}");
        pair.apply(bytes).unwrap();
    }
}

/// A zstd file by a call that knows the length of each part, which becomes a frame.
fn zstd_by(call: LibzstdCall, parts: &[&[u8]]) -> Vec<u8> {
    let recipe = FileRecipe::OneFrame { call, has_checksum: true, has_length: true };
    let frames = parts.iter().flat_map(|part| {
        let recipe = recipe.frames(part.len() as u64);
        let (mut made, mut remaker) = (Vec::new(), imgdelta_zstd::Remaker::new(&recipe));
        remaker.write(part, &mut made).unwrap();
        remaker.finish(&mut made).unwrap();
        made
    });
    frames.collect()
}

fn zstd_of(content: &[u8], level: i32) -> Vec<u8> {
    let input = LibzstdInput::EndWithData;
    zstd_by(LibzstdCall { input, ..LibzstdCall::new(level) }, &[content])
}

#[test]
fn zstd_files_cost_only_their_changes() {
    let (old, mut new) = (text(40, 60_000), text(40, 60_000));
    new.splice(5000..5010, *b"other");
    let input = LibzstdInput::EndWithData;
    let jobs = LibzstdCall { jobs: true, input, ..LibzstdCall::new(3) };
    let one_call = LibzstdCall { input: LibzstdInput::OneCall, ..LibzstdCall::new(5) };
    let long = LibzstdCall { long_window: 27, input, ..LibzstdCall::new(3) };
    for call in [jobs, one_call, long, LibzstdCall::new(-4), LibzstdCall::new(1)] {
        let [base, target] = [&old, &new].map(|content| {
            let end = 1000 + content.len() / 3;
            // Small files with two frames, the first file of the layer, and a large one.
            let small = zstd_by(call, &[&content[..4000], &content[4000..20_000]]);
            let module = zstd_by(call, &[&content[..end]]);
            // Longer than what the search holds in memory.
            let large = zstd_by(call, &[&content.repeat(1 + (5 << 20) / content.len())]);
            tar_of(&[("a.zst", &small), ("b.ko.zst", &module), ("c.zst", &large)])
        });
        let pair = TestPair::new(&base, &target);
        let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
        let kinds: Vec<_> = recipe_of(&bytes).nested.closed.iter().map(|made| made.kind).collect();
        assert_eq!(kinds, [ArchiveKind::Zstd; 3], "{call:?}");
        assert!(cost.files.iter().map(|file| file.bytes).sum::<u64>() < 500, "{call:?}: {cost}");
        assert_eq!(pair.make(ArchiveOptions::default(), 1).0, bytes, "{call:?}");
        pair.apply(bytes).unwrap();
    }
}

#[test]
fn many_zstd_files_of_one_encoder_share_a_recipe() {
    let names: Vec<String> = (0..40).map(|number| format!("modules/{number}.ko.zst")).collect();
    let [base, target] = [0, 7].map(|change| {
        let files: Vec<Vec<u8>> = (0..40_u32)
            .map(|number| {
                let mut content = text(100 + number, 300 + number);
                content[200] ^= change;
                zstd_of(&content, 3)
            })
            .collect();
        let pairs: Vec<_> =
            names.iter().map(String::as_str).zip(files.iter().map(|f| &f[..])).collect();
        tar_of(&pairs)
    });
    let pair = TestPair::new(&base, &target);
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let recipe = recipe_of(&bytes);
    assert_eq!(recipe.nested.closed.len(), 40);
    assert!(recipe.nested.compressions.len() < 3, "{:?}", recipe.nested.compressions);
    pair.apply(bytes).unwrap();
}

#[test]
fn slow_zstd_files_without_a_counterpart_stay_closed() {
    for (level, is_opened) in [(19, false), (9, true)] {
        let base = tar_of(&[("old.zst", &zstd_of(&text(41, 2000), level))]);
        let target = tar_of(&[("other.zst", &zstd_of(&text(41, 1990), level))]);
        let pair = TestPair::new(&base, &target);
        let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
        assert_eq!(!recipe_of(&bytes).nested.closed.is_empty(), is_opened, "level {level}");
        pair.apply(bytes).unwrap();
        // With a counterpart both are opened, unless the receiver's time counts more.
        let target = tar_of(&[("old.zst", &zstd_of(&text(41, 1990), level))]);
        let pair = TestPair::new(&base, &target);
        for (nanoseconds, is_opened) in [(500, true), (20, false)] {
            let options = ArchiveOptions::default().nanoseconds_per_byte(nanoseconds);
            let (bytes, _) = pair.make(options, 2);
            assert_eq!(!recipe_of(&bytes).nested.closed.is_empty(), is_opened, "level {level}");
            pair.apply(bytes).unwrap();
        }
    }
}

#[test]
fn zstd_files_that_no_encoder_makes_stay_closed() {
    let (old, new) = (text(42, 9000), text(42, 9100));
    let sound = |content: &[u8]| zstd_of(content, 3);
    // Blocks that no encoder cuts there, and bytes behind the frame.
    let stored = |content: &[u8]| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        for block in content.chunks(1000) {
            frame.extend_from_slice(&(block.len() << 3).to_le_bytes()[..3]);
            frame.extend_from_slice(block);
        }
        [&frame[..], &[1, 0, 0]].concat()
    };
    let trailing = |content: &[u8]| [&sound(content)[..], b"more"].concat();
    let cut = |content: &[u8]| sound(content).split_last().unwrap().1.to_vec();
    let flipped = |content: &[u8]| {
        let mut file = sound(content);
        file[900] ^= 4;
        file
    };
    let cases: [(&str, Pack<'_>); 4] =
        [("stored", &stored), ("trailing", &trailing), ("cut", &cut), ("flipped", &flipped)];
    for (what, make) in cases {
        let [base, target] = [&old, &new].map(|content| tar_of(&[("a.zst", &make(content))]));
        let pair = TestPair::new(&base, &target);
        let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
        assert!(recipe_of(&bytes).nested.closed.is_empty(), "{what}");
        pair.apply(bytes).unwrap();
    }
}

/// A compressor.
type Pack<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// A Debian package whose archives `pack` compresses.
fn package(pack: Pack<'_>, version: &[u8], changed: &[u8]) -> Vec<u8> {
    let control = pack(&tar_of(&[("control", version)]));
    let data = pack(&tar_of(&[("usr/lib/a", &text(22, 900)), ("usr/lib/b", changed)]));
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)]
    {
        let length = content.len();
        let facts = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644);
        package.extend_from_slice(facts.as_bytes());
        package.extend_from_slice(content);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    package
}

#[test]
fn debian_packages_are_seen_through() {
    let (old, mut new) = (text(23, 900), text(23, 900));
    new[3000] ^= 1;
    let with_xz = |content: &[u8]| xz_of(content, DEFAULT_XZ);
    let with_zstd = |content: &[u8]| zstd_of(content, 19);
    let packs: [(ArchiveKind, Pack<'_>); 2] =
        [(ArchiveKind::Xz, &with_xz), (ArchiveKind::Zstd, &with_zstd)];
    for (packed, pack) in packs {
        let base = tar_of(&[("cache/a_1.0_amd64.deb", &package(pack, b"Version: 1.0", &old))]);
        let target = tar_of(&[("cache/a_1.1_amd64.deb", &package(pack, b"Version: 1.1", &new))]);
        let pair = TestPair::new(&base, &target);
        let (bytes, cost) = pair.make(ArchiveOptions::default(), 2);
        let kinds: Vec<_> = recipe_of(&bytes).nested.closed.iter().map(|made| made.kind).collect();
        let (ar, tar) = (ArchiveKind::Ar, ArchiveKind::Tar);
        assert_eq!(kinds, [ar, packed, packed, tar, tar]);
        assert!(cost.files.iter().map(|file| file.bytes).sum::<u64>() < 500, "{cost}");
        pair.apply(bytes).unwrap();
    }
}

#[test]
fn members_that_are_too_slow_to_compress_are_sent_in_their_stored_form() {
    let base =
        tar_of(&[("doc.gz", &gzip_at(&text(11, 900), 9)), ("a.jar", &jar(b"1", ZipStyle::Ahead))]);
    let target =
        tar_of(&[("doc.gz", &gzip_at(&text(12, 900), 9)), ("a.jar", &jar(b"2", ZipStyle::Ahead))]);
    let pair = TestPair::new(&base, &target);
    let (bytes, cost) = pair.make(ArchiveOptions::default().nanoseconds_per_byte(0), 2);
    // The jar is opened, and its changed member is a stored part; the gzip file stays closed.
    assert_eq!(cost.layers[0].files[&Provenance::OPENED].count, 1);
    assert!(recipe_of(&bytes).nested.compressions.is_empty());
    pair.apply(bytes).unwrap();
}

#[test]
fn invalid_archives_are_rebuilt_as_plain_files() {
    let sound = jar(b"one", ZipStyle::Ahead);
    let mut damaged = sound.clone();
    damaged[2000] ^= 0x10;
    let mut encrypted = sound.clone();
    // The flags of every header and entry.
    for at in 0..encrypted.len() - 10 {
        if encrypted[at..].starts_with(b"PK\x03\x04") {
            encrypted[at + 6] |= 1;
        } else if encrypted[at..].starts_with(b"PK\x01\x02") {
            encrypted[at + 8] |= 1;
        }
    }
    let mut trailing = sound.clone();
    trailing.extend(b"more after the end record");
    let cut = &sound[..sound.len() - 1];
    let base = tar_of(&[("a.jar", &sound), ("b.gz", &gzip_at(&text(1, 300), 6))]);
    let mut gz = gzip_at(&text(2, 300), 6);
    gz[200] ^= 4;
    for (name, changed) in [
        ("damaged", &damaged[..]),
        ("encrypted", &encrypted),
        ("trailing", &trailing),
        ("cut", cut),
        ("gz", &gz),
    ] {
        let pair = TestPair::new(&base, &tar_of(&[("a.jar", changed), ("b.gz", changed)]));
        pair.apply(pair.make(ArchiveOptions::default(), 2).0)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // The same file in the base.
        let pair = TestPair::new(&tar_of(&[("a.jar", changed)]), &tar_of(&[("a.jar", &sound)]));
        pair.apply(pair.make(ArchiveOptions::default(), 2).0)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn invalid_recipes_for_zstd_files_are_refused() {
    let [base, target] = [(43, 0), (43, 9)].map(|(seed, change)| {
        let mut content = text(seed, 2000);
        content[1000] ^= change;
        tar_of(&[("a.zst", &zstd_of(&content, 3))])
    });
    let pair = TestPair::new(&base, &target);
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let sound = recipe_of(&bytes);
    pair.apply(with(&bytes, &sound)).unwrap();
    let cases: [Damage; 9] = [
        ("an archive of another kind", |r| r.nested.opened[0].kind = ArchiveKind::Xz),
        ("an archive that is shorter", |r| r.nested.opened[0].bytes -= 1),
        ("parts of a terabyte", |r| r.nested.opened[0].plain_bytes = 1 << 40),
        ("an archive of another kind made", |r| r.nested.closed[0].kind = ArchiveKind::Gzip),
        ("a payload without compression", |r| r.nested.coders[0] = 0),
        ("a payload of a terabyte", |r| *r.nested.inner_bytes.last_mut().unwrap() = 1 << 40),
        ("another level", |r| r.nested.compressions[0][3] = 8),
        ("a level that takes gigabytes", |r| {
            r.nested.compressions[0] = vec![0xb5, 2, 1, 44, 0, 1];
        }),
        ("a compression that ends early", |r| r.nested.compressions[0].truncate(4)),
    ];
    for (what, damage) in cases {
        let mut recipe = sound.clone();
        damage(&mut recipe);
        let error = pair.apply(with(&bytes, &recipe)).expect_err(what);
        let is_refused = matches!(
            error,
            Error::BadInput { .. } | Error::OverLimit { .. } | Error::Mismatch { .. }
        );
        assert!(is_refused, "{what}: {error:?}");
    }
}

/// The name of a change to a recipe, and the change.
type Damage = (&'static str, fn(&mut Recipe));

#[test]
fn invalid_recipes_for_archives_are_refused() {
    let base = tar_of(&[("a.jar", &jar(&noise(1, 900), ZipStyle::Ahead))]);
    let target = tar_of(&[("a.jar", &jar(&noise(2, 900), ZipStyle::Ahead))]);
    let pair = TestPair::new(&base, &target);
    let (bytes, _) = pair.make(ArchiveOptions::default(), 2);
    let sound = recipe_of(&bytes);
    pair.apply(with(&bytes, &sound)).unwrap();
    let cases: [Damage; 12] = [
        ("an archive that begins elsewhere", |r| r.nested.opened[0].address += 1),
        ("an archive that is shorter", |r| r.nested.opened[0].bytes -= 1),
        ("an archive of another kind", |r| {
            r.nested.opened[0].kind = ArchiveKind::Gzip;
        }),
        ("parts that are longer", |r| r.nested.opened[0].plain_bytes += 1),
        ("parts of a terabyte", |r| r.nested.opened[0].plain_bytes = 1 << 40),
        ("an archive of another kind made", |r| {
            r.nested.closed[0].kind = ArchiveKind::Gzip;
        }),
        ("a part that is not there", |r| {
            r.origins.iter_mut().for_each(|origin| {
                if let PayloadOrigin::Packed(part) = origin {
                    *part += 1_000_000;
                }
            });
        }),
        ("a payload of a terabyte", |r| *r.nested.inner_bytes.last_mut().unwrap() = 1 << 40),
        ("a payload that is shorter", |r| *r.nested.inner_bytes.last_mut().unwrap() -= 1),
        ("a payload without compression", |r| {
            r.nested.coders.iter_mut().for_each(|coder| *coder = 0);
        }),
        ("a compression that is not one", |r| r.nested.compressions[0] = vec![9; 4]),
        ("another compression", |r| {
            let last = r.nested.compressions[0].len();
            r.nested.compressions[0].truncate(last - 1);
        }),
    ];
    for (what, damage) in cases {
        let mut recipe = sound.clone();
        damage(&mut recipe);
        let error = pair.apply(with(&bytes, &recipe)).expect_err(what);
        let is_refused = matches!(
            error,
            Error::BadInput { .. } | Error::OverLimit { .. } | Error::Mismatch { .. }
        );
        assert!(is_refused, "{what}: {error:?}");
    }
}
