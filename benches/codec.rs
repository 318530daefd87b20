//! Speed of encoding and rebuilding members: text by the matcher alone, programs through the code view.
//!
//! Only ratios within one run count.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits};
use std::hint::black_box;

fn encode(effort: Effort, base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut encoder = GroupEncoder::new(effort);
    encoder.member(base, target);
    encoder.finish()
}

fn decode(group: &[u8], base: &[u8], target: &mut [u8]) {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default()).expect("just written");
    decoder.member(base, target).expect("just written");
    decoder.finish().expect("nothing is left over");
}

fn pair(c: &mut Criterion, name: &str, base: &[u8], target: &[u8]) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(target.len() as u64)).sample_size(10);
    for effort in [Effort::Fast, Effort::Default, Effort::Best] {
        group.bench_function(format!("encode, {effort:?}"), |b| {
            b.iter(|| black_box(encode(effort, base, target)));
        });
        let delta = encode(effort, base, target);
        let mut rebuilt = vec![0; target.len()];
        group.bench_function(format!("decode, {effort:?}, {} bytes", delta.len()), |b| {
            b.iter(|| decode(&delta, base, black_box(&mut rebuilt)));
        });
        assert!(rebuilt == target, "the decoder rebuilt something else");
    }
    group.finish();
}

fn codec(c: &mut Criterion) {
    let (base, target) = (imgdelta_benches::layer(500, 0), imgdelta_benches::layer(500, 1));
    pair(c, "text, by the matcher", &base, &target);
    let base = imgdelta_benches::program(10_000, 0);
    let target = imgdelta_benches::program(10_000, 1);
    pair(c, "program, through the code view", &base, &target);
}

criterion_group!(benches, codec);
criterion_main!(benches);
