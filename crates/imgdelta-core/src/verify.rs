//! Hashing of bytes that pass by, and the proof that they are right.
//!
//! Only [`BlobCheck::finish`] makes a [`VerifiedBlob`]. Never reads or writes files.

use crate::{Algorithm, BlobDigest, DiffId, Difference, Error, Result};
use std::fmt;

/// A running hash of either supported function.
///
/// The `assembly` feature uses ring, which takes about half the time of portable code on processors
/// without SHA instructions.
pub struct Hasher {
    algorithm: Algorithm,
    engine: Engine,
}

#[cfg(feature = "assembly")]
type Engine = ring::digest::Context;

#[cfg(not(feature = "assembly"))]
type Engine = portable::Engine;

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, engine: engine(algorithm) }
    }

    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.engine.update(bytes);
    }

    /// Ends the hash as a digest of stored bytes.
    pub fn finish_blob(self) -> BlobDigest {
        let algorithm = self.algorithm;
        BlobDigest::new(algorithm, self.engine.finish().as_ref()).expect("a hash of its own length")
    }

    /// Ends the hash as a digest of an uncompressed stream.
    pub fn finish_diff_id(self) -> DiffId {
        let algorithm = self.algorithm;
        DiffId::new(algorithm, self.engine.finish().as_ref()).expect("a hash of its own length")
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm.name())
    }
}

#[cfg(feature = "assembly")]
fn engine(algorithm: Algorithm) -> Engine {
    ring::digest::Context::new(match algorithm {
        Algorithm::Sha256 => &ring::digest::SHA256,
        Algorithm::Sha512 => &ring::digest::SHA512,
    })
}

#[cfg(not(feature = "assembly"))]
use portable::engine;

#[cfg_attr(
    all(feature = "assembly", not(test)),
    expect(dead_code, reason = "the other engine is in use")
)]
mod portable {
    use crate::Algorithm;
    use sha2::{Digest, Sha256, Sha512};

    pub(super) enum Engine {
        Short(Sha256),
        Long(Sha512),
    }

    pub(super) fn engine(algorithm: Algorithm) -> Engine {
        match algorithm {
            Algorithm::Sha256 => Engine::Short(Sha256::new()),
            Algorithm::Sha512 => Engine::Long(Sha512::new()),
        }
    }

    impl Engine {
        pub(super) fn update(&mut self, bytes: &[u8]) {
            match self {
                Self::Short(hash) => hash.update(bytes),
                Self::Long(hash) => hash.update(bytes),
            }
        }

        pub(super) fn finish(self) -> Vec<u8> {
            match self {
                Self::Short(hash) => hash.finalize().to_vec(),
                Self::Long(hash) => hash.finalize().to_vec(),
            }
        }
    }
}

/// Compares a blob's bytes with its digest and size while they pass.
#[derive(Debug)]
pub struct BlobCheck {
    digest: BlobDigest,
    size_bytes: u64,
    seen_bytes: u64,
    hasher: Hasher,
}

impl BlobCheck {
    /// Starts a check of the blob that should have this digest and size.
    pub fn new(digest: BlobDigest, size_bytes: u64) -> Self {
        Self { digest, size_bytes, seen_bytes: 0, hasher: Hasher::new(digest.algorithm()) }
    }

    /// Returns the digest that the bytes should have.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// Returns how errors name the blob.
    pub fn place(&self) -> String {
        format!("blob {}", self.digest)
    }

    /// Adds bytes. Fails as soon as they exceed the size, so that an endless blob ends.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen_bytes += bytes.len() as u64;
        if self.seen_bytes > self.size_bytes {
            let (expected, found) = (self.size_bytes, self.seen_bytes);
            return Err(self.mismatch(Difference::Longer { expected, found }));
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Ends the check.
    pub fn finish(self) -> Result<VerifiedBlob> {
        if self.seen_bytes != self.size_bytes {
            let (expected, found) = (self.size_bytes, self.seen_bytes);
            return Err(self.mismatch(Difference::Size { expected, found }));
        }
        let place = self.place();
        let found = self.hasher.finish_blob();
        if found != self.digest {
            return Err(Error::Mismatch {
                place,
                difference: Difference::Digest { expected: self.digest, found },
            });
        }
        Ok(VerifiedBlob { digest: found, size_bytes: self.size_bytes })
    }

    fn mismatch(&self, difference: Difference) -> Error {
        Error::Mismatch { place: self.place(), difference }
    }
}

/// Proof that a blob's bytes have this digest and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedBlob {
    digest: BlobDigest,
    size_bytes: u64,
}

impl VerifiedBlob {
    /// Returns the digest that was compared.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// Returns the number of bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_answers() {
        let hash = |algorithm, bytes: &[u8]| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(bytes);
            hasher.finish_blob().to_string()
        };
        assert_eq!(hash(Algorithm::Sha256, b"abc"), ABC);
        assert!(hash(Algorithm::Sha512, b"abc").starts_with("sha512:ddaf35a193617aba"));
    }

    #[cfg(feature = "assembly")]
    #[test]
    fn both_engines_agree() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| ((n * 7) >> 3).to_le_bytes()[0]).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            let mut other = portable::engine(algorithm);
            for piece in bytes.chunks(977) {
                hasher.update(piece);
                other.update(piece);
            }
            assert_eq!(hasher.finish_blob().as_bytes(), other.finish());
        }
    }

    #[test]
    fn only_the_promised_bytes_make_a_verified_blob() {
        let check = |bytes: &[u8], size| {
            let mut check = BlobCheck::new(ABC.parse().unwrap(), size);
            check.update(bytes)?;
            check.finish()
        };
        assert_eq!(check(b"abc", 3).unwrap().digest().to_string(), ABC);
        let message = |outcome: Result<VerifiedBlob>| outcome.unwrap_err().to_string();
        assert!(message(check(b"abd", 3)).contains(&format!("should be {ABC}")));
        assert!(message(check(b"ab", 3)).contains("size is 2 bytes, should be 3 bytes"));
        assert!(message(check(b"abcd", 3)).contains("size is at least 4 bytes"));
    }
}
