//! The tests of `imgdelta-zstd` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod golden;
#[path = "../../../imgdelta-deflate/tests/it/inputs.rs"]
mod inputs;
mod round_trip;
