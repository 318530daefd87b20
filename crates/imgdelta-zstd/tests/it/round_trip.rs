//! Round trips: a remade stream decodes, is detected again, and damage never panics.

use crate::inputs;
use imgdelta_zstd::{
    DetectOptions, EncoderModel, FileRecipe, FrameRecipe, FrameWriter, KlauspostLevel,
    KlauspostVersion, LibzstdCall, LibzstdInput, Recipe, RecipeLimits, RecipePart, RemakeError,
    Remaker, detect, detect_file, frame_ends,
};
use proptest::prelude::*;

/// Frame headers of encoders: streams with several windows, with and without a checksum.
const HEADERS: [&[u8]; 4] = [
    b"\x28\xb5\x2f\xfd\x04\x60",
    b"\x28\xb5\x2f\xfd\x04\x68",
    b"\x28\xb5\x2f\xfd\x00\x58",
    b"\x28\xb5\x2f\xfd\x04\x50",
];

fn remake(recipe: &Recipe, plain: &[u8], chunk: usize) -> Result<Vec<u8>, RemakeError> {
    let mut out = Vec::new();
    let mut remaker = Remaker::new(recipe);
    for chunk in plain.chunks(chunk) {
        remaker.write(chunk, &mut out)?;
    }
    remaker.finish(&mut out)?;
    Ok(out)
}

fn detected(blob: &[u8], plain: &[u8]) -> Option<Recipe> {
    detect(blob, plain, DetectOptions::default()).unwrap()
}

fn frame(header: &[u8], plain: &[u8], cuts: &[u64]) -> RecipePart {
    let plain_bytes = plain.len() as u64;
    RecipePart::Frame(FrameRecipe { header: header.to_vec(), plain_bytes, cuts: cuts.to_vec() })
}

fn klauspost() -> impl Iterator<Item = (EncoderModel, &'static [u8])> {
    KlauspostVersion::ALL.into_iter().flat_map(|version| {
        let header = |level| HEADERS[usize::from(level != KlauspostLevel::Fastest)];
        let levels = KlauspostLevel::ALL.into_iter().filter(move |level| level.exists(version));
        levels.map(move |level| (EncoderModel::Klauspost { version, level }, header(level)))
    })
}

/// Bytes with repetitions near and far.
fn plain_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        (any::<u8>(), 1..2000usize).prop_map(|(byte, count)| vec![byte; count]),
        (0..250_000usize, 1..30_000usize)
            .prop_map(|(start, count)| { inputs::input("text")[start..start + count].to_vec() }),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn remade_streams_decode_and_are_detected(
        plain in plain_bytes().prop_filter("empty frames are literal", |p| !p.is_empty()),
        cut in 1..100_000u64,
    ) {
        let cuts: Vec<u64> = Some(cut).into_iter().filter(|&cut| cut <= plain.len() as u64).collect();
        for (model, header) in klauspost() {
            let recipe = Recipe { model, parts: vec![frame(header, &plain, &cuts)] };
            let blob = remake(&recipe, &plain, 4099).unwrap();
            prop_assert!(remake(&recipe, &plain, 70_000).unwrap() == blob, "{model:?} in pieces");
            prop_assert!(zstd::decode_all(&blob[..]).unwrap() == plain, "{model:?}");
        }
        let (model, header) = klauspost().nth(plain.len() % 17).unwrap();
        let recipe = Recipe { model, parts: vec![frame(header, &plain, &cuts)] };
        let blob = remake(&recipe, &plain, 4099).unwrap();
        let again = detected(&blob, &plain).expect("a model wrote it");
        prop_assert!(remake(&again, &plain, 999).unwrap() == blob);
        let bytes = again.to_bytes();
        prop_assert_eq!(Recipe::from_bytes(&bytes, RecipeLimits::default()), Ok(again));
    }

    #[test]
    fn recipes_from_arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        plain in plain_bytes(),
    ) {
        for start in [&[][..], &[1, 0, 4, 2, 2], &[1, 1, 6, 2, 2, 1, 6]] {
            let bytes = [start, &bytes].concat();
            if let Ok(recipe) = Recipe::from_bytes(&bytes, RecipeLimits::default()) {
                let _ = remake(&recipe, &plain, 5000);
            }
        }
    }

    #[test]
    fn recipes_with_arbitrary_headers_never_panic(
        descriptor in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..14),
        plain in plain_bytes(), cuts in prop::collection::vec(0..5000u64, 0..9),
        model in 0..19usize,
    ) {
        let libzstd = [LibzstdInput::EndAfterData, LibzstdInput::EndWithData].map(|input| {
            LibzstdCall { jobs: input == LibzstdInput::EndWithData, input, ..LibzstdCall::new(1) }
        });
        let mut models = klauspost().map(|(model, _)| model).chain(libzstd.map(EncoderModel::Libzstd));
        let header = [&[0x28, 0xb5, 0x2f, 0xfd, descriptor], &rest[..]].concat();
        let model = models.nth(model).unwrap();
        let parts = vec![frame(&header, &plain, &cuts), frame(HEADERS[1], &[], &[3])];
        let _ = remake(&Recipe { model, parts }, &plain, 3000);
    }

    #[test]
    fn damaged_blobs_are_refused_or_remade(
        bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..40_000usize, bit in 0..8u8,
    ) {
        let plain = &inputs::input("text")[..60_000];
        for blob in [bytes.clone(), [HEADERS[1], &bytes].concat()] {
            if let Some(recipe) = detected(&blob, plain) {
                prop_assert!(remake(&recipe, plain, 999).unwrap() == blob);
            }
        }
        let model = EncoderModel::Klauspost { version: KlauspostVersion::V1_17_8, level: KlauspostLevel::Default };
        let recipe = Recipe { model, parts: vec![frame(HEADERS[1], plain, &[8])] };
        let mut blob = remake(&recipe, plain, 999).unwrap();
        let at = at % blob.len();
        blob[at] ^= 1 << bit;
        if let Some(recipe) = detected(&blob, plain) {
            prop_assert!(remake(&recipe, plain, 999).unwrap() == blob);
        }
    }
}

/// The number of blocks is that of a frame without cuts, or with one cut at the start.
#[test]
fn cuts_without_an_extra_block_are_detected() {
    let text = inputs::input("text");
    for (bytes, cuts) in [(87_225, &[65_237][..]), (138_262, &[38_978]), (200_000, &[8, 100_000])] {
        for (model, header) in klauspost() {
            let recipe = Recipe { model, parts: vec![frame(header, &text[..bytes], cuts)] };
            let blob = remake(&recipe, &text[..bytes], 4099).unwrap();
            let again = detected(&blob, &text[..bytes]).unwrap_or_else(|| panic!("{recipe:?}"));
            assert!(remake(&again, &text[..bytes], 999).unwrap() == blob, "{recipe:?}");
        }
    }
}

/// Every encoder stores noise as it is, so many of them write the same first bytes.
#[test]
fn blobs_that_begin_with_noise_are_detected() {
    let mut state = 1_u64;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut plain: Vec<u8> = (0..3 << 19).map(next).collect();
    plain.extend(inputs::input("text"));
    let call = LibzstdCall::new(5);
    let (version, level) = (KlauspostVersion::V1_15, KlauspostLevel::Best);
    for (model, header) in [
        (EncoderModel::Libzstd(call), b"\x28\xb5\x2f\xfd\x04\x58"),
        (EncoderModel::Klauspost { version, level }, b"\x28\xb5\x2f\xfd\x04\x78"),
    ] {
        let recipe = Recipe { model, parts: vec![frame(header, &plain, &[])] };
        let blob = remake(&recipe, &plain, 70_000).unwrap();
        // Calls with and without jobs write the same bytes before the end of the first job.
        let again = detected(&blob, &plain).unwrap_or_else(|| panic!("{model:?}"));
        assert!(remake(&again, &plain, 70_000).unwrap() == blob, "{model:?}");
    }
}

/// The structure of zstd:chunked: a frame per file, empty frames, skippable frames, and a tail.
#[test]
fn frames_with_literal_parts_between_are_detected() {
    let model = EncoderModel::Klauspost {
        version: KlauspostVersion::V1_15,
        level: KlauspostLevel::Default,
    };
    let text = inputs::input("text");
    let pieces = [&text[..1500], &text[1500..1600], &text[1600..1601], &text[1601..250_000]];
    let skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello";
    let empty = b"\x28\xb5\x2f\xfd\x00\x58\x01\0\0";
    let mut parts = vec![RecipePart::Literal(skippable.to_vec())];
    for (piece, cuts) in pieces.iter().zip([vec![], vec![100], vec![], vec![8, 50_000]]) {
        parts.push(frame(HEADERS[1], piece, &cuts));
    }
    parts.push(RecipePart::Literal([&skippable[..], empty, skippable, b"trailing"].concat()));
    let recipe = Recipe { model, parts };
    let blob = remake(&recipe, &text[..250_000], 5000).unwrap();
    let again = detected(&blob, &text[..250_000]).unwrap();
    let frames = |recipe: &Recipe| -> Vec<RecipePart> {
        recipe.parts.iter().filter(|part| matches!(part, RecipePart::Frame(_))).cloned().collect()
    };
    assert_eq!(frames(&again), frames(&recipe));
    assert_eq!(remake(&again, &text[..250_000], 5000).unwrap(), blob);
    // Plain bytes of a wrong length are refused.
    assert_eq!(detected(&blob, &text[..249_999]), None);
    let mut few = DetectOptions::default();
    few.literal_bytes = 40;
    assert_eq!(detect(&blob[..], &text[..250_000], few).unwrap(), None);
    few.literal_bytes = 1000;
    few.parts = 3;
    assert_eq!(detect(&blob[..], &text[..250_000], few).unwrap(), None);
}

#[test]
fn a_frame_writer_writes_the_frames_of_a_recipe() {
    let text = inputs::input("text");
    let lengths = [1, 255, 256, 1023, 1024, 1025, 65_535, 65_791, 65_792, 131_071];
    for (model, _) in klauspost() {
        let full = model.block_bytes().unwrap();
        let (mut writer, mut out) = (FrameWriter::new(model), Vec::new());
        let (mut parts, mut ends, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for length in lengths.into_iter().filter(|&length| (length as u64) < full) {
            let header = model.short_header(length as u64).unwrap();
            let RecipePart::Frame(frame) = frame(&header, &text[..length], &[]) else {
                unreachable!()
            };
            writer.begin(&frame, &mut out).unwrap();
            writer.write(&text[..length], &mut out).unwrap();
            writer.end(&mut out).unwrap();
            ends.push(out.len() as u64);
            plain.extend_from_slice(&text[..length]);
            parts.push(RecipePart::Frame(frame));
        }
        assert_eq!(model.short_header(full), None);
        assert!(zstd::decode_all(&out[..]).unwrap() == plain, "{model:?}");
        assert!(remake(&Recipe { model, parts }, &plain, 777).unwrap() == out, "{model:?}");
        let ends_in_blob = frame_ends(&out[..], DetectOptions::default());
        assert_eq!(ends_in_blob, Ok(Some(ends)), "{model:?}");
        assert_eq!(writer.write(b"x", &mut out), Err(RemakeError::NoOpenFrame));
        assert_eq!(writer.end(&mut out), Err(RemakeError::NoOpenFrame));
    }
}

#[test]
fn calls_of_the_reference_encoder_are_detected() {
    // Longer than a job at level 1: otherwise jobs would not change the output.
    let plain: Vec<u8> = (0..9).flat_map(|n| inputs::input("mixed")[n * 7..].to_vec()).collect();
    let sized = b"\x28\xb5\x2f\xfd\x84\x48\x00\0\0\0";
    let mut header = sized.to_vec();
    header[6..].copy_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
    for (header, level) in [(&header[..], 1), (b"\x28\xb5\x2f\xfd\x04\x48", 1), (HEADERS[2], 3)] {
        for jobs in [false, true] {
            let knows_size = header.len() > 6;
            let input =
                if knows_size { LibzstdInput::EndWithData } else { LibzstdInput::EndAfterData };
            let call = LibzstdCall { jobs, input, ..LibzstdCall::new(level) };
            let recipe = Recipe {
                model: EncoderModel::Libzstd(call),
                parts: vec![frame(header, &plain, &[])],
            };
            let blob = remake(&recipe, &plain, 10_007).unwrap();
            assert!(zstd::decode_all(&blob[..]).unwrap() == plain, "{call:?}");
            assert_eq!(detected(&blob, &plain), Some(recipe));
        }
    }
}

/// Most files are longer than a block and shorter than a job, and the ways in which their last bytes
/// came differ at their end only.
#[test]
fn files_by_every_way_of_calling_are_detected() {
    let all = inputs::input("mixed");
    for bytes in [700, 131_072, 300_000] {
        let plain = &all[..bytes];
        for (input, has_length) in [
            (LibzstdInput::EndAfterData, true),
            (LibzstdInput::EndAfterData, false),
            (LibzstdInput::EndWithData, true),
            (LibzstdInput::OneCall, true),
        ] {
            for (level, long_window) in [(6, 0), (-2, 0), (3, 27)] {
                let call = LibzstdCall { input, long_window, ..LibzstdCall::new(level) };
                let recipe = FileRecipe::OneFrame { call, has_checksum: true, has_length };
                let frame = remake(&recipe.frames(bytes as u64), plain, 999).unwrap();
                let no_window = long_window == 0 || has_length;
                for blob in [frame.clone(), [&frame[..], &frame].concat()] {
                    let plain = plain.repeat(blob.len() / frame.len());
                    let options = DetectOptions::default();
                    let found = detect_file(&blob[..], &plain[..], &[], options).unwrap();
                    let Some(found) = found else {
                        assert!(!no_window, "{bytes} bytes by {call:?}");
                        continue;
                    };
                    let again = found.frames(plain.len() as u64);
                    assert!(remake(&again, &plain, 999).unwrap() == blob, "{call:?}");
                    let is_short = matches!(found, FileRecipe::OneFrame { .. });
                    assert_eq!(is_short, blob.len() == frame.len(), "{call:?}");
                }
            }
        }
    }
}

#[test]
fn wrong_plain_lengths_are_refused() {
    let plain = inputs::input("tiny");
    let model = EncoderModel::Klauspost {
        version: KlauspostVersion::V1_15,
        level: KlauspostLevel::Fastest,
    };
    let recipe = Recipe { model, parts: vec![frame(HEADERS[0], &plain, &[])] };
    let expected_bytes = plain.len() as u64;
    let too_short = RemakeError::TooShort { expected_bytes, found_bytes: expected_bytes - 1 };
    assert_eq!(remake(&recipe, &plain[1..], 9), Err(too_short));
    let too_long = RemakeError::TooLong { expected_bytes, found_bytes: expected_bytes + 1 };
    assert_eq!(remake(&recipe, &[&plain[..], b"x"].concat(), 9), Err(too_long));
    let parts = vec![frame(b"\x28\xb5\x2f\xfd\x04", &plain, &[])];
    assert_eq!(remake(&Recipe { model, parts }, &plain, 9), Err(RemakeError::NoSuchFrame));
}

/// Positions are lowered before they overflow, which must not change the output.
#[test]
fn copies_never_reach_into_another_frame() {
    let model = EncoderModel::Klauspost {
        version: KlauspostVersion::V1_17_8,
        level: KlauspostLevel::Better,
    };
    // A window of 128 MiB each: positions are lowered after sixteen frames.
    let header = b"\x28\xb5\x2f\xfd\x04\x88";
    let text = &inputs::input("text")[..20_000];
    let one = Recipe { model, parts: vec![frame(header, text, &[])] };
    let many = Recipe { model, parts: vec![frame(header, text, &[]); 40] };
    let expected = remake(&one, text, 3000).unwrap();
    let blob = remake(&many, &text.repeat(40), 3000).unwrap();
    assert!(blob == expected.repeat(40));
}
