//! A sink that discards everything, for verifying a delta.
//! Never writes.

use super::{AcceptedForm, BlobWriter, OutgoingImage, Sink};
use imgdelta_core::{Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::store::Descriptor;

/// Takes an image and discards it. Applying to it succeeds if all digests match.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn place(&self) -> String {
        "nowhere".into()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Either
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
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

impl BlobWriter for NullSink {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        Ok(())
    }
}
