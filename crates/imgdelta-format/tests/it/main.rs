//! The tests of `imgdelta-format` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod archives;
mod limits;
mod recipe;
