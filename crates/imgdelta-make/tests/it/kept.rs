//! Layers that both images have: a base with their streams only gives the exact image, and nothing is
//! compressed or searched for in vain.

use imgdelta_apply::{
    delta::{Delta, Envelope, LayerBody},
    rebuild::{self, LayerForm},
    sink::MemorySink,
};
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, LimitName, Limits, Result, parallel::Workers,
    scratch::Scratch,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, MemoryStore, Store, layout::OciLayout},
    survey::SurveyOptions,
};
use imgdelta_make::{
    cost::LayerMethod,
    options::{CreateOptions, KeptEnvelopes, Preset},
    pair::ImagePair,
};
use imgdelta_testkit::{Blobs, Packing, TestImage, noise, tar_of};
use std::{
    collections::HashMap,
    io::Read,
    sync::{Arc, Mutex},
};

/// A store that counts how often each blob is opened.
#[derive(Clone, Debug, Default)]
struct CountedStore {
    store: MemoryStore,
    opened: Arc<Mutex<HashMap<BlobDigest, usize>>>,
}

impl CountedStore {
    fn of(blobs: &Blobs) -> Self {
        let mut store = MemoryStore::default();
        for bytes in blobs.by_digest.values() {
            store.insert(bytes.clone());
        }
        store.tag("v1", serde_json::from_value(blobs.roots[0].clone()).unwrap());
        Self { store, ..Self::default() }
    }

    fn image(&self) -> Image {
        Image::open(Arc::new(self.clone()), None, &OpenOptions::default()).unwrap()
    }

    /// Returns the counts since the last call for the layers of an image.
    fn counts(&self, image: &Image) -> Vec<usize> {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap());
        let count = |blob| opened.get(&blob).copied().unwrap_or(0);
        image.layers.iter().map(|layer| count(layer.descriptor.digest)).collect()
    }
}

impl Store for CountedStore {
    fn place(&self) -> String {
        self.store.place()
    }

    fn names(&self) -> Result<Vec<String>> {
        self.store.names()
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        self.store.find(name)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        *self.opened.lock().unwrap().entry(blob.digest).or_default() += 1;
        self.store.open(blob)
    }

    fn stored_stream(&self, blob: &Descriptor, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        self.store.stored_stream(blob, diff_id)
    }
}

fn context() -> Context {
    let workers = Arc::new(Workers::new(2).unwrap());
    Context::new(Scratch::new(std::env::temp_dir())).unwrap().workers(workers)
}

/// Layers of the old image, if the version is 0: the last one has its version in it.
fn layers(version: u8) -> Vec<Vec<u8>> {
    let mut own = noise(3, 30_000);
    own[15_000] ^= version;
    let text: Vec<u8> = (0..20_000_u32).map(|n| (n / 9 % 251).to_le_bytes()[0]).collect();
    vec![
        tar_of(&[("bin/base", &noise(1, 20_000)), ("doc", &text)]),
        tar_of(&[("lib/shared", &text)]),
        tar_of(&[("app", &own)]),
    ]
}

fn image(version: u8, packing: Packing) -> TestImage {
    TestImage::new(layers(version), packing)
}

fn whole(image: &TestImage) -> Image {
    CountedStore::of(&image.blobs()).image()
}

/// Returns the image as a store has it that discards blobs.
fn streams(image: &TestImage) -> Image {
    let image = CountedStore::of(&image.stream_blobs()).image();
    assert!(image.layers.iter().all(|layer| !layer.has_blob() || is_plain(layer)));
    image
}

fn is_plain(layer: &imgdelta_image::image::Layer) -> bool {
    layer.descriptor.digest.as_bytes() == layer.diff_id.as_bytes()
}

fn pair(images: [Image; 2]) -> ImagePair {
    ImagePair::read(images, &SurveyOptions::default(), &context()).unwrap()
}

fn make(pair: &ImagePair, options: &CreateOptions) -> Delta {
    let proved = pair.plan(options).unwrap().encode().unwrap().prove().unwrap();
    proved.delta().clone()
}

/// Makes a delta from the old image to the new one.
fn delta(packing: Packing, options: &CreateOptions) -> Delta {
    make(&pair([whole(&image(0, packing)), whole(&image(1, packing))]), options)
}

/// Applies a delta and returns the manifest's digest.
fn apply_in(delta: &Delta, base: &[Image], context: &Context) -> Result<BlobDigest> {
    let sink = MemorySink::new("made");
    let report = rebuild::apply(delta, base, Box::new(sink.clone()), LayerForm::Exact, context)?;
    let made = Image::open(Arc::new(sink.store()), None, &OpenOptions::default())?;
    assert_eq!(report.manifest, Some(made.digest));
    Ok(made.digest)
}

fn apply(delta: &Delta, base: &[Image]) -> Result<BlobDigest> {
    apply_in(delta, base, &context())
}

fn envelopes(delta: &Delta) -> Vec<&Envelope> {
    delta.layers().iter().map(|layer| &layer.envelope).collect()
}

#[test]
fn a_base_with_streams_only_gives_the_exact_image() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let (old, new) = (image(0, packing), image(1, packing));
        let delta = delta(packing, &CreateOptions::default());
        let is_kept = |layer: &&imgdelta_apply::delta::TargetLayer| layer.body == LayerBody::Kept;
        assert_eq!(delta.layers().iter().filter(is_kept).count(), 2, "{packing:?}");
        assert!(!envelopes(&delta).contains(&&Envelope::Base), "{packing:?}");
        let expected = whole(&new).digest;
        assert_eq!(apply(&delta, &[streams(&old)]).unwrap(), expected, "{packing:?}");
        assert_eq!(apply(&delta, &[whole(&old)]).unwrap(), expected, "{packing:?}");
    }
}

#[test]
fn a_delta_made_from_a_base_with_streams_only_is_the_same() {
    let (old, new) = (image(0, Packing::Gzip), image(1, Packing::Gzip));
    let options = CreateOptions::default();
    let [one, other] =
        [whole(&old), streams(&old)].map(|old| make(&pair([old, whole(&new)]), &options).source());
    let bytes = |source: Arc<dyn imgdelta_image::store::source::ReadAt>| {
        let mut bytes = vec![0; usize::try_from(source.size_bytes().unwrap()).unwrap()];
        source.fill_at(&mut bytes, 0).unwrap();
        bytes
    };
    assert_eq!(bytes(one), bytes(other));
}

/// The allowance covers copying a stream, and not compressing it.
#[test]
fn a_blob_that_a_base_has_is_copied_and_not_compressed() {
    let image = image(0, Packing::Gzip);
    let delta = make(&pair([whole(&image), whole(&image)]), &CreateOptions::default());
    let mut limits = Limits::default();
    limits.free_work = 0;
    limits.work_per_byte = 5;
    let strict = context().limits(limits);
    let expected = whole(&image).digest;
    assert_eq!(apply_in(&delta, &[whole(&image)], &strict).unwrap(), expected);
    let outcome = apply_in(&delta, &[streams(&image)], &strict);
    let refused =
        matches!(outcome, Err(Error::OverLimit { name: Some(LimitName::WorkPerByte), .. }));
    assert!(refused, "{outcome:?}");
    assert_eq!(apply(&delta, &[streams(&image)]).unwrap(), expected);
}

#[test]
fn a_listed_blob_that_is_absent_is_made_from_another_bases_stream() {
    let dir = tempfile::tempdir().unwrap();
    let old = image(0, Packing::Gzip);
    old.blobs().write_layout(dir.path());
    let layout = OciLayout::open_directory(dir.path(), &Limits::default()).unwrap();
    let incomplete = Image::open(Arc::new(layout), None, &OpenOptions::default()).unwrap();
    let blob = incomplete.layers[0].descriptor.digest.hex();
    std::fs::remove_file(dir.path().join("blobs/sha256").join(blob)).unwrap();
    let delta = delta(Packing::Gzip, &CreateOptions::default());
    let expected = whole(&image(1, Packing::Gzip)).digest;
    let base = [incomplete, streams(&old)];
    assert_eq!(apply(&delta, &base).unwrap(), expected);
    let outcome = apply(&delta, &base[..1]);
    assert!(matches!(outcome, Err(Error::BaseMissing { .. })), "{outcome:?}");
}

#[test]
fn a_damaged_stream_of_a_base_is_reported_and_nothing_is_visible() {
    let old = image(0, Packing::Gzip);
    let delta = delta(Packing::Gzip, &CreateOptions::default());
    let mut counted = CountedStore::of(&old.stream_blobs());
    let stream = counted.image().layers[1].stored().clone();
    let mut damaged = layers(0).swap_remove(1);
    damaged[600] ^= 1;
    counted.store.insert_as(stream.digest, damaged);
    let sink = MemorySink::new("made");
    let into = Box::new(sink.clone());
    let base = [counted.image()];
    let error = rebuild::apply(&delta, &base, into, LayerForm::Exact, &context()).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(sink.store().names().unwrap().is_empty());
}

#[test]
fn the_fast_preset_and_the_option_leave_envelopes_out() {
    let options = CreateOptions::default;
    let cases = [
        (options().preset(Preset::Fast), false),
        (options().preset(Preset::Fast).kept_envelopes(KeptEnvelopes::Included), true),
        (options().kept_envelopes(KeptEnvelopes::Omitted), false),
        (options().preset(Preset::Best), true),
    ];
    for (options, has_envelopes) in cases {
        let delta = delta(Packing::Gzip, &options);
        let kept: Vec<bool> =
            delta.layers()[..2].iter().map(|layer| layer.envelope != Envelope::Base).collect();
        assert_eq!(kept, [has_envelopes; 2], "{options:?}");
        let outcome = apply(&delta, &[streams(&image(0, Packing::Gzip))]);
        assert_eq!(outcome.is_ok(), has_envelopes, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(matches!(error, Error::BaseMissing { .. }), "{error}");
        }
    }
}

#[test]
fn an_unknown_compression_of_a_kept_layer_needs_the_blob() {
    let [mut old, mut new] = [0, 1].map(|version| image(version, Packing::ZstdRaw).blobs());
    // The last layer is compressed by a known encoder, so that there is a delta.
    let known = [0, 1].map(|version| {
        let layer = layers(version).swap_remove(2);
        TestImage::new(vec![layer], Packing::Gzip)
    });
    for (blobs, (version, known)) in [&mut old, &mut new].into_iter().zip((0..).zip(&known)) {
        let config = image(version, Packing::ZstdRaw).config();
        let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config);
        let mut descriptors: Vec<serde_json::Value> = layers(version)[..2]
            .iter()
            .map(|layer| blobs.add(Packing::ZstdRaw.media_type(), Packing::ZstdRaw.pack(layer)))
            .collect();
        let blob = Packing::Gzip.pack(&known.layers[0]);
        descriptors.push(blobs.add(Packing::Gzip.media_type(), blob));
        let manifest = blobs.add_manifest(&config, &descriptors);
        blobs.roots = vec![manifest];
    }
    let images = [&old, &new].map(|blobs| CountedStore::of(blobs).image());
    let delta = make(&pair(images.clone()), &CreateOptions::default());
    assert_eq!(envelopes(&delta)[..2], [&Envelope::Base; 2]);
    assert_eq!(apply(&delta, &images[..1]).unwrap(), images[1].digest);
}

#[test]
fn an_envelope_is_searched_for_once_in_both_directions() {
    let stores = [0, 1].map(|version| CountedStore::of(&image(version, Packing::Gzip).blobs()));
    let images = stores.each_ref().map(CountedStore::image);
    let pair = pair(images.clone());
    stores.iter().zip(&images).for_each(|(store, image)| drop(store.counts(image)));
    make(&pair, &CreateOptions::default());
    let first = stores[1].counts(&images[1]);
    assert!(first.iter().all(|count| *count > 0), "{first:?}");
    make(&pair.reversed(), &CreateOptions::default());
    let [back, _] = [0, 1].map(|at| stores[at].counts(&images[at]));
    assert_eq!(back[..2], [0, 0], "{back:?}");
    assert!(back[2] > 0, "the layer of the old image alone is searched for");
}

#[test]
fn an_envelope_of_an_earlier_delta_is_not_searched_for() {
    let earlier = delta(Packing::Gzip, &CreateOptions::default());
    let store = CountedStore::of(&image(2, Packing::Gzip).blobs());
    let (old, new) = (whole(&image(1, Packing::Gzip)), store.image());
    let pair = pair([old, new.clone()]);
    store.counts(&new);
    let options = CreateOptions::default().reuse(&earlier).unwrap();
    let delta = make(&pair, &options);
    let counts = store.counts(&new);
    assert_eq!(counts[..2], [0, 0], "{counts:?}");
    assert!(counts[2] > 0);
    assert_eq!(envelopes(&delta)[..2], envelopes(&earlier)[..2]);
    assert_eq!(apply(&delta, &[streams(&image(1, Packing::Gzip))]).unwrap(), new.digest);
}

#[test]
fn a_wrong_envelope_of_an_earlier_delta_is_not_proved() {
    let pair = pair([whole(&image(0, Packing::Gzip)), whole(&image(1, Packing::Gzip))]);
    let right = make(&pair, &CreateOptions::default());
    let blob = right.layers()[0].blob;
    let Envelope::Deflate(recipe) = &right.layers()[0].envelope else { panic!("not deflate") };
    let prove = |recipe: Vec<u8>| {
        let known = HashMap::from([(blob, Envelope::Deflate(recipe))]);
        let options = CreateOptions::default().known_envelopes(known);
        // A fresh pair has found nothing.
        let images = [pair.base().image.clone(), pair.target().image.clone()];
        let pair = ImagePair::read(images, &SurveyOptions::default(), &context()).unwrap();
        pair.plan(&options).unwrap().encode().unwrap().prove()
    };
    prove(recipe.clone()).unwrap();
    let mut refused = 0;
    for at in 0..recipe.len() {
        let mut damaged = recipe.clone();
        damaged[at] ^= 1;
        match prove(damaged) {
            Ok(proved) => {
                let streams = streams(&image(0, Packing::Gzip));
                apply(proved.delta(), &[streams]).unwrap();
            }
            Err(Error::Mismatch { .. } | Error::BadInput { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 0, "{refused} of {} bytes", recipe.len());
}

#[test]
fn envelopes_of_kept_layers_never_make_a_delta_useless() {
    let kept: Vec<Vec<u8>> = (0..150).map(|seed| tar_of(&[("file", &noise(seed, 300))])).collect();
    let with = |version: u8| {
        let mut own = noise(999, 3000);
        own[1500] ^= version;
        let layers = kept.iter().cloned().chain([tar_of(&[("own", &own)])]);
        whole(&TestImage::new(layers.collect(), Packing::Gzip))
    };
    let plan = pair([with(0), with(1)]).plan(&CreateOptions::default()).unwrap();
    let draft = plan.encode().unwrap();
    let cost = draft.cost().unwrap();
    assert!(cost.layers.iter().map(|layer| layer.bytes).sum::<u64>() < cost.pull_bytes);
    let kept = cost.layers.iter().filter(|layer| layer.method == LayerMethod::Kept);
    assert_eq!(kept.map(|layer| layer.bytes).collect::<Vec<_>>(), [0; 150]);
    let proved = draft.prove().unwrap();
    assert_eq!(envelopes(proved.delta())[0], &Envelope::Base);
}
