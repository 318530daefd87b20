//! Encodes and decodes pairs of files and prints sizes and speeds.
//!
//! `cargo run --release --example pair -- [fast|default|best] BASE TARGET [BASE TARGET]...`
//! puts every pair into one group.

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, StreamKind};
use imgdelta_coding::pack::{self, Packer};
use std::{env, error::Error, fs, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = env::args().skip(1).collect();
    let effort = match words.first().map(String::as_str) {
        Some("fast") => Some(Effort::Fast),
        Some("default") => Some(Effort::Default),
        Some("best") => Some(Effort::Best),
        _ => None,
    };
    if effort.is_some() {
        words.remove(0);
    }
    // A list of pairs, one path a line, alternating, may be too long for a command line.
    if let [list] = words.as_slice() {
        words = fs::read_to_string(list)?.lines().map(str::to_owned).collect();
    }
    let mut pairs = Vec::new();
    for pair in words.chunks_exact(2) {
        pairs.push((fs::read(&pair[0])?, fs::read(&pair[1])?));
    }
    let target_bytes: usize = pairs.iter().map(|(_, target)| target.len()).sum();

    let start = Instant::now();
    let mut encoder = GroupEncoder::new(effort.unwrap_or_default());
    for (i, (base, target)) in pairs.iter().enumerate() {
        let stats = encoder.member(base, target);
        if pairs.len() < 50 {
            println!("{} {stats:?}", words[2 * i + 1]);
        }
    }
    let matched = start.elapsed();
    let streams = encoder.stream_lengths();
    let group = encoder.finish();
    let encoded = start.elapsed();
    // The peak memory of the process: less the files read, it is the encoder's.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();

    let mut fastest = f64::MAX;
    let before = cpu_ticks();
    let mut targets: Vec<_> = pairs.iter().map(|(_, target)| vec![0; target.len()]).collect();
    for _ in 0..5 {
        let start = Instant::now();
        let mut decoder = GroupDecoder::open(&group, &GroupLimits::default())?;
        for ((base, _), rebuilt) in pairs.iter().zip(&mut targets) {
            decoder.member(base, rebuilt)?;
        }
        decoder.finish()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    let ticks = cpu_ticks() - before;
    for ((_, target), rebuilt) in pairs.iter().zip(&targets) {
        assert!(target == rebuilt, "the decoder rebuilt something else");
    }
    let raw = pack::unpack_group(&group, StreamKind::ALL.len(), 1 << 30)?;
    let mut packer = Packer::new(19);
    for (stream, raw) in StreamKind::ALL.into_iter().zip(&raw) {
        let raw_bytes = streams.bytes(stream);
        if raw_bytes > 0 {
            println!("  {:18} {raw_bytes:>10} {:>10}", stream.name(), packer.estimate(raw));
            if let Ok(d) = env::var("STREAMS") {
                fs::write(format!("{d}/{}", stream.name().replace(' ', "_")), raw)?;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a speed for the eye")]
    let megabytes = target_bytes as f64 / 1e6;
    println!("  most memory, base and target included:{peak}");
    println!("  CPU: encode {} ms, decode {} ms", before * 10, ticks * 2);
    println!(
        "target {target_bytes} group {} | {:.2} s before packing, {:.2} s in all, {:.1} MB/s | decode {:.0} MB/s",
        group.len(),
        matched.as_secs_f64(),
        encoded.as_secs_f64(),
        megabytes / encoded.as_secs_f64(),
        megabytes / fastest,
    );
    Ok(())
}

/// Returns the hundredths of a second that this process has used.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
