//! Zstd, by a recipe of `imgdelta-zstd`: a frame is one piece of work, done by whoever has the layer.
//!
//! Never hashes.

use super::Remake;
use imgdelta_core::error::Cause;
use imgdelta_zstd::{Recipe, RemakeError, Remaker};

/// Zstd, by a recipe of `imgdelta-zstd`.
pub struct Zstd<'a>(Option<Remaker<'a>>);

impl<'a> Zstd<'a> {
    /// Starts a stream.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self(Some(Remaker::new(recipe)))
    }
}

impl Remake for Zstd<'_> {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
        let remaker = self.0.as_mut().ok_or(RemakeError::TooLong)?;
        Ok(remaker.write(plain, out)?)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let remaker = self.0.take().ok_or(RemakeError::TooLong)?;
        Ok(remaker.finish(out)?)
    }
}
