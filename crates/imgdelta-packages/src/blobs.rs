//! Package headers as an rpm database stores them, in whichever format.
//! Never parses a header: `rpm` does.

use std::borrow::Cow;

/// The readable blobs of a database.
pub(crate) struct PackageBlobs<'a> {
    pub(crate) blobs: Vec<Cow<'a, [u8]>>,
    /// Reason why some blobs are missing.
    pub(crate) flaw: Option<&'static str>,
}
