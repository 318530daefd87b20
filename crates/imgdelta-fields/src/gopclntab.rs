//! Walks the function tables of Go programs (`.gopclntab` and the tables it refers to).
//! Never needs symbols: stripped programs keep these tables, since the Go runtime reads them.
//!
//! The tables are a fifth of a Go program. Nearly all of it is 32-bit offsets from the start of the
//! code, of the names or of the line tables. One inserted function moves most of them. Each is a
//! field that counts from an anchor. The table's header and the runtime's module record name the
//! anchors. The record starts with a pointer to the table, by which it is found.

use crate::{
    elf::{MemoryImage, Section},
    fields::{Fields, Form},
};
use imgdelta_wire::fixed::{u32_at, u64_at};

/// First word of the tables since Go 1.20, and of those of Go 1.18 and 1.19.
const MAGIC_1_20: u32 = 0xffff_fff1;
const MAGIC_1_18: u32 = 0xffff_fff0;

/// Bytes of a function's record since Go 1.20, before its lists.
const RECORD_1_20: usize = 44;

/// Marks a missing offset.
const NONE: u32 = u32::MAX;

/// The starts of a program's tables, as addresses relative to the image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoTables {
    /// Offset of the whole table in the file, and its end.
    pub(crate) offset: usize,
    pub(crate) end: usize,
    text: u32,
    names: u32,
    units: u32,
    files: u32,
    lines: u32,
    functions: u32,
    function_count: u32,
    /// Bytes of a function's record before its list of tables.
    record_len: usize,
    module: Option<GoModule>,
}

/// The starts that the module record adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoModule {
    /// Range of the type descriptors.
    pub(crate) types: (u32, u32),
    /// Start of the read-only data.
    constants: u32,
    /// Start of the functions' data.
    function_data: u32,
    /// The index by code address, and the number of its buckets.
    buckets: u32,
    bucket_count: usize,
}

/// Bytes of a bucket: the first function's number, and sixteen differences.
const BUCKET: usize = 20;

impl GoTables {
    /// Finds the tables by their section.
    pub(crate) fn locate(
        file: &[u8],
        image: &MemoryImage,
        sections: &[Section<'_>],
    ) -> Option<Self> {
        let section = sections.iter().find(|section| section.name.ends_with(b".gopclntab"))?;
        let table = file.get(section.offset..section.offset + section.len)?;
        let start = image.relative(section.address)?;
        if image.offset(start) != Some(section.offset) {
            return None;
        }
        // Size of a pointer.
        if *table.get(7)? != 8 {
            return None;
        }
        let magic = u32_at(table, 0)?;
        let record_len = match magic {
            MAGIC_1_20 => RECORD_1_20,
            MAGIC_1_18 => 40,
            _ => return None,
        };
        let part = |i: usize| {
            let offset = u64_at(table, i).filter(|&offset| offset <= table.len() as u64)?;
            start.checked_add(offset as u32).filter(|&address| address < image.span)
        };
        // Newer linkers leave the start of the code to the runtime; it is the section's.
        let text = image.relative(u64_at(table, 24)?).or_else(|| {
            let text = sections.iter().find(|section| section.name == b".text")?;
            image.relative(text.address)
        })?;
        let mut tables = Self {
            offset: section.offset,
            end: section.offset + section.len,
            text,
            names: part(32)?,
            units: part(40)?,
            files: part(48)?,
            lines: part(56)?,
            functions: part(64)?,
            function_count: u32::try_from(u64_at(table, 8)?).ok()?,
            record_len,
            module: None,
        };
        tables.module = GoModule::locate(file, image, section.address, &tables, magic);
        Some(tables)
    }

    /// Returns the module record, if it was found.
    pub(crate) fn module(&self) -> Option<&GoModule> {
        self.module.as_ref()
    }

    /// Start of the program's code.
    pub(crate) fn text(&self) -> u32 {
        self.text
    }

    /// Returns the range of the index by code address in the file.
    fn buckets(&self, image: &MemoryImage) -> Option<(usize, usize)> {
        let module = self.module?;
        let start = image.offset(module.buckets)?;
        Some((start, start.checked_add(module.bucket_count.checked_mul(BUCKET)?)?))
    }

    /// Adds the fields of the tables.
    pub(crate) fn collect(
        &self,
        file: &[u8],
        image: &MemoryImage,
        fields: &mut Fields,
    ) -> Option<()> {
        let table = file.get(self.offset..self.end)?;
        let text = (self.text, fields.anchor(self.text, 1)?);
        let names = (self.names, fields.anchor(self.names, 1)?);
        let units = (self.units, fields.anchor(self.units, 4)?);
        let files = (self.files, fields.anchor(self.files, 1)?);
        let lines = (self.lines, fields.anchor(self.lines, 1)?);
        let functions = (self.functions, fields.anchor(self.functions, 1)?);
        let data = self.module.map(|module| module.function_data);
        let data = match data {
            Some(data) => Some((data, fields.anchor(data, 1)?)),
            None => None,
        };
        let start = image.address(self.offset)?;
        // Adds a field at `i` that counts from an anchor in units of its stride.
        let mut add = |i: usize, (from, number): (u32, u8), stride: i64| {
            let value = u32_at(table, i).filter(|&value| value != NONE)?;
            let target = i64::from(from) + i64::from(value) * stride;
            fields.push(self.offset + i, target, Form::Anchored32(number), image.span);
            Some(())
        };
        for i in ((self.units - start) as usize..(self.files.max(self.units) - start) as usize)
            .step_by(4)
        {
            add(i, files, 1);
        }
        let list = (self.functions - start) as usize;
        for i in 0..self.function_count as usize {
            add(list + i * 8, text, 1)?;
            add(list + i * 8 + 4, functions, 1)?;
        }
        add(list + self.function_count as usize * 8, text, 1);
        // Records follow in the order of the list. One that starts before the last one's end is
        // skipped: a hostile file could have a few bytes walked again and again.
        let mut walked = 0;
        let mut data_starts = Vec::new();
        for i in 0..self.function_count as usize {
            let record = list + u32_at(table, list + i * 8 + 4)? as usize;
            let Some(head) = table.get(record..record + self.record_len) else { continue };
            if record < walked {
                continue;
            }
            add(record, text, 1);
            add(record + 4, names, 1);
            for line in [16, 20, 24] {
                if u32_at(head, line) != Some(0) {
                    add(record + line, lines, 1);
                }
            }
            add(record + 32, units, 4);
            let line_lists = u32_at(head, 28)?.min(64) as usize;
            let data_lists = usize::from(head[self.record_len - 1]);
            let mut at = record + self.record_len;
            for _ in 0..line_lists {
                if u32_at(table, at) != Some(0) {
                    add(at, lines, 1);
                }
                at += 4;
            }
            for kind in 0..data_lists {
                if let (Some(data), Some(offset)) = (data, u32_at(table, at)) {
                    add(at, data, 1);
                    data_starts.push((offset, kind));
                }
                at += 4;
            }
            walked = at;
        }
        self.collect_buckets(file, image, fields);
        self.collect_function_data(file, image, data_starts, names.1, fields)
    }

    /// Adds the fields of the index by code address: the number of each bucket's first function.
    fn collect_buckets(&self, file: &[u8], image: &MemoryImage, fields: &mut Fields) -> Option<()> {
        let (start, end) = self.buckets(image)?;
        let bytes = file.get(start..end)?;
        let functions = fields.anchor(self.functions, 8)?;
        for (i, bucket) in bytes.chunks_exact(BUCKET).enumerate() {
            let number = i64::from(u32_at(bucket, 0)?);
            let target = i64::from(self.functions) + number * 8;
            fields.push(start + i * BUCKET, target, Form::Anchored32(functions), image.span);
        }
        Some(())
    }

    /// Adds the fields of the functions' data: names in trees of inlined calls, and the pointer
    /// masks of objects on the stack.
    fn collect_function_data(
        &self,
        file: &[u8],
        image: &MemoryImage,
        mut starts: Vec<(u32, usize)>,
        names: u8,
        fields: &mut Fields,
    ) -> Option<()> {
        const STACK_OBJECTS: usize = 2;
        const INLINED: usize = 3;
        let module = self.module.filter(|_| self.record_len == RECORD_1_20)?;
        let masks = fields.anchor(module.constants, 1)?;
        starts.retain(|start| start.0 != NONE);
        starts.sort_unstable();
        starts.dedup();
        for (i, &(start, kind)) in starts.iter().enumerate() {
            let next = starts[i + 1..].iter().find(|next| next.0 > start);
            let address = module.function_data.checked_add(start);
            let Some(at) = address.and_then(|address| image.offset(address)) else { continue };
            let room = next.map_or(0, |next| (next.0 - start) as usize);
            let Some(bytes) = file.get(at..at + room) else { continue };
            // Both are rows of four words; the second starts with the number of rows.
            let (skipped, word, anchor, from) = match kind {
                INLINED => (0, 4, names, self.names),
                STACK_OBJECTS => (8, 12, masks, module.constants),
                _ => continue,
            };
            for (row, words) in
                bytes.get(skipped..).unwrap_or_default().chunks_exact(16).enumerate()
            {
                let target = i64::from(from) + i64::from(u32_at(words, word)?);
                let at = at + skipped + row * 16 + word;
                fields.push(at, target, Form::Anchored32(anchor), image.span);
            }
        }
        Some(())
    }
}

impl GoModule {
    /// Finds the module record by its first two words: the table, and the table's names.
    fn locate(
        file: &[u8],
        image: &MemoryImage,
        table: u64,
        tables: &GoTables,
        magic: u32,
    ) -> Option<Self> {
        let names = image.low + u64::from(tables.names);
        let is_record = |at: usize| u64_at(file, at + 8) == Some(names);
        let at =
            image.segments.iter().filter(|segment| !segment.executable).find_map(|segment| {
                let bytes = file.get(segment.offset..segment.offset_end())?;
                let words = bytes.as_chunks::<8>().0.iter().enumerate();
                let found = words.filter(|(_, word)| u64::from_le_bytes(**word) == table);
                found.map(|(i, _)| segment.offset + i * 8).find(|&at| is_record(at))
            })?;
        let relative = |i: usize| u64_at(file, at + i).and_then(|address| image.relative(address));
        let (first, last) = (relative(160)?, u64_at(file, at + 168)?);
        let code_len = last.checked_sub(image.low + u64::from(first))?;
        // Go 1.20 added two words about coverage counters before these.
        let moved = if magic == MAGIC_1_20 { 16 } else { 0 };
        Some(Self {
            types: (relative(280 + moved)?, relative(288 + moved)?),
            constants: relative(296 + moved)?,
            function_data: relative(304 + moved)?,
            buckets: relative(152)?,
            bucket_count: usize::try_from(code_len / 4096 + 1).ok()?,
        })
    }
}
