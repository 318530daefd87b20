//! What does a whole diff cost: reading two images, and comparing two surveys?
//!
//! Ratios within one run count; absolute figures are the machine's.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_core::{parallel::Workers, progress::Silent};
use imgdelta_diff::{Diff, Ignore};
use imgdelta_image::{image::{self, OpenOptions}, survey::{self, Survey, SurveyOptions}};
use imgdelta_testkit::{Packing, TestImage};
use std::{hint::black_box, path::Path};

fn read(dir: &Path, workers: &Workers) -> [Survey; 2] {
    let reference = |name: &str| format!("oci:{}", dir.join(name).display()).parse();
    let (base, target) = (reference("old").expect("a path"), reference("new").expect("a path"));
    let images = image::open_pair(&base, &target, &OpenOptions::default()).expect("just written");
    survey::both(images, &SurveyOptions::default(), workers, &Silent).expect("just written")
}

fn diff(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut stored_bytes = 0;
    for (name, version) in [("old", 1), ("new", 2)] {
        let layers = vec![imgdelta_benches::layer(1500, 0), imgdelta_benches::layer(1500, version)];
        let blobs = TestImage::new(layers, Packing::Gzip).blobs();
        stored_bytes += blobs.files().iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        blobs.write_layout(&dir.path().join(name));
    }
    let mut group = c.benchmark_group("two images");
    group.throughput(Throughput::Bytes(stored_bytes)).sample_size(10);
    for threads in [1, 2] {
        let workers = Workers::new(threads).expect("threads");
        group.bench_function(format!("read, {threads} threads"), |b| {
            b.iter(|| black_box(read(dir.path(), &workers)));
        });
    }
    let [base, target] = read(dir.path(), &Workers::new(2).expect("threads"));
    group.bench_function("compare", |b| {
        b.iter(|| black_box(Diff::between(&base, &target, &Ignore::default())));
    });
    let diff = Diff::between(&base, &target, &Ignore::default());
    group.bench_function("print", |b| b.iter(|| black_box(diff.to_string())));
    group.finish();
}

criterion_group!(benches, diff);
criterion_main!(benches);
