//! Speed of scanning and hashing a layer's stream, and of storing and reading its index.
//!
//! Only ratios within one run count.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_core::{Algorithm, Limits, verify::Hasher};
use imgdelta_image::index::{IndexBuilder, LayerIndex};
use std::hint::black_box;

const CHUNK_BYTES: usize = 256 << 10;

fn build(stream: &[u8]) -> LayerIndex {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    for chunk in stream.chunks(CHUNK_BYTES) {
        builder.feed(chunk).expect("a sound tar within the limits");
    }
    let name = Hasher::new(Algorithm::Sha256).finish_diff_id();
    builder.finish(name).expect("a sound tar within the limits")
}

fn index(c: &mut Criterion) {
    let stream = imgdelta_benches::layer(2000, 1);
    let mut group = c.benchmark_group("layer stream");
    group.throughput(Throughput::Bytes(stream.len() as u64)).sample_size(20);
    group.bench_function("sha256, for comparison", |b| {
        b.iter(|| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&stream);
            black_box(hasher.finish_diff_id())
        });
    });
    group.bench_function("scan and hash payloads", |b| b.iter(|| black_box(build(&stream))));
    group.finish();

    let many = build(&imgdelta_testkit::tar_of(
        &(0..30_000)
            .map(|n| (format!("d{}/f{n}", n % 300), n.to_string()))
            .collect::<Vec<_>>()
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_bytes()))
            .collect::<Vec<_>>(),
    ));
    let stored = many.to_bytes().expect("memory is enough");
    let mut group = c.benchmark_group("index of 30,000 entries");
    group.sample_size(20);
    group.bench_function("write", |b| b.iter(|| black_box(many.to_bytes())));
    group.bench_function("read", |b| {
        b.iter(|| black_box(LayerIndex::from_bytes(&stored, &Limits::default())));
    });
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
