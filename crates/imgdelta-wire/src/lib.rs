//! Integers, cursors and columns: the parts that every file format of imgdelta is made of.
//! Never knows a format, never does I/O, and never panics on the bytes of a stranger.
//!
//! # The idea
//!
//! A format reads a handful of things: an integer, a number of bytes, a length with its bytes. Each
//! read can run past the end or meet a value that no writer produces. This crate has each of them
//! once, with one error type. A format keeps the names of its fields and maps [`WireError`] to its
//! own error.
//!
//! Values that are equal have equal bytes: a reader refuses an integer in more bytes than it needs.
//! So two files with the same content have the same digest.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | [`varint`], [`fixed`], [`compare`], [`seeds`], [`window`], `error` | integers of variable length; integers at an offset; equal runs; indexes of runs in a long and in a short string; the error |
//! | 1 | `cursor`, `columns`, [`matcher`] | bytes read front to back; bytes written by kind; the search for similar ranges |
//!
//! # Example
//!
//! ```
//! use imgdelta_wire::{Cursor, varint};
//!
//! let mut bytes = Vec::new();
//! varint::write(&mut bytes, 300);
//! varint::write_prefixed(&mut bytes, b"usr/bin/git");
//!
//! let mut cursor = Cursor::new(&bytes);
//! assert_eq!(cursor.varint(), Ok(300));
//! assert_eq!(cursor.prefixed(), Ok(&b"usr/bin/git"[..]));
//! cursor.finish().expect("nothing is left");
//! ```

mod columns;
pub mod compare;
mod cursor;
mod error;
pub mod fixed;
pub mod matcher;
pub mod seeds;
pub mod varint;
pub mod window;

pub use columns::Columns;
pub use cursor::{Cursor, MAX_PLACE};
pub use error::WireError;

/// Runs the example of the readme.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
