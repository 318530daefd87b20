//! The tests of `imgdelta-registry` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod artifact;
mod callers;
mod connections;
mod errors;
mod frames;
mod network;
mod protocol;
mod pull;
