//! The frames of a stream (all its bytes but payloads) as columns against a base's headers.
//!
//! Never reads a payload, never opens a file. A header is rebuilt from a *reference*: the header
//! of the base entry it is written against, else the last header of its type in this layer. What
//! differs is told fact by fact, each kind of fact in a column of its own: numbers as differences,
//! texts as edits, times through `times`, which remembers what each time of the base became.
//! Checksums, lengths of records, names of extension headers follow from the rest. Whatever the
//! facts do not make is patched byte for byte, and what is no header at all travels as it is, so
//! any bytes round-trip. `docs/format-headers.md` is the law for these bytes.
//!
//! The reader knows no index of the base: it finds the next base header where the one before
//! ended, and is told only where that is wrong.

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

pub use reader::{HeaderReader, Payload};
pub use writer::{BaseHeader, HeaderWriter};
