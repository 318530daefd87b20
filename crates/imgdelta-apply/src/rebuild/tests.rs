//! Applied deltas give the target's digests, or an error and nothing visible.

mod graphs;
mod making;

use super::*;
use crate::{
    delta::{
        ArchiveKind, ArchiveTarget, BaseSource, Delta, Envelope, GroupMember, LayerBody,
        NestedArchives, PayloadOrigin, PayloadWindow, Recipe, RecipeGroup,
    },
    sink,
};
use imgdelta_core::{
    DiffId, Difference, Error, LimitName, Limits, MissingLayer, parallel::Workers,
    progress::Progress, scratch::Scratch,
};
use imgdelta_image::image::{Image, OpenOptions};
use imgdelta_testkit::{Packing, TestImage, noise, tar_of};
use making::PlainMaker;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A base and a target, in layouts of a temporary directory.
struct Scene {
    dir: tempfile::TempDir,
    base: Vec<Image>,
    target: Image,
}

fn base_layers() -> Vec<Vec<u8>> {
    let large = noise(1, 9000);
    vec![
        tar_of(&[("etc/conf", b"colour = red\n"), ("bin/large", &large), ("gone", b"old")]),
        tar_of(&[("opt/same", &noise(2, 700)), ("opt/text", &b"line of text\n".repeat(90))]),
    ]
}

/// Layers with changed, moved, repeated, new and empty files, and one of two windows; a layer of the
/// base; and new layers.
fn target_layers() -> Vec<Vec<u8>> {
    let mut large = noise(1, 9000);
    large[4000] ^= 1;
    large.extend(b"more at the end");
    let text = [b"line of text\n".repeat(60), b"another\n".to_vec(), b"line of text\n".repeat(29)];
    vec![
        tar_of(&[
            ("etc/conf", b"colour = blue\n"),
            ("bin/large", &large),
            ("opt/text", &text.concat()),
            ("opt/moved", &noise(2, 700)),
            ("opt/new", b"nothing like it"),
            ("opt/again", b"nothing like it"),
            ("opt/empty", b""),
        ]),
        base_layers()[1].clone(),
        tar_of(&[("etc/conf", b"colour = green\n"), ("gone", b"old")]),
        tar_of(&[]),
    ]
}

fn open(dir: &Path) -> Image {
    imgdelta_image::image::open(
        &format!("oci:{}", dir.display()).parse().unwrap(),
        &OpenOptions::default(),
    )
    .unwrap()
}

impl Scene {
    fn new(base: Packing, target: Packing) -> Self {
        Self::of((base_layers(), base), (target_layers(), target))
    }

    fn of(base: (Vec<Vec<u8>>, Packing), target: (Vec<Vec<u8>>, Packing)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = [
            ("base", TestImage::new(base.0, base.1)),
            ("target", TestImage::new(target.0, target.1)),
        ];
        for (name, image) in images {
            image.blobs().write_layout(&dir.path().join(name));
        }
        let [base, target] = ["base", "target"].map(|name| open(&dir.path().join(name)));
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir, base: vec![base], target }
    }

    fn making(&self) -> PlainMaker {
        PlainMaker::new(&self.base[0], &self.target)
    }

    fn context(&self) -> Context {
        context(&self.dir.path().join("scratch"), 2)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn sink(&self, place: &str) -> Box<dyn Sink> {
        let (transport, name) = place.split_once(':').unwrap();
        let place = format!("{transport}:{}", self.out(name).display());
        sink::create(&place.parse().unwrap(), &self.context()).unwrap()
    }

    fn apply(&self, making: &PlainMaker, place: &str) -> Result<ApplyReport> {
        self.apply_as(making, place, LayerForm::Exact, &self.context())
    }

    fn apply_as(
        &self,
        making: &PlainMaker,
        place: &str,
        layers: LayerForm,
        context: &Context,
    ) -> Result<ApplyReport> {
        let delta = Delta::open(Arc::new(making.bytes()), "d", &context.limits)?;
        apply(&delta, &self.base, self.sink(place), layers, context)
    }

    fn verify(&self, making: &PlainMaker) -> Result<ApplyReport> {
        let delta = Delta::open(Arc::new(making.bytes()), "d", &Limits::default())?;
        verify(&delta, &self.base, &self.context())
    }

    /// Returns the names of the files below `out`, except the mark of a layout.
    fn visible(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir.path().join("out")];
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.retain(|name| name != "oci-layout");
        found.sort();
        found
    }

    /// Panics unless every file below `out` is a blob with the digest that its name promises: no
    /// image, no archive, nothing half-written.
    fn assert_only_verified_blobs(&self) {
        for name in self.visible() {
            let path = self.out("x/blobs/sha256").join(&name);
            let bytes = std::fs::read(&path)
                .unwrap_or_else(|error| panic!("{name} is not a blob of the layout: {error}"));
            assert_eq!(imgdelta_testkit::sha256(&bytes), format!("sha256:{name}"));
        }
    }
}

fn context(scratch: &Path, threads: usize) -> Context {
    let workers = Arc::new(Workers::new(threads).unwrap());
    Context::new(Scratch::in_dir(scratch).unwrap()).unwrap().workers(workers)
}

fn streams(image: &Image) -> Vec<Vec<u8>> {
    image.layers.iter().map(|layer| making::stream(image, layer)).collect()
}

#[test]
fn every_packing_is_rebuilt_in_every_sink() {
    for base in [Packing::Plain, Packing::Gzip, Packing::ZstdFrames] {
        for target in [Packing::Plain, Packing::Gzip, Packing::GzipMembers] {
            let scene = Scene::new(base, target);
            let making = scene.making();
            for place in ["oci:x:v1", "oci-archive:a.tar:v1"] {
                let applied = scene.apply(&making, place).unwrap();
                assert_eq!(applied.manifest, Some(scene.target.digest));
                assert!(applied.layers.iter().all(|layer| layer.is_exact));
            }
            let made = open(&scene.out("x"));
            assert_eq!(made.digest, scene.target.digest);
            assert_eq!(made.manifest, scene.target.manifest);
            for (layer, expected) in made.layers.iter().zip(&scene.target.layers) {
                assert_eq!(
                    making::blob(&made, layer),
                    making::blob(&scene.target, expected),
                    "{base:?} {target:?}"
                );
            }
            let docker = scene.apply(&making, "docker-archive:d.tar:me/x");
            assert_eq!(docker.unwrap().manifest, None);
            let reference = format!("docker-archive:{}", scene.out("d.tar").display());
            let docker =
                imgdelta_image::image::open(&reference.parse().unwrap(), &OpenOptions::default())
                    .unwrap();
            assert_eq!(streams(&docker), target_layers());
            assert_eq!(docker.config_digest, scene.target.config_digest);
        }
    }
}

#[test]
fn reports_name_the_source_of_each_layer() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let making = scene.making();
    let sources = |report: ApplyReport| -> Vec<LayerSource> {
        report.layers.into_iter().map(|layer| layer.source).collect()
    };
    let applied = scene.verify(&making).unwrap();
    let [kept, rebuilt] = [LayerSource::Kept, LayerSource::Rebuilt];
    assert_eq!(sources(applied), [rebuilt, kept, rebuilt, rebuilt]);
    scene.apply(&making, "oci:x:v1").unwrap();
    // The base is not read if the destination has all layers.
    for layer in &scene.base[0].layers {
        let digest = layer.descriptor.digest;
        std::fs::remove_file(scene.dir.path().join(format!("base/blobs/sha256/{}", digest.hex())))
            .unwrap();
    }
    let applied = scene.apply(&making, "oci:x:v2").unwrap();
    assert_eq!(sources(applied), [LayerSource::Present; 4]);
}

#[test]
fn uncompressed_layers_make_another_manifest_over_the_same_config() {
    let scene = Scene::new(Packing::Plain, Packing::Zstd);
    let making = scene.making();
    let refused = scene.apply(&making, "oci:x").unwrap_err().to_string();
    assert!(refused.contains("layers 1, 2, 3, 4 uncompressed only"), "{refused}");
    assert!(scene.visible().is_empty());

    let (form, context) = (LayerForm::Uncompressed, scene.context());
    let applied = scene.apply_as(&making, "oci:x", form, &context).unwrap();
    assert_ne!(applied.manifest, Some(applied.target));
    let made = open(&scene.out("x"));
    assert_eq!(Some(made.digest), applied.manifest);
    assert_eq!(made.config_bytes, scene.target.config_bytes);
    assert_eq!(streams(&made), target_layers());
    for layer in &made.layers {
        assert_eq!(layer.descriptor.media_type(), "application/vnd.oci.image.layer.v1.tar");
        assert_eq!(layer.descriptor.digest.to_string(), layer.diff_id.to_string());
    }
    // Layers that cannot be written exactly are verified as streams.
    let applied = scene.verify(&making).unwrap();
    assert!(applied.layers.iter().all(|layer| !layer.is_exact));
}

#[test]
fn results_are_the_same_for_any_workers_and_any_memory() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let bytes = scene.making().bytes();
    let mut first = None;
    for (threads, memory_bytes) in [(1, 1), (4, 1), (4, 1 << 30)] {
        let delta = Delta::open(Arc::new(bytes.clone()), "d", &Limits::default()).unwrap();
        let workers = Arc::new(Workers::new(threads).unwrap());
        let context = scene.context().workers(workers).memory_bytes(Some(memory_bytes));
        let sink = scene.sink("oci-archive:a.tar");
        apply(&delta, &scene.base, sink, LayerForm::Exact, &context).unwrap();
        let made = std::fs::read(scene.out("a.tar")).unwrap();
        assert_eq!(first.get_or_insert(made.clone()), &made, "{threads} {memory_bytes}");
    }
}

#[test]
fn one_error_names_all_missing_base_layers() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let delta = Delta::open(Arc::new(scene.making().bytes()), "d", &Limits::default()).unwrap();
    let sink = scene.sink("oci:x");
    let error = apply(&delta, &[], sink, LayerForm::Exact, &scene.context()).unwrap_err();
    let Error::BaseMissing { missing, .. } = error else { panic!("{error}") };
    let ids: Vec<_> = scene.base[0].layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(
        missing,
        [
            MissingLayer::Stream { diff_id: ids[0], layers: vec![1, 3, 4] },
            MissingLayer::Stream { diff_id: ids[1], layers: vec![1, 2, 3, 4] },
        ]
    );
    assert!(scene.visible().is_empty());

    // The base has the stream in another blob.
    let scene = Scene::new(Packing::Gzip, Packing::Plain);
    let mut making = scene.making();
    making.outline.layers[1].envelope = Envelope::Base;
    let error = scene.apply(&making, "oci:x").unwrap_err();
    let Error::BaseMissing { missing, .. } = error else { panic!("{error}") };
    assert_eq!(missing.len(), 1);
    assert!(matches!(&missing[0], MissingLayer::Blob { layers, .. } if layers == &[2]));
    // A sink of streams needs the stream only.
    scene.apply(&making, "docker-archive:d.tar").unwrap();
}

#[test]
fn a_base_with_false_diff_ids_is_reported_and_nothing_is_visible() {
    let mut scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let making = scene.making();
    // One base has entries of equal lengths; the other has its layers swapped.
    let mut layers = base_layers();
    layers[0] = {
        let large = noise(3, 9000);
        tar_of(&[("etc/conf", b"colour = red\n"), ("bin/large", &large), ("gone", b"old")])
    };
    let place = scene.dir.path().join("liar");
    TestImage::new(layers, Packing::Gzip).blobs().write_layout(&place);
    let mut liar = open(&place);
    let mut mixed = open(&scene.dir.path().join("base"));
    mixed.layers[0].descriptor = mixed.layers[1].descriptor.clone();
    for (layer, original) in liar.layers.iter_mut().zip(&scene.base[0].layers) {
        layer.diff_id = original.diff_id;
    }
    for base in [liar, mixed] {
        let claimed = base.layers[0].diff_id;
        scene.base = vec![base];
        for place in ["oci:x", "docker-archive:x.tar"] {
            let error = scene.apply(&making, place).unwrap_err();
            let is_base = matches!(
                &error,
                Error::Mismatch { difference: Difference::DiffId { expected, .. }, .. }
                    if *expected == claimed
            );
            assert!(is_base, "{error}");
        }
        // A layer copied from the base is right and may be visible; the image is not.
        assert!(!scene.out("x/index.json").exists() && !scene.out("x.tar").exists());
    }
}

#[test]
fn a_damaged_base_is_reported_and_nothing_is_visible() {
    for packing in [Packing::Plain, Packing::Gzip] {
        let scene = Scene::new(packing, packing);
        let digest = scene.base[0].layers[0].descriptor.digest.hex();
        let path = scene.dir.path().join(format!("base/blobs/sha256/{digest}"));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        for place in ["oci:x", "oci-archive:a.tar", "docker-archive:d.tar"] {
            let error = scene.apply(&scene.making_of_good(), place).unwrap_err();
            assert!(
                matches!(error, Error::Mismatch { difference: Difference::Digest { .. }, .. }),
                "{error}"
            );
            // Workers may have finished other layers before one of them reads the damaged one.
            scene.assert_only_verified_blobs();
        }
    }
}

impl Scene {
    /// Returns a delta from the undamaged base.
    fn making_of_good(&self) -> PlainMaker {
        let is_gzip = self.base[0].layers[0].descriptor.media_type().ends_with("gzip");
        let packing = if is_gzip { Packing::Gzip } else { Packing::Plain };
        Scene::new(packing, packing).making()
    }
}

#[test]
fn bytes_other_than_the_targets_are_never_visible() {
    let scene = Scene::new(Packing::Gzip, Packing::Plain);
    let mut making = scene.making();
    // A group that makes something else of the same length.
    let (recipe, groups) = &mut making.recipes[1];
    let mut encoder = imgdelta_codec::GroupEncoder::new(imgdelta_codec::Effort::Default);
    encoder.member(b"", b"colour = GREEN\n");
    *groups = encoder.finish();
    recipe.groups[0].packed_bytes = groups.len() as u64;
    recipe.groups[0].members[0].sources.clear();
    let error = scene.apply(&making, "oci:x").unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    let digest = scene.target.layers[2].descriptor.digest;
    assert!(!scene.visible().contains(&digest.hex()));
    assert!(!scene.visible().contains(&"index.json".to_owned()));
}

/// An error's text, and the change to a recipe that causes it.
type Damage = (&'static str, fn(&mut Recipe));

const INVALID_RECIPES: &[Damage] = &[
    ("payload 0: 14 bytes from", |recipe| {
        let end: u64 = recipe.sources.iter().map(|source| source.bytes).sum();
        recipe.groups[0].members.remove(0);
        recipe.origins[0] = PayloadOrigin::Base(end - 5);
    }),
    ("payload 0 of 14 bytes should be its base entry's, of 13", |recipe| {
        recipe.groups[0].members.remove(0);
        recipe.origins[0] = PayloadOrigin::Own;
    }),
    ("members make part of payload 0 by none", |recipe| {
        recipe.groups[0].members.remove(0);
    }),
    ("members make part of payload 0 twice", |recipe| {
        let member = recipe.groups[0].members[0].clone();
        recipe.groups[0].members.push(member);
    }),
    ("members make part of payload 1 by none", |recipe| {
        recipe.groups[0].members[1].window = Some(PayloadWindow { offset: 0, bytes: 100 });
    }),
    ("members make part of payload 1 twice", |recipe| {
        recipe.groups[0].members[1].window = Some(PayloadWindow { offset: 0, bytes: 9000 });
    }),
    ("leaves payload 1 of 9015", |recipe| {
        recipe.groups[0].members[2].window = Some(PayloadWindow { offset: 4507, bytes: 4509 });
    }),
    ("payload 5 repeats none of its 15 bytes", |recipe| {
        recipe.origins[5] = PayloadOrigin::Repeat(2);
    }),
    ("7 payloads have an origin, but there are 6", |recipe| {
        recipe.origins.push(PayloadOrigin::Base(0));
    }),
    ("payload 5 has no origin", |recipe| {
        recipe.origins.pop();
    }),
    ("a member's own base, but it has none", |recipe| {
        let group = recipe.groups.last_mut().unwrap();
        group.members.last_mut().unwrap().sources = vec![BaseSource::Own];
    }),
    ("group 0: base does not fit", |recipe| {
        recipe.groups[0].members[1].sources.clear();
    }),
];

#[test]
fn crafted_recipes_are_refused_with_the_reason() {
    for (expected, damage) in INVALID_RECIPES {
        let scene = Scene::new(Packing::Plain, Packing::Plain);
        let mut making = scene.making();
        damage(&mut making.recipes[0].0);
        let error = scene.apply(&making, "oci:x").unwrap_err();
        assert!(!matches!(error, Error::Io { .. } | Error::Mismatch { .. }), "{expected}: {error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(scene.visible().is_empty());
    }
}

#[test]
fn a_member_above_the_limit_takes_no_memory() {
    let scene = Scene::new(Packing::Plain, Packing::Plain);
    let mut context = scene.context();
    context.limits.member_bytes = 4000;
    let making = scene.making();
    let error = scene.apply_as(&making, "oci:x", LayerForm::Exact, &context).unwrap_err();
    assert!(matches!(error, Error::OverLimit { limit: 4000, .. }), "{error}");
}

#[test]
fn an_error_over_a_limit_names_the_limit_that_lifts_it() {
    use LimitName::{
        DeltaBytes, GroupBytes, LayerEntries, Layers, MemberBytes, RecipeBytes, RecipeMembers,
        RecipeMemory,
    };
    for (name, few) in [
        (DeltaBytes, 100),
        (Layers, 0),
        (RecipeBytes, 10),
        (RecipeMemory, 10),
        (RecipeMemory, 100),
        (LayerEntries, 0),
        (RecipeMembers, 0),
        (GroupBytes, 10),
        (MemberBytes, 10),
    ] {
        let scene = Scene::new(Packing::Plain, Packing::Plain);
        let mut context = scene.context();
        context.limits.change(&format!("{name}={few}").parse().unwrap());
        let making = scene.making();
        let error = scene.apply_as(&making, "oci:x", LayerForm::Exact, &context).unwrap_err();
        let Error::OverLimit { name: found, .. } = error else { panic!("{name}={few}: {error}") };
        assert_eq!(found, Some(name), "{name}={few}: {error}");
        assert!(scene.visible().is_empty());
    }
}

#[test]
fn crafted_compressions_are_refused_and_nothing_is_visible() {
    use imgdelta_deflate::{
        DividedRecipe, EncoderModel, KlauspostVersion, MemberTrailer, Recipe, RecipeMember,
        RestartPoint,
    };
    let lines: String =
        (0..60_000).map(|n| format!("line {n} of {}\n", n % 77)).collect::<Vec<_>>().concat();
    let layers = vec![tar_of(&[("a", lines.as_bytes()), ("b", &noise(6, 70_000))])];
    let scene = Scene::of((base_layers(), Packing::Gzip), (layers.clone(), Packing::Gzip));
    let making = scene.making();
    let total = layers[0].len() as u64;
    let golang = EncoderModel::Golang { level: 6 };
    let pgzip = |segment_bytes| EncoderModel::Pgzip {
        version: KlauspostVersion::V1_20,
        level: 5,
        segment_bytes,
    };
    let recipe = |model: &EncoderModel, plain_bytes| Recipe {
        members: vec![RecipeMember {
            header: b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec(),
            model: model.clone(),
            trailer: MemberTrailer::Gzip,
            plain_bytes,
        }],
        tail: Vec::new(),
    };
    let point = |plain| RestartPoint { member: 0, plain, literals: 3, phase: 5 };
    let divided = |points| DividedRecipe::new(recipe(&golang, total), points).unwrap().to_bytes();
    let good = divided(vec![point(300_000), point(700_000)]);
    // The last two numbers of a point: the distance from the point before, and its state.
    let cut = |bytes: &[u8]| good[..good.len() - 4].iter().chain(bytes).copied().collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a point within a block", good.clone(), "cannot be remade"),
        ("points out of order", cut(&[0, 0, 0]), "cannot be remade"),
        ("a point far beyond", cut(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]), "cannot be remade"),
        ("a member that is not there", [cut(&[]), vec![1, 1, 1]].concat(), "cannot be remade"),
        ("a list cut short", good[..good.len() - 1].to_vec(), "cannot be remade"),
        ("segments of other bytes", recipe(&pgzip(20_000), total).to_bytes(), "blob sha256"),
        ("segments beyond memory", recipe(&pgzip(u32::MAX), total).to_bytes(), "cannot be remade"),
        ("one large segment", recipe(&pgzip(64 << 20), total).to_bytes(), "blob sha256"),
        ("no such level", recipe(&EncoderModel::Golang { level: 10 }, total).to_bytes(), "remade"),
        ("too few bytes", recipe(&golang, total - 1).to_bytes(), "cannot be remade"),
        ("too many bytes", recipe(&golang, total + 1).to_bytes(), "cannot be remade"),
        ("endless work", recipe(&golang, u64::MAX >> 2).to_bytes(), "work in nanoseconds"),
        ("nothing at all", Recipe::default().to_bytes(), "cannot be remade"),
        ("no bytes", Vec::new(), "cannot be remade"),
    ];
    for (what, bytes, reason) in cases {
        let mut wrong = PlainMaker {
            outline: making.outline.clone(),
            recipes: making.recipes.clone(),
            carried: Vec::new(),
        };
        wrong.outline.layers[0].envelope = Envelope::Deflate(bytes);
        let error = scene.apply(&wrong, "oci:x:v1").unwrap_err();
        let text = error.to_string();
        let is_refusal = matches!(
            error,
            Error::BadInput { .. } | Error::Mismatch { .. } | Error::OverLimit { .. }
        );
        assert!(is_refusal, "{what}: {text}");
        assert!(text.contains(reason), "{what}: {text}");
        assert_eq!(scene.visible(), [""; 0], "{what}");
    }
    scene.apply(&making, "oci:x:v1").unwrap();
}

#[test]
fn carried_blobs_are_copied_and_verified() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let scene = Scene::new(Packing::Gzip, packing);
        let mut making = scene.making();
        making.recipes.truncate(0);
        for ((outline, layer), ordinal) in
            making.outline.layers.iter_mut().zip(&scene.target.layers).zip(0..)
        {
            outline.body = LayerBody::Carried(ordinal);
            outline.envelope = Envelope::Unmade;
            making.carried.push(making::blob(&scene.target, layer));
        }
        let applied = scene.apply(&making, "oci:x").unwrap();
        assert_eq!(applied.layers[0].source, LayerSource::Carried);
        assert_eq!(open(&scene.out("x")).digest, scene.target.digest);
        scene.apply(&making, "docker-archive:d.tar").unwrap();
        let last = making.carried[2].len() - 1;
        making.carried[2][last / 2] ^= 1;
        for place in ["oci:y", "docker-archive:e.tar"] {
            let error = scene.apply(&making, place).unwrap_err();
            assert!(
                matches!(error, Error::Mismatch { difference: Difference::Digest { .. }, .. }),
                "{error}"
            );
        }
        assert!(!scene.out("y/index.json").exists() && !scene.out("e.tar").exists());
    }
}

#[test]
fn a_proof_passes_with_the_target_and_fails_with_another_image() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let delta = Delta::open(Arc::new(scene.making().bytes()), "d", &Limits::default()).unwrap();
    let prove_with = |image: &Image| {
        let images = [&scene.base[0], image];
        let layers = images.iter().flat_map(|image| &image.layers);
        let wanted: Vec<DiffId> = layers.map(|layer| layer.diff_id).collect();
        let volume = Volume::extract(&images, &wanted, &scene.context()).unwrap();
        prove(&delta, &volume, &BTreeSet::new(), &scene.context())
    };
    prove_with(&scene.target).unwrap();
    assert!(matches!(prove_with(&scene.base[0]), Err(Error::NotFound { .. })));
}

/// A target of two tar files, of which the second contains the first, in one layer.
fn scene_of_archives() -> (Scene, PlainMaker) {
    let inner = tar_of(&[("text", &noise(7, 3000))]);
    let outer = tar_of(&[("inner.tar", &inner)]);
    let layers = vec![tar_of(&[("inner.tar", &inner), ("outer.tar", &outer)])];
    let scene = Scene::of((base_layers(), Packing::Plain), (layers, Packing::Plain));
    let mut making = scene.making();
    let (recipe, groups) = &mut making.recipes[0];
    let archive = ArchiveTarget { kind: ArchiveKind::Tar, inner: 2 };
    let contents =
        [&noise(7, 3000), &tar_structure(&inner, 3000), &tar_structure(&outer, inner.len())];
    let mut encoder = imgdelta_codec::GroupEncoder::new(imgdelta_codec::Effort::Default);
    for content in contents {
        encoder.member(b"", content);
    }
    *groups = encoder.finish();
    let member = |payload| GroupMember { payload, window: None, sources: Vec::new() };
    recipe.groups = vec![RecipeGroup {
        packed_bytes: groups.len() as u64,
        members: vec![member(2), member(3), member(5)],
    }];
    // Payload 4, the content of the second archive, repeats payload 0, the first archive.
    recipe.origins = vec![
        PayloadOrigin::Closed,
        PayloadOrigin::Closed,
        PayloadOrigin::Rebuilt,
        PayloadOrigin::Rebuilt,
        PayloadOrigin::Repeat(4),
        PayloadOrigin::Rebuilt,
    ];
    recipe.nested = NestedArchives {
        closed: vec![archive; 2],
        inner_bytes: contents.iter().map(|content| content.len() as u64).collect(),
        coders: vec![0; 4],
        ..NestedArchives::default()
    };
    (scene, making)
}

/// The structure of a tar file whose only content has `bytes` bytes behind one header block.
fn tar_structure(tar: &[u8], bytes: usize) -> Vec<u8> {
    let mut structure = Vec::new();
    for number in [1, 512, tar.len() - 512 - bytes] {
        imgdelta_wire::varint::write(&mut structure, number as u64);
    }
    [structure.as_slice(), &tar[..512], &tar[512 + bytes..]].concat()
}

/// The second archive is the larger one, so that a worker begins with it if the ranks are equal.
#[test]
fn an_archive_is_closed_after_the_archives_that_it_repeats() {
    let (scene, making) = scene_of_archives();
    let delta = Delta::open(Arc::new(making.bytes()), "d", &Limits::default()).unwrap();
    for threads in [1, 4] {
        let context = context(&scene.dir.path().join("scratch"), threads);
        let applied = verify(&delta, &scene.base, &context).unwrap();
        assert!(applied.is_exact());
    }
}

#[test]
fn an_archive_made_of_itself_is_refused() {
    // The first archive contains itself; then each of the two contains the other one.
    for distance in [2, 1] {
        let (scene, mut making) = scene_of_archives();
        let recipe = &mut making.recipes[0].0;
        recipe.origins[2] = PayloadOrigin::Repeat(distance);
        recipe.groups[0].members.remove(0);
        recipe.nested.inner_bytes.remove(0);
        let error = scene.apply(&making, "oci:x").unwrap_err();
        assert!(matches!(error, Error::BadInput { .. }), "{error}");
        assert!(error.to_string().contains("the archive in payload 0 is made of itself"));
        assert_eq!(scene.visible(), [""; 0]);
    }
}

/// Progress that cancels at the n-th question.
struct CancelAfter(AtomicU64);

impl Progress for CancelAfter {
    fn is_cancelled(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn whenever_it_is_stopped_nothing_half_done_is_seen() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    let delta = Delta::open(Arc::new(scene.making().bytes()), "d", &Limits::default()).unwrap();
    let workers = Arc::new(Workers::new(1).unwrap());
    let known: Vec<String> =
        scene.target.layers.iter().map(|layer| layer.descriptor.digest.hex()).collect();
    let mut stopped = 0;
    for patience in 0.. {
        let progress = Arc::new(CancelAfter(AtomicU64::new(patience)));
        let context = scene.context().workers(Arc::clone(&workers)).progress(progress);
        let outcome = apply(&delta, &scene.base, scene.sink("oci:x"), LayerForm::Exact, &context);
        if outcome.is_ok() {
            break;
        }
        assert!(matches!(outcome, Err(Error::Cancelled)));
        scene.assert_only_verified_blobs();
        assert!(scene.visible().iter().all(|name| known.contains(name)), "{:?}", scene.visible());
        stopped += 1;
    }
    assert!(stopped > 10, "{stopped}");
    assert_eq!(open(&scene.out("x")).digest, scene.target.digest);
}

#[test]
fn no_scratch_file_remains() {
    let scene = Scene::new(Packing::Gzip, Packing::Gzip);
    scene.verify(&scene.making()).unwrap();
    assert_eq!(std::fs::read_dir(scene.dir.path().join("scratch")).unwrap().count(), 0);
}

/// Checks the seed of the fuzz target `apply_delta`: a recipe, its groups and its base.
#[test]
fn the_fuzz_seed_is_what_the_maker_makes() {
    let dir = tempfile::tempdir().unwrap();
    let mut changed = noise(1, 5000);
    changed[2000] ^= 1;
    let layers = [
        ("old", tar_of(&[("a", b"one"), ("b", &noise(1, 5000))])),
        ("new", tar_of(&[("a", b"another one"), ("b", &changed), ("c", b"one"), ("d", b"one")])),
    ];
    let [old, new] = layers.map(|(name, layer)| {
        TestImage::new(vec![layer], Packing::Plain).blobs().write_layout(&dir.path().join(name));
        open(&dir.path().join(name))
    });
    let making = PlainMaker::new(&old, &new);
    let (recipe, groups) = &making.recipes[0];
    let base = making::stream(&old, &old.layers[0]);
    let mut seed = Vec::new();
    for part in [&recipe.to_bytes(), groups] {
        seed.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
        seed.extend(part);
    }
    seed.extend(&base);
    if let Some(out) = std::env::var_os("IMGDELTA_SEED") {
        std::fs::write(out, &seed).unwrap();
    }
    let read = Recipe::from_bytes(&recipe.to_bytes(), &imgdelta_format::ReadLimits::default());
    assert_eq!(read.unwrap(), *recipe);
    let delta = Delta::open(Arc::new(making.bytes()), "d", &Limits::default()).unwrap();
    verify(&delta, &[old], &context(dir.path(), 1)).unwrap();
}

/// For measuring: `IMGDELTA_PAIR` holds the layouts `old` and `new`, `IMGDELTA_OUT` takes a delta.
#[test]
#[ignore = "needs a pair of real images"]
fn a_real_pair_is_rebuilt() {
    let Some(pair) = std::env::var_os("IMGDELTA_PAIR") else { return };
    let [base, target] = ["old", "new"].map(|name| open(&Path::new(&pair).join(name)));
    let bytes = PlainMaker::new(&base, &target).bytes();
    if let Some(out) = std::env::var_os("IMGDELTA_OUT") {
        std::fs::write(out, &bytes).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let delta = Delta::open(Arc::new(bytes), "d", &Limits::default()).unwrap();
    let applied = verify(&delta, &[base], &context(dir.path(), 0)).unwrap();
    println!("{} bytes\n{applied}", delta.size_bytes());
}
