//! The tests of `imgdelta-make` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod archives;
mod create;
mod crowds;
mod kept;
mod siblings;
mod support;
