//! The tests of `imgdelta-apply` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod delta;
mod delta_page;
