//! Digests as types: one for each kind of hashed bytes, so that two kinds are never mixed up.
//! Never hashes: a digest is made elsewhere, or parsed from a stranger's text.
//!
//! [`BlobDigest`] names stored (compressed) bytes, [`DiffId`] an uncompressed layer stream, and
//! [`PayloadDigest`] the content of one file. None converts into another.

use std::{fmt, str::FromStr};

/// A hash function for the digests of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which practically every image uses.
    Sha256,
    /// SHA-512, which the image specification also registers.
    Sha512,
}

impl Algorithm {
    /// Returns the number of bytes of a digest.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the name used before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// Reason why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseDigestError {
    /// There is no `algorithm:` in front.
    NoAlgorithm(String),
    /// The algorithm is not supported.
    UnknownAlgorithm(String),
    /// The part after the colon is not the right number of lower-case hexadecimal digits.
    NotHex {
        /// The algorithm that was named.
        algorithm: Algorithm,
        /// The whole text.
        text: String,
    },
}

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAlgorithm(text) => {
                write!(f, "{:?} is not a digest: expected ALGORITHM:HEX", Shortened(text))
            }
            Self::UnknownAlgorithm(name) => write!(
                f,
                "digest algorithm {:?} is not supported: expected sha256 or sha512",
                Shortened(name)
            ),
            Self::NotHex { algorithm, text } => write!(
                f,
                "{:?} is not a {} digest: expected {} lower-case hexadecimal digits",
                Shortened(text),
                algorithm.name(),
                algorithm.digest_bytes() * 2
            ),
        }
    }
}

impl std::error::Error for ParseDigestError {}

/// Text from a stranger, cut so that an error fits a line.
struct Shortened<'a>(&'a str);

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_CHARS) {
            Some((cut, _)) => write!(f, "{:?}…", &self.0[..cut]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RawDigest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl RawDigest {
    fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        if value.len() != algorithm.digest_bytes() {
            return None;
        }
        bytes[..value.len()].copy_from_slice(value);
        Some(Self { algorithm, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_bytes()]
    }

    fn parse(text: &str) -> Result<Self, ParseDigestError> {
        let (name, hex) =
            text.split_once(':').ok_or_else(|| ParseDigestError::NoAlgorithm(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(ParseDigestError::UnknownAlgorithm(other.to_owned())),
        };
        parse_hex(algorithm, hex)
            .ok_or_else(|| ParseDigestError::NotHex { algorithm, text: text.to_owned() })
    }
}

fn parse_hex(algorithm: Algorithm, hex: &str) -> Option<RawDigest> {
    // The specification allows lower case only; with both, one blob would have two names.
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if hex.len() != algorithm.digest_bytes() * 2 {
        return None;
    }
    let mut bytes = [0; 64];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(RawDigest { algorithm, bytes })
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

macro_rules! named_digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(RawDigest);

        impl $name {
            /// Wraps the bytes of a finished hash, or returns `None` if their number is wrong.
            pub fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
                RawDigest::new(algorithm, value).map(Self)
            }

            /// Returns its hash function.
            pub const fn algorithm(&self) -> Algorithm {
                self.0.algorithm
            }

            /// Returns the raw bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Returns the hexadecimal digits without the algorithm: a file name in an OCI layout.
            pub fn hex(&self) -> String {
                self.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                RawDigest::parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:", self.algorithm().name())?;
                write_hex(f, self.as_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

named_digest! {
    /// Digest of a stored blob: a manifest, a config or a compressed layer, as in a registry.
    BlobDigest
}

named_digest! {
    /// Digest of a layer's uncompressed tar stream, as an image's config lists it.
    DiffId
}

/// Digest of one file's content: BLAKE3 of its payload bytes.
///
/// It stays in imgdelta's own files, so registries need not know the hash. It must be collision
/// resistant: equal payload digests count as equal content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadDigest(pub [u8; 32]);

impl fmt::Display for PayloadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blake3:")?;
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PayloadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadDigest({self})")
    }
}

/// Enough to recognise a mistake, short enough for a terminal line.
const MAX_SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn text_and_bytes_agree_both_ways() {
        let digest: BlobDigest = TEXT.parse().unwrap();
        assert_eq!(digest.to_string(), TEXT);
        assert_eq!(digest.as_bytes()[..3], [0x00, 0x11, 0x22]);
        assert_eq!(BlobDigest::new(Algorithm::Sha256, digest.as_bytes()), Some(digest));
        assert_eq!(digest.hex(), TEXT[7..]);
    }

    #[test]
    fn long_digests_keep_all_their_bytes() {
        let text = format!("sha512:{}", "ab".repeat(64));
        let digest: DiffId = text.parse().unwrap();
        assert_eq!(digest.as_bytes().len(), 64);
        assert_eq!(digest.to_string(), text);
    }

    #[test]
    fn a_text_that_is_not_a_digest_is_refused_with_the_reason() {
        let parse = |text: &str| text.parse::<DiffId>().unwrap_err();
        assert!(matches!(parse("latest"), ParseDigestError::NoAlgorithm(_)));
        assert!(matches!(parse("md5:00"), ParseDigestError::UnknownAlgorithm(_)));
        assert!(matches!(parse("sha256:00"), ParseDigestError::NotHex { .. }));
        assert!(matches!(parse(&TEXT.to_uppercase()), ParseDigestError::UnknownAlgorithm(_)));
        assert!(matches!(parse(&TEXT.replace("aa", "AA")), ParseDigestError::NotHex { .. }));
        assert!(matches!(parse(&TEXT.replace("aa", "é")), ParseDigestError::NotHex { .. }));
    }

    #[test]
    fn an_endless_text_does_not_make_an_endless_error() {
        let error = "x".repeat(1 << 20).parse::<BlobDigest>().unwrap_err();
        let shown = "x".repeat(80);
        assert_eq!(
            error.to_string(),
            format!("\"{shown}\"… is not a digest: expected ALGORITHM:HEX")
        );
        let error = "md5:00".parse::<BlobDigest>().unwrap_err().to_string();
        assert_eq!(error, "digest algorithm \"md5\" is not supported: expected sha256 or sha512");
        let error = "sha256:00".parse::<BlobDigest>().unwrap_err().to_string();
        let expected =
            "\"sha256:00\" is not a sha256 digest: expected 64 lower-case hexadecimal digits";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_payload_digest_is_shown_with_its_algorithm() {
        let digest = PayloadDigest([0xA1; 32]);
        assert_eq!(digest.to_string(), format!("blake3:{}", "a1".repeat(32)));
        assert_eq!(format!("{digest:?}"), format!("PayloadDigest({digest})"));
    }

    #[test]
    fn a_wrong_length_makes_no_digest() {
        assert_eq!(BlobDigest::new(Algorithm::Sha256, &[0; 31]), None);
        assert_eq!(DiffId::new(Algorithm::Sha512, &[0; 32]), None);
    }
}
