//! Rebuilds one header from its facts; the inverse of `encode`.
//! Never reads the base: `reader` passes the base header.

use super::{
    block::{
        self, CHECKSUM, FLAG, GROUP, HeaderBlocks, MTIME, NAME, SIZE, TarBlock, USER, padded,
        put_checksum, put_number, put_text, text as text_of,
    },
    columns::{Column, ColumnReader, broken, extension_fact, fact},
    memory::{HeaderMemory, ReferenceExtension},
    names, records, text,
};
use imgdelta_core::Result;
use imgdelta_image::tarscan::number;
use std::ops::Range;

/// A rebuilt entry, without its payload.
#[derive(Debug)]
pub(super) struct DecodedEntry {
    pub(super) head: HeaderBlocks,
    pub(super) payload_bytes: u64,
    pub(super) is_padded: bool,
}

/// Numbers that are stored as differences from the reference.
pub(super) const NUMBERS: [(u64, Range<usize>); 5] = [
    (fact::MODE, block::MODE),
    (fact::UID, block::UID),
    (fact::GID, block::GID),
    (fact::MAJOR, block::MAJOR),
    (fact::MINOR, block::MINOR),
];

/// Texts that are stored as edits of the reference.
pub(super) const TEXTS: [(u64, Range<usize>); 2] = [(fact::USER, USER), (fact::GROUP, GROUP)];

/// Reads one entry's facts.
pub(super) fn entry<C: AsRef<[u8]>>(
    cursor: &mut ColumnReader<C>,
    memory: &mut HeaderMemory,
    base: Option<&HeaderBlocks>,
    mask: u64,
    limit: usize,
) -> Result<DecodedEntry> {
    let has = |bit: u64| mask & bit != 0;
    if mask > fact::ALL {
        return Err(broken(Column::Items, "has unknown facts"));
    }
    let flag = match base {
        Some(base) if !has(fact::FLAG) => base.main()[FLAG],
        _ => cursor.byte(Column::Flags)?,
    };
    let mut main = reference(memory, base, flag);
    for (_, field) in NUMBERS.into_iter().filter(|&(bit, _)| has(bit)) {
        let change = cursor.signed(Column::Numbers)?;
        let old = number(&main[field.clone()]).unwrap_or(0);
        put_number(&mut main[field], old.wrapping_add(change));
    }
    if has(fact::SIZE) {
        let change = cursor.signed(Column::Sizes)?;
        let old = number(&main[SIZE]).unwrap_or(0);
        put_number(&mut main[SIZE], old.wrapping_add(change));
    }
    let base_time = base.and_then(|base| number(&base.main()[MTIME]));
    let time = if has(fact::MTIME) {
        stored_time(cursor, memory)?
    } else {
        memory.times.expected(base_time)
    };
    put_number(&mut main[MTIME], time);
    for (_, field) in TEXTS.into_iter().filter(|&(bit, _)| has(bit)) {
        let name = text::read(cursor, &[text_of(&main[field.clone()])], field.len())?;
        put_text(&mut main[field], &name);
    }

    let (mut path, mut link) = base.map_or_else(Default::default, names::full_names);
    if has(fact::PATH) {
        path = text::read(cursor, &[&path, &memory.path], limit)?;
        match cursor.number(Column::Choices)? {
            rule if rule < names::PATH_RULES => names::lay_path(&mut main, &path, rule),
            _ => {
                let kept = names::path_of(&main);
                let spelled = text::read(cursor, &[&path, &kept], PATH_BYTES)?;
                let prefix_bytes = cursor.number(Column::Lengths)?;
                let prefix_bytes = usize::try_from(prefix_bytes).unwrap_or(usize::MAX);
                names::put_path(&mut main, &spelled, prefix_bytes);
            }
        }
    }
    if has(fact::LINK) {
        let near = names::base_name(&path);
        link = text::read(cursor, &[&link, &path, near, &memory.link], limit)?;
        match cursor.number(Column::Choices)? {
            rule if rule < names::LINK_RULES => names::lay_link(&mut main, &link, rule),
            _ => {
                let spelled = text::read(cursor, &[&link], block::LINK.len())?;
                put_text(&mut main[block::LINK], &spelled);
            }
        }
    }

    let context = ExtensionContext { base, path: &path, link: &link, time, limit };
    let mut bytes = match (has(fact::EXTENSIONS), base) {
        (true, _) => extensions(cursor, memory, &context)?,
        (false, Some(base)) => base.extension_bytes().to_vec(),
        (false, None) => Vec::new(),
    };
    let main_at = bytes.len();
    if has(fact::PATCH) {
        patch(cursor, &mut main)?;
    }
    checksum(cursor, &mut main, has(fact::CHECKSUM))?;
    bytes.extend_from_slice(&main);
    let base_map = base.map_or(&[][..], HeaderBlocks::map);
    if has(fact::MAP) {
        let blocks = cursor.number(Column::Lengths)?;
        let map = cursor.bytes(Column::Bytes, blocks.saturating_mul(block::BLOCK_BYTES as u64))?;
        bytes.extend_from_slice(map);
    } else {
        bytes.extend_from_slice(base_map);
    }
    let head = HeaderBlocks { bytes, main_at };
    let payload_bytes =
        if has(fact::PAYLOAD) { cursor.number(Column::Lengths)? } else { head.payload_bytes() };
    memory.note(&head);
    memory.times.note(base_time, time, has(fact::MTIME));
    (memory.path, memory.link) = (path, link);
    Ok(DecodedEntry { head, payload_bytes, is_padded: !has(fact::NO_PADDING) })
}

/// Returns the main block that the facts change.
pub(super) fn reference(memory: &HeaderMemory, base: Option<&HeaderBlocks>, flag: u8) -> TarBlock {
    let mut main = *base.map_or_else(|| memory.main(flag), HeaderBlocks::main);
    if base.is_none() {
        put_number(&mut main[SIZE], 0);
        put_text(&mut main[block::LINK], b"");
    }
    main[FLAG] = flag;
    main
}

fn stored_time<C: AsRef<[u8]>>(cursor: &mut ColumnReader<C>, memory: &HeaderMemory) -> Result<i64> {
    let place = cursor.number(Column::Times)?;
    let Some(place) = place.checked_sub(1) else {
        return Ok(memory.times.last().wrapping_add(cursor.signed(Column::NewTimes)?));
    };
    let recent = usize::try_from(place).ok().and_then(|place| memory.times.recent(place));
    recent.ok_or_else(|| broken(Column::Times, "names an unknown recent time"))
}

/// Values that extension headers are rebuilt from, besides their references.
#[derive(Debug)]
pub(super) struct ExtensionContext<'a> {
    pub(super) base: Option<&'a HeaderBlocks>,
    pub(super) path: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) time: i64,
    pub(super) limit: usize,
}

fn extensions<C: AsRef<[u8]>>(
    cursor: &mut ColumnReader<C>,
    memory: &HeaderMemory,
    context: &ExtensionContext<'_>,
) -> Result<Vec<u8>> {
    let count = cursor.number(Column::Extensions)?;
    let mut bytes = Vec::new();
    for place in 0..count {
        let flag = cursor.byte(Column::Flags)?;
        let mask = cursor.number(Column::Extensions)?;
        if mask > extension_fact::ALL {
            return Err(broken(Column::Extensions, "has unknown facts"));
        }
        let has = |bit: u64| mask & bit != 0;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let known = memory.extension(context.base, place, flag);
        let body = if has(extension_fact::RECORDS) {
            read_records(cursor, &known, context)?
        } else if has(extension_fact::BODY) {
            let (path, link) = ([context.path, b"\0"].concat(), [context.link, b"\0"].concat());
            text::read(cursor, &[known.body, &path, &link], context.limit)?
        } else {
            known.body.to_vec()
        };
        let mut block = extension_reference(&known, flag, body.len(), context.time);
        if has(extension_fact::NAME) {
            let kept = text_of(&known.block[NAME]);
            let derived = names::pax_name(kept, context.path);
            let plain = names::ascii(&derived);
            let name = text::read(cursor, &[kept, &derived, &plain], context.limit)?;
            put_text(&mut block[NAME], &name);
        }
        if has(extension_fact::PATCH) {
            patch(cursor, &mut block)?;
        }
        checksum(cursor, &mut block, has(extension_fact::CHECKSUM))?;
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(&body);
        bytes.resize(padded(bytes.len()), 0);
        if bytes.len() > context.limit.saturating_mul(2) {
            return Err(broken(Column::Extensions, "exceeds the limit"));
        }
    }
    Ok(bytes)
}

/// Returns the block of an extension that the facts change.
pub(super) fn extension_reference(
    known: &ReferenceExtension<'_>,
    flag: u8,
    body_bytes: usize,
    time: i64,
) -> TarBlock {
    let mut block = *known.block;
    block[FLAG] = flag;
    put_number(&mut block[SIZE], i64::try_from(body_bytes).unwrap_or(i64::MAX));
    // Writers give an extension the time 0 or the time of its entry.
    if number(&block[MTIME]).is_some_and(|time| time != 0) {
        put_number(&mut block[MTIME], time);
    }
    block
}

fn read_records<C: AsRef<[u8]>>(
    cursor: &mut ColumnReader<C>,
    known: &ReferenceExtension<'_>,
    context: &ExtensionContext<'_>,
) -> Result<Vec<u8>> {
    let known = records::PaxRecords::parse(known.body).unwrap_or_default();
    let count = cursor.number(Column::Extensions)?;
    let mut body = Vec::new();
    let mut before = Vec::new();
    for i in 0..count {
        let same = usize::try_from(i).ok().and_then(|i| known.0.get(i));
        let key = match cursor.number(Column::Extensions)? {
            0 => {
                same.ok_or_else(|| broken(Column::Extensions, "names a missing record"))?.0.to_vec()
            }
            more => cursor.bytes(Column::Text, more - 1)?.to_vec(),
        };
        let earlier = known.find(&key).unwrap_or_default();
        let (mut time, names) = (Vec::new(), (context.path, context.link));
        let candidates = names::value_candidates(earlier, names, &mut time, context.time, &before);
        let value = text::read(cursor, &candidates, context.limit)?;
        records::put_record(&mut body, &key, &value);
        before = value;
        if body.len() > context.limit {
            return Err(broken(Column::Extensions, "exceeds the limit"));
        }
    }
    Ok(body)
}

fn patch<C: AsRef<[u8]>>(cursor: &mut ColumnReader<C>, block: &mut TarBlock) -> Result<()> {
    let mut at = 0;
    for _ in 0..cursor.number(Column::Patches)? {
        let gap = cursor.number(Column::Patches)?;
        let count = cursor.number(Column::Patches)?;
        let place = |bytes: u64| usize::try_from(bytes).ok().filter(|&bytes| bytes <= block.len());
        let range = place(gap).zip(place(count)).map(|(gap, count)| at + gap..at + gap + count);
        let out = range.clone().and_then(|range| block.get_mut(range));
        let out = out.ok_or_else(|| broken(Column::Patches, "exceeds the block"))?;
        out.copy_from_slice(cursor.bytes(Column::Bytes, count)?);
        at = range.map_or(at, |range| range.end);
    }
    Ok(())
}

fn checksum<C: AsRef<[u8]>>(
    cursor: &mut ColumnReader<C>,
    block: &mut TarBlock,
    is_stored: bool,
) -> Result<()> {
    if is_stored {
        let field = cursor.bytes(Column::Bytes, CHECKSUM.len() as u64)?;
        block[CHECKSUM].copy_from_slice(field);
    } else {
        put_checksum(block);
    }
    Ok(())
}

/// Length of prefix, slash and name.
pub(super) const PATH_BYTES: usize = 256;
