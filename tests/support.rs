//! What whole-program tests share: where things lie.
//!
//! Makes no images: `imgdelta-testkit` does.

use std::path::PathBuf;

/// Returns the top of the source tree.
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie below the top").to_owned()
}
