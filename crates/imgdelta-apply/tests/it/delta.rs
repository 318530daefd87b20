//! A delta file is read back part by part; damaged and invalid files are errors.

use imgdelta_apply::delta::{
    BaseSource, Delta, DeltaWriter, Envelope, FileCost, GroupMember, LayerBody, LayerCost,
    LayerOutline, NestedArchives, Outline, PayloadOrigin, Provenance, Recipe, RecipeGroup,
    RestCost, SectionKind, StreamName,
};
use imgdelta_core::{Algorithm, DiffId, Difference, Error, Limits, Result};
use imgdelta_format::container::{self, SectionHead};
use imgdelta_testkit::{Packing, TestImage, sha256, tar_of};
use std::{io::Read as _, sync::Arc};

/// A small image of five layers, two of them the same.
struct Sample {
    outline: Outline,
    recipe: Recipe,
    groups: Vec<u8>,
    carried: Vec<u8>,
    costs: Vec<LayerCost>,
}

fn stream_name(stream: &[u8]) -> StreamName {
    StreamName { diff_id: sha256(stream).parse().unwrap(), bytes: stream.len() as u64 }
}

fn base_stream(seed: u8, bytes: u64) -> StreamName {
    StreamName { diff_id: DiffId::new(Algorithm::Sha256, &[seed; 32]).unwrap(), bytes }
}

impl Sample {
    fn new() -> Self {
        let kept = tar_of(&[("etc/kept", b"kept")]);
        let changed = tar_of(&[("bin/tool", b"changed"), ("bin/other", b"the same")]);
        let new = tar_of(&[("new", b"new")]);
        let image = TestImage::new(
            vec![kept.clone(), changed.clone(), new.clone(), changed.clone(), kept.clone()],
            Packing::Plain,
        );
        let blobs = image.blobs();
        let manifest_digest = blobs.roots[0]["digest"].as_str().unwrap();
        let layer = |stream: &[u8], body, envelope| LayerOutline {
            stream_bytes: stream.len() as u64,
            body,
            envelope,
            archive_milliseconds: 0,
        };
        let outline = Outline {
            algorithm: Algorithm::Sha256,
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            manifest: blobs.by_digest[manifest_digest].clone(),
            config: image.config().to_string().into_bytes(),
            platform: "linux/amd64".into(),
            base: Some(sha256(b"a base").parse().unwrap()),
            layers: vec![
                layer(&kept, LayerBody::Kept, Envelope::Base),
                layer(&changed, LayerBody::Recipe(0), Envelope::Stored),
                layer(&new, LayerBody::Carried(0), Envelope::Unmade),
                layer(&changed, LayerBody::Recipe(0), Envelope::Deflate(vec![1, 2, 3])),
                layer(&kept, LayerBody::Kept, Envelope::Unmade),
            ],
        };
        let member =
            |payload| GroupMember { payload, window: None, sources: vec![BaseSource::Own] };
        let group =
            |packed_bytes, payload| RecipeGroup { packed_bytes, members: vec![member(payload)] };
        let recipe = Recipe {
            target: stream_name(&changed),
            sources: vec![base_stream(1, 4096), base_stream(2, 512)],
            headers: b"header columns".to_vec(),
            origins: vec![PayloadOrigin::Rebuilt, PayloadOrigin::Base(600), PayloadOrigin::Rebuilt],
            nested: NestedArchives::default(),
            digests: Vec::new(),
            groups: vec![group(6, 0), group(11, 2)],
        };
        let file = FileCost {
            path: b"bin/tool".to_vec(),
            how: Provenance::PATCHED,
            target_bytes: 7,
            delta_bytes: 6,
        };
        let rest = RestCost { how: Provenance::KEPT, count: 1, target_bytes: 8, delta_bytes: 0 };
        let cost = LayerCost { headers: 14, files: vec![file], rest: vec![rest] };
        let none = LayerCost::default;
        Self {
            outline,
            recipe,
            groups: b"group0and group 1".to_vec(),
            carried: new,
            costs: vec![none(), cost, none(), none(), none()],
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut writer = DeltaWriter::new(Vec::new(), &self.outline).unwrap();
        writer.recipe(&self.recipe, &mut self.groups.as_slice()).unwrap();
        writer.carried(self.carried.len() as u64, &mut self.carried.as_slice()).unwrap();
        writer.cost(&self.costs).unwrap();
        let (bytes, count) = writer.finish().unwrap();
        assert_eq!(count, bytes.len() as u64);
        bytes
    }

    /// Returns the sections that the writer should write.
    fn sections(&self) -> Vec<(SectionHead, Vec<u8>)> {
        let section =
            |kind, payload: Vec<u8>| (SectionHead::new(kind, payload.len() as u64), payload);
        vec![
            section(SectionKind::Outline, self.outline.to_bytes()),
            section(SectionKind::Recipe, [self.recipe.to_bytes(), self.groups.clone()].concat()),
            section(SectionKind::Carried, self.carried.clone()),
            section(SectionKind::Cost, imgdelta_format::cost::to_bytes(&self.costs)),
        ]
    }
}

/// Assembles a file of any sections with right digests, without the writer.
fn assemble(head: [u8; 10], sections: &[(SectionHead, Vec<u8>)]) -> Vec<u8> {
    let cut = |bytes: &[u8]| blake3::hash(bytes).as_bytes()[..16].to_vec();
    let (mut out, mut whole) = (head.to_vec(), head.to_vec());
    for (section, payload) in sections {
        let bytes = [section.to_bytes(), payload.clone()].concat();
        out.extend_from_slice(&bytes);
        out.extend_from_slice(&cut(&bytes));
        whole.extend_from_slice(&section.to_bytes());
        whole.extend_from_slice(&cut(&bytes));
    }
    let table: Vec<u8> = sections.iter().flat_map(|(section, _)| section.to_bytes()).collect();
    let mut end = SectionHead::new(SectionKind::End, table.len() as u64).to_bytes();
    end.extend_from_slice(&table);
    whole.extend_from_slice(&end);
    end.extend_from_slice(&cut(&whole));
    out.extend_from_slice(&end);
    out.extend_from_slice(&container::trailer(u32::try_from(end.len()).unwrap()));
    out
}

fn open(bytes: Vec<u8>) -> Result<Delta> {
    Delta::open(Arc::new(bytes), "x", &Limits::default())
}

/// Recipes, groups, carried bytes, costs.
type Parts = (Vec<Recipe>, Vec<Vec<u8>>, Vec<u8>, Option<Vec<LayerCost>>);

/// Reads all parts of a delta.
fn read_all(delta: &Delta) -> Result<Parts> {
    let (mut recipes, mut groups, mut carried) = (Vec::new(), Vec::new(), Vec::new());
    for layer in delta.layers() {
        match layer.body {
            LayerBody::Kept => {}
            LayerBody::Recipe(ordinal) => {
                let recipe = delta.recipe(ordinal)?;
                for group in 0..recipe.groups.len() {
                    groups.push(recipe.group(group)?);
                }
                recipes.push(Recipe::clone(&recipe));
            }
            LayerBody::Carried(ordinal) => {
                delta.carried(ordinal)?.read_to_end(&mut carried).expect("memory");
            }
        }
    }
    Ok((recipes, groups, carried, delta.cost()?))
}

#[test]
fn every_part_comes_back() {
    let sample = Sample::new();
    let bytes = sample.write();
    assert_eq!(assemble(container::head(), &sample.sections()), bytes);
    let delta = open(bytes.clone()).unwrap();
    assert_eq!(delta.digest().to_string(), sha256(&sample.outline.manifest));
    assert_eq!(delta.config_digest().to_string(), sha256(&sample.outline.config));
    assert_eq!(delta.manifest(), sample.outline.manifest);
    assert_eq!(delta.config_bytes(), sample.outline.config);
    assert_eq!(delta.config().architecture, "amd64");
    assert_eq!(delta.platform().to_string(), "linux/amd64");
    assert_eq!(delta.size_bytes(), bytes.len() as u64);
    assert_eq!(delta.base().manifest, sample.outline.base);
    let kept = delta.layers()[0].stream;
    assert_eq!(delta.base().streams, [kept, base_stream(1, 4096), base_stream(2, 512)]);
    let [_, changed, new, again, _] = delta.layers() else { panic!("five layers") };
    assert_eq!((changed.stream, changed.body), (sample.recipe.target, LayerBody::Recipe(0)));
    assert_eq!(changed.blob.hex(), changed.stream.diff_id.hex());
    assert_eq!(changed.media_type, "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(
        (again.body, &again.envelope),
        (LayerBody::Recipe(0), &Envelope::Deflate(vec![1, 2, 3]))
    );
    assert_eq!(new.blob_bytes, sample.carried.len() as u64);

    let (recipes, groups, carried, costs) = read_all(&delta).unwrap();
    assert_eq!(recipes, [sample.recipe.clone(), sample.recipe.clone()]);
    assert_eq!(groups[..2], [b"group0".to_vec(), b"and group 1".to_vec()]);
    assert_eq!(carried, sample.carried);
    assert_eq!(costs, Some(sample.costs.clone()));
    assert_eq!(sample.write(), bytes, "the same inputs, the same bytes");
    let names: Vec<&str> = delta.sections().iter().map(|section| section.kind.name()).collect();
    assert_eq!(names, ["outline", "recipe", "carried", "cost"]);
    assert!(matches!(delta.recipe(1), Err(Error::NotFound { .. })));
    assert!(matches!(delta.carried(1), Err(Error::NotFound { .. })));
    assert!(matches!(delta.recipe(0).unwrap().group(2), Err(Error::NotFound { .. })));
}

#[test]
fn a_delta_from_a_pipe_opens_from_a_scratch_file() {
    let bytes = Sample::new().write();
    let scratch = || tempfile::tempfile().unwrap();
    let limits = Limits::default();
    let delta = Delta::spool(&mut bytes.as_slice(), scratch(), "-", &limits).unwrap();
    assert_eq!(read_all(&delta).unwrap().2, Sample::new().carried);
    let mut few = Limits::default();
    few.delta_bytes = bytes.len() as u64 - 1;
    let error = Delta::spool(&mut std::io::repeat(7), scratch(), "-", &few).unwrap_err();
    let expected = few.delta_bytes;
    assert!(matches!(error, Error::OverLimit { limit, found, .. }
        if limit == expected && found == expected + 1));
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let bytes = Sample::new().write();
    for len in 0..bytes.len() {
        assert!(open(bytes[..len].to_vec()).is_err(), "cut at {len}");
    }
    assert!(open([&bytes[..], &[0]].concat()).is_err(), "one byte more");
    assert!(open([&bytes[..], &bytes].concat()).is_err(), "twice");
    for at in 0..bytes.len() {
        // This reader ignores the minor version, which the last digest covers nevertheless.
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(open(damaged).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn no_payload_with_a_right_digest_panics() {
    let sound = Sample::new().sections();
    for (n, (_, payload)) in sound.iter().enumerate() {
        for at in 0..payload.len() * 8 {
            let mut sections = sound.clone();
            sections[n].1[at / 8] ^= 1 << (at % 8);
            if let Ok(delta) = open(assemble(container::head(), &sections)) {
                // The documents of a delta that still opens match its digest.
                assert_eq!(delta.layers().len(), 5);
                let _ = read_all(&delta);
            }
        }
    }
}

#[test]
fn errors_name_the_place_of_the_damage() {
    let bytes = Sample::new().write();
    let delta = open(bytes.clone()).unwrap();
    let recipe = delta.sections()[1];
    let mut damaged = bytes.clone();
    damaged[usize::try_from(recipe.offset + 9).unwrap()] ^= 1;
    let error = open(damaged).unwrap_err();
    assert!(matches!(error, Error::Mismatch { difference: Difference::Section { .. }, .. }));
    let place = format!("delta x, section recipe at {}: digest is ", recipe.offset);
    assert!(error.to_string().starts_with(&place), "{error}");
    let message = |bytes: &[u8]| open(bytes.to_vec()).unwrap_err().to_string();
    assert!(message(&bytes[..bytes.len() - 1]).contains("no end mark"));
    assert_eq!(message(b"PK"), "delta x: not a delta file");
    assert_eq!(message(b"imgdelta"), "delta x: the file ends in its head");
}

#[test]
fn errors_for_newer_versions_name_the_version_that_is_read() {
    let sections = Sample::new().sections();
    let mut head = container::head();
    head[9] = 7;
    assert!(open(assemble(head, &sections)).is_ok(), "a minor version adds what may be skipped");
    head[8] = 2;
    let error = open(assemble(head, &sections)).unwrap_err();
    assert_eq!(error.to_string(), "delta x: format version 2.7; this program reads version 1");
}

#[test]
fn unknown_sections_are_skipped_unless_required() {
    let sample = Sample::new();
    for place in 1..=4 {
        for (is_required, opens) in [(false, true), (true, false)] {
            let mut sections = sample.sections();
            let head = SectionHead { kind: SectionKind::Other(77), is_required, bytes: 3 };
            sections.insert(place, (head, b"new".to_vec()));
            let outcome = open(assemble(container::head(), &sections));
            assert_eq!(outcome.is_ok(), opens, "at {place}, required {is_required}");
            match outcome {
                Ok(delta) => assert_eq!(read_all(&delta).unwrap().0[0], sample.recipe),
                Err(error) => assert!(error.to_string().contains("unknown kind 77"), "{error}"),
            }
        }
    }
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    type Change = fn(&mut Sample);
    let changes: [(&str, &str, Change); 9] = [
        ("config", "should be", |s| s.outline.config.push(b' ')),
        ("manifest", "manifest", |s| s.outline.manifest.truncate(20)),
        ("a layer missing", "4 layers, but the manifest has 5", |s| {
            s.outline.layers.pop();
        }),
        ("length of a stream", "makes another stream", |s| {
            s.outline.layers[3].stream_bytes += 1;
        }),
        ("a stored stream of another length", "should be 3072", |s| {
            s.outline.layers[1].stream_bytes += 512;
        }),
        ("a recipe of another stream", "makes another stream", |s| {
            s.recipe.target = base_stream(9, 3072);
        }),
        ("a blob of another length", "should be", |s| s.carried.push(0)),
        ("a recipe that is not used", "1 sections recipe, but layers use 0", |s| {
            s.outline.layers[1].body = LayerBody::Kept;
            s.outline.layers[3].body = LayerBody::Kept;
        }),
        ("a recipe that is not there", "recipe 1 is not there", |s| {
            s.outline.layers[3].body = LayerBody::Recipe(1);
        }),
    ];
    for (what, message, change) in changes {
        let mut sample = Sample::new();
        change(&mut sample);
        let error = open(assemble(container::head(), &sample.sections())).unwrap_err();
        assert!(error.to_string().contains(message), "{what}: {error}");
    }
}

#[test]
fn sections_out_of_place_are_refused() {
    let sound = Sample::new().sections();
    let file = |order: &[usize]| {
        let sections: Vec<_> = order.iter().map(|&n| sound[n].clone()).collect();
        assemble(container::head(), &sections)
    };
    assert!(open(file(&[0, 1, 2, 3])).is_ok());
    assert!(open(file(&[0, 2, 1])).is_ok(), "kinds are counted apart; costs are optional");
    for order in [&[][..], &[1, 0, 2], &[0, 0, 1, 2], &[0, 1], &[0, 1, 2, 3, 3], &[0, 1, 2, 2]] {
        assert!(open(file(order)).is_err(), "{order:?}");
    }
}

#[test]
fn groups_that_do_not_fill_their_section_are_refused_when_read() {
    for change in [-1, 1] {
        let mut sample = Sample::new();
        let length = sample.groups.len().strict_add_signed(change);
        sample.groups.resize(length, 0);
        let delta = open(assemble(container::head(), &sample.sections())).unwrap();
        let error = delta.recipe(0).unwrap_err().to_string();
        assert!(error.contains(&format!("{length} bytes of groups, should be 17")), "{error}");
    }
}

#[test]
fn false_lengths_take_no_memory() {
    let sample = Sample::new();
    let mut sections = sample.sections();
    // A section of 2^62 bytes in the table and in its head.
    sections[2].0.bytes = 1 << 62;
    let error = open(assemble(container::head(), &sections)).unwrap_err();
    assert!(error.to_string().contains("but there are"), "{error}");
    // An end section of 4 GiB.
    let mut bytes = sample.write();
    let trailer_at = bytes.len() - 8;
    bytes[trailer_at..trailer_at + 4].fill(0xff);
    assert!(open(bytes).unwrap_err().to_string().contains("beyond the file"));
    // A recipe that claims more bytes than the section has, and than any recipe may have.
    for (claim, message) in [(0x7f, "there are "), (u64::MAX >> 1, "more than the limit")] {
        let mut sections = sample.sections();
        let mut payload = b"imgr\x01".to_vec();
        imgdelta_wire::varint::write(&mut payload, claim);
        sections[1] = (SectionHead::new(SectionKind::Recipe, payload.len() as u64), payload);
        let error = open(assemble(container::head(), &sections)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    // More base streams, over all layers, than the limit for layers.
    let mut limits = Limits::default();
    limits.layers = 5;
    let mut wide = Sample::new();
    wide.recipe.sources = (1..=4).map(|seed| base_stream(seed, 4096)).collect();
    let opens = |sample: &Sample| Delta::open(Arc::new(sample.write()), "x", &limits);
    assert_eq!(opens(&wide).unwrap().base().streams.len(), 5);
    wide.recipe.sources.push(base_stream(5, 4096));
    assert!(matches!(opens(&wide), Err(Error::OverLimit { limit: 5, found: 6, .. })));
    // A group above the limit.
    let mut limits = Limits::default();
    limits.group_bytes = 10;
    let delta = Delta::open(Arc::new(sample.write()), "x", &limits).unwrap();
    let recipe = delta.recipe(0).unwrap();
    assert_eq!(recipe.group(0).unwrap(), b"group0");
    assert!(matches!(recipe.group(1), Err(Error::OverLimit { limit: 10, found: 11, .. })));
}

#[test]
fn a_writer_that_is_finished_too_early_fails() {
    let sample = Sample::new();
    let mut writer = DeltaWriter::new(Vec::new(), &sample.outline).unwrap();
    let cut = &sample.groups[..3];
    let error = writer.recipe(&sample.recipe, &mut { cut }).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let writer = DeltaWriter::new(Vec::new(), &sample.outline).unwrap();
    assert!(writer.finish().is_err());
}
