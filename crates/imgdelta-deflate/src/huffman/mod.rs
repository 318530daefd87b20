//! Huffman codes for writing: codes from lengths, and tokens and headers as bits.
//!
//! Encoders choose the lengths differently: the Go family by [`package_merge`], and zlib by the
//! heap in `zlib`. Never decodes.

mod codes;
mod header;
mod histogram;
mod package_merge;

pub(crate) use codes::{HuffmanCodes, canonical_codes, write_tokens};
pub(crate) use header::DynamicHeader;
pub(crate) use histogram::Histogram;
pub(crate) use package_merge::package_merge;
