//! Detects the encoders of gzip files, remakes the files and compares.
//!
//! `cargo run --release -p imgdelta-deflate --example remake_gzip -- FILE.gz...`
//! prints the model of each file, the bytes of side information and the speeds, and all of them
//! together. Speeds are plain bytes in a second of processor time on Linux, of elapsed time elsewhere.

use imgdelta_deflate::{DetectOptions, EncoderModel, GzipHeader, Remaker, detect_gzip, inflate};
use std::error::Error;
use std::time::{Duration, Instant};

/// Processor time of this thread, as other programs do not change it.
struct Stopwatch {
    started: Instant,
    processor: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { started: Instant::now(), processor: processor_time() }
    }

    fn seconds(&self) -> f64 {
        let processor =
            processor_time().zip(self.processor).map(|(now, then)| now.saturating_sub(then));
        processor.unwrap_or_else(|| self.started.elapsed()).as_secs_f64()
    }
}

/// Returns the processor time of this thread, as Linux reports it.
fn processor_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Sums over all files.
#[derive(Default)]
struct Totals {
    files: usize,
    compressed_bytes: usize,
    plain_bytes: usize,
    modelled_bytes: usize,
    side_bytes: usize,
    detect_seconds: f64,
    remake_seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut is_exact = true;
    let mut totals = Totals::default();
    for path in std::env::args().skip(1) {
        let compressed = std::fs::read(&path)?;
        is_exact &= remake(&path, &compressed, &mut totals)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "the numbers are only printed")]
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    println!(
        "{} files of {:.1} MB, {:.1} MB plain: {:.1} % by a model, {:.3} % side information, \
         detect {:.1} MB/s, remake {:.1} MB/s",
        totals.files,
        megabytes(totals.compressed_bytes),
        megabytes(totals.plain_bytes),
        megabytes(totals.modelled_bytes) * 100.0 / megabytes(totals.compressed_bytes),
        megabytes(totals.side_bytes) * 100.0 / megabytes(totals.compressed_bytes),
        megabytes(totals.plain_bytes) / totals.detect_seconds,
        megabytes(totals.plain_bytes) / totals.remake_seconds,
    );
    if is_exact { Ok(()) } else { Err("not all files could be remade".into()) }
}

fn remake(path: &str, compressed: &[u8], totals: &mut Totals) -> Result<bool, Box<dyn Error>> {
    let started = Stopwatch::start();
    let Some(recipe) = detect_gzip(compressed, DetectOptions::default()) else {
        println!("{path}: no recipe");
        return Ok(false);
    };
    let detected = started.seconds();

    let started = Stopwatch::start();
    let plain = inflate_members(compressed)?;
    let inflated = started.seconds();

    let started = Stopwatch::start();
    let mut remaker = Remaker::new(&recipe);
    let mut out = Vec::with_capacity(compressed.len());
    for chunk in plain.chunks(256 * 1024) {
        remaker.write(chunk, &mut out)?;
    }
    remaker.finish(&mut out)?;
    let remade = started.seconds();

    let side_bytes = recipe.to_bytes().len();
    let is_recorded =
        |member: &imgdelta_deflate::RecipeMember| matches!(member.model, EncoderModel::Tokens(_));
    totals.files += 1;
    totals.compressed_bytes += compressed.len();
    totals.plain_bytes += plain.len();
    totals.modelled_bytes +=
        if recipe.members.iter().any(is_recorded) { 0 } else { compressed.len() };
    totals.side_bytes += side_bytes;
    totals.detect_seconds += detected;
    totals.remake_seconds += remade;
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
