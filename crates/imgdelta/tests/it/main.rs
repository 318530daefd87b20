//! The tests of `imgdelta` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod chain;
mod session;
