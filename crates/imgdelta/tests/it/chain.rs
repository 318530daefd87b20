//! Chains of delta files: the last target comes out exactly, from the base of the first delta, and
//! nothing between them is shown.

use imgdelta::{
    Error, MissingLayer, Reference, Session,
    apply::LayerForm,
    create::{CreateOptions, KeptEnvelopes, Preset},
    delta::Delta,
    image::{Image, OpenOptions},
    progress::{Progress, Silent},
    sink::MemorySink,
    store::ImageName,
};
use imgdelta_testkit::{Blobs, Packing, TestImage, noise, tar_of};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tempfile::TempDir;

/// Layouts `v0` and so on, and deltas between them.
struct Scene {
    dir: TempDir,
    session: Session,
}

/// A layer that all versions share, a program that changes each time, a layer that each second
/// version changes, and a new layer, which deltas carry.
fn layers(version: u8) -> Vec<Vec<u8>> {
    let mut program = noise(2, 50_000);
    program[20_000 + usize::from(version)] ^= 1;
    let text = [noise(3, 4_000), vec![version / 2]].concat();
    vec![
        tar_of(&[("shared", &noise(1, 30_000))]),
        tar_of(&[("bin/program", &program)]),
        tar_of(&[("etc/text", &text)]),
        tar_of(&[("own", &noise(10 + u64::from(version / 2), 5_000))]),
    ]
}

impl Scene {
    /// Makes a version for each pair of packings: of its own layer, and of the others.
    fn new(packings: &[(Packing, Packing)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (version, (own, others)) in (0..).zip(packings) {
            let image = TestImage::new(layers(version), *others);
            let mut blobs = Blobs::default();
            let mut descriptors = Vec::new();
            for (ordinal, layer) in image.layers.iter().enumerate() {
                let packing = if ordinal == 3 { own } else { others };
                descriptors.push(blobs.add(packing.media_type(), packing.pack(layer)));
            }
            let config =
                blobs.add_json("application/vnd.oci.image.config.v1+json", &image.config());
            let manifest = blobs.add_manifest(&config, &descriptors);
            blobs.tag(manifest, "v1");
            blobs.write_layout(&dir.path().join(format!("v{version}")));
        }
        let session = Session::new(dir.path()).unwrap().threads(2).unwrap();
        Self { dir, session }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn layout(&self, version: usize) -> Reference {
        format!("oci:{}", self.path(&format!("v{version}")).display()).parse().unwrap()
    }

    fn image(&self, version: usize) -> Image {
        self.session.open(&self.layout(version)).unwrap()
    }

    fn make(&self, base: usize, target: usize) -> PathBuf {
        self.make_with(CreateOptions::default(), base, target)
    }

    fn make_with(&self, options: CreateOptions, base: usize, target: usize) -> PathBuf {
        let path = self.path(&format!("{base}-{target}.imgdelta"));
        let options = options.preset(Preset::Fast);
        let plan = self.session.plan(&self.layout(base), &self.layout(target), &options).unwrap();
        let _ = std::fs::remove_file(&path);
        plan.encode().unwrap().prove().unwrap().save(&path).unwrap();
        path
    }

    fn open(&self, paths: &[PathBuf]) -> Vec<Delta> {
        paths.iter().map(|path| self.session.open_delta(path).unwrap()).collect()
    }
}

#[test]
fn a_chain_of_any_length_gives_the_last_image() {
    let (gzip, plain) = ((Packing::Gzip, Packing::Gzip), (Packing::Plain, Packing::Plain));
    let raw = (Packing::ZstdRaw, Packing::Gzip);
    for packings in [
        [gzip; 5],
        // Layers of the versions between that are carried, and blobs that are copied from them.
        [raw; 5],
        [gzip, raw, raw, (Packing::GzipMembers, Packing::Gzip), gzip],
        [plain, gzip, plain, gzip, plain],
    ] {
        let scene = Scene::new(&packings);
        let deltas: Vec<PathBuf> = (0..4).map(|base| scene.make(base, base + 1)).collect();
        for (from, to) in [(0, 4), (0, 3), (1, 4), (0, 2), (2, 3)] {
            let output = scene.path("out");
            let place = format!("oci:{}", output.display()).parse().unwrap();
            let base = [scene.layout(from)];
            let applied = scene.session.apply_chain(&deltas[from..to], &base, &place);
            let applied =
                applied.unwrap_or_else(|error| panic!("{packings:?} {from} {to}: {error}"));
            let expected = scene.image(to);
            assert_eq!(applied.manifest, Some(expected.digest));
            let made = scene.session.open(&place).unwrap();
            assert_eq!(made.manifest, expected.manifest);
            for layer in &made.layers {
                made.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(())).unwrap();
            }
            // The layout has the blobs of the last image and no others.
            let files = std::fs::read_dir(output.join("blobs/sha256")).unwrap().count();
            assert_eq!(files, 2 + expected.layers.len());
            std::fs::remove_dir_all(output).unwrap();

            let opened = scene.open(&deltas[from..to]);
            let bases = scene.session.open_base(&opened[0], &base).unwrap();
            let verified = scene.session.verify_chain(&opened, &bases).unwrap();
            assert_eq!(verified.target, expected.digest);
        }
    }
}

#[test]
fn a_blob_that_only_the_version_between_has_is_copied_from_it() {
    let (gzip, raw) = ((Packing::Gzip, Packing::Gzip), (Packing::ZstdRaw, Packing::Gzip));
    let scene = Scene::new(&[gzip, gzip, raw, raw]);
    let options = CreateOptions::default().kept_envelopes(KeptEnvelopes::Omitted);
    let deltas = [scene.make_with(options.clone(), 1, 2), scene.make_with(options, 2, 3)];
    let place = format!("oci:{}", scene.path("out").display()).parse().unwrap();
    let applied = scene.session.apply_chain(&deltas, &[scene.layout(1)], &place).unwrap();
    assert_eq!(applied.manifest, Some(scene.image(3).digest));
}

#[test]
fn an_uncompressed_image_and_one_in_memory_come_out_of_a_chain() {
    let scene = Scene::new(&[(Packing::Gzip, Packing::Gzip); 3]);
    let deltas = scene.open(&[scene.make(0, 1), scene.make(1, 2)]);
    let base = [scene.image(0)];
    let sink = MemorySink::new("made");
    let form = LayerForm::Uncompressed;
    let applied = scene.session.apply_chain_to(&deltas, &base, Box::new(sink.clone()), form);
    let applied = applied.unwrap();
    assert_eq!(applied.target, scene.image(2).digest);
    let name = ImageName::Tag("made".into());
    let made = Image::open(Arc::new(sink.store()), Some(&name), &OpenOptions::default());
    let made = made.unwrap();
    let expected = scene.image(2);
    let diff_ids = |image: &Image| image.layers.iter().map(|it| it.diff_id).collect::<Vec<_>>();
    assert_eq!(diff_ids(&made), diff_ids(&expected));
    for layer in &made.layers {
        made.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(())).unwrap();
    }
}

#[test]
fn a_gap_in_the_chain_is_named_before_anything_is_made() {
    /// Counts bytes of work.
    #[derive(Debug, Default)]
    struct Work(AtomicU64);
    impl Progress for Work {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Relaxed);
        }
    }
    let scene = Scene::new(&[(Packing::Gzip, Packing::Gzip); 4]);
    let (first, last) = (scene.make(0, 1), scene.make(2, 3));
    let work = Arc::new(Work::default());
    let session = scene.session.clone().progress(Arc::clone(&work) as _);
    let output = scene.path("out");
    let place = format!("oci:{}", output.display()).parse().unwrap();
    for deltas in [[&first, &last], [&last, &first]] {
        let error = session.apply_chain(&deltas, &[scene.layout(0)], &place).unwrap_err();
        let Error::BaseMissing { place, missing } = error else { panic!("{error}") };
        assert!(place.contains("2-3.imgdelta"), "{place}");
        let program = scene.image(2).layers[1].diff_id;
        let is_program = |layer: &MissingLayer| {
            matches!(layer, MissingLayer::Stream { diff_id, layers }
                if *diff_id == program && layers.contains(&2))
        };
        assert!(missing.iter().any(is_program), "{missing:?}");
    }
    assert_eq!(work.0.load(Relaxed), 0);
    assert!(!output.join("index.json").exists());
    let none: [&str; 0] = [];
    let error = session.apply_chain(&none, &[scene.layout(0)], &place).unwrap_err();
    assert!(error.to_string().contains("no delta"), "{error}");
}

#[test]
fn a_delta_to_another_version_between_is_a_gap() {
    let scene = Scene::new(&[(Packing::Gzip, Packing::Gzip); 3]);
    let (first, last) = (scene.make(0, 1), scene.make(1, 2));
    // A delta to a version with another program.
    let mut other = layers(1);
    let mut program = noise(2, 50_000);
    program[7] ^= 1;
    other[1] = tar_of(&[("bin/program", &program)]);
    let place = scene.path("v1");
    std::fs::remove_dir_all(&place).unwrap();
    TestImage::new(other, Packing::Gzip).blobs().write_layout(&place);
    let false_first = scene.make(0, 1);
    assert_eq!(first, false_first);
    let output = scene.path("out");
    let place = format!("oci:{}", output.display()).parse().unwrap();
    let error = scene.session.apply_chain(&[first, last], &[scene.layout(0)], &place).unwrap_err();
    assert!(matches!(error, Error::BaseMissing { .. }), "{error}");
    assert!(!output.join("index.json").exists());
}
