//! Errors of a blob, with the image and the part of it that the blob belongs to.
//!
//! Changes places only, never the kind of an error or its values.

use crate::store::{Descriptor, Store};
use imgdelta_core::Error;

/// Adds the image and the part to an error about a blob; an error of the caller's sink and an error
/// that has a place of its own stay unchanged.
pub(super) fn in_blob(
    store: &dyn Store,
    image: &str,
    part: &str,
    blob: &Descriptor,
) -> impl FnOnce(Error) -> Error {
    move |error| {
        let name = format!("blob {}", blob.digest);
        let at = |place: String| {
            if place != name {
                return place;
            }
            match store.blob_file(blob) {
                Some(file) => format!("{image}, {part}, {name} ({})", file.display()),
                None => format!("{image}, {part}, {name}"),
            }
        };
        match error {
            Error::BadInput { place, what, source } => {
                Error::BadInput { place: at(place), what, source }
            }
            Error::OverLimit { place, what, name, found, limit } => {
                Error::OverLimit { place: at(place), what, name, found, limit }
            }
            Error::Mismatch { place, difference } => {
                Error::Mismatch { place: at(place), difference }
            }
            Error::Io { place, source } => Error::Io { place: at(place), source },
            Error::NotFound { place, what, present } if what == name => {
                let is_local = !place.starts_with("docker://");
                let place = if is_local { format!("{image} is incomplete") } else { place };
                Error::NotFound { place, what: format!("{what} ({part})"), present }
            }
            other => other,
        }
    }
}
