//! The tests of `imgdelta-job` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod deploy;
mod job;
mod outages;
mod pairs;
mod prometheus;
mod pushes;
mod scale;
mod senders;
