//! The outline of a delta: the target's documents verbatim, and the way each layer is made.
//! Never interprets the documents.
//!
//! Facts of the manifest and the config are not repeated: digests, sizes, media types and diff ids
//! of layers. Two copies could disagree, and digests do not compress. The needed base streams
//! are not here either, since the recipes name them.

use crate::{
    Algorithm, BlobDigest, ReadLimitName, ReadLimits,
    bounds::{admit, unpack_within},
    error::Result,
    fields::{FieldReader, write_algorithm, write_blob_digest},
};
use imgdelta_coding::pack::Packer;
use imgdelta_wire::{MAX_PLACE, varint};

/// The target of a delta, and the way each layer is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The hash function of the manifest's digest.
    pub algorithm: Algorithm,
    /// The manifest's media type; empty if it is not known.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The config, byte for byte.
    pub config: Vec<u8>,
    /// The image's platform as text, for people.
    pub platform: String,
    /// Manifest digest of the base it was made against, for people: any base with the needed
    /// streams will do.
    pub base: Option<BlobDigest>,
    /// The layers of the manifest, the lowest first.
    pub layers: Vec<LayerOutline>,
}

/// The way one layer is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerOutline {
    /// Length of its stream.
    pub stream_bytes: u64,
    /// The origin of its stream or blob.
    pub body: LayerBody,
    /// The way from the stream to the blob.
    pub envelope: Envelope,
    /// An estimate of the time that one core needs to close the archives of the stream and to unpack
    /// aligned codes of its recipe, in milliseconds. Only choices depend on it.
    pub archive_milliseconds: u64,
}

/// The origin of a layer's stream or blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerBody {
    /// The stream is one of the base.
    Kept,
    /// The delta's recipe with this ordinal makes the stream.
    Recipe(u32),
    /// The carried blob with this ordinal is the layer's.
    Carried(u32),
}

/// The way from a stream to the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// None: only the stream can be rebuilt, or the blob is carried.
    Unmade,
    /// Unknown: only a base image that has the same blob gives it.
    Base,
    /// The blob is the stream.
    Stored,
    /// A recipe of imgdelta-deflate, as its bytes.
    Deflate(Vec<u8>),
    /// A recipe of imgdelta-zstd, as its bytes.
    Zstd(Vec<u8>),
    /// A recipe of a zstd:chunked layer, as its bytes; it also rewrites the table of contents.
    Chunked(Vec<u8>),
}

impl Envelope {
    /// Returns true if it makes the blob from the stream.
    pub fn makes_blob(&self) -> bool {
        !matches!(self, Self::Unmade | Self::Base)
    }

    /// Returns the recipe that makes the blob from the stream, if there is one.
    pub fn recipe(&self) -> Option<&[u8]> {
        match self {
            Self::Deflate(recipe) | Self::Zstd(recipe) | Self::Chunked(recipe) => Some(recipe),
            Self::Unmade | Self::Base | Self::Stored => None,
        }
    }
}

impl Outline {
    /// Returns the outline as bytes.
    ///
    /// # Panics
    /// If recipes or carried blobs are not numbered in the order in which layers first use them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut names = Vec::new();
        write_algorithm(&mut names, self.algorithm);
        if let Some(base) = &self.base {
            write_blob_digest(&mut names, base);
        }
        let (mut layers, mut remakes, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut used = BodyCounter::default();
        for layer in &self.layers {
            varint::write(&mut layers, layer.stream_bytes);
            varint::write(&mut layers, used.write(layer.body));
            let envelope = match &layer.envelope {
                Envelope::Unmade => UNMADE,
                Envelope::Base => BASE,
                Envelope::Stored => STORED,
                Envelope::Deflate(_) => DEFLATE,
                Envelope::Zstd(_) => ZSTD,
                Envelope::Chunked(_) => CHUNKED,
            };
            varint::write(&mut layers, envelope);
            if let Some(remake) = layer.envelope.recipe() {
                varint::write(&mut layers, remake.len() as u64);
                remakes.extend_from_slice(remake);
            }
            varint::write(&mut times, layer.archive_milliseconds);
        }
        while times.pop_if(|last| *last == 0).is_some() {}
        Packer::new(LEVEL).pack(&[
            names.as_slice(),
            self.media_type.as_bytes(),
            self.platform.as_bytes(),
            &self.manifest,
            &self.config,
            &layers,
            &remakes,
            &times,
        ])
    }

    /// Reads the bytes of [`Outline::to_bytes`]. Streams of later versions are skipped.
    pub fn from_bytes(bytes: &[u8], limits: &ReadLimits) -> Result<Self> {
        let mut streams = unpack_within(bytes, MOST_STREAMS, limits, ReadLimitName::OutlineBytes)?;
        streams.resize_with(streams.len().max(STREAMS), Vec::new);
        streams.truncate(STREAMS);
        let [names, media_type, platform, manifest, config, layers, remakes, times] =
            <[Vec<u8>; STREAMS]>::try_from(streams).expect("resized to as many");
        let mut names = FieldReader::new("outline, names", &names);
        let algorithm = names.algorithm()?;
        let base = if names.is_empty() { None } else { Some(names.blob_digest()?) };
        names.end()?;
        let mut layers = read_layers(&layers, &remakes, limits)?;
        read_times(&mut layers, &times)?;
        let (media_type, platform) =
            (text("outline, media type", media_type)?, text("outline, platform", platform)?);
        Ok(Self { algorithm, media_type, manifest, config, platform, base, layers })
    }
}

fn read_layers(layers: &[u8], remakes: &[u8], limits: &ReadLimits) -> Result<Vec<LayerOutline>> {
    let mut fields = FieldReader::new("outline, layers", layers);
    let mut remakes = FieldReader::new("outline, compressions", remakes);
    let mut used = BodyCounter::default();
    let mut outlines = Vec::new();
    while !fields.is_empty() {
        admit(limits, ReadLimitName::Layers, outlines.len() as u64 + 1, "layers of a delta")?;
        let stream_bytes = fields.number("length of a stream")?;
        if stream_bytes > MAX_PLACE {
            return Err(fields.malformed("length of a stream", MAX_PLACE, stream_bytes));
        }
        let body = used.read(&mut fields)?;
        let envelope = match fields.number("envelope of a layer")? {
            UNMADE => Envelope::Unmade,
            BASE => Envelope::Base,
            STORED => Envelope::Stored,
            kind @ (DEFLATE | ZSTD | CHUNKED) => {
                let bytes = fields.number("length of a compression's recipe")?;
                let recipe = remakes.bytes(bytes, "a compression's recipe")?.to_vec();
                match kind {
                    DEFLATE => Envelope::Deflate(recipe),
                    ZSTD => Envelope::Zstd(recipe),
                    _ => Envelope::Chunked(recipe),
                }
            }
            other => return Err(fields.malformed("envelope of a layer", CHUNKED, other)),
        };
        if matches!(body, LayerBody::Carried(_)) && envelope != Envelope::Unmade {
            return Err(fields.malformed("envelope of a carried layer", UNMADE, DEFLATE));
        }
        outlines.push(LayerOutline { stream_bytes, body, envelope, archive_milliseconds: 0 });
    }
    remakes.end()?;
    Ok(outlines)
}

/// Reads the times of the layers' archives; times that are missing at the end are 0.
fn read_times(layers: &mut [LayerOutline], times: &[u8]) -> Result<()> {
    let mut times = FieldReader::new("outline, times", times);
    for layer in layers {
        if times.is_empty() {
            break;
        }
        layer.archive_milliseconds = times.number("time of a layer's archives")?;
    }
    times.end()
}

/// Recipes and carried blobs that the layers so far use.
#[derive(Default)]
struct BodyCounter {
    recipes: u32,
    carried: u32,
}

impl BodyCounter {
    /// Returns `kind + 4 * distance`: bodies back from the next new one, 0 for a new one.
    fn write(&mut self, body: LayerBody) -> u64 {
        let (kind, used, ordinal) = match body {
            LayerBody::Kept => return KEPT,
            LayerBody::Recipe(ordinal) => (RECIPE, &mut self.recipes, ordinal),
            LayerBody::Carried(ordinal) => (CARRIED, &mut self.carried, ordinal),
        };
        assert!(ordinal <= *used, "bodies are numbered as layers use them");
        let back = *used - ordinal;
        *used += u32::from(back == 0);
        kind | u64::from(back) << 2
    }

    fn read(&mut self, fields: &mut FieldReader<'_>) -> Result<LayerBody> {
        let word = fields.number("body of a layer")?;
        let (used, body): (_, fn(u32) -> LayerBody) = match word & 3 {
            KEPT if word == KEPT => return Ok(LayerBody::Kept),
            RECIPE => (&mut self.recipes, LayerBody::Recipe),
            CARRIED => (&mut self.carried, LayerBody::Carried),
            _ => return Err(fields.malformed("body of a layer", CARRIED, word)),
        };
        let ordinal = u32::try_from(word >> 2).ok().and_then(|back| used.checked_sub(back));
        let Some(ordinal) = ordinal else {
            return Err(fields.malformed("earlier body of a layer", (*used).into(), word >> 2));
        };
        *used += u32::from(ordinal == *used);
        Ok(body(ordinal))
    }
}

fn text(place: &'static str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let fields = FieldReader::new(place, error.as_bytes());
        fields.malformed("bytes of valid text", error.as_bytes().len() as u64, valid as u64)
    })
}

const KEPT: u64 = 0;
const RECIPE: u64 = 1;
const CARRIED: u64 = 2;

const UNMADE: u64 = 0;
const BASE: u64 = 1;
const STORED: u64 = 2;
const DEFLATE: u64 = 3;
const ZSTD: u64 = 4;
const CHUNKED: u64 = 5;

const STREAMS: usize = 8;
/// Room for streams of later minor versions.
const MOST_STREAMS: usize = 64;
/// Documents have some kilobytes, so time does not matter.
const LEVEL: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn outline() -> Outline {
        let layer = |stream_bytes, body, envelope| LayerOutline {
            stream_bytes,
            body,
            envelope,
            archive_milliseconds: 0,
        };
        Outline {
            algorithm: Algorithm::Sha256,
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            manifest: b"{\"layers\":[]}".repeat(9),
            config: b"{}".to_vec(),
            platform: "linux/arm64".into(),
            base: Some(BlobDigest::new(Algorithm::Sha512, &[7; 64]).unwrap()),
            layers: vec![
                layer(10_240, LayerBody::Kept, Envelope::Base),
                layer(20, LayerBody::Recipe(0), Envelope::Deflate(vec![1, 2, 3])),
                layer(20, LayerBody::Recipe(0), Envelope::Zstd(vec![4, 5])),
                layer(21, LayerBody::Carried(0), Envelope::Unmade),
                layer(22, LayerBody::Recipe(1), Envelope::Stored),
                layer(20, LayerBody::Recipe(0), Envelope::Deflate(Vec::new())),
                layer(23, LayerBody::Carried(1), Envelope::Unmade),
                layer(21, LayerBody::Carried(0), Envelope::Unmade),
            ],
        }
    }

    #[test]
    fn outlines_come_back() {
        let limits = ReadLimits::default();
        assert_eq!(Outline::from_bytes(&outline().to_bytes(), &limits).unwrap(), outline());
        let bare = Outline { base: None, layers: Vec::new(), ..outline() };
        assert_eq!(Outline::from_bytes(&bare.to_bytes(), &limits).unwrap(), bare);
        let mut slow = outline();
        slow.layers[1].archive_milliseconds = 300;
        slow.layers[3].archive_milliseconds = 256;
        assert_eq!(Outline::from_bytes(&slow.to_bytes(), &limits).unwrap(), slow);
    }

    #[test]
    fn times_of_more_layers_than_there_are_are_refused() {
        let mut layers = outline().layers;
        assert!(read_times(&mut layers, &[7; 8]).is_ok());
        let error = read_times(&mut layers, &[7; 9]).unwrap_err().to_string();
        assert!(error.starts_with("outline, times"), "{error}");
        assert!(read_times(&mut layers, &[0x80]).is_err());
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let limits = ReadLimits::default();
        let bytes = outline().to_bytes();
        let mut streams = imgdelta_coding::pack::unpack(&bytes, MOST_STREAMS, 1 << 20).unwrap();
        streams.resize_with(STREAMS, Vec::new);
        streams.push(b"new".to_vec());
        let later = Packer::new(3).pack(&streams);
        assert_eq!(Outline::from_bytes(&later, &limits).unwrap(), outline());
    }

    #[test]
    fn layers_that_make_no_sense_are_refused() {
        let limits = ReadLimits { layers: 2, ..ReadLimits::default() };
        let read = |layers: &[u8], remakes: &[u8]| read_layers(layers, remakes, &limits);
        assert_eq!(read(&[5, 0, 1], b"").unwrap().len(), 1);
        let cases: [(&[u8], &[u8], &str); 9] = [
            (&[5, 0], b"", "cut"),
            (&[5, 3, 0], b"", "body 3"),
            (&[5, 4, 0], b"", "kept with an ordinal"),
            (&[5, 5, 0], b"", "a recipe before the first"),
            (&[5, 0, 6], b"", "envelope 6"),
            (&[5, 2, 2], b"", "carried with an envelope"),
            (&[5, 0, 3, 2], b"x", "a compression beyond its stream"),
            (&[5, 0, 3, 0], b"x", "bytes of no compression"),
            (&[5, 0, 3, 1, 5, 0, 1, 5, 0, 1], b"x", "too many layers"),
        ];
        for (layers, remakes, what) in cases {
            assert!(read(layers, remakes).is_err(), "{what}");
        }
        let back = read(&[5, 1, 2, 5, 13, 2], b"").unwrap_err().to_string();
        let expected = "outline, layers, offset 5: earlier body of a layer is 3, should be 1";
        assert_eq!(back, expected);
    }

    #[test]
    fn a_stream_has_at_most_63_bits_of_length() {
        for (stream_bytes, is_right) in [(MAX_PLACE, true), (MAX_PLACE + 1, false)] {
            let mut layers = Vec::new();
            varint::write(&mut layers, stream_bytes);
            layers.extend([0, 1]);
            let outlines = read_layers(&layers, b"", &ReadLimits::default());
            assert_eq!(outlines.is_ok(), is_right, "{stream_bytes}");
        }
    }
}
