//! Costs of the parts of a delta: planning, encoding at each preset, proving, applying, header columns.
//!
//! Only ratios within one run count. Bytes per second are those of the target's streams.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_apply::rebuild;
use imgdelta_core::{Context, Limits, parallel::Workers, scratch::Scratch};
use imgdelta_image::{
    image::{self, OpenOptions},
    survey::{self, SurveyOptions},
};
use imgdelta_layer::headers::{BaseHeader, HeaderReader, HeaderWriter};
use imgdelta_make::{
    options::{CreateOptions, Preset},
    pair::ImagePair,
};
use imgdelta_testkit::{Packing, TestImage, tar_of};
use std::{hint::black_box, path::Path, sync::Arc};

const PRESETS: [(&str, Preset); 3] =
    [("fast", Preset::Fast), ("default", Preset::Default), ("best", Preset::Best)];

/// One worker, so that processor time and elapsed time are the same.
fn context(dir: &Path) -> Context {
    let workers = Arc::new(Workers::new(1).expect("threads"));
    Context::new(Scratch::new(dir)).expect("threads").workers(workers)
}

fn pair(dir: &Path) -> ImagePair {
    for (name, version) in [("old", 0), ("new", 1)] {
        let program = imgdelta_benches::program(1500, version);
        let layers = vec![
            imgdelta_benches::layer(300, version),
            tar_of(&[("bin/program", &program), ("lib/same", &imgdelta_benches::program(300, 0))]),
        ];
        TestImage::new(layers, Packing::Plain).blobs().write_layout(&dir.join(name));
    }
    let reference = |name: &str| format!("oci:{}", dir.join(name).display()).parse();
    let (base, target) = (reference("old").expect("a path"), reference("new").expect("a path"));
    let images = image::open_pair(&base, &target, &OpenOptions::default()).expect("just written");
    ImagePair::read(images, &SurveyOptions::default(), &context(dir)).expect("just written")
}

fn delta(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let pair = pair(dir.path());
    let stream_bytes: u64 = pair.target().layers.iter().map(|layer| layer.stream_bytes).sum();
    let mut group = c.benchmark_group("a delta");
    group.throughput(Throughput::Bytes(stream_bytes)).sample_size(10);
    let plan = |preset| pair.plan(&CreateOptions::default().preset(preset)).expect("two images");
    group.bench_function("plan", |b| b.iter(|| black_box(plan(Preset::Default))));
    for (name, preset) in PRESETS {
        let encode = |plan: imgdelta_make::plan::Plan| plan.encode().expect("a plan");
        group.bench_function(format!("encode, {name}"), |b| {
            b.iter_batched(|| plan(preset), encode, BatchSize::PerIteration);
        });
        group.bench_function(format!("prove, {name}"), |b| {
            b.iter_batched(
                || encode(plan(preset)),
                |draft| draft.prove().expect("a delta of our own"),
                BatchSize::PerIteration,
            );
        });
        let proved = encode(plan(preset)).prove().expect("a delta of our own");
        println!("a delta, {name}: {} bytes for {stream_bytes}", proved.delta().size_bytes());
        let (images, context) = ([pair.base().image.clone()], context(dir.path()));
        group.bench_function(format!("apply with digests, {name}"), |b| {
            b.iter(|| rebuild::verify(proved.delta(), &images, &context).expect("verified"));
        });
    }
    group.finish();
}

fn headers(c: &mut Criterion) {
    let layers = [0, 1].map(|version| imgdelta_benches::layer(4000, version));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let images = ["old", "new"].map(|name| dir.path().join(name));
    for (layer, place) in layers.iter().zip(&images) {
        TestImage::new(vec![layer.clone()], Packing::Plain).blobs().write_layout(place);
    }
    let context = context(dir.path());
    let [base, target] = images.map(|place| {
        let reference = format!("oci:{}", place.display()).parse().expect("a path");
        let image = image::open(&reference, &OpenOptions::default()).expect("just written");
        let options = SurveyOptions::default();
        survey::all(vec![image], &options, &context).expect("an image").remove(0)
    });
    let (base, target) = (&base.layers[0], &target.layers[0]);
    let bytes_of = |stream: &[u8], range: std::ops::Range<u64>| {
        let place = |at| usize::try_from(at).expect("in memory");
        stream[place(range.start)..place(range.end)].to_vec()
    };
    let write = || {
        let mut writer = HeaderWriter::new(19);
        for (i, entry) in target.entries.iter().enumerate() {
            let header = bytes_of(&layers[1], target.header_range(i));
            let padding = bytes_of(&layers[1], target.padding_range(i));
            // Both layers have the same paths in the same order.
            let like = bytes_of(&layers[0], base.header_range(i));
            let payload = base.entries.payload(i);
            let like = BaseHeader {
                header: &like,
                address: base.entries.start(i),
                payload_bytes: payload.end - payload.start,
            };
            let payload_bytes = entry.payload.end - entry.payload.start;
            let _ = writer.entry(&header, payload_bytes, &padding, Some(like));
        }
        writer.raw(&bytes_of(&layers[1], target.tail_range()));
        writer.finish()
    };
    let packed = write();
    println!("header columns: {} bytes for {} entries", packed.len(), target.entries.len());
    let read = || {
        let mut reader = HeaderReader::open(&packed, &Limits::default()).expect("just written");
        let mut from = |address: u64, out: &mut [u8]| {
            out.copy_from_slice(&bytes_of(&layers[0], address..address + out.len() as u64));
            Ok(())
        };
        let (mut frame, mut seen) = (Vec::new(), 0);
        while reader.next(&mut from, &mut frame).expect("just written").is_some() {
            seen += frame.len();
        }
        seen + frame.len()
    };
    let mut group = c.benchmark_group("header columns");
    group.throughput(Throughput::Bytes(read() as u64)).sample_size(20);
    group.bench_function("write", |b| b.iter(|| black_box(write())));
    group.bench_function("read", |b| b.iter(|| black_box(read())));
    group.finish();
}

criterion_group!(benches, delta, headers);
criterion_main!(benches);
