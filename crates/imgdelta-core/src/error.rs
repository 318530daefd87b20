//! The public error: one variant for each thing that a caller may do next.
//!
//! A variant carries where the fault lies, what was expected and what was found, as values. Advice
//! in words belongs to the command line.

use crate::{BlobDigest, DiffId, limits::LimitName};
use std::{error::Error as StdError, fmt, io, sync::Arc};

/// Result of every fallible function of imgdelta.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason why something could not be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The bytes have their digest and still are not valid: have the image or delta made again, or
    /// name another one.
    BadInput {
        /// The file, blob or range that is wrong.
        place: String,
        /// The fault: expected against found.
        what: String,
        /// The parser's or decoder's own error, if there is one.
        source: Option<Arc<dyn StdError + Send + Sync>>,
    },

    /// The thing asked for is not there: choose one of those that are.
    NotFound {
        /// The place that was searched.
        place: String,
        /// The thing that was looked for.
        what: String,
        /// Things of the same kind that are there; may be empty.
        present: Vec<String>,
    },

    /// A limit was met before memory or time was spent: raise it if the input is trusted.
    OverLimit {
        /// The file, blob or range that is too large.
        place: String,
        /// The quantity that was counted.
        what: &'static str,
        /// Name of the limit; none if it is a constant of the program.
        name: Option<LimitName>,
        /// The count, or the first count that was too high.
        found: u64,
        /// The limit in force.
        limit: u64,
    },

    /// The bytes are not those that were promised: fetch or copy the input again.
    Mismatch {
        /// The blob or stream.
        place: String,
        /// Expected and actual values.
        difference: Difference,
    },

    /// The base lacks layers that the delta needs: apply it to the image it was made for.
    BaseMissing {
        /// The delta, or the images that were searched.
        place: String,
        /// Everything that is missing.
        missing: Vec<MissingLayer>,
    },

    /// The operating system refused: look at the disk, the rights, the network.
    Io {
        /// The file or address.
        place: String,
        /// The system's error.
        source: Arc<io::Error>,
    },

    /// The caller asked to stop.
    Cancelled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput { place, what, .. } => write!(f, "{place}: {what}"),
            Self::NotFound { place, what, present } => {
                write!(f, "{place}: {what} is not there{}", Present(present))
            }
            Self::OverLimit { place, what, found, limit, .. } => {
                write!(f, "{place}: {what} is {found}, more than the limit of {limit}")
            }
            Self::Mismatch { place, difference } => write!(f, "{place}: {difference}"),
            Self::BaseMissing { place, missing } => {
                let (shown, rest) = missing.split_at(missing.len().min(MAX_MISSING));
                write!(f, "{place}: the base lacks {}", Joined(shown))?;
                match rest.len() {
                    0 => Ok(()),
                    count => write!(f, " and {count} more"),
                }
            }
            Self::Io { place, source } => write!(f, "{place}: {source}"),
            Self::Cancelled => f.write_str("interrupted"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::BadInput { source, .. } => source.as_ref().map(|source| source as _),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Two values that should be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Digests of stored bytes.
    Digest {
        /// The promised digest.
        expected: BlobDigest,
        /// The digest of the bytes.
        found: BlobDigest,
    },
    /// Digests of a layer's uncompressed stream.
    DiffId {
        /// The promised digest.
        expected: DiffId,
        /// The digest of the stream.
        found: DiffId,
    },
    /// Digests of a delta's section, in hexadecimal.
    Section {
        /// The digest that the delta names.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// Lengths in bytes.
    Size {
        /// The promised length.
        expected: u64,
        /// The actual length.
        found: u64,
    },
    /// Lengths in bytes, where reading ended as soon as the promised length was exceeded.
    Longer {
        /// The promised length.
        expected: u64,
        /// The bytes seen so far.
        found: u64,
    },
    /// One byte of a stream.
    Byte {
        /// The byte that should be there.
        expected: u8,
        /// The byte that is there.
        found: u8,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest { expected, found } => {
                write!(f, "digest is {found}, should be {expected}")
            }
            Self::DiffId { expected, found } => {
                write!(f, "diff id is {found}, should be {expected}")
            }
            Self::Section { expected, found } => {
                write!(f, "digest is {found}, should be {expected}")
            }
            Self::Size { expected, found } => {
                write!(f, "size is {found} bytes, should be {expected} bytes")
            }
            Self::Longer { expected, found } => {
                write!(f, "size is at least {found} bytes, should be {expected} bytes")
            }
            Self::Byte { expected, found } => write!(f, "byte is {found}, should be {expected}"),
        }
    }
}

/// A layer that a delta needs and the base does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingLayer {
    /// The base has no layer with this uncompressed stream.
    Stream {
        /// The stream.
        diff_id: DiffId,
        /// Target layers that need it, counted from 1; empty if unknown.
        layers: Vec<usize>,
    },
    /// The base has the stream, but not compressed as the target's blob.
    Blob {
        /// The compressed blob.
        digest: BlobDigest,
        /// Target layers that need it, counted from 1; empty if unknown.
        layers: Vec<usize>,
    },
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = match self {
            Self::Stream { diff_id, layers } => {
                write!(f, "stream {diff_id}")?;
                layers
            }
            Self::Blob { digest, layers } => {
                write!(f, "blob {digest}")?;
                layers
            }
        };
        match layers[..] {
            [] => Ok(()),
            [layer] => write!(f, " (for layer {layer})"),
            _ => write!(f, " (for layers {})", Joined(layers)),
        }
    }
}

/// Error of a lower layer, kept for the chain.
pub type Cause = Box<dyn StdError + Send + Sync>;

impl Error {
    /// Makes an [`Error::BadInput`] without a deeper cause.
    pub fn bad_input(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::BadInput { place: place.to_string(), what: what.to_string(), source: None }
    }

    /// Makes an [`Error::BadInput`] that a parser's or decoder's error explains.
    pub fn bad_input_because(
        place: impl fmt::Display,
        what: impl fmt::Display,
        source: impl Into<Cause>,
    ) -> Self {
        Self::BadInput {
            place: place.to_string(),
            what: what.to_string(),
            source: Some(Arc::from(source.into())),
        }
    }

    /// Makes an [`Error::Io`], for use in `map_err`.
    ///
    /// A store's reader may pass an [`Error`] through [`io::Error::other`]; it comes out again here,
    /// unchanged.
    pub fn io(place: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Io { place: place.to_string(), source: Arc::new(source) },
        }
    }
}

struct Joined<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ordinal, item) in self.0.iter().enumerate() {
            let separator = if ordinal == 0 { "" } else { ", " };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

struct Present<'a>(&'a [String]);

impl fmt::Display for Present<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return Ok(()) };
        write!(f, "; there is {first}")?;
        for other in rest.iter().take(MAX_LISTED - 1) {
            write!(f, ", {other}")?;
        }
        match self.0.len().saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A registry may hold thousands of tags; an error line stays readable.
const MAX_LISTED: usize = 12;
/// Missing layers that an error names; the value has all of them.
const MAX_MISSING: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_instead_is_listed_and_the_list_is_cut() {
        let error = |n: usize| {
            Error::NotFound {
                place: "oci:dir".into(),
                what: "tag \"x\"".into(),
                present: (0..n).map(|i| format!("v{i}")).collect(),
            }
            .to_string()
        };
        assert_eq!(error(0), "oci:dir: tag \"x\" is not there");
        assert_eq!(error(2), "oci:dir: tag \"x\" is not there; there is v0, v1");
        assert!(error(14).ends_with("v11 and 2 more"));
    }

    #[test]
    fn errors_cross_threads_and_are_copied() {
        fn check<T: Send + Sync + Clone + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn an_error_that_passed_through_a_reader_comes_out_unchanged() {
        let inner = Error::bad_input("manifest", "not JSON");
        let outer = Error::io("layer 1")(io::Error::other(inner));
        assert_eq!(outer.to_string(), "manifest: not JSON");
        let outer = Error::io("layer 1")(io::Error::other("cable"));
        assert!(matches!(outer, Error::Io { .. }), "{outer}");
    }

    #[test]
    fn missing_layers_are_listed_with_the_layers_that_need_them() {
        let digest = BlobDigest::new(crate::Algorithm::Sha256, &[0xab; 32]).unwrap();
        let missing = vec![
            MissingLayer::Blob { digest, layers: vec![1, 3] },
            MissingLayer::Blob { digest, layers: Vec::new() },
        ];
        let text = Error::BaseMissing { place: "up".into(), missing }.to_string();
        assert_eq!(
            text,
            format!("up: the base lacks blob {digest} (for layers 1, 3), blob {digest}")
        );
        let missing = vec![MissingLayer::Blob { digest, layers: Vec::new() }; 5];
        let text = Error::BaseMissing { place: "up".into(), missing }.to_string();
        assert_eq!(text, format!("up: the base lacks blob {digest}, blob {digest} and 3 more"));
    }
}
