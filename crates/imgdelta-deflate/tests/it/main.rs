//! The tests of `imgdelta-deflate` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod fresh;
mod golden;
mod inputs;
mod round_trip;
mod spans;
