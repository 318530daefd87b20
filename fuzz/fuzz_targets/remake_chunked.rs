//! Any recipe of a zstd:chunked layer and any stream give a blob, or an error.
//!
//! The input is a recipe behind its length, and a stream. The pieces of the stream do not change
//! the blob, and the frames of the blob hold the stream.
#![no_main]

use imgdelta_core::Limits;
use imgdelta_layer::{
    chunked::{ChunkedRecipe, ChunkedRemaker},
    remake::Remake,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((recipe, stream)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
    else {
        return;
    };
    let Ok(recipe) = ChunkedRecipe::from_bytes(recipe) else { return };
    assert_eq!(ChunkedRecipe::from_bytes(&recipe.to_bytes()).expect("just written"), recipe);
    let whole = remade(&recipe, stream, stream.len().max(1));
    assert_eq!(remade(&recipe, stream, 700), whole);
    if let Some(blob) = whole {
        let plain = zstd::decode_all(&blob[..]);
        assert!(plain.is_err() || plain.is_ok_and(|plain| plain == stream));
    }
});

fn remade(recipe: &ChunkedRecipe, stream: &[u8], piece_bytes: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let limits = Limits::default();
    let mut chunked = ChunkedRemaker::new(recipe, &limits);
    for piece in stream.chunks(piece_bytes) {
        chunked.push(piece, &mut out).ok()?;
    }
    chunked.finish(&mut out).ok()?;
    Some(out)
}
