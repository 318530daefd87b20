//! placeholder
use crate::{elf::Image, fields::Fields};
pub(crate) fn collect(_: &[u8], _: usize, _: u32, _: &Image, _: u32, _: &mut Fields) {}
