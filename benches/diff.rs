//! Costs of a diff: reading two images, comparing two surveys, printing.
//!
//! Only ratios within one run count.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_core::{Context, parallel::Workers, progress::Silent, scratch::Scratch};
use imgdelta_diff::{Diff, Ignore};
use imgdelta_image::{
    image::{self, OpenOptions},
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Packing, TestImage};
use std::{hint::black_box, path::Path, sync::Arc};

fn context(threads: usize) -> Context {
    let workers = Arc::new(Workers::new(threads).expect("threads"));
    Context::new(Scratch::new(std::env::temp_dir())).expect("threads").workers(workers)
}

fn read(dir: &Path, context: &Context) -> [Survey; 2] {
    let reference = |name: &str| format!("oci:{}", dir.join(name).display()).parse();
    let (base, target) = (reference("old").expect("a path"), reference("new").expect("a path"));
    let images = image::open_pair(&base, &target, &OpenOptions::default()).expect("just written");
    survey::both(images, &SurveyOptions::default(), context).expect("just written")
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
        let context = context(threads);
        group.bench_function(format!("read, {threads} threads"), |b| {
            b.iter(|| black_box(read(dir.path(), &context)));
        });
    }
    let [base, target] = read(dir.path(), &context(2));
    group.bench_function("compare", |b| {
        b.iter(|| black_box(Diff::between(&base, &target, &Ignore::default(), &Silent)));
    });
    let diff = Diff::between(&base, &target, &Ignore::default(), &Silent).expect("never cancels");
    group.bench_function("print", |b| b.iter(|| black_box(diff.to_string())));
    group.finish();
}

criterion_group!(benches, diff);
criterion_main!(benches);
