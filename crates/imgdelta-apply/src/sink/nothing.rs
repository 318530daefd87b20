//! A sink that keeps nothing: for checking a delta, and for proving a fresh one.
//!
//! Never writes.

use super::{BlobWriter, Outgoing, Sink, Wants};
use imgdelta_core::{Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::store::Descriptor;

/// Takes an image and keeps nothing. Writing to it succeeds only if all digests are right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Sink for Nothing {
    fn place(&self) -> String {
        "nowhere".into()
    }

    fn wants(&self) -> Wants {
        Wants::Either
    }

    fn begin(&mut self, _: Outgoing) -> Result<()> {
        Ok(())
    }

    fn has(&self, _: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(false)
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(Self))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl BlobWriter for Nothing {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        Ok(())
    }
}
