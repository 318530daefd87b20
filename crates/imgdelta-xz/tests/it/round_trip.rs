//! Packed bytes come back, their encoder is found, and damage is an error.

use imgdelta_xz::{
    BlockForm, BlockRun, CheckKind, DecodeOptions, DetectOptions, Filter, Finder, Packing,
    Properties, Recipe, RecipeLimits, RemakeError, Remaker, SearchEffort, StreamRecipe, XzDecoder,
    XzError, detect,
};
use proptest::prelude::*;

/// Makes a file in pieces.
fn made(recipe: &Recipe, plain: &[u8], piece_bytes: usize) -> Result<Vec<u8>, RemakeError> {
    let (mut out, mut remaker) = (Vec::new(), Remaker::new(recipe));
    for piece in plain.chunks(piece_bytes) {
        remaker.write(piece, &mut out)?;
    }
    remaker.finish(&mut out)?;
    Ok(out)
}

/// Unpacks a file in pieces.
fn unpacked(stored: &[u8], piece_bytes: usize) -> Result<Vec<u8>, XzError> {
    let (mut plain, mut decoder) = (Vec::new(), XzDecoder::new(DecodeOptions::default()));
    for piece in stored.chunks(piece_bytes) {
        decoder.push(piece, &mut |bytes| plain.extend_from_slice(bytes))?;
    }
    decoder.finish()?;
    Ok(plain)
}

fn form(packing: Packing) -> BlockForm {
    BlockForm {
        header_bytes: 32,
        has_packed_bytes: false,
        has_plain_bytes: false,
        filters: Vec::new(),
        window_code: 8,
        packing,
    }
}

/// A recipe of one stream with one block.
fn simple(form: BlockForm) -> Recipe {
    let runs = vec![BlockRun { form: 0, plain_bytes: 0, count: 0 }];
    let stream = StreamRecipe { check: CheckKind::Crc64, runs, padding: 0 };
    Recipe { forms: vec![form], streams: vec![stream] }
}

fn preset(preset: usize) -> BlockForm {
    form(Packing::Liblzma(Properties::default(), SearchEffort::PRESETS[preset]))
}

/// Text with repetitions, near and far, and some noise.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut text = Vec::new();
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let from = text.len().saturating_sub(1 + (state >> 9) as usize % 100_000);
        let until = text.len().min(from + (state >> 26) as usize);
        text.extend_from_within(from..until);
        text.extend_from_slice(&state.to_le_bytes()[1 + (state >> 30) as usize % 3..]);
    }
    text.truncate(bytes);
    text
}

fn effort() -> impl Strategy<Value = SearchEffort> {
    let finder = prop_oneof![
        Just(Finder::Chain3),
        Just(Finder::Chain4),
        Just(Finder::Tree2),
        Just(Finder::Tree3),
        Just(Finder::Tree4),
    ];
    (any::<bool>(), finder, 2_u16..=273, 0_u32..60).prop_map(
        |(is_optimal, finder, nice_len, depth)| SearchEffort {
            is_optimal,
            finder,
            nice_len,
            depth,
        },
    )
}

fn properties() -> impl Strategy<Value = Properties> {
    (0_u8..=4, 0_u8..=4, 0_u8..=4).prop_map(|(context, literal, position)| Properties {
        literal_context: context.min(4 - literal),
        literal_position: literal,
        position,
    })
}

fn block_form() -> impl Strategy<Value = BlockForm> {
    let packing = prop_oneof![
        1 => Just(Packing::Stored),
        7 => (properties(), effort())
            .prop_map(|(properties, effort)| Packing::Liblzma(properties, effort)),
    ];
    let filter = prop_oneof![Just(Filter::X86), Just(Filter::Arm64), Just(Filter::Delta(3))];
    let filters = prop::collection::vec(filter, 0..3);
    (packing, filters, any::<bool>(), any::<bool>(), 0_u8..8).prop_map(
        |(packing, filters, has_packed_bytes, has_plain_bytes, window_code)| BlockForm {
            filters,
            has_packed_bytes,
            has_plain_bytes,
            window_code,
            ..form(packing)
        },
    )
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let check = prop_oneof![
        Just(CheckKind::None),
        Just(CheckKind::Crc32),
        Just(CheckKind::Crc64),
        Just(CheckKind::Sha256),
    ];
    (block_form(), block_form(), check, 1_u64..3000, 0_u64..3).prop_map(
        |(first, last, check, plain_bytes, padding)| Recipe {
            forms: vec![first, last],
            streams: vec![
                StreamRecipe {
                    check,
                    runs: vec![BlockRun { form: 0, plain_bytes, count: 1 }],
                    padding,
                },
                StreamRecipe {
                    check,
                    runs: vec![BlockRun { form: 1, plain_bytes, count: 0 }],
                    padding,
                },
            ],
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_is_packed_comes_back(
        recipe in recipe(),
        bytes in prop_oneof![
            prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 3000..9000),
            (3000_usize..30_000).prop_map(text),
        ],
        pieces in (1_usize..5000, 1_usize..5000),
    ) {
        let read = Recipe::from_bytes(&recipe.to_bytes(), RecipeLimits::default());
        prop_assert_eq!(read.as_ref(), Ok(&recipe));
        let stored = made(&recipe, &bytes, pieces.0).unwrap();
        prop_assert_eq!(&stored, &made(&recipe, &bytes, bytes.len()).unwrap());
        prop_assert!(unpacked(&stored, pieces.1).unwrap() == bytes);
    }

    #[test]
    fn arbitrary_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(unpacked(&bytes, 100).is_err());
        prop_assert!(detect(&bytes, DetectOptions::default()).is_none());
    }
}

#[test]
fn presets_are_found() {
    // More than a window and a chunk; the start is packed by most presets alike.
    let plain = text(300_000);
    for number in 0..SearchEffort::PRESETS.len() {
        let recipe = simple(BlockForm { header_bytes: 12, ..preset(number) });
        let stored = made(&recipe, &plain, 100_000).unwrap();
        assert_eq!(detect(&stored, DetectOptions::default()), Some(recipe), "preset {number}");
    }
}

#[test]
fn streams_and_blocks_are_found() {
    let plain = text(60_000);
    let sized = BlockForm { has_packed_bytes: true, has_plain_bytes: true, ..preset(6) };
    let filtered = BlockForm { filters: vec![Filter::X86, Filter::Delta(1)], ..preset(1) };
    let stored = BlockForm { window_code: 0, ..form(Packing::Stored) };
    let streams = vec![
        StreamRecipe {
            check: CheckKind::Sha256,
            runs: vec![
                BlockRun { form: 0, plain_bytes: 10_000, count: 2 },
                BlockRun { form: 1, plain_bytes: 5000, count: 1 },
            ],
            padding: 2,
        },
        StreamRecipe { check: CheckKind::Crc32, runs: Vec::new(), padding: 0 },
        StreamRecipe {
            check: CheckKind::None,
            runs: vec![
                BlockRun { form: 2, plain_bytes: 3000, count: 1 },
                BlockRun { form: 0, plain_bytes: 10_000, count: 0 },
            ],
            padding: 1,
        },
    ];
    let recipe = Recipe { forms: vec![sized, filtered, stored], streams };
    let file = made(&recipe, &plain, 7000).unwrap();
    assert_eq!(unpacked(&file, 1000), Ok(plain.clone()));
    let found = detect(&file, DetectOptions::default()).unwrap();
    assert_eq!(found, recipe);
    assert!(made(&found, &plain, 60_000).unwrap() == file);
}

#[test]
fn equally_packed_files_have_one_recipe() {
    let sized = BlockForm { has_packed_bytes: true, has_plain_bytes: true, ..preset(4) };
    let mut recipe = simple(sized);
    for bytes in [2000, 50_000] {
        let file = made(&recipe, &text(bytes), 50_000).unwrap();
        let found = detect(&file, DetectOptions::default()).unwrap();
        assert_eq!(found.to_bytes().len(), 14);
        assert!(made(&found, &text(bytes), 50_000).unwrap() == file);
    }
    recipe.streams[0].runs[0].plain_bytes = 1000;
    for bytes in [2000, 2500, 50_001] {
        let file = made(&recipe, &text(bytes), 50_000).unwrap();
        assert_eq!(detect(&file, DetectOptions::default()).as_ref(), Some(&recipe), "{bytes}");
    }
}

#[test]
fn slow_efforts_are_not_tried_if_the_caller_says_so() {
    let file = made(&simple(preset(6)), &text(20_000), 50_000).unwrap();
    let mut options = DetectOptions::default();
    options.nanoseconds_per_byte = 200;
    assert_eq!(detect(&file, options), None);
    let mut options = DetectOptions::default();
    options.plain_bytes = 19_999;
    assert_eq!(detect(&file, options), None);
}

#[test]
fn an_unknown_encoder_is_not_found() {
    let effort = SearchEffort { depth: 7, ..SearchEffort::PRESETS[6] };
    let recipe = simple(form(Packing::Liblzma(Properties::default(), effort)));
    let file = made(&recipe, &text(60_000), 50_000).unwrap();
    assert_eq!(detect(&file, DetectOptions::default()), None);
}

#[test]
fn every_cut_and_every_changed_byte_is_an_error() {
    let sized = BlockForm { has_packed_bytes: true, has_plain_bytes: true, ..preset(6) };
    let file = made(&simple(sized), &text(1500), 1500).unwrap();
    for length in 0..file.len() {
        assert!(unpacked(&file[..length], 100).is_err(), "{length} bytes");
    }
    for at in 0..file.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            assert!(unpacked(&damaged, 100).is_err(), "byte {at}");
        }
    }
    assert_eq!(unpacked(&[&file[..], b"x"].concat(), 100), Err(XzError::Truncated));
    assert!(unpacked(&[&file[..], b"more"].concat(), 100).is_err());
}

#[test]
fn a_window_beyond_the_limit_is_refused() {
    let wide = BlockForm { window_code: 30, ..preset(0) };
    let file = made(&simple(wide), b"x", 1).unwrap();
    let mut decoder = XzDecoder::new(DecodeOptions::default());
    let (expected, found) = (16 << 20, 128 << 20);
    let refused = decoder.push(&file, &mut |_| {});
    assert_eq!(refused, Err(XzError::Window { expected, found }));
}

#[test]
fn wrong_lengths_are_refused() {
    let mut recipe = simple(preset(0));
    recipe.streams[0].runs = vec![BlockRun { form: 0, plain_bytes: 100, count: 2 }];
    assert_eq!(made(&recipe, &[0; 200], 50).map(|_| ()), Ok(()));
    assert_eq!(made(&recipe, &[0; 201], 50), Err(RemakeError::TooLong));
    assert_eq!(made(&recipe, &[0; 199], 50), Err(RemakeError::TooShort));
    assert_eq!(made(&recipe, &[0; 100], 50), Err(RemakeError::TooShort));
    let short = BlockForm { header_bytes: 8, ..preset(0) };
    let header = RemakeError::Header { header_bytes: 8 };
    assert_eq!(made(&simple(short), b"x", 1), Err(header));
}
