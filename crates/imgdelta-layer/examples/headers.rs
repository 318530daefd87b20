//! Writes the headers of each new layer against the old image's, reads them back, prints sizes.
//!
//! `cargo run --release --example headers -- OLD NEW [OLD NEW]...` takes references. Both images
//! are held in memory. Entries are paired by path.

use imgdelta_coding::pack::{Packer, unpack};
use imgdelta_core::{Error, Limits, progress::Silent};
use imgdelta_image::{
    image::{self, Image, OpenOptions},
    index::{IndexBuilder, LayerIndex},
};
use imgdelta_layer::headers::{BaseHeader, HeaderReader, HeaderWriter};
use std::{collections::HashMap, env, ops::Range, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    for pair in words.chunks(2) {
        let [old, new] = pair else { return Err("references come in pairs".into()) };
        let images = image::open_pair(&old.parse()?, &new.parse()?, &OpenOptions::default())?;
        println!("{new}");
        compare(&images)?;
    }
    Ok(())
}

/// A layer's index and stream.
type Read = (LayerIndex, Vec<u8>);

fn read(image: &Image, skip: &[imgdelta_core::DiffId]) -> imgdelta_core::Result<Vec<Read>> {
    let mut layers = Vec::new();
    for layer in image.layers.iter().filter(|layer| !skip.contains(&layer.diff_id)) {
        let mut builder = IndexBuilder::new(&Limits::default(), None);
        let mut stream = Vec::new();
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |bytes| {
            stream.extend_from_slice(bytes);
            builder.feed(bytes)
        })?;
        layers.push((builder.finish(layer.diff_id)?, stream));
    }
    Ok(layers)
}

fn compare([old, new]: &[Image; 2]) -> imgdelta_core::Result<()> {
    let bases = read(old, &[])?;
    let kept: Vec<_> = old.layers.iter().map(|layer| layer.diff_id).collect();
    let mut space = Vec::new();
    let mut places = HashMap::new();
    for (layer, (index, stream)) in bases.iter().enumerate() {
        for (i, entry) in index.entries.iter().enumerate() {
            places.insert(entry.path, (layer, i, space.len() as u64));
        }
        space.extend_from_slice(stream);
    }
    let mut total = 0;
    let mut sums = vec![0; 64];
    for (index, stream) in read(new, &kept)? {
        let started = Instant::now();
        let mut writer = HeaderWriter::new(19);
        let mut header_bytes = index.tail_range().end - index.tail_range().start;
        let (mut based, mut payloads) = (0, Vec::new());
        writer.raw(part(&stream, 0..index.entries.first().map_or(0, |first| first.start)));
        for (i, entry) in index.entries.iter().enumerate() {
            let base = places.get(&entry.path).map(|&(layer, i, start)| {
                let index = &bases[layer].0;
                let range = index.header_range(i);
                let payload = index.entries.payload(i);
                BaseHeader {
                    header: part(&bases[layer].1, range.clone()),
                    address: start + range.start,
                    payload_bytes: payload.end - payload.start,
                }
            });
            let header = part(&stream, index.header_range(i));
            let padding = part(&stream, index.padding_range(i));
            header_bytes += (header.len() + padding.len()) as u64;
            let payload = entry.payload.end - entry.payload.start;
            if payload > 0 {
                payloads.push(entry.payload.clone());
            }
            based += usize::from(writer.entry(header, payload, padding, base));
        }
        writer.raw(part(&stream, index.tail_range()));
        let packed = writer.finish();
        let written = started.elapsed();
        let started = Instant::now();
        read_back(&packed, &space, &stream, &payloads)?;
        let read = started.elapsed();
        println!(
            "  {:>6} entries, {based:>6} with a base: {header_bytes:>9} -> {:>6} bytes; written in {written:.0?}, read in {read:.0?} ({} MB/s)",
            index.entries.len(),
            packed.len(),
            u128::from(header_bytes) * 1000 / read.as_nanos().max(1),
        );
        total += packed.len();
        let columns = unpack(&packed, 64, 1 << 30).expect("just packed");
        let mut packer = Packer::new(19);
        for (sum, column) in sums.iter_mut().zip(&columns) {
            *sum += packer.estimate(column);
        }
    }
    println!("  total {total}; columns {:?}", &sums[..16]);
    Ok(())
}

fn read_back(
    packed: &[u8],
    space: &[u8],
    stream: &[u8],
    payloads: &[Range<u64>],
) -> imgdelta_core::Result<()> {
    let mut reader = HeaderReader::open(packed, &Limits::default())?;
    let mut frame = Vec::new();
    let mut at = 0;
    let mut payloads = payloads.iter();
    let mut base = |address: u64, out: &mut [u8]| {
        let at = usize::try_from(address).expect("an address in memory");
        let found = space.get(at..at + out.len());
        out.copy_from_slice(found.ok_or_else(|| Error::bad_input("base", "too short"))?);
        Ok(())
    };
    loop {
        let payload = reader.next(&mut base, &mut frame)?;
        assert!(stream[at..].starts_with(&frame), "frame at {at}");
        at += frame.len();
        let Some(payload) = payload else { break };
        if payload.bytes > 0 {
            let expected = payloads.next().expect("one more payload");
            assert_eq!(*expected, at as u64..at as u64 + payload.bytes);
            at = usize::try_from(expected.end).expect("a stream in memory");
        }
    }
    assert_eq!(at, stream.len());
    assert!(payloads.next().is_none());
    Ok(())
}

fn part(stream: &[u8], range: Range<u64>) -> &[u8] {
    let at = |at| usize::try_from(at).expect("a stream in memory");
    &stream[at(range.start)..at(range.end)]
}
