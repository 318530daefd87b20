//! The program `imgdelta`: its commands, and its allocator.
//!
//! Small on purpose: a release is linked at the optimisation level of this crate, and most code of the commands is
//! compiled for size.

use std::process::ExitCode;

// musl's own allocator takes one lock for all threads.
#[cfg(all(feature = "static-allocator", target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    imgdelta_commands::main()
}
