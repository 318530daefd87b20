//! The plain bytes of the golden vectors, made by arithmetic so that none need be stored.
//!
//! Never changes: the digests in testdata/deflate/golden.tsv are of these bytes compressed.

// Chosen bits of a number are what is wanted, whatever its width.
#![allow(clippy::cast_possible_truncation)]

/// Names of all inputs.
pub const NAMES: [&str; 6] = ["empty", "tiny", "text", "noise", "zero", "mixed"];

/// Returns an input by name.
pub fn input(name: &str) -> Vec<u8> {
    match name {
        "empty" => Vec::new(),
        "tiny" => text(1, 100),
        "text" => text(2, 300_000),
        "noise" => noise(3, 150_000),
        "zero" => vec![0; 300_000],
        "mixed" => [
            text(4, 400_000),
            noise(5, 200_000),
            vec![0; 100_000],
            records(6, 400_000),
            text(4, 150_000),
            records(7, 90_000),
        ]
        .concat(),
        other => panic!("no input called {other}"),
    }
}

/// A small generator of numbers (xorshift).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Words with a skewed distribution, lines, and repeated phrases.
fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let words: Vec<Vec<u8>> = (0..2000)
        .map(|_| {
            let length = 1 + numbers.next() % 9;
            (0..length).map(|_| b"etaoinshrdlucmfwypvbgkqjxz"[skewed(&mut numbers, 26)]).collect()
        })
        .collect();
    let mut out = Vec::with_capacity(bytes + 600);
    while out.len() < bytes {
        if numbers.next().is_multiple_of(40) && out.len() > 1000 {
            let from = out.len() - 1 - numbers.next() as usize % out.len().min(50_000);
            let phrase =
                out[from..out.len().min(from + 5 + numbers.next() as usize % 500)].to_vec();
            out.extend(phrase);
        }
        out.extend(&words[skewed(&mut numbers, words.len())]);
        out.push(if numbers.next().is_multiple_of(11) { b'\n' } else { b' ' });
    }
    out.truncate(bytes);
    out
}

/// Records of 16 bytes that look a little like machine code or tables.
fn records(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let mut out = Vec::with_capacity(bytes + 16);
    let mut address = 0x40_0000u32;
    while out.len() < bytes {
        address += (numbers.next() % 64) as u32;
        out.extend(address.to_le_bytes());
        out.extend([0x48, 0x8b, (numbers.next() % 8) as u8, 0]);
        out.extend(((numbers.next() % 5000) as u32).to_be_bytes());
        out.extend([0; 3]);
        out.push(skewed(&mut numbers, 256) as u8);
    }
    out.truncate(bytes);
    out
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    (0..bytes).map(|_| (numbers.next() >> 32) as u8).collect()
}

fn skewed(numbers: &mut Numbers, below: usize) -> usize {
    let (a, b) = (numbers.next() as usize % below, numbers.next() as usize % below);
    a * b / below
}
