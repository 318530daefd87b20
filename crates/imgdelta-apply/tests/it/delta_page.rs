//! The worked file of `docs/format.md`: the same bytes are written and read.

use imgdelta_apply::delta::{
    BaseSource, Delta, DeltaWriter, Envelope, GroupMember, LayerBody, LayerOutline, NestedArchives,
    Outline, PayloadOrigin, PayloadWindow, Recipe, RecipeGroup, StreamName,
};
use imgdelta_core::{Algorithm, Limits};
use imgdelta_testkit::sha256;
use std::sync::Arc;

/// The worked example of `docs/format-group.md`.
const GROUP: &[u8] = &[
    0x0F, 0x04, 0x08, 0x0C, 0x08, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x04, 0x04, 0x08, 0x00, 0x00, 0x02,
    0x28, 0xD8, 0x01, 0x00, 0x03, 0x01, 0x64, 0x00, 0x01, 0x58, 0x59,
];

/// The worked file: a layer from the base, and a layer whose stream is a single payload.
fn worked() -> (Outline, Recipe) {
    let base = b"0123456789abcdef".repeat(16);
    let mut target = base.clone();
    target.splice(40..40, *b"XY");
    target[100] += 1;
    let name = |stream: &[u8]| StreamName {
        diff_id: sha256(stream).parse().unwrap(),
        bytes: stream.len() as u64,
    };
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        sha256(&base),
        sha256(&target)
    );
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let layer = |stream: &[u8]| {
        let (digest, size) = (sha256(stream), stream.len());
        format!(r#"{{"mediaType":"{tar}","digest":"{digest}","size":{size}}}"#)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":{}}},"layers":[{},{}]}}"#,
        sha256(config.as_bytes()),
        config.len(),
        layer(&base),
        layer(&target)
    );
    let outline = Outline {
        algorithm: Algorithm::Sha256,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        manifest: manifest.into_bytes(),
        config: config.into_bytes(),
        platform: "linux/amd64".into(),
        base: None,
        layers: vec![
            LayerOutline {
                stream_bytes: 256,
                body: LayerBody::Kept,
                envelope: Envelope::Base,
                archive_milliseconds: 0,
            },
            LayerOutline {
                stream_bytes: 258,
                body: LayerBody::Recipe(0),
                envelope: Envelope::Stored,
                archive_milliseconds: 0,
            },
        ],
    };
    let sources = vec![BaseSource::Slice { address: 0, bytes: 256 }];
    let window = Some(PayloadWindow { offset: 0, bytes: 258 });
    let members = vec![GroupMember { payload: 0, window, sources }];
    let recipe = Recipe {
        target: name(&target),
        sources: vec![name(&base)],
        headers: Vec::new(),
        origins: vec![PayloadOrigin::Rebuilt],
        nested: NestedArchives::default(),
        digests: Vec::new(),
        groups: vec![RecipeGroup { packed_bytes: GROUP.len() as u64, members }],
    };
    (outline, recipe)
}

/// The bytes of the page's dump: per line an offset, a colon, and hexadecimal bytes.
fn dump(page: &str) -> Vec<u8> {
    let lines = page.lines().filter_map(|line| line.split_once(": "));
    let is_offset = |text: &str| text.len() == 4 && u32::from_str_radix(text, 16).is_ok();
    let mut bytes = Vec::new();
    for (offset, line) in lines.filter(|(offset, _)| is_offset(offset)) {
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len());
        let pairs = line.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap());
        bytes.extend(pairs);
    }
    bytes
}

#[test]
fn the_worked_file_of_the_page_decodes() {
    let bytes = dump(include_str!("../../../../docs/format.md"));
    let (outline, recipe) = worked();
    let delta = Delta::open(Arc::new(bytes), "page", &Limits::default()).unwrap();
    assert_eq!(delta.manifest(), outline.manifest);
    assert_eq!(delta.config_bytes(), outline.config);
    assert_eq!(delta.media_type(), outline.media_type);
    let bodies: Vec<_> = delta.layers().iter().map(|layer| (layer.body, &layer.envelope)).collect();
    assert_eq!(
        bodies,
        [(LayerBody::Kept, &Envelope::Base), (LayerBody::Recipe(0), &Envelope::Stored)]
    );
    assert_eq!(delta.base().streams, recipe.sources);
    let stored = delta.recipe(0).unwrap();
    assert_eq!(Recipe::clone(&stored), recipe);
    assert_eq!(stored.group(0).unwrap(), GROUP);
    assert_eq!(delta.cost().unwrap(), None);
}

#[test]
fn the_writer_still_writes_what_opens() {
    let (outline, recipe) = worked();
    let mut writer = DeltaWriter::new(Vec::new(), &outline).unwrap();
    writer.recipe(&recipe, &mut { GROUP }).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let page = dump(include_str!("../../../../docs/format.md"));
    // Frames may be packed better by another zstd; nothing else may differ.
    assert_eq!(bytes[..12], page[..12]);
    let delta = Delta::open(Arc::new(bytes), "again", &Limits::default()).unwrap();
    assert_eq!(delta.manifest(), outline.manifest);
    assert_eq!(Recipe::clone(&delta.recipe(0).unwrap()), recipe);
}
