//! Round trips: a detected stream is remade exactly, and damage never panics.

use crate::inputs;
use imgdelta_deflate::inflate::{
    InflateError, InflateStatus, InflateStream, Inflater, OUTPUT_SLACK,
};
use imgdelta_deflate::{
    CallSizes, ChromiumHash, DetectOptions, Detector, EncoderCache, EncoderModel, GzipChecksum,
    KlauspostVersion, MemberTrailer, PigzBlocks, Recipe, RecipeError, RecipeLimits, RecipeMember,
    RemakeError, Remaker, ZlibNgVersion, ZlibStrategy, detect_gzip, detect_raw, pgzip_segment,
};
use proptest::prelude::*;

fn remake(recipe: &Recipe, plain: &[u8]) -> Result<Vec<u8>, RemakeError> {
    let mut out = Vec::new();
    let mut remaker = Remaker::new(recipe);
    for chunk in plain.chunks(4099) {
        remaker.write(chunk, &mut out)?;
    }
    remaker.finish(&mut out)?;
    Ok(out)
}

fn recipe(model: EncoderModel, plain_bytes: usize) -> Recipe {
    let plain_bytes = plain_bytes as u64;
    let member =
        RecipeMember { header: Vec::new(), model, trailer: MemberTrailer::None, plain_bytes };
    Recipe { members: vec![member], tail: Vec::new() }
}

fn inflate(compressed: &[u8], chunk: usize) -> Result<(Vec<u8>, bool), InflateError> {
    let mut plain = Vec::new();
    let mut stream = InflateStream::new();
    let mut is_done = false;
    for piece in compressed.chunks(chunk) {
        is_done = stream.push(piece, &mut (), |bytes| plain.extend_from_slice(bytes))?.1;
    }
    Ok((plain, is_done))
}

fn some_models() -> Vec<EncoderModel> {
    let version = KlauspostVersion::V1_18_2;
    let strategy = ZlibStrategy::Default;
    let mut models = vec![
        EncoderModel::Pgzip { version, level: 5, segment_bytes: 20_000 },
        EncoderModel::Pigz { level: 6, block_bytes: 32_768, blocks: PigzBlocks::Primed },
        EncoderModel::Pigz { level: 2, block_bytes: 40_000, blocks: PigzBlocks::Independent },
        EncoderModel::Pigz { level: 5, block_bytes: 65_536, blocks: PigzBlocks::Continued },
        EncoderModel::Zlib { level: 6, mem_level: 8, window_bits: 12, strategy },
        EncoderModel::Zlib {
            level: 6,
            mem_level: 1,
            window_bits: 15,
            strategy: ZlibStrategy::Filtered,
        },
        EncoderModel::GnuGzip { level: 6 },
        EncoderModel::Miniz { level: 1, ends_flushed: true },
        EncoderModel::Miniz { level: 3, ends_flushed: false },
        EncoderModel::Miniz { level: 6, ends_flushed: false },
    ];
    models.extend(
        ChromiumHash::ALL.into_iter().zip([4, 9]).map(|(hash, level)| EncoderModel::ChromiumZlib {
            hash,
            level,
            mem_level: 8,
        }),
    );
    let calls = [(0, 0, false), (5000, 0, true), (0, 7000, false), (100, 3000, true)];
    for (level, (input_bytes, output_bytes, ends_flushed)) in
        [1, 2, 3, 6, 8, 9].into_iter().zip(calls.into_iter().cycle())
    {
        let calls = CallSizes { input_bytes, output_bytes, ends_flushed };
        models.extend(ZlibNgVersion::ALL.map(|version| EncoderModel::ZlibNg {
            version,
            level,
            calls,
        }));
    }
    models.extend([-2, 0, 1, 2, 4, 9].map(|level| EncoderModel::Golang { level }));
    models.extend([1, 2, 3, 4, 5, 6, 7, 9].map(|level| EncoderModel::Klauspost { version, level }));
    models.extend([1, 4, 9].map(|level| EncoderModel::Zlib {
        level,
        mem_level: 8,
        window_bits: 15,
        strategy,
    }));
    models
}

/// Bytes with repetitions near and far.
fn plain_bytes() -> impl Strategy<Value = Vec<u8>> {
    use proptest::strategy::Strategy as _;
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        (any::<u8>(), 1..2000usize).prop_map(|(byte, count)| vec![byte; count]),
        (0..250_000usize, 1..30_000usize)
            .prop_map(|(start, count)| { inputs::input("text")[start..start + count].to_vec() }),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn remade_streams_inflate_and_are_detected(plain in plain_bytes()) {
        for model in some_models() {
            let compressed = remake(&recipe(model.clone(), plain.len()), &plain).unwrap();
            let (inflated, is_done) = inflate(&compressed, 1000).unwrap();
            prop_assert!(is_done, "{model:?}");
            prop_assert!(inflated == plain, "{model:?}");
        }
        let model = some_models().swap_remove(plain.len() % some_models().len());
        let compressed = remake(&recipe(model, plain.len()), &plain).unwrap();
        let found = detect_raw(&compressed, DetectOptions::default()).unwrap();
        prop_assert!(remake(&found, &plain).unwrap() == compressed);
    }

    #[test]
    fn arbitrary_bytes_are_remade_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(found) = detect_raw(&bytes, DetectOptions::default()) {
            let (plain, _) = inflate(&bytes, 7).unwrap();
            prop_assert!(remake(&found, &plain).unwrap() == bytes);
        }
        let _ = Recipe::from_bytes(&bytes, RecipeLimits::default());
    }

    #[test]
    fn a_damaged_stream_is_remade_or_refused(at in 0..20_000usize, bit in 0..8u8) {
        let plain = &inputs::input("text")[..60_000];
        let model = EncoderModel::Zlib { level: 6, mem_level: 8, window_bits: 15, strategy: ZlibStrategy::Default };
        let mut compressed = remake(&recipe(model, plain.len()), plain).unwrap();
        let at = at % compressed.len();
        compressed[at] ^= 1 << bit;
        if let Some(found) = detect_raw(&compressed, DetectOptions::default()) {
            let mut stream = InflateStream::new();
            let mut plain = Vec::new();
            stream.push(&compressed, &mut (), |bytes| plain.extend_from_slice(bytes)).unwrap();
            prop_assert!(remake(&found, &plain).unwrap() == compressed);
        }
    }

    #[test]
    fn a_damaged_record_ends_in_bytes_or_an_error(at in 0..10_000usize, value in any::<u8>()) {
        let plain = &inputs::input("mixed")[350_000..450_000];
        let EncoderModel::Tokens(mut record) = recorded(plain) else { panic!("not recorded") };
        let at = at % record.len();
        record[at] = value;
        let _ = remake(&recipe(EncoderModel::Tokens(record), plain.len()), plain);
    }
}

/// Returns bytes that no encoder can compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(next).collect()
}

#[test]
fn streams_that_begin_with_noise_are_recognised() {
    let mut plain = noise(3 << 20);
    plain.extend(inputs::input("text"));
    let (mem_level, window_bits, strategy) = (9, 15, ZlibStrategy::Default);
    for model in [
        EncoderModel::Zlib { level: 5, mem_level, window_bits, strategy },
        EncoderModel::GnuGzip { level: 4 },
        EncoderModel::Pgzip {
            version: KlauspostVersion::V1_18_0,
            level: 5,
            segment_bytes: 1 << 20,
        },
        EncoderModel::Golang { level: 5 },
    ] {
        let compressed = remake(&recipe(model.clone(), plain.len()), &plain).unwrap();
        let found = detect_raw(&compressed, DetectOptions::default()).unwrap();
        // Several models may write these bytes.
        let is_recorded = matches!(found.members[0].model, EncoderModel::Tokens(_));
        assert!(!is_recorded, "{model:?}");
        assert!(remake(&found, &plain).unwrap() == compressed);
    }
}

/// Returns the record of a stream that no model makes.
fn recorded(plain: &[u8]) -> EncoderModel {
    let compressed = unmodelled(plain);
    let mut found = detect_raw(&compressed, DetectOptions::default()).unwrap();
    assert_eq!(remake(&found, plain).unwrap(), compressed);
    found.members.swap_remove(0).model
}

/// Returns a gzip member around a deflate stream.
fn gzip_member(deflate: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut check = GzipChecksum::new();
    check.update(plain);
    [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", deflate, &check.trailer()].concat()
}

#[test]
fn work_on_unknown_streams_is_in_proportion_to_their_bytes() {
    let text = inputs::input("text");
    for plain in [&text[..30_000], &text[..200_000], &text[..]] {
        let mut detector = Detector::new(DetectOptions::default());
        let stream = joined(plain);
        let found = detector.raw(&stream).unwrap();
        assert!(matches!(found.members[0].model, EncoderModel::Tokens(_)));
        let work = detector.work();
        let bytes = plain.len() as u64;
        // Ten levels of zlib are compared with the first 8 KiB.
        assert!(work.trial_bytes < 400_000 + bytes, "{work:?} for {bytes} bytes");
        // Thirteen samples have at least a quarter of a kilobyte.
        assert!(work.sample_bytes < 4000 + stream.len() as u64, "{work:?} for {bytes} bytes");
    }
}

#[test]
fn work_on_many_small_unknown_members_is_in_proportion_to_their_bytes() {
    let text = inputs::input("text");
    let (mut file, mut plain) = (Vec::new(), Vec::new());
    for at in 0..3000 {
        let content = &text[at * 70..][..1400];
        // Every hundredth member is so short that several models make it.
        let content = if at % 100 == 0 { &content[..20] } else { content };
        let stream = if at % 100 == 0 { zlib_stream(content) } else { joined(content) };
        file.extend(gzip_member(&stream, content));
        plain.extend_from_slice(content);
    }
    let mut detector = Detector::new(DetectOptions::default());
    let found = detector.gzip(&file).unwrap();
    assert_eq!(found.members.len(), 3000);
    assert!(remake(&found, &plain).unwrap() == file);
    let work = detector.work();
    assert!(work.trial_bytes < (8 << 20) + 4 * plain.len() as u64, "{work:?}");
    assert!(work.sample_bytes < file.len() as u64 / 20, "{work:?}");
}

#[test]
fn a_short_stream_with_a_model_among_unknown_ones_buys_little_work() {
    let text = inputs::input("text");
    let (mut file, mut plain) = (Vec::new(), Vec::new());
    for at in 0..1000 {
        let content = &text[at * 200..][..4000];
        // A model makes every twentieth member, as it happens by chance with short ones.
        let content = if at % 20 == 0 { &content[..600] } else { content };
        let stream = if at % 20 == 0 { zlib_stream(content) } else { joined(content) };
        file.extend(gzip_member(&stream, content));
        plain.extend_from_slice(content);
    }
    let mut detector = Detector::new(DetectOptions::default());
    let found = detector.gzip(&file).unwrap();
    assert!(remake(&found, &plain).unwrap() == file);
    let work = detector.work();
    assert!(work.trial_bytes < (8 << 20) + 4 * plain.len() as u64, "{work:?}");
    // Members of two kilobytes take the search profile of the member before.
    assert!(work.sample_bytes < (128 << 10) + file.len() as u64 / 4, "{work:?}");
}

/// Returns a stream that no model makes: a stored block before zlib's stream of the rest.
fn unmodelled(plain: &[u8]) -> Vec<u8> {
    let (first, rest) = plain.split_at(1000);
    let mut bits = imgdelta_deflate::BitWriter::new();
    bits.stored_block(first, false);
    let mut out = Vec::new();
    bits.take(&mut out);
    out.extend(zlib_stream(rest));
    out
}

/// Returns a stream that no model makes: Go's stream of the first bytes, flushed, and zlib's stream of
/// the rest.
fn joined(plain: &[u8]) -> Vec<u8> {
    let (first, rest) = plain.split_at(plain.len().min(1000));
    let out = remake(&recipe(EncoderModel::Golang { level: 1 }, first.len()), first).unwrap();
    // Go ends with an empty stored block; here it is not marked as the final one.
    // Its first bit is in one of the two bytes before the lengths.
    let header = out.len() - 6;
    let is_open =
        |out: &[u8]| inflate(out, 1000).is_ok_and(|(plain, done)| !done && plain == first);
    let flipped = |bit: usize| {
        let mut open = out.clone();
        open[header + bit / 8] ^= 1 << (bit % 8);
        open
    };
    let mut out = (0..16).map(flipped).find(|open| is_open(open)).expect("one bit ends the stream");
    out.extend(zlib_stream(rest));
    out
}

/// Returns the stream of zlib at its highest level.
fn zlib_stream(plain: &[u8]) -> Vec<u8> {
    let model = EncoderModel::Zlib {
        level: 9,
        mem_level: 8,
        window_bits: 15,
        strategy: ZlibStrategy::Default,
    };
    remake(&recipe(model, plain.len()), plain).unwrap()
}

#[test]
fn a_stream_without_a_model_is_recorded() {
    let plain = inputs::input("mixed");
    let EncoderModel::Tokens(record) = recorded(&plain) else { panic!("a model fits") };
    assert!(record.len() < 20_000, "{} bytes", record.len());
}

#[test]
fn gzip_members_tails_and_wrong_trailers_are_kept() {
    let plain = &inputs::input("text")[..50_000];
    let model = EncoderModel::Golang { level: 6 };
    let member = |trailer| RecipeMember {
        header: b"\x1f\x8b\x08\x08\0\0\0\0\0\xffname\0".to_vec(),
        model: model.clone(),
        trailer,
        plain_bytes: plain.len() as u64,
    };
    let wanted = Recipe {
        members: vec![member(MemberTrailer::Gzip), member(MemberTrailer::Literal(vec![7; 8]))],
        tail: b"\0\0\0garbage".to_vec(),
    };
    let twice = [plain, plain].concat();
    let file = remake(&wanted, &twice).unwrap();
    let found = detect_gzip(&file, DetectOptions::default()).unwrap();
    assert_eq!(found, wanted);
    let bytes = found.to_bytes();
    assert!(bytes.len() < 80);
    assert_eq!(Recipe::from_bytes(&bytes, RecipeLimits::default()).unwrap(), wanted);
    for short in 0..bytes.len() {
        assert!(Recipe::from_bytes(&bytes[..short], RecipeLimits::default()).is_err());
    }
}

#[test]
fn a_reused_encoder_writes_the_same_bytes_as_a_new_one() {
    let mixed = inputs::input("mixed");
    let pieces = [&mixed[..300_000], &mixed[1000..4000], &mixed[400_000..470_000], &mixed[..9]];
    let mut models = some_models();
    models.extend([2, 3, 5].map(|level| EncoderModel::Golang { level }));
    models.push(EncoderModel::GnuGzip { level: 1 });
    for model in models {
        let mut encoders = EncoderCache::new();
        for piece in pieces.iter().chain(pieces.iter().rev()) {
            let new = remake(&recipe(model.clone(), piece.len()), piece).unwrap();
            let mut raw = Vec::new();
            encoders.remake_raw(&model, piece, &mut raw).unwrap();
            assert!(raw == new, "{model:?}, {} bytes", piece.len());
            let mut again = Vec::new();
            encoders.remake(&recipe(model.clone(), piece.len()), piece, &mut again).unwrap();
            assert!(again == new, "{model:?}, {} bytes", piece.len());
        }
    }
}

#[test]
fn the_model_of_the_last_stream_is_tried_first() {
    // All levels of zlib write the same stream for so few bytes.
    let plain = b"hello hello hello";
    let strategy = ZlibStrategy::Default;
    let model = |level| EncoderModel::Zlib { level, mem_level: 8, window_bits: 15, strategy };
    let short = remake(&recipe(model(6), plain.len()), plain).unwrap();
    let text = inputs::input("text");
    let long = remake(&recipe(model(4), text.len()), &text).unwrap();
    let mut detector = Detector::new(DetectOptions::default().first(model(9)));
    let mut found = |stream: &[u8]| detector.raw(stream).unwrap().members.swap_remove(0).model;
    assert_eq!(found(&short), model(9));
    assert_eq!(found(&long), model(4));
    assert_eq!(found(&short), model(4));
}

#[test]
fn many_streams_without_a_model_are_recorded() {
    let plain = &inputs::input("text")[..20_000];
    let compressed = unmodelled(plain);
    let mut detector = Detector::new(DetectOptions::default());
    for _ in 0..12 {
        let found = detector.raw(&compressed).unwrap();
        assert!(matches!(found.members[0].model, EncoderModel::Tokens(_)));
        assert_eq!(remake(&found, plain).unwrap(), compressed);
    }
    let model = EncoderModel::GnuGzip { level: 6 };
    let compressed = remake(&recipe(model.clone(), plain.len()), plain).unwrap();
    let mut detector = Detector::new(DetectOptions::default().first(model.clone()));
    assert_eq!(detector.raw(&compressed).unwrap().members[0].model, model);
}

#[test]
fn the_byte_form_of_a_model_is_short() {
    for model in some_models() {
        let bytes = model.to_bytes();
        assert!(bytes.len() <= 8, "{model:?}: {bytes:?}");
        assert_eq!(EncoderModel::from_bytes(&bytes, RecipeLimits::default()), Ok(model.clone()));
        let longer = [&bytes[..], &[0]].concat();
        let read = EncoderModel::from_bytes(&longer, RecipeLimits::default());
        assert_eq!(read, Err(RecipeError::Trailing { found_bytes: 1 }));
        assert!(
            EncoderModel::from_bytes(&bytes[..bytes.len() - 1], RecipeLimits::default()).is_err()
        );
    }
}

#[test]
fn wrong_plain_lengths_are_refused() {
    let recipe = recipe(EncoderModel::GnuGzip { level: 6 }, 100);
    let too_short = RemakeError::TooShort { expected_bytes: 100, found_bytes: 99 };
    assert_eq!(remake(&recipe, &[0; 99]), Err(too_short));
    let too_long = RemakeError::TooLong { expected_bytes: 100, found_bytes: 101 };
    assert_eq!(remake(&recipe, &[0; 101]), Err(too_long));
}

#[test]
fn a_million_members_of_nothing_take_no_memory() {
    // A version, a count of 2^40 members, and no members.
    let bytes = [1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    let (value, expected, found) = ("the number of members", 1 << 20, 1 << 40);
    let too_many = RecipeError::Limit { value, expected, found };
    assert_eq!(Recipe::from_bytes(&bytes, RecipeLimits::default()), Err(too_many));
    let bytes = [1, 0x80, 0x80, 0x40];
    let truncated = RecipeError::Truncated { expected_bytes: 1, found_bytes: 0 };
    assert_eq!(Recipe::from_bytes(&bytes, RecipeLimits::default()), Err(truncated));
    let later = RecipeError::Version { expected: 2, found: 9 };
    assert_eq!(Recipe::from_bytes(&[9], RecipeLimits::default()), Err(later));
}

#[test]
fn pgzip_segments_join_to_the_stream() {
    let plain = inputs::input("mixed");
    let segment_bytes = 262_144;
    for end in [plain.len(), 4 * segment_bytes, 10, 0] {
        let plain = &plain[..end];
        let model = EncoderModel::Pgzip {
            version: KlauspostVersion::V1_15_15,
            level: 5,
            segment_bytes: u32::try_from(segment_bytes).unwrap(),
        };
        let mut joined = Vec::new();
        for start in (0..=plain.len()).step_by(segment_bytes) {
            let segment = &plain[start..plain.len().min(start + segment_bytes)];
            let is_last = segment.len() < segment_bytes;
            pgzip_segment(&model, &plain[..start], segment, is_last, &mut joined).unwrap();
        }
        assert_eq!(joined, remake(&recipe(model, plain.len()), plain).unwrap());
    }
}

#[test]
fn inflating_in_pieces_gives_the_same_bytes() {
    let plain = inputs::input("mixed");
    for model in some_models() {
        let compressed = remake(&recipe(model.clone(), plain.len()), &plain).unwrap();
        for chunk in [1, 13, 1 << 20] {
            let (inflated, is_done) = inflate(&compressed, chunk).unwrap();
            assert!(is_done && inflated == plain, "{model:?} in pieces of {chunk}");
        }
    }
}

#[test]
fn inflating_into_tiny_outputs_gives_the_same_bytes() {
    let plain = &inputs::input("text")[..20_000];
    let compressed =
        remake(&recipe(EncoderModel::GnuGzip { level: 9 }, plain.len()), plain).unwrap();
    let mut output = vec![0; plain.len() + OUTPUT_SLACK];
    let mut inflater = Inflater::new();
    let (mut read, mut position) = (0, 0);
    let mut is_done = false;
    // Each call makes at least a byte, or ends the stream.
    for _ in 0..=plain.len() {
        let end = (position + 3).min(output.len());
        let progress =
            inflater.inflate(&compressed[read..], &mut output[..end], position, &mut ()).unwrap();
        read += progress.consumed;
        position = progress.position;
        is_done = progress.status == InflateStatus::Done;
        if is_done {
            break;
        }
    }
    assert!(is_done);
    assert_eq!(read, compressed.len());
    assert_eq!(&output[..position], plain);
}

#[test]
fn the_streams_of_all_inputs_are_detected() {
    for name in inputs::NAMES {
        let plain = inputs::input(name);
        let wanted = recipe(EncoderModel::GnuGzip { level: 6 }, plain.len());
        let compressed = remake(&wanted, &plain).unwrap();
        let found = detect_raw(&compressed, DetectOptions::default().record(false)).unwrap();
        assert_eq!(remake(&found, &plain).unwrap(), compressed, "{name}");
    }
}
