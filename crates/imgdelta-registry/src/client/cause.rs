//! Causes of a connection's error.
//!
//! Never shows the address of a request, which may hold a secret.

use super::request::UploadSourceError;
use crate::reach::UnreachableAddress;
use std::{error::Error, io, sync::Arc};

/// Returns an error's text with all its causes, without the address.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    for cause in causes(&error) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Returns the error of the local file whose upload failed, if that is a cause.
pub(super) fn source_error(error: &reqwest::Error) -> Option<Arc<io::Error>> {
    causes(error).find_map(|cause| {
        let UploadSourceError(source) = cause.downcast_ref()?;
        Some(Arc::clone(source))
    })
}

/// Returns the refusal of a server that the registry led to, if that is a cause.
pub(super) fn refused_address(error: &reqwest::Error) -> Option<UnreachableAddress> {
    causes(error).find_map(|cause| cause.downcast_ref::<UnreachableAddress>().cloned())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
