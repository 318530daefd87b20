//! Any bytes are an index that can be used and written again, or an error.
#![no_main]

use imgdelta_core::{Limits, progress::Silent};
use imgdelta_image::{index::LayerIndex, rootfs::Rootfs};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let try_read = |bytes: &[u8]| {
        let Ok(index) = LayerIndex::from_bytes(bytes, &limits) else { return };
        let index = Arc::new(index);
        let _ = Rootfs::merge(&[Arc::clone(&index)], &Silent);
        let total: u64 =
            index.segments().map(|segment| segment.range().end - segment.range().start).sum();
        assert_eq!(total, index.stream_bytes);
        let again = index.to_bytes().expect("memory is enough");
        assert_eq!(LayerIndex::from_bytes(&again, &limits).expect("just written"), *index);
    };
    try_read(bytes);
    // The digest keeps mutations out of the columns: here the input is the columns, well wrapped.
    if let Ok(frame) = zstd::bulk::compress(bytes, 1) {
        let mut framed = b"imgdxidx\x02\0\0\0".to_vec();
        framed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        let digest = blake3::Hasher::new().update(&framed).update(&frame).finalize();
        framed.extend_from_slice(digest.as_bytes());
        framed.extend_from_slice(&frame);
        try_read(&framed);
    }
});
