//! Compares the output of the model with digests of the real encoder's output.
//!
//! testdata/xz/make.sh wrote the digests; this test generates the inputs.

use crate::inputs;
use imgdelta_xz::{Recipe, RecipeLimits, Remaker};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;

const GOLDEN: &str = include_str!("../../../../testdata/xz/golden.tsv");

#[test]
fn recipes_make_what_xz_made() {
    let inputs: HashMap<&str, Vec<u8>> =
        inputs::NAMES.into_iter().map(|name| (name, inputs::input(name))).collect();
    let (mut rows, mut unknown) = (0, 0);
    let mut limits = RecipeLimits::default();
    // The highest preset.
    limits.window_bytes = 64 << 20;
    for row in GOLDEN.lines().filter(|row| !row.starts_with('#')) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [_version, _parameters, input, recipe, bytes, digest] = fields[..] else {
            panic!("row {row}")
        };
        if recipe.is_empty() {
            // No packed chunk shows the properties, and only usual ones are tried.
            unknown += 1;
            continue;
        }
        let recipe = Recipe::from_bytes(&unhex(recipe), limits).unwrap();
        let mut out = Vec::new();
        let mut remaker = Remaker::new(&recipe);
        for piece in inputs[input].chunks(10_007) {
            remaker.write(piece, &mut out).unwrap();
        }
        remaker.finish(&mut out).unwrap();
        assert_eq!(out.len().to_string(), bytes, "{row}");
        assert_eq!(hex(&Sha256::digest(&out)), digest, "{row}");
        rows += 1;
    }
    assert_eq!((rows, unknown), ROWS);
}

/// Rows of the table with and without a recipe, so that none is lost.
const ROWS: (usize, usize) = (80, 1);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}
