//! The opcodes of the instruction reader: one letter for each, as in `docs/format-instructions.md`.
//! Never looks at bytes behind an opcode.

/// Opcodes of one byte.
///
/// | letter | bytes behind the opcode |
/// |---|---|
/// | `.` | none |
/// | `m` | `ModRM` |
/// | `b`, `w`, `e` | one, two, three bytes |
/// | `z`, `v` | two or four bytes; two, four or eight |
/// | `o` | an address of four or eight bytes |
/// | `B`, `Z` | `ModRM`, then as `b` or `z` |
/// | `f`, `F` | `ModRM`, then as `b` or `z` only if `ModRM.reg` is below 2 |
/// | `r`, `s`, `t` | a register in the opcode, then nothing, as `b`, or as `v` |
/// | `j`, `J` | a distance of one or four bytes |
/// | `P`, `R` | a prefix; a REX prefix |
/// | `0` | opcodes behind 0F |
/// | `V`, `U`, `E` | the VEX prefixes C4 and C5, the EVEX prefix |
/// | `x` | not an instruction |
pub(crate) const ONE_BYTE: &[u8; 256] = b"\
    mmmmbzxxmmmmbzx0\
    mmmmbzxxmmmmbzxx\
    mmmmbzPxmmmmbzPx\
    mmmmbzPxmmmmbzPx\
    RRRRRRRRRRRRRRRR\
    rrrrrrrrrrrrrrrr\
    xxEmPPPPzZbB....\
    jjjjjjjjjjjjjjjj\
    BZxBmmmmmmmmmmmm\
    ..........x.....\
    oooo....bz......\
    sssssssstttttttt\
    BBw.VUBZe.w..bx.\
    mmmmxxx.mmmmmmmm\
    jjjjbbbbJJxj....\
    P.PP..fF......mm";

/// Opcodes behind 0F; `8` and `A` are opcodes behind 0F 38 and 0F 3A.
pub(crate) const TWO_BYTES: &[u8; 256] = b"\
    mmmmx.....x.xm.B\
    mmmmmmmmmmmmmmmm\
    mmmmxxxxmmmmmmmm\
    ......x.8xAxxxxx\
    mmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmm\
    BBBBmmm.mmxxmmmm\
    JJJJJJJJJJJJJJJJ\
    mmmmmmmmmmmmmmmm\
    ...mBmxx...mBmmm\
    mmmmmmmmmmBmmmmm\
    mmBmBBBmrrrrrrrr\
    mmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmm";

/// True for an opcode whose `ModRM.reg` belongs to the opcode.
pub(crate) fn is_group(map: u8, opcode: u8) -> bool {
    match map {
        0 => matches!(
            opcode,
            0x80 | 0x81 | 0x83 | 0x8F | 0xC0 | 0xC1 | 0xC6 | 0xC7 | 0xD0..=0xD3 | 0xD8..=0xDF
                | 0xF6 | 0xF7 | 0xFE | 0xFF
        ),
        1 => matches!(
            opcode,
            0x00 | 0x01 | 0x0D | 0x18..=0x1F | 0x71..=0x73 | 0x90..=0x9F | 0xAE | 0xBA | 0xC7
        ),
        _ => false,
    }
}

/// True for an opcode whose registers are mostly vectors.
pub(crate) fn is_vector(map: u8, opcode: u8) -> bool {
    map > 1
        || map == 1
            && matches!(opcode, 0x10..=0x17 | 0x28..=0x2F | 0x50..=0x7F | 0xC2 | 0xC6 | 0xD0..=0xFF)
}

/// True if `ModRM.reg` is a register of one byte.
pub(crate) fn is_byte_register(map: u8, opcode: u8) -> bool {
    match map {
        0 => opcode < 0x40 && opcode & 5 == 0 || matches!(opcode, 0x84 | 0x86 | 0x88 | 0x8A),
        1 => matches!(opcode, 0xB0 | 0xC0),
        _ => false,
    }
}

/// True if `ModRM.rm`, or the register in the opcode, is a register of one byte where it is one.
pub(crate) fn is_byte_operand(map: u8, opcode: u8) -> bool {
    is_byte_register(map, opcode)
        || match map {
            0 => matches!(opcode, 0x80 | 0xB0 | 0xC0 | 0xC6 | 0xD0 | 0xD2 | 0xF6 | 0xFE),
            1 => matches!(opcode, 0x90..=0x9F | 0xB6 | 0xBE),
            _ => false,
        }
}
