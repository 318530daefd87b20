//! Deltas between two images rebuild the target exactly, by the cheapest sources, with the same bytes
//! every time.

use crate::support;
use imgdelta_apply::{
    delta::{Delta, Envelope, LayerBody, PayloadOrigin, Provenance},
    rebuild::{self, LayerForm},
    sink,
};
use imgdelta_core::{Context, Error, Limits, Result};
use imgdelta_image::{image::Image, survey::SurveyOptions};
use imgdelta_make::{
    cost::{Cost, FileLine, LayerLine, LayerMethod},
    options::{CreateOptions, ReusableRecipe},
    pair::ImagePair,
    sources::SourceReason,
};
use imgdelta_testkit::{Packing, TestImage, noise, tar_of, tar_stream::Tar};
use std::{io::Read, sync::Arc};
use support::{context, open};
use tempfile::TempDir;

/// Two images in a temporary directory.
struct TestPair {
    dir: TempDir,
    images: ImagePair,
}

impl TestPair {
    fn new(base: &TestImage, target: &TestImage) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = [("base", base), ("target", target)].map(|(name, image)| {
            image.blobs().write_layout(&dir.path().join(name));
            open(&dir.path().join(name))
        });
        let images =
            ImagePair::read(images, &SurveyOptions::default(), &context(dir.path(), 2)).unwrap();
        Self { dir, images }
    }

    /// Makes a delta with any number of threads, and returns its cost as well.
    fn make(&self, options: &CreateOptions, threads: usize) -> Result<(Vec<u8>, Cost)> {
        self.make_in(options, &context(self.dir.path(), threads))
    }

    fn make_in(&self, options: &CreateOptions, context: &Context) -> Result<(Vec<u8>, Cost)> {
        let images = [self.images.base().image.clone(), self.images.target().image.clone()];
        let pair = ImagePair::read(images, &SurveyOptions::default(), context)?;
        let draft = pair.plan(options)?.encode()?;
        let cost = draft.cost()?;
        let mut bytes = Vec::new();
        let written = draft.write_unproved(&mut bytes)?;
        assert_eq!(written, bytes.len() as u64);
        assert_eq!(cost.delta_bytes, written);
        Ok((bytes, cost))
    }

    /// Applies a delta and returns the written image.
    fn apply(&self, delta: &[u8], name: &str) -> Result<Image> {
        let delta = Delta::open(Arc::new(delta.to_vec()), "test", &Limits::default())?;
        let out = self.dir.path().join(name);
        let sink =
            sink::create(&format!("oci:{}", out.display()).parse()?, &context(self.dir.path(), 2))?;
        let base = [self.images.base().image.clone()];
        rebuild::apply(&delta, &base, sink, LayerForm::Exact, &context(self.dir.path(), 2))?;
        Ok(open(&out))
    }
}

fn text(seed: u32, lines: u32) -> Vec<u8> {
    let line = |n: u32| format!("line {} says {}\n", n, (n ^ seed).wrapping_mul(2_654_435_761));
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn base_layers() -> Vec<Vec<u8>> {
    vec![
        tar_of(&[
            ("bin/tool", &noise(1, 40_000)),
            ("etc/conf", b"colour = red\n"),
            ("usr/lib/libx.so.1.2.3", &noise(2, 20_000)),
            ("var/log", &text(1, 400)),
        ]),
        tar_of(&[("app/old-name.txt", &text(7, 900)), ("app/same", &noise(3, 5000))]),
        tar_of(&[("shared", &noise(4, 3000))]),
    ]
}

fn target_layers() -> Vec<Vec<u8>> {
    let mut tool = noise(1, 40_000);
    tool.splice(1000..1000, *b"inserted");
    let mut library = noise(2, 20_000);
    library[77] ^= 1;
    let mut renamed = text(7, 900);
    renamed.extend_from_slice(b"one more line\n");
    let fresh = noise(5, 4000);
    vec![
        tar_of(&[("shared", &noise(4, 3000))]),
        tar_of(&[
            ("bin/tool", &tool),
            ("etc/conf", b"colour = blue\n"),
            ("usr/lib/libx.so.1.3.0", &library),
            ("var/log", &text(1, 400)),
            ("opt/moved", &noise(3, 5000)),
            ("opt/renamed.md", &renamed),
            ("opt/fresh", &fresh),
            ("opt/fresh-again", &fresh),
            ("opt/empty", b""),
        ]),
        tar_of(&[("shared", &noise(4, 3000))]),
    ]
}

fn images(packing: Packing) -> TestPair {
    TestPair::new(
        &TestImage::new(base_layers(), packing),
        &TestImage::new(target_layers(), packing),
    )
}

#[test]
fn targets_of_any_packing_are_rebuilt_exactly() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::GzipMembers] {
        let pair = images(packing);
        let (delta, _) = pair.make(&CreateOptions::default(), 2).unwrap();
        let made = pair.apply(&delta, "made").unwrap();
        assert_eq!(made.digest, pair.images.target().image.digest, "{packing:?}");
        assert_eq!(made.layers, pair.images.target().image.layers, "{packing:?}");
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let pair = images(Packing::Gzip);
    let (one, _) = pair.make(&CreateOptions::default(), 1).unwrap();
    let (again, _) = images(Packing::Gzip).make(&CreateOptions::default(), 5).unwrap();
    assert_eq!(one, again);
}

#[test]
fn each_file_has_the_cheapest_source_and_the_cost_names_it() {
    let pair = images(Packing::Gzip);
    let (delta, cost) = pair.make(&CreateOptions::default(), 2).unwrap();
    let methods: Vec<LayerMethod> = cost.layers.iter().map(|layer| layer.method).collect();
    assert_eq!(methods, [LayerMethod::Kept, LayerMethod::Rebuilt, LayerMethod::Kept]);
    let count = |how| cost.layers[1].files.get(&how).map_or(0, |sum| sum.count);
    assert_eq!([Provenance::KEPT, Provenance::MOVED, Provenance::REPEATED].map(count), [1, 1, 1]);
    assert_eq!([Provenance::PATCHED, Provenance::LITERAL].map(count), [4, 1]);
    let reason = |path: &str| {
        let file = cost.files.iter().find(|file| file.path.to_string() == path);
        file.unwrap_or_else(|| panic!("{path} costs nothing")).reason
    };
    assert_eq!(reason("/bin/tool"), Some(SourceReason::Path));
    assert_eq!(reason("/usr/lib/libx.so.1.3.0"), Some(SourceReason::Name));
    assert_eq!(reason("/opt/renamed.md"), Some(SourceReason::Content));
    assert_eq!(reason("/opt/fresh"), Some(SourceReason::None));
    // New content must be sent; everything else is small.
    let fresh = cost.files.iter().find(|file| file.path.to_string() == "/opt/fresh").unwrap();
    assert!((3000..4200).contains(&fresh.bytes), "{fresh:?}");
    assert!(delta.len() < 6500, "{} bytes", delta.len());
    let of_layers: u64 = cost.layers.iter().map(|layer| layer.bytes).sum();
    let of_files: u64 = cost.files.iter().map(|file| file.bytes).sum();
    let layer = &cost.layers[1];
    assert_eq!(layer.bytes, layer.header_bytes + layer.envelope_bytes + of_files);
    assert!(cost.delta_bytes > of_layers, "documents cost something too");
}

#[test]
fn a_file_below_a_linked_directory_is_made_from_the_file_that_a_runtime_finds() {
    let (old, mut new) = (noise(8, 20_000), noise(8, 20_000));
    new[10_000] ^= 1;
    let merged = Tar::new().symlink("bin", "usr/bin").file("usr/bin/tool", &old).zeros(2).0;
    let apart = Tar::new().file("bin/tool", &old).zeros(2).0;
    let same = Tar::new().file("bin/tool", &new).zeros(2).0;
    let moved = Tar::new().symlink("bin", "usr/bin").file("usr/bin/tool", &new).zeros(2).0;
    for (base, target) in [(merged, same), (apart, moved)] {
        let [base, target] = [base, target].map(|layer| TestImage::new(vec![layer], Packing::Gzip));
        let pair = TestPair::new(&base, &target);
        let (delta, cost) = pair.make(&CreateOptions::default(), 2).unwrap();
        let file = cost.files.iter().find(|file| file.path.to_string().ends_with("bin/tool"));
        assert_eq!(file.unwrap().reason, Some(SourceReason::Path));
        assert!(delta.len() < 2000, "{} bytes", delta.len());
        pair.apply(&delta, "applied").unwrap();
    }
}

#[test]
fn an_image_to_itself_keeps_everything() {
    let image = TestImage::new(base_layers(), Packing::Gzip);
    let pair = TestPair::new(&image, &image);
    let (delta, cost) = pair.make(&CreateOptions::default(), 2).unwrap();
    assert_eq!(cost.pull_bytes, 0);
    // Only the way from a stream to its blob costs something.
    let most = |layer: &LayerLine| layer.blob_bytes / 250 + 512;
    let is_free =
        |layer: &LayerLine| layer.bytes == layer.envelope_bytes && layer.bytes <= most(layer);
    assert!(cost.layers.iter().all(|layer| layer.method == LayerMethod::Kept && is_free(layer)));
    assert_eq!(pair.apply(&delta, "made").unwrap().digest, pair.images.target().image.digest);
}

#[test]
fn a_delta_in_the_other_direction_is_exact() {
    let mut pair = images(Packing::Gzip);
    pair.images = pair.images.reversed();
    let (delta, _) = pair.make(&CreateOptions::default(), 2).unwrap();
    assert_eq!(pair.apply(&delta, "made").unwrap().digest, pair.images.target().image.digest);
}

#[test]
fn a_layer_of_unknown_compression_is_sent_whole_with_the_reason() {
    let base = TestImage::new(base_layers(), Packing::Zstd);
    let target = TestImage::new(target_layers(), Packing::ZstdRaw);
    let pair = TestPair::new(&base, &target);
    // The base has the streams of the kept layers in other blobs, so these are sent as well.
    let outcome = pair.make(&CreateOptions::default(), 2);
    let error = outcome.map(|(delta, _)| delta.len()).unwrap_err();
    assert!(matches!(error, Error::BadInput { .. }), "{error}");
    assert!(error.to_string().contains("3 layers are sent whole"), "{error}");
    let streams = CreateOptions::default().layers(LayerForm::Uncompressed);
    let (delta, cost) = pair.make(&streams, 2).unwrap();
    assert!(cost.layers.iter().all(|layer| layer.method != LayerMethod::CarriedForCompression));
    let delta = Delta::open(Arc::new(delta), "test", &Limits::default()).unwrap();
    assert!(delta.layers().iter().all(|layer| layer.envelope == Envelope::Unmade));
}

#[test]
fn zstd_layers_are_rebuilt_exactly() {
    let base = TestImage::new(base_layers(), Packing::Gzip);
    for packing in [Packing::Zstd, Packing::ZstdFrames] {
        let pair = TestPair::new(&base, &TestImage::new(target_layers(), packing));
        let (delta, _) = pair.make(&CreateOptions::default(), 2).unwrap();
        let name = format!("{packing:?}");
        assert_eq!(pair.apply(&delta, &name).unwrap().digest, pair.images.target().image.digest);
        let delta = Delta::open(Arc::new(delta), "test", &Limits::default()).unwrap();
        let is_remade = |envelope: &Envelope| matches!(envelope, Envelope::Zstd(_));
        assert!(delta.layers().iter().all(|layer| is_remade(&layer.envelope)), "{name}");
    }
}

#[test]
fn two_layers_with_one_stream_share_a_recipe() {
    let mut layers = target_layers();
    layers[2] = layers[1].clone();
    let base = TestImage::new(base_layers(), Packing::Plain);
    let pair = TestPair::new(&base, &TestImage::new(layers, Packing::Plain));
    let (delta, cost) = pair.make(&CreateOptions::default(), 2).unwrap();
    assert_eq!(cost.layers[2].method, LayerMethod::Repeated);
    assert_eq!(cost.layers[2].bytes, 0);
    assert_eq!(pair.apply(&delta, "made").unwrap().digest, pair.images.target().image.digest);
    let delta = Delta::open(Arc::new(delta), "test", &Limits::default()).unwrap();
    assert_eq!(delta.layers()[1].body, LayerBody::Recipe(0));
    assert_eq!(delta.layers()[2].body, LayerBody::Recipe(0));
}

/// Returns the first recipe of a delta, for reuse by other images.
fn reusable(delta: &[u8]) -> ReusableRecipe {
    let delta = Delta::open(Arc::new(delta.to_vec()), "test", &Limits::default()).unwrap();
    let ordinal =
        delta.layers().iter().position(|layer| layer.body == LayerBody::Recipe(0)).unwrap();
    let layer = &delta.layers()[ordinal];
    ReusableRecipe {
        recipe: delta.recipe(0).unwrap(),
        envelopes: [(layer.blob, layer.envelope.clone())].into(),
        archive_milliseconds: layer.archive_milliseconds,
        cost: delta.cost().unwrap().unwrap().swap_remove(ordinal),
    }
}

#[test]
fn a_recipe_is_used_again_by_images_with_the_same_layers() {
    let [old, new] = [base_layers().swap_remove(0), target_layers().swap_remove(1)];
    let image = |layers: &[&Vec<u8>]| {
        TestImage::new(layers.iter().copied().cloned().collect(), Packing::Gzip)
    };
    let (first, _) =
        TestPair::new(&image(&[&old]), &image(&[&new])).make(&CreateOptions::default(), 2).unwrap();
    let [app, next] = [1, 2].map(|seed| tar_of(&[("app/bin", &noise(7, 9000)[seed..])]));
    let pair = TestPair::new(&image(&[&old, &app]), &image(&[&new, &next]));
    let options = CreateOptions::default().reusable(vec![reusable(&first)]);
    let (delta, cost) = pair.make(&options, 2).unwrap();
    let methods: Vec<LayerMethod> = cost.layers.iter().map(|layer| layer.method).collect();
    assert_eq!(methods, [LayerMethod::Reused, LayerMethod::Rebuilt]);
    let bytes = |delta: &[u8]| {
        let mut bytes = Vec::new();
        reusable(delta).recipe.reader().read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(&delta), bytes(&first));
    assert_eq!(
        reusable(&delta).cost,
        reusable(&first).cost,
        "a reused recipe keeps its reported cost"
    );
    assert_eq!(
        cost.files.iter().filter(|file| file.layer == 0).count(),
        reusable(&first).cost.files.len()
    );
    assert_eq!(pair.apply(&delta, "made").unwrap().digest, pair.images.target().image.digest);

    // A delta for uncompressed layers has no envelopes.
    let streams = options.clone().layers(LayerForm::Uncompressed);
    let (delta, _) = pair.make(&streams, 2).unwrap();
    assert_eq!(reusable(&delta).envelopes.into_values().next(), Some(Envelope::Unmade));

    // A recipe is not used if the base lacks its sources.
    let pair = TestPair::new(&image(&[&app]), &image(&[&new, &next]));
    let (_, cost) = pair.make(&options, 2).unwrap();
    assert!(cost.layers.iter().all(|layer| layer.method != LayerMethod::Reused));
}

#[test]
fn a_reused_recipe_with_a_damaged_envelope_is_not_proved() {
    let [old, new] = [base_layers().swap_remove(0), target_layers().swap_remove(1)];
    let image = |layer: &[u8]| TestImage::new(vec![layer.to_vec()], Packing::Gzip);
    let pair = TestPair::new(&image(&old), &image(&new));
    let (first, _) = pair.make(&CreateOptions::default(), 2).unwrap();
    let offer = reusable(&first);
    let prove = |offer: ReusableRecipe| {
        let options = CreateOptions::default().reusable(vec![offer]);
        let plan = pair.images.plan(&options).unwrap();
        assert_eq!(plan.reused_recipes(), 1);
        plan.encode().unwrap().prove()
    };
    prove(offer.clone()).unwrap();
    let (blob, envelope) = offer.envelopes.iter().next().unwrap();
    let Envelope::Deflate(recipe) = envelope else { panic!("{envelope:?}") };
    let mut refused = 0;
    for at in 0..recipe.len() {
        let mut damaged = recipe.clone();
        damaged[at] ^= 1;
        let mut wrong = offer.clone();
        wrong.envelopes = [(*blob, Envelope::Deflate(damaged))].into();
        match prove(wrong) {
            Err(Error::Mismatch { .. } | Error::BadInput { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
            // A few bytes do not affect the blob, such as a hint for the speed.
            Ok(_) => {}
        }
    }
    assert!(refused * 2 > recipe.len(), "{refused} of {} bytes", recipe.len());
}

#[test]
fn little_memory_cuts_large_files_into_windows() {
    let mut large = noise(9, 3 << 20);
    let base = TestImage::new(vec![tar_of(&[("large", &large)])], Packing::Plain);
    large.rotate_left(1 << 20);
    let target = TestImage::new(vec![tar_of(&[("large", &large)])], Packing::Plain);
    let pair = TestPair::new(&base, &target);
    let (whole, _) = pair.make(&CreateOptions::default(), 2).unwrap();
    let (cut, _) = pair
        .make_in(
            &CreateOptions::default(),
            &context(pair.dir.path(), 2).memory_bytes(Some(1 << 20)),
        )
        .unwrap();
    for (name, delta) in [("whole", &whole), ("cut", &cut)] {
        assert!(delta.len() < 3000, "{name} is {} bytes", delta.len());
        assert_eq!(pair.apply(delta, name).unwrap().digest, pair.images.target().image.digest);
    }
    let delta = Delta::open(Arc::new(cut), "test", &Limits::default()).unwrap();
    let recipe = delta.recipe(0).unwrap();
    assert_eq!(recipe.origins, [PayloadOrigin::Rebuilt]);
    assert!(recipe.groups.iter().flat_map(|g| &g.members).all(|member| member.window.is_some()));
}

/// An x86-64 program of 34 MiB of code, with bytes inserted in its middle.
///
/// In each 64 bytes is a call of one of 256 functions, which lie at the start.
fn program(inserted: usize) -> Vec<u8> {
    let code = noise(5, 34 << 20);
    let middle = code.len() / 2;
    let mut file = vec![0; 120];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // x86-64; one header of 56 bytes at 64, of a segment that is loaded and executable.
    (file[18], file[32], file[54], file[56], file[64], file[68]) = (62, 64, 56, 1, 1, 5);
    let bytes = (file.len() + code.len() + inserted) as u64;
    file[96..104].copy_from_slice(&bytes.to_le_bytes());
    file[104..112].copy_from_slice(&bytes.to_le_bytes());
    for (number, bytes) in code.chunks_exact(64).enumerate() {
        if number * 64 == middle {
            file.extend(noise(78, inserted));
        }
        let at = file.len();
        file.extend(bytes);
        let function = 120 + number * 31 % 256 * 64;
        let distance = i32::try_from(function).unwrap() - i32::try_from(at + 35).unwrap();
        file[at + 30] = 0xE8;
        file[at + 31..at + 35].copy_from_slice(&distance.to_le_bytes());
    }
    file
}

#[test]
fn with_less_memory_than_it_needs_a_program_is_cut_into_windows_and_named() {
    let image =
        |file: Vec<u8>| TestImage::new(vec![tar_of(&[("usr/bin/tool", &file)])], Packing::Plain);
    let pair = TestPair::new(&image(program(0)), &image(program(1000)));
    let make = |memory_bytes| {
        let context = context(pair.dir.path(), 2).memory_bytes(Some(memory_bytes));
        pair.make_in(&CreateOptions::default(), &context).unwrap()
    };
    let (cut, cut_cost) = make(64 << 20);
    let [program] = &cut_cost.windowed[..] else { panic!("{:?}", cut_cost.windowed) };
    let note = cut_cost.windows_note().unwrap();
    assert!(note.starts_with("/usr/bin/tool: matched in windows for lack of memory"), "{note}");
    assert!(program.memory_bytes < 320 << 20, "{} bytes", program.memory_bytes);
    let (whole, whole_cost) = make(program.memory_bytes);
    assert_eq!((&whole_cost.windowed[..], whole_cost.windows_note()), (&[][..], None));
    // Every second call has changed, which the view of the whole program predicts.
    assert!(whole.len() < 12_000, "{} bytes", whole.len());
    assert!(cut.len() > 2 * whole.len(), "{} and {} bytes", cut.len(), whole.len());
    assert_eq!(pair.apply(&whole, "out").unwrap().digest, pair.images.target().image.digest);
}

#[test]
fn odd_streams_are_rebuilt_exactly() {
    let [one, other] = [("a", &b"1"[..]), ("b", b"2")].map(|file| tar_of(&[file]));
    // Two archives in one stream; many zeros and noise after the end; no entry; a file of zeros.
    let odd = vec![
        [one.clone(), other].concat(),
        [one.clone(), vec![0; 200_000], noise(12, 90_000)].concat(),
        tar_of(&[]),
        tar_of(&[("zeros", &[0; 70_000])]),
    ];
    let like = [one, vec![0; 100], noise(12, 70_000)].concat();
    let base = TestImage::new(vec![tar_of(&[("noise", &noise(12, 90_000))]), like], Packing::Plain);
    let pair = TestPair::new(&base, &TestImage::new(odd, Packing::Plain));
    let (delta, _) = pair.make(&CreateOptions::default(), 2).unwrap();
    assert_eq!(pair.apply(&delta, "made").unwrap().digest, pair.images.target().image.digest);
}

#[test]
fn a_file_is_charged_what_it_costs_alone() {
    // Bytes that nothing packs, and many that pack to a few.
    let hard = noise(1, 40_000);
    let soft: Vec<u8> = noise(2, 400_000).iter().map(|byte| byte & 3).collect();
    let patched: Vec<u8> =
        soft.iter().enumerate().map(|(i, byte)| byte + u8::from(i % 40 == 0)).collect();
    let text: Vec<u8> = noise(3, 60_000).iter().map(|byte| b'a' + byte % 16).collect();
    let cost = |new: &[(&str, &[u8])]| {
        // What stays makes every pull larger than the delta.
        let stays = noise(9, 300_000);
        let old = [("soft", &soft[..]), ("stays", &stays)];
        let new: Vec<(&str, &[u8])> = new.iter().copied().chain([("stays", &stays[..])]).collect();
        let images =
            [tar_of(&old), tar_of(&new)].map(|layer| TestImage::new(vec![layer], Packing::Gzip));
        let (_, cost) =
            TestPair::new(&images[0], &images[1]).make(&CreateOptions::default(), 2).unwrap();
        cost.files
    };
    let files: [(&str, &[u8]); 3] = [("hard", &hard), ("soft", &patched), ("text", &text)];
    let together = cost(&files);
    for file in files {
        let of = |files: &[FileLine]| {
            files.iter().find(|line| line.path.as_bytes() == file.0.as_bytes()).unwrap().bytes
        };
        let (share, alone) = (of(&together), of(&cost(&[file])));
        assert!(share.abs_diff(alone) <= 100 + alone * 15 / 100, "{}: {share}, {alone}", file.0);
    }
}
