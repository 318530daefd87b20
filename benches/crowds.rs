//! Costs of images with many entries that are alike: reading, comparing, planning.
//!
//! Times for four times the entries should be about four times as long. The default sizes end quickly;
//! `IMGDELTA_BENCH_ENTRIES=1000000` sets the larger size.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_core::{Context, Limits, parallel::Workers, progress::Silent, scratch::Scratch};
use imgdelta_diff::{Diff, Ignore};
use imgdelta_image::{
    image::{Image, OpenOptions},
    rootfs::Rootfs,
    store::layout::OciLayout,
    survey::SurveyOptions,
};
use imgdelta_make::{options::CreateOptions, pair::ImagePair};
use imgdelta_testkit::{Crowd, Packing, TestImage};
use std::{hint::black_box, sync::Arc, time::Duration};

const SMALL: usize = 4000;

/// Limits that admit a million paths of a thousand bytes.
fn limits() -> Limits {
    let mut limits = Limits::default();
    for change in ["layer-text-bytes=4GB", "image-text-bytes=8GB"] {
        limits.change(&change.parse().expect("a limit"));
    }
    limits
}

fn image(layer: Vec<u8>) -> Image {
    let archive = TestImage::new(vec![layer], Packing::Zstd).blobs().archive();
    let layout = OciLayout::open_archive(Arc::new(archive), "a.tar".into(), &limits());
    let layout = Arc::new(layout.expect("just made"));
    Image::open(layout, None, &OpenOptions::default().limits(limits())).expect("just made")
}

fn pair(crowd: Crowd, entries: usize, context: &Context) -> ImagePair {
    let images = crowd.layers(entries).map(image);
    ImagePair::read(images, &SurveyOptions::default(), context).expect("just made")
}

fn crowds(c: &mut Criterion) {
    let workers = Arc::new(Workers::new(1).expect("threads"));
    let scratch = Scratch::new(std::env::temp_dir());
    let context = Context::new(scratch).expect("threads").workers(workers).limits(limits());
    let large = std::env::var("IMGDELTA_BENCH_ENTRIES").ok().and_then(|text| text.parse().ok());
    let mut group = c.benchmark_group("alike entries");
    group.sample_size(10).warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(500));
    for crowd in Crowd::ALL {
        for entries in [SMALL, large.unwrap_or(4 * SMALL)] {
            let pair = pair(crowd, entries, &context);
            let (base, target) = (pair.base(), pair.target());
            let id = |step: &str| BenchmarkId::new(format!("{crowd:?}, {step}"), entries);
            group.throughput(Throughput::Elements(entries as u64));
            group.bench_function(id("merge"), |b| {
                b.iter(|| black_box(Rootfs::merge(&target.layers, &Silent)));
            });
            group.bench_function(id("compare"), |b| {
                b.iter(|| black_box(Diff::between(base, target, &Ignore::default(), &Silent)));
            });
            group.bench_function(id("plan"), |b| {
                b.iter(|| black_box(pair.plan(&CreateOptions::default())));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, crowds);
criterion_main!(benches);
