//! What benches share: layers that look like real ones.
//!
//! The same bytes every time; measures nothing itself.

/// Returns the tar of a layer with that many files of mixed sizes, a share of them edited by
/// `version`: every eighth file differs between two versions.
pub fn layer(files: usize, version: u64) -> Vec<u8> {
    let contents: Vec<(String, Vec<u8>)> = (0..files)
        .map(|n| {
            let edit = if n.is_multiple_of(8) { version } else { 0 };
            (
                format!("usr/share/dir{}/file{n}", n % 97),
                words(n as u64 ^ edit << 32, 200 << (n % 9)),
            )
        })
        .collect();
    let borrowed: Vec<(&str, &[u8])> =
        contents.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    imgdelta_testkit::tar_of(&borrowed)
}

/// Text that compresses about as programs do: words from a small vocabulary, by a xorshift.
fn words(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("{:x} ", state % 4093).as_bytes());
    }
    out.truncate(len);
    out
}
