//! Layers and programs for benches that look like real ones: the same bytes every time.
//!
//! Never measures.

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

/// Returns an x86-64 program of that many functions, which call one another and read data; `version` inserts
/// a function before every hundredth of them, so that most references change.
pub fn program(functions: usize, version: u64) -> Vec<u8> {
    const CODE: u64 = 0x40_1000;
    let names = (0..functions as u64).flat_map(|n| {
        let inserted = (version > 0 && n % 100 == 50).then_some(n << 8 | version);
        inserted.into_iter().chain([n << 8])
    });
    let names: Vec<u64> = names.collect();
    let len = |name: u64| 64 + 16 * (name >> 8) % 7 * 16;
    let mut end = CODE;
    let starts: Vec<u64> = names.iter().map(|&name| (end, end += len(name)).0).collect();
    // Called by name, not by place: the same function in every version.
    let place = |name: u64| starts[names.binary_search(&name).unwrap_or(0)];
    let mut file = vec![0; 0x1000];
    for (&name, &start) in names.iter().zip(&starts) {
        let mut state = name.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while file.len() as u64 - 0x1000 + CODE + 16 <= start + len(name) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let here = file.len() as u64 - 0x1000 + CODE;
            let callee = place((state % functions as u64) << 8);
            let distance = callee.wrapping_sub(here + 16).to_le_bytes();
            file.extend([0x48, 0x89, 0xC0 | state.to_le_bytes()[3] & 0x3F, 0x48, 0x8B, 0x45, 0xE8]);
            file.extend([0x48, 0x63, state.to_le_bytes()[5], 0xE8]);
            file.extend_from_slice(&distance[..4]);
            file.push(0x90);
        }
        let end = usize::try_from(start + len(name) - CODE).expect("a bench's program is small");
        file.resize(end + 0x1000, 0xCC);
    }
    let code_len = file.len() as u64 - 0x1000;
    let data_at = file.len() as u64;
    for start in &starts {
        file.extend(start.to_le_bytes());
    }
    let data_len = file.len() as u64 - data_at;
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, value: u64, len: usize| {
        file[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    };
    for (at, value) in [(18, 62), (54, 56), (56, 2)] {
        put(at, value, 2);
    }
    put(32, 64, 8);
    let segments = [(5, 0x1000, CODE, code_len), (6, data_at, 0x4000_0000 + data_at, data_len)];
    for (at, (flags, offset, address, len)) in [64, 120].into_iter().zip(segments) {
        put(at, 1, 4);
        put(at + 4, flags, 4);
        for (field, value) in [(8, offset), (16, address), (32, len), (40, len)] {
            put(at + field, value, 8);
        }
    }
    file
}
