//! The tests of `imgdelta-coding` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod aligned;
mod corrections;
mod pack;
mod round_trip;
