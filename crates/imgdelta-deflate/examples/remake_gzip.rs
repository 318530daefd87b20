//! Detects the encoders of gzip files, remakes the files and compares.
//!
//! `cargo run --release -p imgdelta-deflate --example remake_gzip -- FILE.gz...`
//! prints the model of each file, the bytes of side information and the speeds.

use imgdelta_deflate::{DetectOptions, EncoderModel, GzipHeader, Remaker, detect_gzip, inflate};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut is_exact = true;
    for path in std::env::args().skip(1) {
        let compressed = std::fs::read(&path)?;
        is_exact &= remake(&path, &compressed)?;
    }
    if is_exact { Ok(()) } else { Err("not all files could be remade".into()) }
}

fn remake(path: &str, compressed: &[u8]) -> Result<bool, Box<dyn Error>> {
    let started = Instant::now();
    let Some(recipe) = detect_gzip(compressed, DetectOptions::default()) else {
        println!("{path}: no recipe");
        return Ok(false);
    };
    let detected = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let plain = inflate_members(compressed)?;
    let inflated = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let mut remaker = Remaker::new(&recipe);
    let mut out = Vec::with_capacity(compressed.len());
    for chunk in plain.chunks(256 * 1024) {
        remaker.write(chunk, &mut out)?;
    }
    remaker.finish(&mut out)?;
    let remade = started.elapsed().as_secs_f64();

    let side_bytes = recipe.to_bytes().len();
    #[expect(clippy::cast_precision_loss, reason = "the numbers are only printed")]
    let (side, whole, megabytes) =
        (side_bytes as f64, compressed.len() as f64, plain.len() as f64 / 1e6);
    println!(
        "{path}: {} {}, {side_bytes} side bytes ({:.3} %), detect {:.1} MB/s, inflate {:.0} MB/s, \
         remake {:.1} MB/s",
        if out == compressed { "exact" } else { "DIFFERS" },
        describe(&recipe.members[0].model),
        side * 100.0 / whole,
        megabytes / detected,
        megabytes / inflated,
        megabytes / remade,
    );
    Ok(out == compressed)
}

fn describe(model: &EncoderModel) -> String {
    match model {
        EncoderModel::Tokens(record) => format!("token record of {} bytes", record.len()),
        other => format!("{other:?}"),
    }
}

fn inflate_members(mut compressed: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut plain = Vec::new();
    while let Ok(header) = GzipHeader::parse(compressed) {
        let mut stream = inflate::InflateStream::new();
        let body = &compressed[header.header_bytes..];
        let (used, is_done) = stream.push(body, &mut (), |bytes| plain.extend_from_slice(bytes))?;
        if !is_done {
            return Err(stream.truncated().into());
        }
        compressed = body.get(used + 8..).unwrap_or_default();
    }
    Ok(plain)
}
