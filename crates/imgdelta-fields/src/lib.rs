//! Finds the references in a program: which bytes refer to which, as pure functions.
//! Never does I/O, starts a thread, reads a target, or runs unsafe code.
//!
//! A rebuilt program differs from the old one nearly everywhere, since every reference to something
//! that moved has changed. A [`MemoryImage`](elf::MemoryImage) says where the bytes of a file lie in
//! memory, and a [`FieldIndex`](field_index::FieldIndex) has the [`Field`](fields::Field)s of any
//! range of it: call and jump distances, operands in memory, pointers, and the entries of tables
//! that are known. Where a field and its target have moved, its new value follows from the two
//! shifts. A false field costs nothing while it and its target move alike.
//!
//! Both sides find the same fields, since they follow from the bytes of the old file alone.
//! `docs/format-elf.md` specifies them.
//!
//! # Modules
//!
//! Imports point down only, which `tests/architecture.rs` checks.
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `elf`, `fields`, `host` | ELF files; references in a file; the caller's services |
//! | 1 | `btf`, `call_frames`, `class_archive`, `fields_aarch64`, `fields_x86_64`, `gopclntab`, `kept_fields`, `object`, `parts`\* | files that are no programs; walkers that find fields; fields in memory; parts of a program without a base |
//! | 2 | `eh_frame`, `gotypes`, `view` | unwind records; a walker that needs Go's tables; views |
//! | 3 | `functions`\*, `zones` | places of functions; a file divided into zones, each with its walker |
//! | 4 | `field_index` | the fields of any range of a file |
//!
//! Modules with a star belong to the making side (feature `encode`).

// Offsets and addresses of a file with a view stay below 4 GiB, since `elf` refuses others. Every
// narrowing cast is of such a number, or wraps on purpose where a wrong prediction may be any
// number.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod btf;
mod call_frames;
mod class_archive;
pub mod eh_frame;
pub mod elf;
pub mod field_index;
pub mod fields;
mod fields_aarch64;
mod fields_x86_64;
#[cfg(feature = "encode")]
pub mod functions;
mod gopclntab;
mod gotypes;
pub mod host;
mod kept_fields;
pub mod object;
#[cfg(feature = "encode")]
pub mod parts;
pub mod view;
mod zones;
