//! Any bytes as an xz file: unpacked in pieces of any length to the same bytes, or an error.
//! If an encoder is found, it makes the file again. Any bytes as a recipe and its content: what is
//! made is unpacked to the content.
#![no_main]

use imgdelta_xz::{DecodeOptions, DetectOptions, Recipe, RecipeLimits, Remaker, XzDecoder, detect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, rest)) = bytes.split_first() else { return };
    let piece = usize::from(*piece) + 1;
    let whole = unpacked(rest, rest.len().max(1));
    assert!(unpacked(rest, piece) == whole);
    if let Some(plain) = whole {
        let mut options = DetectOptions::default();
        options.plain_bytes = MOST_PLAIN as u64;
        if let Some(recipe) = detect(rest, options) {
            assert!(made(&recipe, &plain).as_deref() == Some(rest));
        }
    }
    let Some((length, rest)) = rest.split_first() else { return };
    let Some((recipe, plain)) = rest.split_at_checked(usize::from(*length)) else { return };
    let mut limits = RecipeLimits::default();
    limits.window_bytes = 1 << 20;
    let Ok(recipe) = Recipe::from_bytes(recipe, limits) else { return };
    assert_eq!(Recipe::from_bytes(&recipe.to_bytes(), limits).as_ref(), Ok(&recipe));
    if let Some(file) = made(&recipe, plain)
        && !recipe.streams.is_empty()
    {
        assert!(unpacked(&file, piece).as_deref() == Some(plain));
    }
});

/// Unpacks a file in pieces; `None` if it is damaged or expands too far.
fn unpacked(stored: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut options = DecodeOptions::default();
    options.window_bytes = 1 << 20;
    let (mut plain, mut decoder) = (Vec::new(), XzDecoder::new(options));
    for piece in stored.chunks(piece) {
        decoder.push(piece, &mut |bytes| plain.extend_from_slice(bytes)).ok()?;
    }
    decoder.finish().ok()?;
    Some(plain).filter(|plain| plain.len() <= MOST_PLAIN)
}

fn made(recipe: &Recipe, plain: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut remaker) = (Vec::new(), Remaker::new(recipe));
    remaker.write(plain, &mut out).ok()?;
    remaker.finish(&mut out).ok()?;
    Some(out)
}

const MOST_PLAIN: usize = 1 << 20;
