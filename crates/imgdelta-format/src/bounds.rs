//! Quantities that meet their limit before memory is taken for them.
//! Never measures anything: the caller counts.

use crate::{
    ReadLimitName, ReadLimits,
    error::{FormatError, Result},
};
use imgdelta_coding::pack;

/// Refuses a quantity above its limit.
pub(crate) fn admit(
    limits: &ReadLimits,
    name: ReadLimitName,
    found: u64,
    what: &'static str,
) -> Result<()> {
    admit_up_to(limits.value(name), Some(name), found, what)
}

/// Refuses a quantity above a number, which is a limit's or follows from other parts of the bytes.
pub(crate) fn admit_up_to(
    limit: u64,
    name: Option<ReadLimitName>,
    found: u64,
    what: &'static str,
) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(FormatError::TooLarge { name, what, limit, found }) }
}

/// Unpacks streams to at most the bytes of a limit.
pub(crate) fn unpack_within(
    packed: &[u8],
    max_count: usize,
    limits: &ReadLimits,
    name: ReadLimitName,
) -> Result<Vec<Vec<u8>>> {
    pack::unpack(packed, max_count, limits.value(name)).map_err(|error| match error.into() {
        FormatError::TooLarge { what, limit, found, .. } => {
            FormatError::TooLarge { name: Some(name), what, limit, found }
        }
        malformed @ FormatError::Malformed { .. } => malformed,
    })
}
