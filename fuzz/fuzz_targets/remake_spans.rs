//! Any bytes as a recipe with restart points, followed on plain bytes: each span by itself, then
//! joined. The stream, or an error; and with the points that a walk finds, the stream always.
#![no_main]

use imgdelta_deflate::{
    ChromiumHash, DividedRecipe, EncoderModel, KlauspostVersion, MemberScan, MemberTrailer, Recipe,
    RecipeLimits, RecipeMember, RemakeStep, Remaker, SpanJoiner,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((&choice, rest)) = bytes.split_first()
        && let Some((length, rest)) = rest.split_first_chunk()
    {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (recipe, seed) = rest.split_at(length);
        if let Ok(divided) = DividedRecipe::from_bytes(recipe, RecipeLimits::default()) {
            let _ = in_spans(&divided, &longer(seed, TOLD_BYTES));
        }
        walked(choice, &longer(seed, WALKED_BYTES));
    }
});

/// A stream of a known encoder, cut wherever it can be.
fn walked(choice: u8, plain: &[u8]) {
    let level = i8::try_from(choice % 6 + 1).expect("at most six");
    let model = match choice / 6 % 4 {
        0 => EncoderModel::Golang { level },
        1 => EncoderModel::GnuGzip { level: choice % 6 + 4 },
        3 => EncoderModel::ChromiumZlib {
            hash: ChromiumHash::ALL[usize::from(choice / 24) % 2],
            level: choice % 6 + 4,
            mem_level: 8,
        },
        _ => EncoderModel::Klauspost {
            version: KlauspostVersion::ALL[usize::from(choice / 24) % 5],
            level,
        },
    };
    if !model.exists() {
        return;
    }
    let plain_bytes = plain.len() as u64;
    let member =
        RecipeMember { header: Vec::new(), model, trailer: MemberTrailer::None, plain_bytes };
    let recipe = Recipe { members: vec![member], tail: Vec::new() };
    let mut whole = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    remaker.write(plain, &mut whole).expect("nothing to miss");
    remaker.finish(&mut whole).expect("all was written");
    let mut walk = MemberScan::with_points(&recipe.members[0].model, 1);
    let (taken, is_done) = walk.push(&whole).expect("its own stream");
    assert!(is_done && taken == whole.len());
    let divided = DividedRecipe::new(recipe, walk.finish().points).expect("points as they must be");
    assert!(in_spans(&divided, plain).expect("its own points") == whole);
}

/// Remakes the spans last to first, as far as their bytes are there, then joins them.
fn in_spans(divided: &DividedRecipe, plain: &[u8]) -> Option<Vec<u8>> {
    let slice = |range: &std::ops::Range<u64>| {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        plain.get(start..end)
    };
    let steps: Vec<RemakeStep> = divided.steps().take(MOST_STEPS).collect();
    let mut made = Vec::new();
    for step in steps.iter().rev() {
        made.push(match step {
            RemakeStep::Span(span) => Some(span.remake(divided, slice(&span.reads)?).ok()?),
            RemakeStep::Serial { .. } => None,
        });
    }
    let (mut joiner, mut out) = (SpanJoiner::new(divided), Vec::new());
    for (step, made) in steps.iter().zip(made.into_iter().rev()) {
        match step {
            RemakeStep::Span(span) => joiner.push(span, made?, &mut out).ok()?,
            RemakeStep::Serial { plain } => joiner.serial(slice(plain)?, true, &mut out).ok()?,
        }
    }
    joiner.finish(&mut out).ok()?;
    Some(out)
}

/// Bytes that go on like the given ones without repeating them, so that there are copies to find.
fn longer(seed: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = seed.to_vec();
    while !seed.is_empty() && out.len() < bytes {
        let round = (out.len() / seed.len()).to_le_bytes();
        out.extend(seed.iter().enumerate().map(|(at, byte)| byte ^ (round[at % 3] & 5)));
    }
    out.truncate(bytes);
    out
}

/// More than a point of an encoder that parses in advance needs before and behind it.
const WALKED_BYTES: usize = 1_300_000;
const TOLD_BYTES: usize = 2_400_000;
const MOST_STEPS: usize = 64;
