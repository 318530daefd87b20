//! The sections of an ELF file, compared by name.
//! Never follows a number that was not compared with the file's length.

use crate::hunk::short_name;
use imgdelta_core::size::Grouped;
use std::collections::BTreeMap;

/// Describes in one line the sections that differ; `None` if a file is not ELF.
pub(crate) fn compare(old: &[u8], new: &[u8]) -> Option<String> {
    let (old, new) = (sections(old)?, sections(new)?);
    let mut parts = Vec::new();
    for (name, &content) in &new {
        let shown = short_name(name);
        match old.get(name) {
            None => parts.push(format!("{shown} added")),
            Some(&before) if before.len() != content.len() => parts.push(format!(
                "{shown} {} -> {} bytes",
                Grouped(before.len() as u64),
                Grouped(content.len() as u64)
            )),
            Some(&before) if before != content => parts.push(format!("{shown} differs")),
            Some(_) => {}
        }
    }
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    parts.extend(removed.map(|name| format!("{} removed", short_name(name))));
    if parts.is_empty() {
        return Some("ELF, all sections are equal".to_owned());
    }
    let more = parts.len().saturating_sub(MOST_SHOWN);
    parts.truncate(MOST_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("ELF sections {}{more}", parts.join(", ")))
}

/// Returns the content of each named section. Of two sections with one name the last counts.
fn sections(file: &[u8]) -> Option<BTreeMap<&[u8], &[u8]>> {
    let fields = ElfFields::of(file)?;
    let (table, entry_bytes, count, names_at) = if fields.is_64 {
        (fields.word(0x28)?, fields.half(0x3a)?, fields.half(0x3c)?, fields.half(0x3e)?)
    } else {
        (fields.double(0x20)?, fields.half(0x2e)?, fields.half(0x30)?, fields.half(0x32)?)
    };
    let header = |at: u64| {
        let at = table.checked_add(at.checked_mul(entry_bytes)?)?;
        let (name, kind) = (fields.double(at)?, fields.double(at.checked_add(4)?)?);
        let (offset, bytes) = if fields.is_64 {
            (fields.word(at.checked_add(0x18)?)?, fields.word(at.checked_add(0x20)?)?)
        } else {
            (fields.double(at.checked_add(0x10)?)?, fields.double(at.checked_add(0x14)?)?)
        };
        // A section without bytes in the file, such as .bss, has only a length.
        let content =
            if kind == NO_BYTES { &[][..] } else { slice(file, offset, bytes).unwrap_or_default() };
        Some((name, content))
    };
    let (_, names) = header(names_at)?;
    let (mut sections, mut total_bytes) = (BTreeMap::new(), 0);
    for at in 0..count.min(MOST_SECTIONS) {
        let Some((name, content)) = header(at) else { break };
        // Sections of programs do not overlap. Thousands of large ones would take long to compare.
        total_bytes += content.len();
        if total_bytes > file.len() {
            return None;
        }
        let name = names.get(usize::try_from(name).ok()?..).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if !name.is_empty() {
            sections.insert(&name[..name.len().min(MOST_NAME)], content);
        }
    }
    Some(sections)
}

/// Numbers in a file of one class and byte order.
struct ElfFields<'a> {
    file: &'a [u8],
    is_64: bool,
    is_little: bool,
}

impl<'a> ElfFields<'a> {
    fn of(file: &'a [u8]) -> Option<Self> {
        match file {
            [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2, ..] => {
                Some(Self { file, is_64: *class == 2, is_little: *order == 1 })
            }
            _ => None,
        }
    }

    fn number(&self, at: u64, bytes: u64) -> Option<u64> {
        let bytes = slice(self.file, at, bytes)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_little {
            bytes.iter().rev().fold(0, fold)
        } else {
            bytes.iter().fold(0, fold)
        })
    }

    fn half(&self, at: u64) -> Option<u64> {
        self.number(at, 2)
    }

    fn double(&self, at: u64) -> Option<u64> {
        self.number(at, 4)
    }

    fn word(&self, at: u64) -> Option<u64> {
        self.number(at, 8)
    }
}

fn slice(file: &[u8], at: u64, bytes: u64) -> Option<&[u8]> {
    let end = usize::try_from(at.checked_add(bytes)?).ok()?;
    file.get(usize::try_from(at).ok()?..end)
}

/// Type of a section without bytes in the file.
const NO_BYTES: u64 = 8;

/// Sections that are read; programs have about forty.
const MOST_SECTIONS: u64 = 2000;
const MOST_NAME: usize = 100;

/// Sections that fit into one line.
const MOST_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit file with these sections.
    fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut names = vec![0];
        let mut body = Vec::new();
        let mut headers = vec![[0_u8; 64]];
        let header = |name: usize, at: usize, bytes: usize| {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&u32::try_from(name).unwrap().to_le_bytes());
            header[4] = 1;
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(bytes as u64).to_le_bytes());
            header
        };
        for (name, content) in sections {
            headers.push(header(names.len(), 64 + body.len(), content.len()));
            names.extend([name.as_bytes(), &[0]].concat());
            body.extend_from_slice(content);
        }
        headers.push(header(names.len(), 64 + body.len(), names.len() + 9));
        names.extend(b".strtab\0\0");
        body.extend(&names);
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1];
        file.resize(64, 0);
        file[0x28..0x30].copy_from_slice(&(64 + body.len() as u64).to_le_bytes());
        file[0x3a] = 64;
        file[0x3c] = u8::try_from(headers.len()).unwrap();
        file[0x3e] = u8::try_from(headers.len() - 1).unwrap();
        file.extend(body);
        file.extend(headers.concat());
        file
    }

    #[test]
    fn sections_that_differ_are_named() {
        let old = elf(&[(".text", b"1234"), (".rodata", b"x"), (".old", b"")]);
        let new = elf(&[(".text", b"12345"), (".rodata", b"y"), (".new", b"")]);
        let line = compare(&old, &new).unwrap();
        for part in [".text 4 -> 5 bytes", ".rodata differs", ".new added", ".old removed"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!(compare(&old, &old).unwrap(), "ELF, all sections are equal");
        assert_eq!(compare(b"#!/bin/sh", &new), None);
        let mut overlapping = new.clone();
        let headers = overlapping.len() - 64;
        overlapping[headers + 0x20..headers + 0x28]
            .copy_from_slice(&(new.len() as u64).to_le_bytes());
        overlapping[headers + 0x18..headers + 0x20].fill(0);
        assert_eq!(compare(&overlapping, &new), None);
    }

    #[test]
    fn damaged_files_are_described_or_refused_and_never_panic() {
        let good = elf(&[(".text", b"1234"), (".data", b"5678")]);
        for end in 0..good.len() {
            let _ = compare(&good[..end], &good);
        }
        for at in 0..good.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = compare(&good, &bad);
            }
        }
    }
}
