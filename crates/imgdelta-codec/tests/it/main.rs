//! The tests of `imgdelta-codec` as its callers use it. They are one program, because linking a program takes longer than
//! compiling most of them.

mod call_frames;
mod class_archive;
mod code_view;
mod corrections;
mod damage;
mod edits;
mod golden;
mod literals_apart;
mod names;
mod objects;
mod programs;
mod round_trip;
mod support;
mod unwind_tables;
