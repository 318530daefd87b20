use super::{
    recipe::{ChunkedRecipeError, MOST_TEXT_BYTES},
    *,
};
use imgdelta_testkit::{
    chunked_layer::{CHUNKED_ROWS, ChunkedRow},
    sha256,
};
use proptest::prelude::*;

fn recipe(row: &ChunkedRow) -> ChunkedRecipe {
    ChunkedRecipe::from_bytes(&row.recipe_bytes()).unwrap()
}

fn made(recipe: &ChunkedRecipe, stream: &[u8], piece_bytes: usize) -> Result<Vec<u8>, Cause> {
    let mut out = Vec::new();
    let mut chunked = ChunkedRemaker::new(recipe, &Limits::default());
    for piece in stream.chunks(piece_bytes) {
        chunked.push(piece, &mut out)?;
    }
    chunked.finish(&mut out)?;
    Ok(out)
}

#[test]
fn blobs_of_containers_storage_are_rebuilt() {
    for row in &CHUNKED_ROWS {
        let layer = row.layer();
        for piece_bytes in [layer.len(), 256 << 10, 1000] {
            let blob = made(&recipe(row), &layer, piece_bytes).unwrap();
            assert_eq!(sha256(&blob), row.digest, "{}, by {piece_bytes}", row.writer);
            assert!(zstd::decode_all(&blob[..]).unwrap() == layer, "{}", row.writer);
        }
        assert_eq!(recipe(row).to_bytes(), row.recipe_bytes());
    }
}

#[test]
fn malformed_recipes_are_refused() {
    let whole = CHUNKED_ROWS[4].recipe_bytes();
    assert_eq!(ChunkedRecipe::from_bytes(&[]), Err(ChunkedRecipeError::Malformed));
    let mut later = whole.clone();
    later[0] = 2;
    assert_eq!(ChunkedRecipe::from_bytes(&later), Err(ChunkedRecipeError::Version(2)));
    let mut unknown = whole.clone();
    unknown[1] |= 16;
    assert_eq!(ChunkedRecipe::from_bytes(&unknown), Err(ChunkedRecipeError::Malformed));
    // Behind the fields comes the footer, which may have any length.
    let fields = whole.windows(4).position(|window| window == SKIPPABLE).unwrap();
    for bytes in 0..fields {
        assert!(ChunkedRecipe::from_bytes(&whole[..bytes]).is_err(), "{bytes} bytes");
    }
    let mut long = recipe(&CHUNKED_ROWS[4]);
    long.contents_bytes = MOST_TEXT_BYTES + 1;
    assert_eq!(ChunkedRecipe::from_bytes(&long.to_bytes()), Err(ChunkedRecipeError::Malformed));
}

#[test]
fn texts_of_another_length_are_an_error() {
    let (layer, recipe) = (CHUNKED_ROWS[4].layer(), recipe(&CHUNKED_ROWS[4]));
    for (bytes, word) in [(1, "more"), (u64::MAX, "fewer")] {
        let mut wrong = recipe.clone();
        wrong.contents_bytes = wrong.contents_bytes.wrapping_sub(bytes);
        let error = made(&wrong, &layer, 9999).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    // A stream that is not a tar has no files.
    let error = made(&recipe, &[7; 5000], 999).unwrap_err().to_string();
    assert!(error.contains("table of contents"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn other_streams_and_recipes_do_no_harm(
        at in 0..2_000_000usize, bytes in prop::collection::vec(any::<u8>(), 1..600),
        cut in 0..2_000_000usize, row in 0..CHUNKED_ROWS.len(), flags in 0..16u8, wrong in 0..60usize,
        piece_bytes in 1..300_000usize,
    ) {
        let mut stream = CHUNKED_ROWS[row].layer();
        let end = stream.len();
        let at = at % end;
        let until = (at + bytes.len()).min(end);
        stream[at..until].copy_from_slice(&bytes[..until - at]);
        stream.truncate(cut);
        let mut recipe = CHUNKED_ROWS[row].recipe_bytes();
        recipe[1] = flags;
        if let Some(byte) = recipe.get_mut(wrong) {
            *byte ^= bytes[0];
        }
        if let Ok(recipe) = ChunkedRecipe::from_bytes(&recipe) {
            let _ = made(&recipe, &stream, piece_bytes);
        }
    }
}
