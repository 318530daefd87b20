//! Any bytes scan to an index whose ranges are those bytes, however they are cut.
#![no_main]

use imgdelta_core::{DiffId, Limits, progress::Silent};
use imgdelta_image::{
    index::{IndexBuilder, LayerIndex},
    rootfs::Rootfs,
};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fn index(stream: &[u8], chunk_bytes: usize) -> Option<LayerIndex> {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    for chunk in stream.chunks(chunk_bytes) {
        builder.feed(chunk).ok()?;
    }
    let diff_id = DiffId::new(imgdelta_core::Algorithm::Sha256, &[0; 32])?;
    builder.finish(diff_id).ok()
}

fuzz_target!(|stream: &[u8]| {
    let Some(whole) = index(stream, stream.len().max(1)) else { return };
    let mut at = 0;
    for segment in whole.segments() {
        let range = segment.range();
        assert_eq!(range.start, at, "no gap");
        at = range.end;
    }
    assert_eq!(at, stream.len() as u64);
    assert_eq!(index(stream, 100).as_ref(), Some(&whole));
    let bytes = whole.to_bytes().expect("memory is enough");
    assert_eq!(LayerIndex::from_bytes(&bytes, &Limits::default()).expect("just written"), whole);
    let whole = Arc::new(whole);
    let layers = [Arc::clone(&whole), whole];
    let tree = Rootfs::merge(&layers, &Silent).expect("never cancels");
    assert!(tree.nodes().is_sorted_by(|a, b| a.path < b.path));
});
