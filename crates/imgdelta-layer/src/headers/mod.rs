//! The gaps of a stream (all bytes between its payloads) as columns against a base's headers.
//! Never reads a payload, never opens a file.
//!
//! A header is rebuilt from a *reference*: the header of its base entry, or else the last header of
//! the same type in this layer. Each difference from the reference is a *fact*, and each kind of
//! fact has a column. Numbers are stored as differences and texts as edits. Times are predicted from
//! the changes of earlier times.
//!
//! Checksums, record lengths and the names of extension headers follow from the rest. Bytes that the
//! facts do not give are patched one by one, and bytes that are not a header are stored as they are.
//! So any bytes round-trip. `docs/format-headers.md` is normative.
//!
//! The reader has no index of the base. It expects each base header where the previous entry ends,
//! and the columns have only the exceptions.

mod block;
mod columns;
mod decode;
mod encode;
mod memory;
mod names;
mod order;
mod reader;
mod records;
#[cfg(test)]
mod tests;
mod text;
mod times;
mod writer;

pub use reader::{HeaderReader, StreamPayload};
pub use writer::{BaseHeader, HeaderWriter};
