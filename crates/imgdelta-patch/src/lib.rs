//! The changes inside the files of two compared images: hunks of text, members, sections.
//! Never decides which files differ: `imgdelta-diff` does.
//!
//! # The idea
//!
//! [`ComparedImages`] reads two images and keeps the streams of the layers that it reads. A layer
//! whose index is cached is read later, and only if it holds a file that somebody wants to see. A
//! [`PatchSet`] has a [`FilePatch`] for each chosen file: the hunks of a text, the members of a gzip
//! file or zip, or one line that describes the difference of other bytes.
//!
//! # Cost and limits
//!
//! A file is read if it has at most [`PatchOptions::file_bytes`]. Long texts are cut into sections at
//! lines that both have once, because every algorithm takes quadratic time for some texts.
//! Text in a patch is safe for a terminal: control characters are escaped.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `content`, `elf`, `hunk`, `rows` | bytes of a file; sections; hunks of two texts; rows of a package database |
//! | 1 | `member` | two contents compared as what they are, archives included |
//! | 2 | `patch` | the chosen files of a diff |
//! | 3 | `images`, `text`, `stat`, `json` | two images read for that; the patch in git's form; its sums; the document |

mod content;
mod elf;
mod hunk;
mod images;
mod json;
mod member;
mod patch;
mod rows;
mod stat;
mod text;

pub use hunk::{Hunk, HunkLine, LineMark, TextChange};
pub use images::ComparedImages;
pub use member::{ArchiveChange, ContentChange, MemberPatch, MemberPresence};
pub use patch::{FilePatch, PatchOptions, PatchSet};
pub use stat::StatText;
pub use text::PatchText;
