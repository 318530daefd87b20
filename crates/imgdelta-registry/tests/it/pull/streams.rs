//! Pulls into sinks that take uncompressed layers.

use super::*;
use imgdelta_apply::sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{DiffId, verify::VerifiedBlob};
use imgdelta_registry::pull::PullDestination;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

const ARCHIVE: &str = "docker-archive:DIR/out.tar:app:v1";

/// The streams of an image's layers.
fn streams(image: &Image) -> Vec<Vec<u8>> {
    let stream = |layer| {
        let mut bytes = Vec::new();
        let mut take = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut take).unwrap();
        bytes
    };
    image.layers.iter().map(stream).collect()
}

fn is_right(scene: &Scene, output: &str) {
    let pulled = image::open(&scene.output(output), &OpenOptions::default()).unwrap();
    assert_eq!(pulled.config_bytes, scene.local("v1").config_bytes);
    assert_eq!(streams(&pulled), streams(&scene.local("v1")));
}

#[test]
fn an_archive_of_streams_is_pulled_by_delta() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let pulled = scene.pull(":v1", &["v0"], ARCHIVE).unwrap();
    assert!(ways(&pulled).contains(&"recipe".into()), "{pulled}");
    assert!(pulled.received_bytes < pulled.plain_bytes / 2, "{pulled}");
    is_right(&scene, ARCHIVE);
}

#[test]
fn an_archive_of_streams_is_pulled_whole() {
    let scene = Scene::new(RegistryBehaviour::default());
    let pulled = scene.pull(":v1", &[], ARCHIVE).unwrap();
    assert!(ways(&pulled).iter().all(|way| way == "registry"), "{pulled}");
    is_right(&scene, ARCHIVE);
}

#[test]
fn a_damaged_recipe_ends_in_an_archive_of_whole_layers() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    for recipe in &scene.artifact("v1").recipes {
        let bytes = vec![0; usize::try_from(recipe.blob.size_bytes).unwrap()];
        scene.registry.corrupt(REPOSITORY, &recipe.blob.digest.to_string(), &bytes);
    }
    let pulled = scene.pull(":v1", &["v0"], ARCHIVE).unwrap();
    assert!(!pulled.notes.is_empty());
    is_right(&scene, ARCHIVE);
}

/// A sink that has some layers, like the store of a container runtime. It ends well once it was asked
/// about them.
#[derive(Clone, Debug, Default)]
struct PartialSink {
    there: Vec<DiffId>,
    asked: Arc<Mutex<BTreeSet<String>>>,
    written: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Sink for PartialSink {
    fn place(&self) -> String {
        "test".into()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Streams
    }

    fn has_layers(&self, diff_ids: &[DiffId]) -> Result<Vec<bool>> {
        Ok(diff_ids.iter().map(|diff_id| self.there.contains(diff_id)).collect())
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn imgdelta_core::progress::Progress) -> Result<bool> {
        self.asked.lock().unwrap().insert(blob.digest.to_string());
        Ok(self.there.iter().any(|id| Descriptor::of_stream(id, 0).digest == blob.digest))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let written = Arc::clone(&self.written);
        Ok(Box::new(PartialWriter { name: blob.digest.to_string(), bytes: 0, written }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let asked = self.asked.lock().unwrap();
        assert!(self.there.iter().all(|layer| asked.contains(&layer.to_string())), "{asked:?}");
        Ok(())
    }
}

struct PartialWriter {
    name: String,
    bytes: u64,
    written: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl BlobWriter for PartialWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        self.written.lock().unwrap().insert(self.name.clone(), self.bytes);
        Ok(())
    }
}

#[test]
fn layers_that_a_sink_has_are_neither_fetched_nor_written() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let target = scene.local("v1");
    let plan = |there: Vec<DiffId>, bases: &[&str]| {
        let sink = PartialSink { there, ..PartialSink::default() };
        let written = Arc::clone(&sink.written);
        let output = PullDestination::sink("the test's sink", move || Ok(Box::new(sink.clone())));
        let bases = bases.iter().map(|name| scene.local(name)).collect();
        let source = scene.reference(":v1");
        let plan =
            scene.registries.plan_pull_to(&scene.session, &source, bases, output, &options());
        (plan.unwrap(), written)
    };
    let diff_ids: Vec<DiffId> = target.layers.iter().map(|layer| layer.diff_id).collect();
    let (complete, _) = plan(diff_ids.clone(), &["v0"]);
    assert!(complete.is_complete() && complete.fetch_bytes() == 0);
    for bases in [&["v0"][..], &[]] {
        let (partial, written) = plan(diff_ids[..1].to_vec(), bases);
        assert!(!partial.is_complete());
        let pulled = partial.carry_out().unwrap();
        assert_eq!(ways(&pulled)[0], "there");
        assert_eq!(pulled.layers[0].fetch_bytes, 0);
        assert_eq!(pulled.place, "the test's sink");
        let expected: BTreeMap<String, u64> = (target.layers[1..].iter())
            .zip(&streams(&target)[1..])
            .map(|(layer, stream)| (layer.diff_id.to_string(), stream.len() as u64))
            .collect();
        assert_eq!(*written.lock().unwrap(), expected, "{bases:?}");
    }
}

#[test]
fn after_a_pull_of_streams_the_exact_blobs_are_made_without_a_request() {
    let scene = Scene::with_delta(RegistryBehaviour::default());
    let archive = scene.output(ARCHIVE);
    let plan = scene.plan(":v1", &["v0"], ARCHIVE, true).unwrap();
    let material = plan.material();
    plan.carry_out().unwrap();
    scene.registry.forget();
    let streams = image::open(&archive, &OpenOptions::default()).unwrap();
    let bases = vec![streams, scene.local("v0")];
    let layout = scene.output("oci:DIR/completed:v1");
    let output = PullDestination::from(&layout);
    let second = material.plan_to(&scene.session, bases, output, &options()).unwrap();
    let pulled = second.carry_out().unwrap();
    let requests = scene.registry.requests();
    assert!(requests.is_empty() && pulled.received_bytes == 0, "{pulled}: {requests:?}");
    assert!(ways(&pulled).contains(&"remade".into()), "{pulled}");
    let completed = image::open(&layout, &OpenOptions::default()).unwrap();
    assert_eq!(completed.digest, scene.local("v1").digest);
}
