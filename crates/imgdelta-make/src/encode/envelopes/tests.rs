//! Envelopes of blobs of every kind are found, or unknown.

use super::*;
use imgdelta_core::{Context, Limits as ImageLimits, progress::Silent, scratch::Scratch};
use imgdelta_deflate::{BitWriter, GzipChecksum, KlauspostVersion, Remaker, ZlibStrategy};
use imgdelta_image::{image::OpenOptions, store};
use imgdelta_layer::chunked;
use imgdelta_testkit::{Blobs, Packing, TestImage, noise, tar_of};

/// Text that compresses quickly.
fn text(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut text = b"the first words of all".to_vec();
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let from = text.len().saturating_sub(1 + (state >> 12) as usize % 30_000);
        let until = text.len().min(from + (state >> 26) as usize);
        text.extend_from_within(from..until);
        text.extend_from_slice(&state.to_le_bytes()[2..]);
    }
    text
}

fn stream(bytes: usize) -> Vec<u8> {
    tar_of(&[("text", &text(1, bytes)), ("more", &text(2, 5000))])
}

const HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";

fn compressed(model: &EncoderModel, plain: &[u8], trailer: MemberTrailer) -> Vec<u8> {
    let (header, plain_bytes) = (HEADER.to_vec(), plain.len() as u64);
    let members = vec![RecipeMember { header, model: model.clone(), trailer, plain_bytes }];
    let recipe = Recipe { members, tail: Vec::new() };
    let mut out = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    remaker.write(plain, &mut out).unwrap();
    remaker.finish(&mut out).unwrap();
    out
}

/// Finds the envelope of a blob, with one worker and with three.
fn found(stream: &[u8], blob: &[u8]) -> Envelope {
    let dir = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let config = TestImage::new(vec![stream.to_vec()], Packing::Plain).config();
    let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config);
    let layer = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", blob.to_vec());
    let manifest = blobs.add_manifest(&config, &[layer]);
    blobs.tag(manifest, "v1");
    blobs.write_layout(dir.path());
    let reference = format!("oci:{}", dir.path().display()).parse().unwrap();
    let (store, name) = store::open(&reference, &ImageLimits::default()).unwrap();
    let image = Image::open(store, name.as_ref(), &OpenOptions::default()).unwrap();
    let scratch = Scratch::in_dir(dir.path()).unwrap();
    let envelopes = [1, 3].map(|threads| {
        let workers = Arc::new(Workers::new(threads).unwrap());
        let context = Context::new(scratch.clone()).unwrap().workers(Arc::clone(&workers));
        let layer = &image.layers[0];
        let wanted = [layer.diff_id];
        let volume = Volume::extract(&[&image], &wanted, &context).unwrap();
        let search = |()| {
            EnvelopeSearch {
                image: &image,
                layer,
                volume: &volume,
                most_bytes: crate::envelopes::most_bytes(layer),
                workers: &workers,
                progress: &Silent,
            }
            .find()
        };
        workers.map(vec![()], search).unwrap().remove(0)
    });
    assert_eq!(envelopes[0], envelopes[1]);
    envelopes[0].clone()
}

/// Finds a recipe and compares the blob that it makes.
fn recipe(stream: &[u8], blob: &[u8]) -> (DividedRecipe, usize) {
    let Envelope::Deflate(bytes) = found(stream, blob) else { panic!("not found") };
    let divided = DividedRecipe::from_bytes(&bytes, RecipeLimits::default()).unwrap();
    let mut out = Vec::new();
    let mut remaker = Remaker::new(divided.recipe());
    remaker.write(stream, &mut out).unwrap();
    remaker.finish(&mut out).unwrap();
    assert!(out == blob);
    (divided, bytes.len())
}

fn pgzip() -> EncoderModel {
    EncoderModel::Pgzip { version: KlauspostVersion::V1_20, level: 1, segment_bytes: 1 << 20 }
}

#[test]
fn encoders_are_found_in_streams_longer_than_their_start() {
    let stream = stream(9 << 20);
    for model in [
        pgzip(),
        EncoderModel::Klauspost { version: KlauspostVersion::V1_20, level: 6 },
        EncoderModel::Golang { level: 1 },
        EncoderModel::Golang { level: 4 },
        EncoderModel::GnuGzip { level: 4 },
        EncoderModel::Zlib {
            level: 6,
            mem_level: 8,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        },
    ] {
        let (divided, bytes) = recipe(&stream, &compressed(&model, &stream, MemberTrailer::Gzip));
        assert_eq!(divided.recipe().members.len(), 1);
        assert_eq!(divided.points().len(), if model.can_restart() { 2 } else { 0 }, "{model:?}");
        assert!(bytes < 60, "{model:?}: {bytes} bytes");
    }
}

#[test]
fn members_and_tails_are_found() {
    let stream = stream(10 << 20);
    let (first, second) = stream.split_at(5 << 20);
    let mut blob = compressed(&pgzip(), first, MemberTrailer::Gzip);
    blob.extend(compressed(&EncoderModel::Golang { level: 4 }, second, MemberTrailer::Gzip));
    blob.extend(b"\0\0\0tail");
    let (divided, bytes) = recipe(&stream, &blob);
    let members = &divided.recipe().members;
    assert_eq!(members.len(), 2);
    assert_eq!(
        (&members[0].trailer, &members[1].trailer),
        (&MemberTrailer::Gzip, &MemberTrailer::Gzip)
    );
    assert_eq!(divided.points().len(), 1);
    assert_eq!(divided.points()[0].member, 1);
    assert!(bytes < 100, "{bytes} bytes");
    // One member, followed by bytes that nearly look like another.
    let mut blob = compressed(&EncoderModel::Golang { level: 4 }, &stream, MemberTrailer::Gzip);
    blob.extend(b"\x1f\x8c\x08 no header");
    let (divided, _) = recipe(&stream, &blob);
    assert_eq!(divided.recipe().members.len(), 1);
}

#[test]
fn many_small_members_are_found() {
    let stream = stream(300_000);
    let blob = Packing::GzipMembers.pack(&stream);
    let (divided, _) = recipe(&stream, &blob);
    assert_eq!(divided.recipe().members.len(), stream.len().div_ceil(700));
}

/// True if all members of a blob are made by models. Several models may write the same bytes.
fn is_recognised(stream: &[u8], blob: &[u8]) -> bool {
    let (divided, _) = recipe(stream, blob);
    let members = &divided.recipe().members;
    members.iter().all(|member| !matches!(member.model, EncoderModel::Tokens(_)))
}

/// Encoders of which many others write the same bytes until the first copy.
fn late_models() -> Vec<EncoderModel> {
    let (mem_level, window_bits, strategy) = (8, 15, ZlibStrategy::Default);
    let version = KlauspostVersion::V1_18_0;
    vec![
        EncoderModel::Zlib { level: 5, mem_level, window_bits, strategy },
        EncoderModel::GnuGzip { level: 4 },
        EncoderModel::Pgzip { version, level: 5, segment_bytes: 1 << 20 },
        EncoderModel::Klauspost { version: KlauspostVersion::V1_15_15, level: 4 },
        EncoderModel::Golang { level: 3 },
    ]
}

#[test]
fn layers_that_begin_with_noise_are_recognised() {
    let stream = tar_of(&[("model", &noise(7, 3 << 20)), ("text", &text(3, 1 << 20))]);
    for expected in late_models() {
        let blob = compressed(&expected, &stream, MemberTrailer::Gzip);
        assert!(is_recognised(&stream, &blob), "{expected:?}");
    }
}

#[test]
fn layers_that_begin_with_zeros_are_recognised() {
    let mut content = vec![0; 6 << 20];
    content.extend(text(3, 1 << 20));
    let stream = tar_of(&[("zeros", &content)]);
    for expected in late_models() {
        let blob = compressed(&expected, &stream, MemberTrailer::Gzip);
        assert!(is_recognised(&stream, &blob), "{expected:?}");
    }
}

#[test]
fn a_second_member_that_begins_with_noise_is_recognised() {
    let expected = EncoderModel::GnuGzip { level: 4 };
    let stream = tar_of(&[
        ("first", &text(3, 100_000)),
        ("model", &noise(7, 5 << 20)),
        ("text", &text(3, 1 << 20)),
    ]);
    let (first, second) = stream.split_at(120_000);
    let mut blob = compressed(&EncoderModel::Golang { level: 4 }, first, MemberTrailer::Gzip);
    blob.extend(compressed(&expected, second, MemberTrailer::Gzip));
    assert!(is_recognised(&stream, &blob));
}

#[test]
fn unknown_encoders_are_recorded_or_their_blobs_carried() {
    let stream = stream(3 << 20);
    let (first, rest) = stream.split_at(1000);
    let mut bits = BitWriter::new();
    bits.stored_block(first, false);
    let mut blob = HEADER.to_vec();
    bits.take(&mut blob);
    let model = EncoderModel::Zlib {
        level: 9,
        mem_level: 8,
        window_bits: 15,
        strategy: ZlibStrategy::Default,
    };
    let raw = compressed(&model, rest, MemberTrailer::None);
    blob.extend_from_slice(&raw[HEADER.len()..]);
    let mut check = GzipChecksum::new();
    check.update(&stream);
    blob.extend(check.trailer());
    let (divided, bytes) = recipe(&stream, &blob);
    assert!(matches!(divided.recipe().members[0].model, EncoderModel::Tokens(_)));
    assert!(bytes < blob.len() / 5, "{bytes} of {}", blob.len());

    assert_eq!(found(&stream, &stream), Envelope::Stored);
}

#[test]
fn zstd_of_one_frame_and_of_many_is_found_if_its_encoder_is_known() {
    let stream = stream(40_000);
    for packing in [Packing::Zstd, Packing::ZstdFrames] {
        let blob = packing.pack(&stream);
        let Envelope::Zstd(bytes) = found(&stream, &blob) else { panic!("{packing:?}") };
        let recipe =
            imgdelta_zstd::Recipe::from_bytes(&bytes, imgdelta_zstd::RecipeLimits::default());
        let (recipe, mut out) = (recipe.unwrap(), Vec::new());
        let mut remaker = imgdelta_zstd::Remaker::new(&recipe);
        remaker.write(&stream, &mut out).unwrap();
        remaker.finish(&mut out).unwrap();
        assert!(out == blob, "{packing:?}");
    }
    assert_eq!(found(&stream, &Packing::ZstdRaw.pack(&stream)), Envelope::Unmade);
}

#[test]
fn chunked_blobs_are_found_without_their_table_of_contents() {
    for row in imgdelta_testkit::chunked_layer::CHUNKED_ROWS {
        let layer = row.layer();
        let recipe = chunked::ChunkedRecipe::from_bytes(&row.recipe_bytes()).unwrap();
        let mut blob = Vec::new();
        let mut remake = chunked::ChunkedRemaker::new(&recipe, &ImageLimits::default());
        remake.push(&layer, &mut blob).unwrap();
        remake.finish(&mut blob).unwrap();
        assert_eq!(found(&layer, &blob), Envelope::Chunked(row.recipe_bytes()), "{}", row.writer);
        // A table with another byte than this program writes is stored in the recipe.
        let table = blob.windows(4).position(|start| start == chunked::SKIPPABLE).unwrap();
        blob[table + 100] ^= 1;
        let Envelope::Zstd(bytes) = found(&layer, &blob) else { panic!("{}", row.writer) };
        assert!(bytes.len() > 1000, "{}", row.writer);
    }
}
