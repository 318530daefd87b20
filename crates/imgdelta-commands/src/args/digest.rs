//! Options for the digest of a result.

use clap::Args;
use imgdelta::{BlobDigest, Error, Result};
use std::{fs, path::PathBuf};

/// Places for the digest of the image or artifact that a command writes.
#[derive(Args, Debug)]
pub struct DigestOptions {
    /// Print only the digest of the result
    #[arg(long, conflicts_with = "json")]
    pub print_digest: bool,

    /// Also write the digest of the result to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
}

impl DigestOptions {
    /// Writes the file, if the user wants one.
    pub fn save(&self, digest: &BlobDigest) -> Result<()> {
        let Some(path) = &self.digestfile else { return Ok(()) };
        fs::write(path, digest.to_string()).map_err(Error::io(path.display()))
    }
}
