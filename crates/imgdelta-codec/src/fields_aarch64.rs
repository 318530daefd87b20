//! placeholder
use crate::{elf::Image, fields::Field};
pub(crate) fn collect(_: &[u8], _: usize, _: u32, _: &Image, _: &mut Vec<Field>) {}
