//! What do the parts of a delta cost: planning, encoding at each preset, header columns, proving,
//! applying?
//!
//! Ratios within one run count; absolute figures are the machine's. Bytes per second are those of
//! the target's streams.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_apply::{apply::{self, ApplyOptions}, delta::Delta};
use imgdelta_core::{Limits, parallel::Workers, progress::Silent, scratch::Scratch};
use imgdelta_image::{image::{self, OpenOptions}, survey::{self, Survey, SurveyOptions}, volume::Volume};
use imgdelta_layer::headers::{BaseHeader, HeaderReader, HeaderWriter};
use imgdelta_make::{encode::{EncodeOptions, Layers, encode}, plan::{Plan, PlanOptions, Preset}};
use imgdelta_testkit::{Packing, TestImage, tar_of};
use std::{hint::black_box, path::Path, sync::Arc};

const PRESETS: [(&str, Preset); 3] =
    [("fast", Preset::Fast), ("default", Preset::Default), ("best", Preset::Best)];

fn pair(dir: &Path, scratch: &Scratch, workers: &Workers) -> ([Survey; 2], Volume) {
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
    survey::both_with_streams(images, &SurveyOptions::default(), scratch, workers, &Silent)
        .expect("just written")
}

fn delta(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let scratch = Scratch::in_dir(dir.path()).expect("just made");
    let workers = Workers::new(1).expect("threads");
    let ([base, target], volume) = pair(dir.path(), &scratch, &workers);
    let stream_bytes: u64 = target.layers.iter().map(|layer| layer.stream_bytes).sum();
    let options = EncodeOptions::default().layers(Layers::Uncompressed);

    let mut group = c.benchmark_group("a delta");
    group.throughput(Throughput::Bytes(stream_bytes)).sample_size(10);
    let plan = |preset| {
        let options = PlanOptions::default().preset(preset);
        Plan::of(&base, &target, &volume, options, &scratch, &workers, &Silent).expect("two images")
    };
    group.bench_function("plan", |b| b.iter(|| black_box(plan(Preset::Default))));
    for (name, preset) in PRESETS {
        let plan = plan(preset);
        let make = || encode(&plan, &options, &scratch, &workers, &Silent).expect("a plan");
        group.bench_function(format!("encode, {name}"), |b| b.iter(|| black_box(make())));
        let mut bytes = Vec::new();
        make().write(&mut bytes).expect("memory");
        println!("a delta, {name}: {} bytes for {stream_bytes}", bytes.len());
        let delta = Delta::open(Arc::new(bytes), name, &Limits::default()).expect("just made");
        let options = ApplyOptions::new(scratch.clone());
        group.bench_function(format!("prove, {name}"), |b| {
            b.iter(|| apply::prove(&delta, &volume, &options, &workers, &Silent).expect("proved"));
        });
        let images = [base.image.clone()];
        group.bench_function(format!("apply with digests, {name}"), |b| {
            b.iter(|| {
                apply::verify(&delta, &images, &options, &workers, &Silent).expect("verified")
            });
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
    let workers = Workers::new(1).expect("threads");
    let [base, target] = images.map(|place| {
        let reference = format!("oci:{}", place.display()).parse().expect("a path");
        let image = image::open(&reference, &OpenOptions::default()).expect("just written");
        let options = SurveyOptions::default();
        survey::all(vec![image], &options, &workers, &Silent).expect("an image").remove(0)
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
            let payload = &base.entries[i].payload;
            let like = BaseHeader {
                header: &like,
                address: base.entries[i].start,
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
