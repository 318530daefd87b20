//! Compresses a stream again as its zstd blob was. The layer's own worker does it alone.
//! Never hashes.

use super::Remake;
use imgdelta_core::error::Cause;
use imgdelta_zstd::{Recipe, RemakeError, Remaker};

/// A compressor of zstd streams, by a recipe of `imgdelta-zstd`.
pub struct ZstdRemaker<'a>(Option<Remaker<'a>>);

impl<'a> ZstdRemaker<'a> {
    /// Starts a blob.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self(Some(Remaker::new(recipe)))
    }
}

impl Remake for ZstdRemaker<'_> {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
        let remaker = self.0.as_mut().ok_or(RemakeError::Finished)?;
        Ok(remaker.write(plain, out)?)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let remaker = self.0.take().ok_or(RemakeError::Finished)?;
        Ok(remaker.finish(out)?)
    }
}
