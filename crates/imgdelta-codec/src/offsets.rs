//! Offset tables: files that hold 32-bit offsets into themselves, such as message catalogues.
//! Never knows the format: any aligned word that could be an offset counts as one, page by page.

use crate::{
    elf::MemoryImage,
    fields::{Field, Fields, Form},
    view::View,
};

/// Returns all words of `file` that may be offsets into it.
pub(crate) fn fields(file: &[u8], view: View, image: &MemoryImage) -> Fields {
    let big = view == View::OffsetsBig;
    let form = if big { Form::Offset32Big } else { Form::Offset32 };
    let mut fields = Fields::default();
    for (i, word) in file.as_chunks::<4>().0.iter().enumerate() {
        let target = if big { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) };
        if target != 0 && target < image.span {
            fields.list.push(Field { at: (i * 4) as u32, target, form });
        }
    }
    fields
}
