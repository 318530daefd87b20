//! Arbitrary bytes as an archive: opened as both kinds, every layer read.

#![no_main]

use imgdelta_core::{Limits, progress::Silent};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::{Store, docker_archive::DockerArchive, layout::OciLayout},
};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let mut limits = Limits::default();
    limits.layer_bytes = 1 << 20;
    let source = Arc::new(bytes.to_vec());
    if let Ok(store) = OciLayout::open_archive(source.clone(), "fuzz".into(), &limits) {
        read(Arc::new(store), &limits);
    }
    if let Ok(store) = DockerArchive::open(source, "fuzz".into(), &limits) {
        read(Arc::new(store), &limits);
    }
});

fn read(store: Arc<dyn Store>, limits: &Limits) {
    let _ = store.names();
    let options = OpenOptions::default().limits(limits.clone());
    let Ok(image) = Image::open(store, None, &options) else { return };
    for layer in &image.layers {
        let _ = image.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(()));
    }
}
