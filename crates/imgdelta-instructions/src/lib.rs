//! x86-64 and AArch64 instructions as fields, and back byte for byte; pairs of similar instructions;
//! programs without an older version as parts that compress.
//! Never does I/O, knows a file, or runs unsafe code; never refuses bytes, which may be anything.
//!
//! # The idea
//!
//! A compiler that builds a changed program again chooses other registers, stack places and
//! encodings for much of the code that did not change. As bytes, such code differs in places that
//! look random. As instructions, it differs in a few fields: this reader gives them, and makes the
//! bytes of an instruction with some fields changed.
//!
//! An instruction is what `docs/format-instructions.md` says: that page is a part of the format of
//! deltas. Of x86-64, the reader knows lengths of all instructions of programs in 64-bit mode. It
//! knows fields of those without VEX and EVEX prefixes whose bytes are the ones that an assembler
//! would choose. All others are only copied. An instruction of AArch64 is a word, and its fields are
//! fixed bits, so that an edit never moves what lies behind it.
//!
//! # Cost
//!
//! The length of an instruction takes 5 to 10 nanoseconds, its fields and bytes 30. Pairing two
//! functions takes memory and time in proportion to the product of their lengths up to 2 million,
//! and is linear beyond.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | [`candidates`], `edit`, `rare`\*, `tables` | places that look like distances; changes; windows of functions; opcodes |
//! | 1 | `aarch64`, `function_pairs`\*, `phase`, `scan`, [`spelling`] | AArch64; functions by their bytes; x86-64 byte by byte; lengths and parts of x86-64; distances as addresses, and back |
//! | 2 | `instruction`, `sections` | x86-64: fields, bytes, changes; code and tables that compress, and back |
//! | 3 | [`parts`], `set` | programs without an older version; both sets behind one interface |
//! | 4 | `units`\* | a function as its instructions |
//! | 5 | `align`\*, `matching`\* | pairs of instructions; pairs of functions |
//! | 6 | `copies`\* | copies with edits |
//!
//! Modules with a star belong to the making side (feature `encode`).
//!
//! # Example
//!
//! ```
//! use imgdelta_instructions::{Edit, Instruction};
//!
//! // mov edx, [rax + 8]
//! let code = [0x8B, 0x50, 0x08, 0xC3];
//! assert_eq!(imgdelta_instructions::length(&code), 3);
//!
//! // mov r10d, [rax + 200]
//! let edit = Edit { register: Some(10), displacement: Some(192), ..Edit::default() };
//! let new = Instruction::read(&code).unwrap().edited(&edit).unwrap().write().unwrap();
//! assert_eq!(new.as_slice(), [0x44, 0x8B, 0x90, 200, 0, 0, 0]);
//! ```

// Registers have four bits, lengths four, prefixes three; numbers are cut to their field's bytes.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod aarch64;
#[cfg(feature = "encode")]
mod align;
pub mod candidates;
#[cfg(feature = "encode")]
mod copies;
mod edit;
mod expected;
#[cfg(feature = "encode")]
mod function_pairs;
mod instruction;
#[cfg(feature = "encode")]
mod matching;
mod operands;
pub mod parts;
mod phase;
#[cfg(feature = "encode")]
mod rare;
mod scan;
mod sections;
mod set;
pub mod spelling;
mod tables;
#[cfg(feature = "encode")]
mod units;
pub mod unwind;

#[cfg(feature = "encode")]
pub use copies::{EditedCopy, Program, changed_functions, join_copies};
pub use edit::{Edit, EditPart};
pub use expected::ExpectedEdits;
#[cfg(feature = "encode")]
pub use function_pairs::{FunctionRange, pair_functions};
pub use instruction::{Bytes, Instruction, Reference};
pub use phase::CodePhase;
pub use scan::{distance, length, put_distance};
pub use sections::fill_unwind_table;
pub use set::{EditedInstruction, InstructionSet};
