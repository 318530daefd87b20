//! The tests of `imgdelta-diff` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod crowds;
mod diff;
