//! Detects the encoders of the members of zip archives (jars, wheels), remakes them and compares.
//!
//! `cargo run --release -p imgdelta-deflate --example zip_members -- ARCHIVE...`
//! prints the number of members by model for each archive, and the times.

use imgdelta_deflate::{DetectOptions, Detector, EncoderCache, EncoderModel, inflate};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut is_exact = true;
    for path in std::env::args().skip(1) {
        is_exact &= archive(&path, &std::fs::read(&path)?)?;
    }
    if is_exact { Ok(()) } else { Err("not all members could be remade".into()) }
}

fn archive(path: &str, bytes: &[u8]) -> Result<bool, Box<dyn Error>> {
    let members = deflated_members(bytes).ok_or("not a zip archive")?;
    let started = Instant::now();
    let mut detector = Detector::new(DetectOptions::default());
    let recipes: Vec<_> = members.iter().map(|member| detector.raw(member)).collect();
    let detected = started.elapsed();

    let mut plains = Vec::new();
    let mut stream = inflate::InflateStream::new();
    for member in &members {
        let mut plain = Vec::new();
        stream.reset();
        stream.push(member, &mut (), |bytes| plain.extend_from_slice(bytes))?;
        plains.push(plain);
    }

    let started = Instant::now();
    let mut encoders = EncoderCache::new();
    let (mut is_exact, mut counts) = (true, BTreeMap::<String, (usize, usize)>::new());
    let mut out = Vec::new();
    for ((recipe, plain), member) in recipes.iter().zip(&plains).zip(&members) {
        let Some(recipe) = recipe else {
            is_exact = false;
            continue;
        };
        out.clear();
        encoders.remake(recipe, plain, &mut out)?;
        is_exact &= out == *member;
        let (name, side_bytes) = match &recipe.members[0].model {
            EncoderModel::Tokens(record) => ("token records".to_owned(), record.len()),
            model => (format!("{model:?}"), 0),
        };
        let count = counts.entry(name).or_default();
        *count = (count.0 + 1, count.1 + side_bytes);
    }
    let remade = started.elapsed();
    let plain_bytes: usize = plains.iter().map(Vec::len).sum();
    println!(
        "{path}: {}, {} members of {plain_bytes} bytes, detect {detected:.2?}, remake {remade:.2?}",
        if is_exact { "exact" } else { "DIFFERS" },
        members.len(),
    );
    for (model, (count, side_bytes)) in counts {
        println!("  {count} {model}, {side_bytes} bytes recorded");
    }
    Ok(is_exact)
}

/// Returns the compressed bytes of every deflated member.
fn deflated_members(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let number = |at: usize, bytes_wide: usize| -> Option<usize> {
        let field = bytes.get(at..at + bytes_wide)?;
        Some(field.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let mut at = number(end + 16, 4)?;
    let mut members = Vec::new();
    while bytes.get(at..at + 4)? == b"PK\x01\x02" {
        let (method, size, local) = (number(at + 10, 2)?, number(at + 20, 4)?, number(at + 42, 4)?);
        if method == 8 && size > 0 {
            let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
            members.push(bytes.get(start..start + size)?);
        }
        at += 46 + number(at + 28, 2)? + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    Some(members)
}
