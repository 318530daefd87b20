//! Digests as lists of files spell them.
//! Never searches for a digest: recipes name the places, and makers find them.

use imgdelta_core::{Algorithm, verify::Hasher};
use imgdelta_format::recipe::DigestSpelling;
use md5::{Digest as _, Md5};
use sha1::Sha1;

/// A running hash of a payload, for one spelling.
#[derive(Debug)]
pub struct SpelledHasher {
    spelling: DigestSpelling,
    engine: HashEngine,
}

#[derive(Debug)]
enum HashEngine {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Hasher),
}

impl SpelledHasher {
    /// Starts a hash.
    pub fn new(spelling: DigestSpelling) -> Self {
        let engine = match spelling {
            DigestSpelling::Md5Hex => HashEngine::Md5(Md5::new()),
            DigestSpelling::Sha1Base64 => HashEngine::Sha1(Sha1::new()),
            DigestSpelling::Sha256Hex | DigestSpelling::Sha256Base64Url => {
                HashEngine::Sha256(Hasher::new(Algorithm::Sha256))
            }
        };
        Self { spelling, engine }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.engine {
            HashEngine::Md5(engine) => engine.update(bytes),
            HashEngine::Sha1(engine) => engine.update(bytes),
            HashEngine::Sha256(engine) => engine.update(bytes),
        }
    }

    /// Returns the digest in its spelling, as long as [`DigestSpelling::bytes`].
    pub fn finish(self) -> Vec<u8> {
        let digest = match self.engine {
            HashEngine::Md5(engine) => engine.finalize().to_vec(),
            HashEngine::Sha1(engine) => engine.finalize().to_vec(),
            HashEngine::Sha256(engine) => engine.finish_blob().as_bytes().to_vec(),
        };
        match self.spelling {
            DigestSpelling::Md5Hex | DigestSpelling::Sha256Hex => hexadecimal(&digest),
            DigestSpelling::Sha256Base64Url => base64(&digest, *b"-_"),
            DigestSpelling::Sha1Base64 => [&base64(&digest, *b"+/")[..], b"="].concat(),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Spells bytes in base64 without padding, with these last two digits.
fn base64(bytes: &[u8], last: [u8; 2]) -> Vec<u8> {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let spelled = |value: usize| DIGITS.get(value).copied().unwrap_or(last[value & 1]);
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..=three.len() {
            out.push(spelled((bits >> (18 - 6 * digit) & 63) as usize));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_spelled_as_the_tools_do() {
        for (spelling, expected) in [
            (DigestSpelling::Md5Hex, "900150983cd24fb0d6963f7d28e17f72"),
            (
                DigestSpelling::Sha256Hex,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (DigestSpelling::Sha256Base64Url, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"),
            (DigestSpelling::Sha1Base64, "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
        ] {
            let mut hasher = SpelledHasher::new(spelling);
            hasher.update(b"a");
            hasher.update(b"bc");
            let found = hasher.finish();
            assert_eq!(String::from_utf8_lossy(&found), expected);
            assert_eq!(found.len(), spelling.bytes());
        }
    }
}
