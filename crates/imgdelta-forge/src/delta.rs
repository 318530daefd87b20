//! A delta put together from parts that no honest writer makes.

use imgdelta_apply::delta::{
    DeltaWriter, Envelope, LayerBody, LayerOutline, NestedArchives, Outline, PayloadOrigin, Recipe,
    RecipeGroup, StreamName,
};
use imgdelta_coding::pack::Packer;
use imgdelta_core::{Algorithm, BlobDigest, DiffId, verify::Hasher};
use imgdelta_testkit::Blobs;
use imgdelta_wire::varint;
use serde_json::json;

/// A delta under construction, layer by layer.
#[derive(Clone, Debug, Default)]
pub struct ForgedDelta {
    /// The layers of its target.
    pub layers: Vec<ForgedLayer>,
}

/// A layer of the target, with everything that makes it.
#[derive(Clone, Debug)]
pub struct ForgedLayer {
    /// The stated stream.
    pub stream: StreamName,
    /// Digest and length of the stated blob.
    pub blob: (BlobDigest, u64),
    /// The compression of the blob.
    pub envelope: Envelope,
    /// The source of the stream.
    pub body: ForgedBody,
}

/// The source of a layer.
#[derive(Clone, Debug)]
pub enum ForgedBody {
    /// The base has the stream.
    Kept,
    /// Bytes of a recipe and of its groups.
    Recipe(Vec<u8>),
    /// The blob itself.
    Carried(Vec<u8>),
}

impl ForgedLayer {
    /// Makes a layer whose blob is its stream, from the bytes of a recipe.
    pub fn stored(stream: StreamName, recipe: Vec<u8>) -> Self {
        let digest = BlobDigest::new(Algorithm::Sha256, stream.diff_id.as_bytes());
        Self {
            stream,
            blob: (digest.expect("as long"), stream.bytes),
            envelope: Envelope::Stored,
            body: ForgedBody::Recipe(recipe),
        }
    }
}

impl ForgedDelta {
    /// Makes a delta of one layer.
    pub fn of(layer: ForgedLayer) -> Self {
        Self { layers: vec![layer] }
    }

    /// Returns the bytes of the delta.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut recipes, mut carried) = (0, 0);
        let layers = self.layers.iter().map(|layer| LayerOutline {
            stream_bytes: layer.stream.bytes,
            body: match layer.body {
                ForgedBody::Kept => LayerBody::Kept,
                ForgedBody::Recipe(_) => LayerBody::Recipe(next(&mut recipes)),
                ForgedBody::Carried(_) => LayerBody::Carried(next(&mut carried)),
            },
            envelope: layer.envelope.clone(),
            archive_milliseconds: 0,
        });
        let outline = Outline {
            algorithm: Algorithm::Sha256,
            media_type: MANIFEST_TYPE.into(),
            manifest: self.manifest().into_bytes(),
            config: self.config().into_bytes(),
            platform: "linux/amd64".into(),
            base: None,
            layers: layers.collect(),
        };
        let mut writer = DeltaWriter::new(Vec::new(), &outline).expect("memory");
        for layer in &self.layers {
            match &layer.body {
                ForgedBody::Kept => {}
                ForgedBody::Recipe(bytes) => {
                    let reader = &mut bytes.as_slice();
                    writer.stored_recipe(bytes.len() as u64, reader).expect("memory");
                }
                ForgedBody::Carried(bytes) => {
                    writer.carried(bytes.len() as u64, &mut bytes.as_slice()).expect("memory");
                }
            }
        }
        writer.finish().expect("memory").0
    }

    /// Returns the image that the delta names, tagged `v1`; `layers` are its blobs.
    pub fn image(&self, layers: Vec<Vec<u8>>) -> Blobs {
        let mut blobs = Blobs::default();
        for layer in layers {
            blobs.add("application/vnd.oci.image.layer.v1.tar", layer);
        }
        blobs.add("application/vnd.oci.image.config.v1+json", self.config().into_bytes());
        let manifest = blobs.add(MANIFEST_TYPE, self.manifest().into_bytes());
        blobs.tag(manifest, "v1");
        blobs
    }

    fn config(&self) -> String {
        let diff_ids: Vec<String> =
            self.layers.iter().map(|layer| layer.stream.diff_id.to_string()).collect();
        json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
    }

    fn manifest(&self) -> String {
        let config = self.config();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                let (digest, bytes) = &layer.blob;
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest.to_string(), "size": bytes})
            })
            .collect();
        json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": blob_digest(config.as_bytes()).to_string(), "size": config.len()},
            "layers": layers})
        .to_string()
    }
}

/// Returns the name of a stream.
pub fn name_of(stream: &[u8]) -> StreamName {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(stream);
    StreamName { diff_id: hasher.finish_diff_id(), bytes: stream.len() as u64 }
}

/// Returns the name of a stream of this length that nobody has.
pub fn unknown(seed: u8, bytes: u64) -> StreamName {
    let diff_id = DiffId::new(Algorithm::Sha256, &[seed; 32]).expect("32 bytes");
    StreamName { diff_id, bytes }
}

/// Returns the digest of a blob.
pub fn blob_digest(bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish_blob()
}

/// Returns a recipe without archives.
pub fn recipe(
    target: StreamName,
    sources: Vec<StreamName>,
    headers: Vec<u8>,
    origins: Vec<PayloadOrigin>,
    groups: Vec<RecipeGroup>,
) -> Recipe {
    Recipe {
        target,
        sources,
        headers,
        origins,
        nested: NestedArchives::default(),
        groups,
        digests: Vec::new(),
    }
}

/// Packs columns of header facts; columns that are not named are empty.
pub fn header_columns(columns: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut all = vec![Vec::new(); HEADER_COLUMNS];
    for (column, bytes) in columns {
        all[*column].clone_from(bytes);
    }
    Packer::new(LEVEL).pack(&all)
}

/// Returns header columns of a stream that consists of payloads of these lengths.
pub fn payload_columns(lengths: &[u64]) -> Vec<u8> {
    const PAYLOAD: u64 = 4;
    header_columns(&[(ITEMS, numbers(&vec![PAYLOAD; lengths.len()])), (LENGTHS, numbers(lengths))])
}

/// Returns header columns of a stream of zeros.
pub fn zero_columns(bytes: u64) -> Vec<u8> {
    const ZEROS: u64 = 3;
    header_columns(&[(ITEMS, numbers(&[ZEROS])), (LENGTHS, numbers(&[bytes]))])
}

/// Returns numbers as a column.
pub fn numbers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        varint::write(&mut out, *value);
    }
    out
}

fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}

/// Column of items, in `docs/format-headers.md`.
pub const ITEMS: usize = 0;
/// Column of addresses of base entries.
pub const ADDRESSES: usize = 1;
/// Column of type flags.
pub const FLAGS: usize = 6;
/// Column of the candidates that texts are edited from.
pub const CHOICES: usize = 7;
/// Column of bytes kept at a text's front.
pub const FRONTS: usize = 8;
/// Column of bytes kept at a text's end.
pub const BACKS: usize = 9;
/// Column of the number of new bytes of a text.
pub const MIDDLES: usize = 10;
/// Column of the new bytes of texts.
pub const TEXT: usize = 11;
/// Column of extension headers, which begins with their number.
pub const EXTENSION_COUNTS: usize = 12;
/// Column of lengths.
pub const LENGTHS: usize = 14;
/// Column of jumps between base entries.
pub const JUMPS: usize = 16;
const HEADER_COLUMNS: usize = 18;
const LEVEL: i32 = 3;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
