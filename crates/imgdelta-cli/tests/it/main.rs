//! The tests of `imgdelta-cli` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod command_line;
mod delta;
mod documents;
mod edges;
#[cfg(feature = "node")]
mod engines;
#[cfg(feature = "job")]
mod job;
mod mistakes;
#[cfg(feature = "node")]
mod node;
mod outputs;
mod patch;
mod program;
mod recipes;
mod registry;
#[cfg(feature = "node")]
mod rootfs;
mod terminal;
