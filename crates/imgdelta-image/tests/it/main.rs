//! The tests of `imgdelta-image` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod directory;
mod errors;
mod images;
mod index;
mod platform;
mod references;
mod rootfs;
mod rootfs_work;
mod streams;
mod survey;
mod tarscan;
mod volume;
