//! A plain maker of deltas, so that tests of applying do not need `imgdelta-make`.
//!
//! Entries are matched by path. Large files have two windows, so that windows are tested. Everything
//! is in memory.

use crate::delta::{
    BaseSource, DeltaWriter, Envelope, GroupMember, LayerBody, LayerOutline, NestedArchives,
    Outline, PayloadOrigin, PayloadWindow, Recipe, RecipeGroup, StreamName,
};
use imgdelta_codec::{Effort, GroupEncoder};
use imgdelta_core::{DiffId, Limits, PayloadDigest, path::LayerPathRef, progress::Silent};
use imgdelta_image::{
    image::{Image, Layer},
    index::{IndexBuilder, LayerIndex},
};
use imgdelta_layer::headers::{BaseHeader, HeaderWriter};
use std::collections::HashMap;

/// Files of at least this length are made in two windows.
const LONG_BYTES: usize = 4096;
/// Members of one group.
const MEMBERS: usize = 3;

pub(super) fn stream(image: &Image, layer: &Layer) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut take = |piece: &[u8]| {
        stream.extend_from_slice(piece);
        Ok(())
    };
    image.read_layer(layer, &mut Vec::new(), &Silent, &mut take).unwrap();
    stream
}

pub(super) fn blob(image: &Image, layer: &Layer) -> Vec<u8> {
    let mut blob = Vec::new();
    let mut reader = image.store().open(&layer.descriptor).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut blob).unwrap();
    blob
}

/// Finds the envelope of a blob: stored, or gzip of a known encoder.
pub(super) fn envelope(blob: &[u8], stream: &[u8]) -> Envelope {
    if blob == stream {
        return Envelope::Stored;
    }
    let recipe = imgdelta_deflate::detect_gzip(blob, imgdelta_deflate::DetectOptions::default());
    recipe.map_or(Envelope::Unmade, |recipe| Envelope::Deflate(recipe.to_bytes()))
}

struct IndexedStream {
    name: StreamName,
    stream: Vec<u8>,
    index: LayerIndex,
}

fn indexed(diff_id: DiffId, stream: Vec<u8>) -> IndexedStream {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    builder.feed(&stream).unwrap();
    let index = builder.finish(diff_id).unwrap();
    IndexedStream { name: StreamName { diff_id, bytes: stream.len() as u64 }, stream, index }
}

/// A delta from one image to another.
pub(super) struct PlainMaker {
    pub outline: Outline,
    pub recipes: Vec<(Recipe, Vec<u8>)>,
    pub carried: Vec<Vec<u8>>,
}

impl PlainMaker {
    pub(super) fn new(base: &Image, target: &Image) -> Self {
        let sources: Vec<IndexedStream> =
            base.layers.iter().map(|layer| indexed(layer.diff_id, stream(base, layer))).collect();
        let (mut layers, mut recipes) = (Vec::new(), Vec::<(Recipe, Vec<u8>)>::new());
        for layer in &target.layers {
            let blob_bytes = blob(target, layer);
            let target = indexed(layer.diff_id, stream(target, layer));
            let has_blob = |known: &Layer| known.descriptor.digest == layer.descriptor.digest;
            let mut outline = LayerOutline {
                stream_bytes: target.name.bytes,
                body: LayerBody::Kept,
                envelope: envelope(&blob_bytes, &target.stream),
                archive_milliseconds: 0,
            };
            if base.layers.iter().any(has_blob) {
                outline.envelope = Envelope::Base;
            } else if !sources.iter().any(|source| source.name == target.name) {
                let made = recipes.iter().position(|(recipe, _)| recipe.target == target.name);
                let ordinal = made.unwrap_or(recipes.len());
                if made.is_none() {
                    recipes.push(recipe(&target, &sources));
                }
                outline.body = LayerBody::Recipe(u32::try_from(ordinal).unwrap());
            }
            layers.push(outline);
        }
        let outline = Outline {
            algorithm: target.digest.algorithm(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            manifest: target.manifest.clone(),
            config: target.config_bytes.clone(),
            platform: target.platform.to_string(),
            base: Some(base.digest),
            layers,
        };
        Self { outline, recipes, carried: Vec::new() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut writer = DeltaWriter::new(Vec::new(), &self.outline).unwrap();
        for (recipe, groups) in &self.recipes {
            writer.recipe(recipe, &mut groups.as_slice()).unwrap();
        }
        for blob in &self.carried {
            writer.carried(blob.len() as u64, &mut blob.as_slice()).unwrap();
        }
        writer.finish().unwrap().0
    }
}

fn recipe(target: &IndexedStream, sources: &[IndexedStream]) -> (Recipe, Vec<u8>) {
    let mut by_path: HashMap<LayerPathRef<'_>, (usize, usize)> = HashMap::new();
    let mut by_content: HashMap<PayloadDigest, u64> = HashMap::new();
    let mut starts = Vec::new();
    let mut space = 0;
    for (n, source) in sources.iter().enumerate() {
        starts.push(space);
        for (i, entry) in source.index.entries.iter().enumerate() {
            by_path.insert(entry.path, (n, i));
            if let Some(digest) = entry.digest {
                by_content.insert(digest, space + entry.payload.start);
            }
        }
        space += source.name.bytes;
    }
    let at = |bytes: &[u8], range: std::ops::Range<u64>| {
        bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    };
    let mut headers = HeaderWriter::new(9);
    headers.raw(&at(&target.stream, 0..target.index.entries.first().map_or(0, |e| e.start)));
    let (mut origins, mut members) = (Vec::new(), Vec::new());
    let mut repeats: HashMap<PayloadDigest, usize> = HashMap::new();
    for (i, entry) in target.index.entries.iter().enumerate() {
        let header = at(&target.stream, target.index.header_range(i));
        let payload = at(&target.stream, entry.payload.clone());
        let padding = at(&target.stream, target.index.padding_range(i));
        let found = by_path.get(&entry.path).map(|&(n, i)| {
            let (source, range) = (&sources[n], sources[n].index.entries.payload(i));
            let header = at(&source.stream, source.index.header_range(i));
            let address = starts[n] + source.index.entries.start(i);
            (header, address, at(&source.stream, range.clone()), starts[n] + range.start)
        });
        let base = found.as_ref().map(|(header, address, payload, _)| BaseHeader {
            header,
            address: *address,
            payload_bytes: payload.len() as u64,
        });
        let is_used = headers.entry(&header, payload.len() as u64, &padding, base);
        if payload.is_empty() {
            continue;
        }
        let found = found.filter(|_| is_used);
        let ordinal = origins.len();
        let (moved, repeated) = entry
            .digest
            .map_or((None, None), |digest| (by_content.get(&digest), repeats.get(&digest)));
        origins.push(match (&found, moved, repeated) {
            (Some((_, _, old, _)), ..) if *old == payload => PayloadOrigin::Own,
            (_, Some(address), _) => PayloadOrigin::Base(*address),
            (.., Some(earlier)) => PayloadOrigin::Repeat(u32::try_from(ordinal - earlier).unwrap()),
            _ => {
                members.extend(members_of(
                    ordinal,
                    payload,
                    found.map(|(_, _, old, at)| (old, at)),
                ));
                PayloadOrigin::Rebuilt
            }
        });
        repeats.extend(entry.digest.map(|digest| (digest, ordinal)));
    }
    headers.raw(&at(&target.stream, target.index.tail_range()));
    let (mut groups, mut bytes) = (Vec::new(), Vec::new());
    for members in members.chunks(MEMBERS) {
        let mut encoder = GroupEncoder::new(Effort::Default);
        for (_, base, target) in members {
            encoder.member(base, target);
        }
        let packed = encoder.finish();
        let members = members.iter().map(|(member, ..)| member.clone()).collect();
        groups.push(RecipeGroup { packed_bytes: packed.len() as u64, members });
        bytes.extend(packed);
    }
    let recipe = Recipe {
        target: target.name,
        sources: sources.iter().map(|source| source.name).collect(),
        headers: headers.finish(),
        origins,
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups,
    };
    (recipe, bytes)
}

/// Members that make a payload, with their bases and targets.
fn members_of(
    ordinal: usize,
    payload: Vec<u8>,
    old: Option<(Vec<u8>, u64)>,
) -> Vec<(GroupMember, Vec<u8>, Vec<u8>)> {
    let member =
        |window, sources| GroupMember { payload: u32::try_from(ordinal).unwrap(), window, sources };
    let Some((old, address)) = old.filter(|(old, _)| !old.is_empty()) else {
        return vec![(member(None, Vec::new()), Vec::new(), payload)];
    };
    if payload.len() < LONG_BYTES {
        return vec![(member(None, vec![BaseSource::Own]), old, payload)];
    }
    let (middle, old_middle) = (payload.len() / 2, old.len() / 2);
    let window = |start: usize, end: usize| {
        Some(PayloadWindow { offset: start as u64, bytes: (end - start) as u64 })
    };
    let slice = |start: usize, end: usize| BaseSource::Slice {
        address: address + start as u64,
        bytes: (end - start) as u64,
    };
    // The second half's base is put together from two parts, in another order.
    let parts = vec![slice(old_middle, old.len()), slice(0, old_middle)];
    let swapped = [&old[old_middle..], &old[..old_middle]].concat();
    vec![
        (member(window(0, middle), vec![BaseSource::Own]), old, payload[..middle].to_vec()),
        (member(window(middle, payload.len()), parts), swapped, payload[middle..].to_vec()),
    ]
}
