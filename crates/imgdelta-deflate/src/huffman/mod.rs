//! Huffman codes on the writing side: lengths to codes, tokens to bits, headers to bits.
//!
//! How the lengths are chosen differs between encoders: [`package_merge`] is the Go family's
//! way, zlib's lives with zlib. Never decodes.

mod codes;
mod header;
mod histogram;
mod package_merge;

pub(crate) use codes::{HuffmanCodes, canonical_codes, write_tokens};
pub(crate) use header::DynamicHeader;
pub(crate) use histogram::Histogram;
pub(crate) use package_merge::package_merge;
