//! Compares streams that are remade in spans with the same streams remade in one piece.

use crate::inputs;
use imgdelta_deflate::{
    ChromiumHash, DividedRecipe, EncoderModel, KlauspostVersion, LAST_SPAN_BYTES, MAX_SPAN_BYTES,
    MIN_SPAN_BYTES, MemberScan, MemberTrailer, PigzBlocks, Recipe, RecipeError, RecipeLimits,
    RecipeMember, RemakeError, RemakeStep, Remaker, RestartPoint, SpanJoiner, ZlibStrategy,
};

fn recipe(model: EncoderModel, plain: &[u8]) -> Recipe {
    let plain_bytes = plain.len() as u64;
    let header = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    Recipe {
        members: vec![RecipeMember { header, model, trailer: MemberTrailer::Gzip, plain_bytes }],
        tail: b"tail".to_vec(),
    }
}

fn in_one_go(recipe: &Recipe, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut remaker = Remaker::new(recipe);
    remaker.write(plain, &mut out).unwrap();
    remaker.finish(&mut out).unwrap();
    out
}

/// Remakes the spans from the last to the first, and joins them.
fn in_spans(divided: &DividedRecipe, plain: &[u8]) -> Result<(Vec<u8>, usize), RemakeError> {
    let slice = |range: &std::ops::Range<u64>| {
        let start = usize::try_from(range.start).unwrap().min(plain.len());
        &plain[start..usize::try_from(range.end).unwrap().min(plain.len()).max(start)]
    };
    let steps: Vec<RemakeStep> = divided.steps().collect();
    let mut made = Vec::new();
    for step in steps.iter().rev() {
        made.push(match step {
            RemakeStep::Span(span) => Some(span.remake(divided, slice(&span.reads))?),
            RemakeStep::Serial { .. } => None,
        });
    }
    let mut joiner = SpanJoiner::new(divided);
    let mut out = Vec::new();
    for (step, made) in steps.iter().zip(made.into_iter().rev()) {
        match step {
            RemakeStep::Span(span) => joiner.push(span, made.unwrap(), &mut out)?,
            RemakeStep::Serial { plain: range } => {
                let pieces: Vec<&[u8]> = slice(range).chunks(70_001).collect();
                for (number, piece) in pieces.iter().enumerate() {
                    joiner.serial(piece, number + 1 == pieces.len(), &mut out)?;
                }
            }
        }
    }
    joiner.finish(&mut out)?;
    Ok((out, steps.len()))
}

/// Returns all restart points of a stream.
fn points(recipe: &Recipe, stream: &[u8]) -> Vec<RestartPoint> {
    let member = &recipe.members[0];
    let mut walk = MemberScan::with_points(&member.model, 1);
    let body = &stream[member.header.len()..];
    let mut read = 0;
    for piece in body.chunks(1009) {
        let (taken, is_done) = walk.push(piece).unwrap();
        read += taken;
        if is_done {
            break;
        }
    }
    let walked = walk.finish();
    assert_eq!(walked.plain_bytes, member.plain_bytes);
    assert_eq!(body[read..][..8], walked.trailer);
    walked.points
}

/// Returns some megabytes of text, noise and runs.
fn long_input() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut noise = |bytes: usize| {
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..bytes).map(next).collect::<Vec<u8>>()
    };
    let text = inputs::input("text");
    let mixed = inputs::input("mixed");
    let mut long = Vec::new();
    for round in 1..=2 {
        long.extend_from_slice(&text[round * 1017..]);
        long.extend(noise(100_000 + round * 33_333));
        long.extend_from_slice(&mixed[500_000 * (round - 1)..][..500_000]);
        long.extend(vec![b'x'; 70_001 * round]);
        for at in 0..2000 {
            long.extend_from_slice(&text[at * 37 % 5000..][..20 + at % 50]);
            long.extend(noise(at % 7));
        }
    }
    long
}

fn restartable() -> Vec<EncoderModel> {
    let mut models: Vec<EncoderModel> =
        [4, 5, 6, 7, 8, 9].map(|level| EncoderModel::Golang { level }).to_vec();
    for level in 4..=9 {
        models.push(EncoderModel::GnuGzip { level });
        models.push(EncoderModel::Zlib {
            level,
            mem_level: 8,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        });
    }
    for (hash, level) in ChromiumHash::ALL.into_iter().zip([4, 9]) {
        models.push(EncoderModel::ChromiumZlib { hash, level, mem_level: 8 });
    }
    models.extend([
        EncoderModel::Zlib {
            level: 6,
            mem_level: 9,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        },
        EncoderModel::Zlib {
            level: 9,
            mem_level: 1,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        },
        EncoderModel::Zlib {
            level: 6,
            mem_level: 8,
            window_bits: 15,
            strategy: ZlibStrategy::Filtered,
        },
        EncoderModel::Zlib {
            level: 6,
            mem_level: 8,
            window_bits: 15,
            strategy: ZlibStrategy::Fixed,
        },
    ]);
    models
}

#[test]
fn every_restart_point_gives_the_same_bytes() {
    let long = long_input();
    for model in restartable() {
        // Different lengths leave different numbers of bytes in the last window.
        let is_usual = matches!(
            model,
            EncoderModel::Golang { level: 6 }
                | EncoderModel::GnuGzip { level: 6 }
                | EncoderModel::Zlib { level: 6, .. }
        );
        let cuts: &[usize] = if is_usual { &[0, 1, 32_768, 50_001, 65_535] } else { &[17] };
        for cut in cuts {
            let plain = &long[..long.len() - cut];
            let recipe = recipe(model.clone(), plain);
            let whole = in_one_go(&recipe, plain);
            let all = points(&recipe, &whole);
            assert!(all.len() > 8, "{model:?}: {} points", all.len());
            let divided = DividedRecipe::new(recipe, all).unwrap();
            let (joined, steps) = in_spans(&divided, plain).unwrap();
            assert_eq!(steps, divided.points().len() + 1);
            assert!(joined == whole, "{model:?} without the last {cut} bytes");
            let bytes = divided.to_bytes();
            assert_eq!(
                DividedRecipe::from_bytes(&bytes, RecipeLimits::default()).unwrap(),
                divided
            );
        }
    }
}

/// Returns the models that parse some chunks in advance.
fn warm() -> Vec<EncoderModel> {
    let klauspost = |version, level| EncoderModel::Klauspost { version, level };
    let mut models: Vec<EncoderModel> =
        (1..=6).map(|level| klauspost(KlauspostVersion::V1_20, level)).collect();
    models.extend([
        EncoderModel::Golang { level: 1 },
        klauspost(KlauspostVersion::V1_15_10, 1),
        klauspost(KlauspostVersion::V1_15_10, 5),
        // This parser depends on the start of the history.
        klauspost(KlauspostVersion::V1_18_0, 4),
    ]);
    models
}

/// Returns an input without repeated megabytes.
fn longer_input() -> Vec<u8> {
    let long = long_input();
    let masked = |mask: u8| long.iter().map(move |&byte| byte ^ mask);
    (0..4).flat_map(|number| masked(number * 85)).collect()
}

#[test]
fn warm_restart_points_give_the_same_bytes() {
    let plain = longer_input();
    for model in warm() {
        let recipe = recipe(model.clone(), &plain);
        let whole = in_one_go(&recipe, &plain);
        let all = points(&recipe, &whole);
        assert!(all.len() > 1, "{model:?}: {} points of {} bytes", all.len(), plain.len());
        let divided = DividedRecipe::new(recipe, all).unwrap();
        let (joined, steps) = in_spans(&divided, &plain).unwrap();
        assert_eq!(steps, divided.points().len() + 1);
        assert!(joined == whole, "{model:?}");
        let bytes = divided.to_bytes();
        assert_eq!(DividedRecipe::from_bytes(&bytes, RecipeLimits::default()).unwrap(), divided);
        let good = divided.points()[0];
        for wrong in [
            RestartPoint { plain: good.plain + 1, ..good },
            RestartPoint { plain: good.plain % (1 << 20) / 65_535 * 65_535, ..good },
        ] {
            let refused = DividedRecipe::new(divided.recipe().clone(), vec![wrong]);
            let is_refused = matches!(refused, Err(RecipeError::Point { index: 0, .. }));
            assert!(is_refused, "{model:?} {wrong:?}: {refused:?}");
        }
    }
}

#[test]
fn streams_of_noise_zeros_and_text_have_restart_points() {
    let text = inputs::input("text");
    let noise: Vec<u8> = (0..1_500_000_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ (n * n)).to_le_bytes()[4])
        .collect();
    let inputs = [noise, vec![0; 20_000_000], text.repeat(6)];
    for plain in &inputs {
        for model in [
            EncoderModel::Golang { level: 6 },
            EncoderModel::GnuGzip { level: 6 },
            EncoderModel::Zlib {
                level: 6,
                mem_level: 8,
                window_bits: 15,
                strategy: ZlibStrategy::Default,
            },
        ] {
            let recipe = recipe(model.clone(), plain);
            let whole = in_one_go(&recipe, plain);
            let all = points(&recipe, &whole);
            assert!(!all.is_empty(), "{model:?}");
            let divided = DividedRecipe::new(recipe, all).unwrap();
            assert!(in_spans(&divided, plain).unwrap().0 == whole, "{model:?}");
        }
    }
}

#[test]
fn segments_and_blocks_give_the_same_bytes() {
    let long = long_input().repeat(2);
    let version = KlauspostVersion::V1_18_2;
    let mut models = vec![
        EncoderModel::Pigz { level: 6, block_bytes: 131_072, blocks: PigzBlocks::Primed },
        EncoderModel::Golang { level: 1 },
    ];
    models.extend(
        [16_385, 262_144, 1_000_000, 1 << 20, 3 << 20].map(|segment_bytes| EncoderModel::Pgzip {
            version,
            level: 5,
            segment_bytes,
        }),
    );
    for model in models {
        for end in [0, 1, 131_072, 1 << 20, 1_000_000, 2 << 20, long.len()] {
            let plain = &long[..end];
            let recipe = recipe(model.clone(), plain);
            let whole = in_one_go(&recipe, plain);
            let divided = DividedRecipe::from(recipe);
            let (joined, steps) = in_spans(&divided, plain).unwrap();
            assert!(joined == whole, "{model:?} up to {end}");
            if matches!(model, EncoderModel::Pigz { .. } | EncoderModel::Pgzip { .. })
                && end == long.len()
            {
                assert!(steps > 1, "{model:?}");
            }
        }
    }
}

#[test]
fn members_with_and_without_spans_join() {
    let long = long_input();
    let models = [
        EncoderModel::Golang { level: 6 },
        EncoderModel::Pgzip { version: KlauspostVersion::V1_20, level: 5, segment_bytes: 1 << 20 },
        EncoderModel::Golang { level: 1 },
        EncoderModel::Zlib {
            level: 6,
            mem_level: 8,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        },
    ];
    let big = long.repeat(3);
    let mut all = Recipe::default();
    let (mut plain, mut points_of_all, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (number, model) in (0_u32..).zip(models) {
        for own in [&big[..], &[]] {
            let mut recipe = recipe(model.clone(), own);
            let stream = in_one_go(&recipe, own);
            whole.extend_from_slice(&stream[..stream.len() - 4]);
            if number != 2 && !own.is_empty() && number != 1 {
                let found = points(&recipe, &stream).into_iter().step_by(5);
                let member = u32::try_from(all.members.len()).unwrap();
                points_of_all.extend(found.map(|point| RestartPoint { member, ..point }));
            }
            all.members.append(&mut recipe.members);
            plain.extend_from_slice(own);
        }
    }
    let divided = DividedRecipe::new(all, points_of_all).unwrap();
    assert!(divided.steps().any(|step| matches!(step, RemakeStep::Serial { .. })));
    let (joined, steps) = in_spans(&divided, &plain).unwrap();
    assert!(joined == whole);
    assert!(steps > 8);
}

fn some_points() -> (DividedRecipe, Vec<u8>) {
    let plain = long_input();
    let recipe = recipe(EncoderModel::GnuGzip { level: 6 }, &plain);
    let whole = in_one_go(&recipe, &plain);
    let found = points(&recipe, &whole);
    (DividedRecipe::new(recipe, found).unwrap(), plain)
}

#[test]
fn invalid_points_are_refused() {
    let (divided, plain) = some_points();
    let total = plain.len() as u64;
    let recipe = || divided.recipe().clone();
    let good = divided.points()[3];
    let earlier = divided.points()[2];
    let cases = [
        vec![good, earlier],
        vec![good, good],
        vec![RestartPoint { plain: 0, ..good }],
        vec![RestartPoint { plain: MIN_SPAN_BYTES - 1, ..good }],
        vec![RestartPoint { plain: total, ..good }],
        vec![RestartPoint { plain: total - LAST_SPAN_BYTES + 1, ..good }],
        vec![RestartPoint { plain: u64::MAX, ..good }],
        vec![RestartPoint { member: 1, ..good }],
        vec![RestartPoint { member: u32::MAX, ..good }],
        vec![RestartPoint { phase: 8, ..good }],
    ];
    for points in cases {
        assert!(DividedRecipe::new(recipe(), points.clone()).is_err(), "{points:?}");
        let wrong = DividedRecipe::to_bytes(&DividedRecipe::new(recipe(), vec![good]).unwrap());
        assert!(
            DividedRecipe::from_bytes(&wrong[..wrong.len() - 1], RecipeLimits::default()).is_err()
        );
    }
    let mut huge = recipe();
    huge.members[0].plain_bytes = good.plain + MAX_SPAN_BYTES + 1;
    let (value, found) = ("the last span of a member", MAX_SPAN_BYTES + 1);
    let too_long = RecipeError::Limit { value, expected: MAX_SPAN_BYTES, found };
    assert_eq!(DividedRecipe::new(huge, vec![good]), Err(too_long));
    let mut other = recipe();
    other.members[0].model = EncoderModel::Golang { level: 3 };
    let expected = "a model that can restart, in member";
    let no_restart = RecipeError::Point { index: 0, expected, found: 0 };
    assert_eq!(DividedRecipe::new(other, vec![good]), Err(no_restart));
}

#[test]
fn a_wrong_point_gives_wrong_bytes_or_an_error() {
    let (divided, plain) = some_points();
    let right = in_spans(&divided, &plain).unwrap().0;
    let good = divided.points()[5];
    for wrong in [
        RestartPoint { plain: good.plain + 1, ..good },
        RestartPoint { plain: good.plain - 1000, ..good },
        RestartPoint { phase: (good.phase + 1) % 8, ..good },
        RestartPoint { plain: 65_274, literals: 255, phase: 3, member: 0 },
        RestartPoint { plain: 65_275 + 32_768, literals: 255, phase: 3, member: 0 },
    ] {
        let points = vec![wrong];
        let damaged = DividedRecipe::new(divided.recipe().clone(), points).unwrap();
        if let Ok((joined, _)) = in_spans(&damaged, &plain) {
            assert!(joined != right, "{wrong:?}");
        }
    }
}

#[test]
fn too_few_plain_bytes_are_an_error() {
    let (divided, plain) = some_points();
    for step in divided.steps() {
        let RemakeStep::Span(span) = step else { panic!("all steps are spans") };
        let start = usize::try_from(span.reads.start).unwrap();
        let end = usize::try_from(span.reads.end).unwrap();
        for end in [start, end - 1] {
            assert!(span.remake(&divided, &plain[start..end]).is_err());
        }
    }
}

#[test]
fn damaged_bytes_are_refused_or_read_back() {
    let (divided, _) = some_points();
    let bytes = divided.to_bytes();
    for at in 0..bytes.len() {
        for flip in [1, 0x10, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            if let Ok(read) = DividedRecipe::from_bytes(&damaged, RecipeLimits::default()) {
                assert_eq!(
                    DividedRecipe::from_bytes(&read.to_bytes(), RecipeLimits::default()).unwrap(),
                    read
                );
                // The number of steps is limited, even with damaged lengths. Without points it
                // follows from the lengths, and is not counted here.
                if !read.points().is_empty() {
                    assert!(read.steps().count() <= read.points().len() + 2);
                }
            }
        }
    }
}
