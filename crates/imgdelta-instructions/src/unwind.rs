//! Unwind records of a program (`.eh_frame`): their bounds, and what common records declare.
//! Never reads call-frame instructions; a walk ends at the first malformed record.

/// Pointer encoding: signed four bytes, relative to the field.
pub const RELATIVE_32: u8 = 0x1b;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// Returns the bytes up to the terminator, inclusive, or up to the first malformed record.
pub fn extent(records: &[u8]) -> usize {
    let mut at = 0;
    while let Some((_, end)) = record(records, at) {
        let terminator = end == at + 4;
        at = end;
        if terminator {
            break;
        }
    }
    at
}

/// Returns the start of a record's content, and its end; `None` if it does not fit.
pub fn record(records: &[u8], at: usize) -> Option<(usize, usize)> {
    let len = u32_at(records, at)? as usize;
    // 0xffff_ffff announces a 64-bit length; no linker writes that here.
    let end = (at + 4).checked_add(len)?;
    (end <= records.len()).then_some((at + 4, end))
}

/// The encodings that a common record declares for the records that refer to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommonRecord {
    /// Place of the record.
    pub start: usize,
    /// True if the start of a function is relative to its field.
    pub function_relative: bool,
    /// The same of the place of its data.
    pub data_relative: bool,
    /// Bytes of a unit of distances in code; 0 if it is not known.
    pub code_unit: u8,
}

/// Returns start and length of each function that `records`, at a relative address, describe.
///
/// Functions whose start is not relative to its field are left out.
#[cfg(feature = "encode")]
pub fn functions(records: &[u8], address: u32) -> Vec<(u32, u32)> {
    let mut functions = Vec::new();
    let mut common = CommonRecord::default();
    let mut start = 0;
    while let Some((content, end)) = record(records, start) {
        match u32_at(&records[..end], content) {
            None => {}
            Some(0) => common = CommonRecord::read(&records[..end], start, content),
            Some(pointer) => {
                let named = content.checked_sub(pointer as usize);
                if let Some(named) = named.filter(|&named| named != common.start)
                    && let Some((content, end)) = record(records, named)
                {
                    common = CommonRecord::read(&records[..end], named, content);
                }
                let word = |i: usize| u32_at(&records[..end], i);
                if common.function_relative
                    && let (Some(distance), Some(len)) = (word(content + 4), word(content + 8))
                {
                    let here = address.wrapping_add(content as u32 + 4);
                    functions.push((here.wrapping_add(distance), len));
                }
            }
        }
        start = end;
    }
    functions
}

impl CommonRecord {
    /// Reads the encodings that a common record declares; others count as not relative.
    pub fn read(records: &[u8], start: usize, content: usize) -> Self {
        let (function, data) = encodings(records, content).unwrap_or_default();
        let (function_relative, data_relative) = (function == RELATIVE_32, data == RELATIVE_32);
        let code_unit = code_unit(records, content).unwrap_or(0);
        Self { start, function_relative, data_relative, code_unit }
    }
}

/// The unit of distances in code, behind the letters, if it is a single byte.
fn code_unit(records: &[u8], content: usize) -> Option<u8> {
    let letters = records.get(content + 5..)?;
    let len = letters.iter().take(16).position(|&byte| byte == 0)?;
    letters.get(len + 1).copied().filter(|unit| *unit < 0x80)
}

/// The encodings of function start and language data.
fn encodings(records: &[u8], content: usize) -> Option<(u8, u8)> {
    let (mut function, mut data) = (0, 0xff);
    let mut at = content + 5; // the zero that marks a common record, and the version
    let letters = records.get(at..)?;
    let letters = &letters[..letters.iter().take(16).position(|&byte| byte == 0)?];
    if letters.first() != Some(&b'z') {
        return Some((function, data));
    }
    at += letters.len() + 1;
    // Code alignment, data alignment, return register, length of the rest: LEB128 integers.
    for _ in 0..4 {
        let rest = records.get(at..)?;
        at += rest.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    }
    for letter in &letters[1..] {
        match letter {
            b'R' => function = *records.get(at)?,
            b'L' => data = *records.get(at)?,
            b'P' => {
                // Only the four-byte encodings are known; any other ends the reading.
                let encoding = *records.get(at)?;
                at += match encoding & 0x0f {
                    0x03 | 0x0b => 4,
                    0x04 | 0x0c | 0x00 => {
                        records.get(at + 1..at + 9)?;
                        8
                    }
                    _ => return Some((function, data)),
                };
            }
            b'S' | b'B' => continue,
            _ => return Some((function, data)),
        }
        at += 1;
    }
    Some((function, data))
}
