//! Detects the encoder of a zstd file, remakes the file and compares.
//!
//! `cargo run --release -p imgdelta-zstd --example remake_zstd -- FILE.zst PLAIN`

use imgdelta_zstd::{DetectOptions, RecipePart, Remaker, detect};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [blob, plain] = &arguments[..] else { panic!("usage: remake_zstd FILE.zst PLAIN") };
    let (blob, plain) = (std::fs::read(blob)?, std::fs::read(plain)?);
    let start = Instant::now();
    let Ok(detected) = detect(&blob[..], &plain[..], DetectOptions::default());
    let Some(recipe) = detected else {
        println!("no encoder found, {:.2?}", start.elapsed());
        return Ok(());
    };
    let detect_time = start.elapsed();
    let frames = recipe.parts.iter().filter(|part| matches!(part, RecipePart::Frame(_))).count();
    let bytes = recipe.to_bytes().len();
    println!(
        "{:?}, {frames} frames, recipe of {bytes} bytes, detected in {detect_time:.2?}",
        recipe.model
    );
    let start = Instant::now();
    let mut remaker = Remaker::new(&recipe);
    let (mut out, mut at) = (Vec::new(), 0);
    for piece in plain.chunks(1 << 16) {
        remaker.write(piece, &mut out).expect("detection remade these bytes");
        assert!(blob[at..].starts_with(&out));
        at += out.len();
        out.clear();
    }
    remaker.finish(&mut out).expect("detection remade these bytes");
    assert_eq!(blob[at..], out);
    println!("{} plain bytes, remade in {:.2?}", plain.len(), start.elapsed());
    Ok(())
}
