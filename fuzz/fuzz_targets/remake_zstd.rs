//! Any bytes as a zstd stream: a recipe that remakes them bit for bit, or none. And any bytes as a
//! recipe with something to compress: a stream or an error. The same for files: they are decoded in
//! pieces of any length to the same bytes, and what a recipe makes is decoded to its content.
#![no_main]

use imgdelta_zstd::{
    DetectOptions, FileDecoder, FileRecipe, Recipe, RecipeLimits, Remaker, detect, detect_file,
};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

fuzz_target!(|bytes: &[u8]| {
    detected(bytes);
    if let Some((length, rest)) = bytes.split_at_checked(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (recipe, plain) = rest.split_at(length.min(rest.len()));
        followed(recipe, plain);
        file(bytes, length % 300 + 1);
        followed_file(recipe, plain);
    }
});

fn detected(blob: &[u8]) {
    let mut plain = Vec::new();
    let Ok(decoder) = zstd::Decoder::new(blob) else { return };
    // A short stream may promise gigabytes: what matters here is small enough to try.
    let read = decoder.take(MAX_PLAIN_BYTES).read_to_end(&mut plain);
    if !read.is_ok_and(|count| (count as u64) < MAX_PLAIN_BYTES) {
        return;
    }
    let Ok(found) = detect(blob, &plain[..], DetectOptions::default());
    let Some(recipe) = found else { return };
    let stored = recipe.to_bytes();
    let recipe = Recipe::from_bytes(&stored, RecipeLimits::default()).expect("just written");
    let mut remade = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    remaker.write(&plain, &mut remade).expect("the recipe was proved");
    remaker.finish(&mut remade).expect("the recipe was proved");
    assert_eq!(remade, blob);
}

fn followed(recipe: &[u8], plain: &[u8]) {
    let Ok(recipe) = Recipe::from_bytes(recipe, RecipeLimits::default()) else { return };
    let mut out = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    // In pieces that begin and end anywhere.
    let is_written = plain.chunks(777).all(|piece| remaker.write(piece, &mut out).is_ok());
    if is_written {
        let _ = remaker.finish(&mut out);
    }
}

/// Decodes a file in pieces; `None` if it is damaged or expands too far.
fn decoded(file: &[u8], piece: usize) -> Option<Vec<u8>> {
    let (mut plain, mut decoder) = (Vec::new(), FileDecoder::new()?);
    for piece in file.chunks(piece) {
        let is_right = decoder.push(piece, &mut |bytes| {
            plain.extend_from_slice(bytes);
            (plain.len() as u64) < MAX_PLAIN_BYTES
        });
        if !is_right {
            return None;
        }
    }
    decoder.finish().then_some(plain)
}

fn file(file: &[u8], piece: usize) {
    let whole = decoded(file, file.len().max(1));
    assert!(decoded(file, piece) == whole);
    let Some(plain) = whole else { return };
    let Ok(found) = detect_file(file, &plain[..], &[], DetectOptions::default());
    let Some(recipe) = found else { return };
    let limits = RecipeLimits::default();
    let recipe = FileRecipe::from_bytes(&recipe.to_bytes(), limits).expect("just written");
    assert!(made(&recipe, &plain).expect("the recipe was proved") == file);
}

fn followed_file(recipe: &[u8], plain: &[u8]) {
    let Ok(recipe) = FileRecipe::from_bytes(recipe, RecipeLimits::default()) else { return };
    if let Some(file) = made(&recipe, plain)
        && matches!(recipe, FileRecipe::OneFrame { .. })
    {
        assert!(decoded(&file, 100).as_deref() == Some(plain));
    }
}

fn made(recipe: &FileRecipe, plain: &[u8]) -> Option<Vec<u8>> {
    let recipe = recipe.frames(plain.len() as u64);
    let (mut out, mut remaker) = (Vec::new(), Remaker::new(&recipe));
    remaker.write(plain, &mut out).ok()?;
    remaker.finish(&mut out).ok()?;
    Some(out)
}

const MAX_PLAIN_BYTES: u64 = 1 << 20;
