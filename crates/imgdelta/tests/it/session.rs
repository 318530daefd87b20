//! The short path: a session compares, creates, applies, verifies and describes.

use imgdelta::{
    Difference, Error, LimitName, Limits, MissingLayer, Reference, Session,
    apply::LayerForm,
    create::CreateOptions,
    diff::DiffOptions,
    image::{Image, OpenOptions},
    progress::{Progress, Silent},
    sink::MemorySink,
    store::{ImageName, MemoryStore, Store},
};
use imgdelta_testkit::{Packing, TestImage, noise, tar_of};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tempfile::TempDir;

/// Layouts `old` and `new`, and a session, in a temporary directory.
struct Scene {
    dir: TempDir,
    session: Session,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = tar_of(&[("lib/shared", &noise(1, 60_000))]);
        let mut tool = noise(2, 60_000);
        let old = tar_of(&[("bin/tool", &tool)]);
        tool[30_000] ^= 1;
        let new = tar_of(&[("bin/tool", &tool)]);
        for (name, layers) in [("old", vec![shared.clone(), old]), ("new", vec![shared, new])] {
            TestImage::new(layers, Packing::Gzip).blobs().write_layout(&dir.path().join(name));
        }
        fs::create_dir(dir.path().join("scratch")).unwrap();
        let session = Session::new(dir.path().join("scratch")).unwrap();
        Self { dir, session }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn layout(&self, name: &str) -> Reference {
        format!("oci:{}", self.path(name).display()).parse().unwrap()
    }

    fn create(&self, name: &str) -> imgdelta::create::SavedDelta {
        self.session.create(&self.layout("old"), &self.layout("new"), self.path(name)).unwrap()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn three_lines_make_and_apply_a_delta() {
    let scene = Scene::new();
    let (old, new) = (scene.layout("old"), scene.layout("new"));
    let saved = scene.session.create(&old, &new, scene.path("up")).unwrap();
    assert_eq!(saved.bytes, fs::metadata(scene.path("up")).unwrap().len());
    let verified = scene.session.verify(scene.path("up"), std::slice::from_ref(&old)).unwrap();
    assert_eq!(verified.target, saved.target);
    let applied = scene.session.apply(scene.path("up"), &[old], &scene.layout("made")).unwrap();
    assert_eq!(applied.manifest, Some(saved.target));
    let made = scene.session.open(&scene.layout("made")).unwrap();
    assert_eq!(made.digest, scene.session.open(&new).unwrap().digest);
    let inspection = scene.session.inspect(scene.path("up")).unwrap();
    assert_eq!(inspection.json()["bytes"], saved.bytes);
    // Scratch files have no names.
    assert!(names(&scene.path("scratch")).is_empty());
}

#[test]
fn a_diff_and_deltas_in_both_directions_need_one_reading() {
    let scene = Scene::new();
    let session = &scene.session;
    let reference = [scene.layout("old"), scene.layout("new")];
    let diff = session.diff(&reference[0], &reference[1]).unwrap();
    assert_eq!(diff.totals.modified.files, 1);
    let images = session.open_pair(&reference[0], &reference[1]).unwrap();
    let pair = session.read_pair(images, &DiffOptions::default()).unwrap();
    let up = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap().prove().unwrap();
    let down =
        pair.reversed().plan(&CreateOptions::default()).unwrap().encode().unwrap().prove().unwrap();
    assert_eq!(up.delta().digest(), pair.target().image.digest);
    assert_eq!(down.delta().digest(), pair.base().image.digest);
    let mut bytes = Vec::new();
    let count = up.source().size_bytes().unwrap();
    assert_eq!(up.write_to(&mut bytes).unwrap(), count);
    assert_eq!(bytes.len() as u64, count);
}

#[test]
fn a_delta_is_saved_whole_or_not_at_all() {
    let scene = Scene::new();
    let (old, new) = (scene.layout("old"), scene.layout("new"));
    fs::create_dir(scene.path("out")).unwrap();
    let save = |path: &str| scene.session.create(&old, &new, scene.path(path));
    let error = save("out").unwrap_err().to_string();
    assert!(error.contains("a directory; name a file in it"), "{error}");
    let error = save("missing/up").unwrap_err();
    assert!(matches!(&error, Error::Io { place, .. } if place.ends_with("missing")), "{error}");
    // A delta between equal images is saved, although a plain pull is empty.
    let other = scene.session.create(&old, &old, scene.path("out/none"));
    assert_eq!(other.unwrap().target, scene.session.open(&old).unwrap().digest);
    save("out/up").unwrap();
    fs::write(scene.path("out/up"), b"older").unwrap();
    save("out/up").unwrap();
    assert_eq!(names(&scene.path("out")), ["none", "up"]);
}

#[test]
fn a_missing_base_is_named_layer_by_layer() {
    let scene = Scene::new();
    scene.create("up");
    let error = scene.session.verify(scene.path("up"), &[]).unwrap_err();
    let Error::BaseMissing { missing, .. } = &error else { panic!("{error}") };
    let old = scene.session.open(&scene.layout("old")).unwrap();
    let expected: Vec<_> = old.layers.iter().map(|layer| layer.diff_id).collect();
    for layer in missing {
        let MissingLayer::Stream { diff_id, .. } = layer else { panic!("{layer}") };
        assert!(expected.contains(diff_id));
    }
    assert_eq!(missing.len(), 2);
}

#[test]
fn limits_and_differences_are_values() {
    let scene = Scene::new();
    let mut limits = Limits::default();
    limits.layers = 1;
    let session = scene.session.clone().limits(limits);
    let error = session.open(&scene.layout("old")).unwrap_err();
    assert!(
        matches!(error, Error::OverLimit { name: Some(LimitName::Layers), found: 2, limit: 1, .. }),
        "{error:?}"
    );
    let image = scene.session.open(&scene.layout("old")).unwrap();
    let blob = image.layers[1].descriptor.digest;
    let path = scene.path("old/blobs/sha256").join(blob.hex());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = scene.session.diff(&scene.layout("old"), &scene.layout("new")).unwrap_err();
    let Error::Mismatch { difference: Difference::Digest { expected, found }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(expected, blob);
    assert_ne!(found, blob);
}

#[test]
fn an_image_is_made_in_memory() {
    let scene = Scene::new();
    scene.create("up");
    let delta = scene.session.open_delta(scene.path("up")).unwrap();
    let base = scene.session.open_base(&delta, &[scene.layout("old")]).unwrap();
    let sink = MemorySink::new("v2");
    let into: Box<MemorySink> = Box::new(sink.clone());
    let applied = scene.session.apply_to(&delta, &base, into, LayerForm::Exact).unwrap();
    let store: MemoryStore = sink.store();
    assert_eq!(store.names().unwrap(), ["v2"]);
    let name = ImageName::Tag("v2".into());
    let image = Image::open(Arc::new(store), Some(&name), &OpenOptions::default()).unwrap();
    assert_eq!(Some(image.digest), applied.manifest);
    // The sink has all blobs, so the base is not needed.
    let into: Box<MemorySink> = Box::new(sink);
    let again = scene.session.apply_to(&delta, &base, into, LayerForm::Exact);
    assert!(again.is_ok(), "{again:?}");
}

/// Returns an image of which the store has the layers' streams and not their blobs.
fn stream_only(session: &Session, reference: &Reference) -> Image {
    let whole = session.open(reference).unwrap();
    let mut store = MemoryStore::default();
    store.insert(whole.manifest.clone());
    store.insert(whole.config_bytes.clone());
    for layer in &whole.layers {
        let mut stream = Vec::new();
        let mut push = |piece: &[u8]| {
            stream.extend_from_slice(piece);
            Ok(())
        };
        whole.read_layer(layer, &mut Vec::new(), &Silent, &mut push).unwrap();
        store.insert(stream);
    }
    let name = ImageName::Digest(whole.digest);
    Image::open(Arc::new(store), Some(&name), &OpenOptions::default()).unwrap()
}

#[test]
fn an_old_image_may_have_streams_only_and_a_new_one_may_not() {
    let scene = Scene::new();
    let session = &scene.session;
    let old = session.open(&scene.layout("old")).unwrap();
    let new = session.open(&scene.layout("new")).unwrap();
    let streams = stream_only(session, &scene.layout("old"));
    let pair = session.read_pair([streams, new], &DiffOptions::default()).unwrap();
    let plan = pair.plan(&CreateOptions::default()).unwrap();
    plan.encode().unwrap().prove().unwrap().save(scene.path("up")).unwrap();
    session.apply(scene.path("up"), &[scene.layout("old")], &scene.layout("made")).unwrap();

    // The way back would make the blobs of an image without them.
    let error = pair.reversed().plan(&CreateOptions::default()).unwrap_err().to_string();
    let expected = format!(
        "memory: it has the uncompressed stream of layer 1 (and 1 more) and not the blob {}, and a \
         delta makes the blobs of the new image; name a copy with them, such as a registry's",
        old.layers[0].descriptor.digest
    );
    assert_eq!(error, expected);
    let streams = stream_only(session, &scene.layout("new"));
    let outcome = session.read_pair([old, streams], &DiffOptions::default());
    assert!(outcome.unwrap_err().to_string().starts_with("memory: it has the uncompressed stream"));
}

#[test]
fn a_delta_is_read_from_a_stream() {
    let scene = Scene::new();
    scene.create("up");
    let bytes = fs::read(scene.path("up")).unwrap();
    let delta = scene.session.read_delta(&mut &bytes[..], "a pipe").unwrap();
    let base = scene.session.open_base(&delta, &[scene.layout("old")]).unwrap();
    scene.session.verify_delta(&delta, &base).unwrap();
    let error = scene.session.read_delta(&mut &bytes[..100], "a pipe").unwrap_err().to_string();
    assert!(error.contains("a pipe"), "{error}");
    let error = scene.session.open_delta(scene.path("old")).unwrap_err().to_string();
    assert!(error.contains("a directory, not a delta file"), "{error}");
}

/// Cancels at the first question.
#[derive(Default)]
struct CancelAtOnce {
    questions: AtomicUsize,
}

impl Progress for CancelAtOnce {
    fn is_cancelled(&self) -> bool {
        self.questions.fetch_add(1, Relaxed);
        true
    }
}

#[test]
fn a_listener_may_cancel() {
    let scene = Scene::new();
    let listener = Arc::new(CancelAtOnce::default());
    let session = scene.session.clone().progress(Arc::clone(&listener) as Arc<dyn Progress>);
    let outcome = session.create(&scene.layout("old"), &scene.layout("new"), scene.path("up"));
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert!(listener.questions.load(Relaxed) > 0);
    assert!(!scene.path("up").exists());
    let session = session.progress(Arc::new(Silent));
    session.create(&scene.layout("old"), &scene.layout("new"), scene.path("up")).unwrap();
}

#[test]
fn a_session_can_be_shared_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Session>();
    let scene = Scene::new();
    let session = scene.session.clone().threads(2).unwrap();
    let digests: Vec<_> = std::thread::scope(|scope| {
        let open = |name| {
            let (session, reference) = (session.clone(), scene.layout(name));
            scope.spawn(move || session.open(&reference).unwrap().digest)
        };
        let threads = [open("old"), open("new")];
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_ne!(digests[0], digests[1]);
}
