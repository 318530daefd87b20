//! Two images of one platform, for a comparison.
//!
//! Never returns images of different platforms, which no machine could run one after the other.

use super::{Image, OpenOptions, ReferenceOpener, open_by};
use crate::{Reference, store};
use imgdelta_core::{Error, Result};

/// Opens the base and the target of a comparison for the same platform.
///
/// Without a platform in the options, the base is opened as if alone, and the target for the base's
/// platform. If the target lacks that platform, the base is opened for the target's platform. So an
/// image for one platform can be compared with a multi-platform index on any host.
pub fn open_pair(
    base: &Reference,
    target: &Reference,
    options: &OpenOptions,
) -> Result<[Image; 2]> {
    open_pair_by(base, target, options, &store::open)
}

/// As [`open_pair`], in the stores that `opener` opens.
pub fn open_pair_by(
    base: &Reference,
    target: &Reference,
    options: &OpenOptions,
    opener: &ReferenceOpener<'_>,
) -> Result<[Image; 2]> {
    let open = |reference: &Reference, options: &OpenOptions| open_by(reference, options, opener);
    let first = open(base, options)?;
    if options.platform.is_some() {
        return Ok([first, open(target, options)?]);
    }
    let for_platform = |image: &Image| options.clone().platform(Some(image.platform.clone()));
    match open(target, &for_platform(&first)) {
        Ok(second) => return Ok([first, second]),
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let second = open(target, options)?;
    match open(base, &for_platform(&second)) {
        Ok(first) => Ok([first, second]),
        Err(Error::NotFound { .. }) => Err(Error::bad_input(
            format_args!("{base} and {target}"),
            format_args!(
                "no common platform: the first is for {}, the second for {}",
                first.platform, second.platform
            ),
        )),
        Err(error) => Err(error),
    }
}
