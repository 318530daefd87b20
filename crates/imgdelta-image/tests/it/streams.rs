//! Layers of which a store has the uncompressed stream and not the blob.

use imgdelta_core::{
    Context, DiffId, Difference, Error, Result, progress::Silent, scratch::Scratch,
};
use imgdelta_image::{
    envelope::StreamCheck,
    image::{Image, Layer, OpenOptions},
    reference::ImageName,
    store::{Descriptor, MemoryStore, Store, source::ReadAt},
    survey::{self, SurveyOptions},
    volume::Volume,
};
use imgdelta_testkit::{Blobs, Packing, TestImage, tar_of};
use std::{io::Read, sync::Arc};

fn image(packing: Packing) -> TestImage {
    TestImage::new(vec![tar_of(&[("a", b"one")]), tar_of(&[("b", b"two")])], packing)
}

fn memory(blobs: &Blobs) -> MemoryStore {
    let mut store = MemoryStore::default();
    for bytes in blobs.by_digest.values() {
        store.insert(bytes.clone());
    }
    let root: Descriptor = serde_json::from_value(blobs.roots[0].clone()).unwrap();
    store.tag("v1", root);
    store
}

fn opened(store: impl Store + 'static) -> Result<Image> {
    Image::open(Arc::new(store), None, &OpenOptions::default())
}

fn context() -> Context {
    Context::new(Scratch::new(std::env::temp_dir())).unwrap()
}

#[test]
fn an_image_of_streams_is_surveyed_and_extracted_as_one_of_blobs() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let whole = opened(memory(&image(packing).blobs())).unwrap();
        let streams = opened(memory(&image(packing).stream_blobs())).unwrap();
        assert_eq!(streams.digest, whole.digest);
        for (layer, known) in streams.layers.iter().zip(&whole.layers) {
            assert!(!layer.has_blob() && known.has_blob());
            assert_eq!(layer.descriptor, known.descriptor);
            assert_eq!(known.stored(), &known.descriptor);
            let stored = layer.stored();
            assert_eq!(stored.digest.to_string(), layer.diff_id.to_string());
            assert_eq!(stored.media_type(), "application/vnd.oci.image.layer.v1.tar");
        }
        let surveys =
            survey::all(vec![whole, streams], &SurveyOptions::default(), &context()).unwrap();
        let paths = |survey: &survey::Survey| {
            let layers = survey.layers.iter();
            layers.map(|layer| (layer.diff_id, layer.stream_bytes)).collect::<Vec<_>>()
        };
        assert_eq!(paths(&surveys[0]), paths(&surveys[1]));
        assert!(surveys[1].notes.is_empty(), "{:?}", surveys[1].notes);

        let streams = &surveys[1].image;
        let wanted: Vec<DiffId> = streams.layers.iter().map(|layer| layer.diff_id).collect();
        let volume = Volume::extract(&[streams], &wanted, &context()).unwrap();
        for (diff_id, expected) in wanted.iter().zip(image(packing).layers) {
            let stream = volume.stream(diff_id).unwrap();
            assert_eq!(*stream.slice(0, stream.bytes()).unwrap(), expected);
        }
    }
}

#[test]
fn a_store_that_has_blob_and_stream_returns_the_blob() {
    let mut blobs = image(Packing::Gzip).blobs();
    blobs.by_digest.extend(image(Packing::Gzip).stream_blobs().by_digest);
    assert!(opened(memory(&blobs)).unwrap().layers.iter().all(Layer::has_blob));
}

/// A stream whose first bytes are those of gzip: the name of its first member.
#[test]
fn a_stream_that_looks_like_gzip_is_not_inflated() {
    let mut looks = tar_of(&[("name", b"one")]);
    looks[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0]);
    let test = TestImage::new(vec![looks.clone()], Packing::Gzip);
    let image = opened(memory(&test.stream_blobs())).unwrap();
    let mut read = Vec::new();
    let summary = image.read_layer(&image.layers[0], &mut Vec::new(), &Silent, &mut |piece| {
        read.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(summary.unwrap().diff_id, image.layers[0].diff_id);
    assert_eq!(read, looks);
}

#[test]
fn a_damaged_stream_is_refused_by_its_digest() {
    let test = image(Packing::Gzip);
    let mut store = memory(&test.stream_blobs());
    let layer = opened(store.clone()).unwrap().layers[1].stored().clone();
    let mut damaged = test.layers[1].clone();
    damaged[600] ^= 1;
    store.insert_as(layer.digest, damaged);
    let image = opened(store).unwrap();
    let outcome = image.read_layer(&image.layers[1], &mut Vec::new(), &Silent, &mut |_| Ok(()));
    let Err(Error::Mismatch { place, difference: Difference::Digest { expected, .. } }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(expected, layer.digest);
    assert!(place.contains("layer 2"), "{place}");
}

/// A store with streams, and a way to be different from others.
#[derive(Debug)]
struct OddStore(MemoryStore, Oddity);

#[derive(Debug)]
enum Oddity {
    /// It gives the stream of another layer.
    WrongStreams,
    /// It reads streams in place, and knows that it has this layer alone.
    PlacedStreams(DiffId),
}

impl Store for OddStore {
    fn place(&self) -> String {
        "wrong".into()
    }

    fn names(&self) -> Result<Vec<String>> {
        self.0.names()
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        self.0.find(name)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.0.open(blob)
    }

    fn stored_stream(&self, blob: &Descriptor, _: &DiffId) -> Result<Option<Descriptor>> {
        Ok(matches!(self.1, Oddity::WrongStreams).then(|| blob.clone()))
    }

    fn has_layer(&self, layer: &Descriptor) -> Result<bool> {
        Ok(match self.1 {
            Oddity::WrongStreams => true,
            Oddity::PlacedStreams(one) => layer.digest.to_string() == one.to_string(),
        })
    }

    fn in_place(&self, stream: &Descriptor, _: &Context) -> Result<Option<Arc<dyn ReadAt>>> {
        if matches!(self.1, Oddity::WrongStreams) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.0.open(stream)?.read_to_end(&mut bytes).unwrap();
        // Other bytes, so that the test sees where they come from.
        bytes[0] ^= 1;
        Ok(Some(Arc::new(bytes)))
    }
}

#[test]
fn a_store_that_names_another_stream_is_refused_when_the_image_is_opened() {
    let error =
        opened(OddStore(memory(&image(Packing::Gzip).blobs()), Oddity::WrongStreams)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("wrong, layer 1: the store names its stream sha256:"), "{text}");
}

#[test]
fn a_stream_is_read_in_place_if_its_digest_is_not_compared() {
    let test = image(Packing::Plain);
    let whole = opened(memory(&test.blobs())).unwrap();
    let [one, two] = [0, 1].map(|at: usize| whole.layers[at].diff_id);
    let placed = opened(OddStore(memory(&test.blobs()), Oddity::PlacedStreams(one))).unwrap();
    let first_byte = |digest: fn(DiffId) -> StreamCheck| {
        let volume = Volume::extract_as(digest, &[&placed], &[one], &context()).unwrap();
        let stream = Arc::clone(volume.stream(&one).unwrap());
        assert_eq!(stream.bytes(), test.layers[0].len() as u64);
        stream.slice(0, 1).unwrap()[0]
    };
    assert_eq!(first_byte(StreamCheck::Compare), test.layers[0][0]);
    assert_eq!(first_byte(StreamCheck::Assume), test.layers[0][0] ^ 1);

    let mut volume = Volume::default();
    volume.add_in_place(&[&whole], &[one], &context()).unwrap();
    assert!(volume.stream(&one).is_none(), "a store that reads front to back");
    volume.add_in_place(&[&whole, &placed], &[one], &context()).unwrap();
    assert_eq!(volume.stream(&one).unwrap().slice(0, 1).unwrap()[0], test.layers[0][0] ^ 1);

    assert!(placed.layers[1].is_absent() && !placed.layers[0].is_absent());
    let outcome = Volume::extract_as(StreamCheck::Assume, &[&placed], &[two], &context());
    assert!(matches!(outcome, Err(Error::BaseMissing { .. })), "{outcome:?}");
    // Another image may have it.
    Volume::extract(&[&placed, &whole], &[two], &context()).unwrap();
}

#[test]
fn a_stream_that_vanished_is_a_missing_layer() {
    let mut store = memory(&image(Packing::Gzip).stream_blobs());
    let image = opened(store.clone()).unwrap();
    let layer = image.layers[0].clone();
    store.remove(&layer.stored().digest).unwrap();
    // Without the stream, the layer counts as one with a blob, and reading it fails.
    let image = opened(store).unwrap();
    let outcome = Volume::extract(&[&image], &[layer.diff_id], &context());
    assert!(matches!(outcome, Err(Error::BaseMissing { .. })), "{outcome:?}");
}
