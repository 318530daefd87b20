//! Writes the facts of one header: its differences from the reference.
//! The inverse of `decode`, step by step. Never decides which base entry is the reference.

use super::{
    block::{
        self, CHECKSUM, FLAG, HeaderBlocks, MTIME, NAME, SIZE, TarBlock, put_checksum, put_number,
        put_text, text as text_of,
    },
    columns::{Column, ColumnWriter, extension_fact, fact},
    decode::{ExtensionContext, NUMBERS, TEXTS, extension_reference, reference},
    memory::{HeaderMemory, ReferenceExtension},
    names,
    records::PaxRecords,
    text,
};
use imgdelta_image::tarscan::number;

/// Writes one entry's facts, and returns their mask.
///
/// Returns `None` and writes nothing if facts cannot give this header.
pub(super) fn entry(
    columns: &mut ColumnWriter,
    memory: &mut HeaderMemory,
    base: Option<&HeaderBlocks>,
    head: &HeaderBlocks,
    payload_bytes: u64,
) -> Option<u64> {
    let has_extensions =
        base.map_or(&[][..], HeaderBlocks::extension_bytes) != head.extension_bytes();
    if has_extensions && !head.extensions().all(|extension| is_codable(&extension)) {
        return None;
    }
    let target = head.main();
    let mut mask = 0;
    let flag = target[FLAG];
    if base.is_none_or(|base| base.main()[FLAG] != flag) {
        mask |= if base.is_some() { fact::FLAG } else { 0 };
        columns.bytes(Column::Flags, &[flag]);
    }
    let mut main = reference(memory, base, flag);
    let numbers = NUMBERS.into_iter().map(|(bit, field)| (bit, field, Column::Numbers));
    for (bit, field, column) in numbers.chain([(fact::SIZE, SIZE, Column::Sizes)]) {
        let old = number(&main[field.clone()]).unwrap_or(0);
        if let Some(new) = number(&target[field.clone()]).filter(|&new| new != old) {
            mask |= bit;
            columns.signed(column, new.wrapping_sub(old));
            put_number(&mut main[field], new);
        }
    }
    let base_time = base.and_then(|base| number(&base.main()[MTIME]));
    let expected = memory.times.expected(base_time);
    let time = number(&target[MTIME]).unwrap_or(expected);
    if time != expected {
        mask |= fact::MTIME;
        let place = memory.times.place_of(time);
        columns.number(Column::Times, place.map_or(0, |place| place as u64 + 1));
        if place.is_none() {
            columns.signed(Column::NewTimes, time.wrapping_sub(memory.times.last()));
        }
    }
    put_number(&mut main[MTIME], time);
    for (bit, field) in TEXTS {
        if text_of(&main[field.clone()]) != text_of(&target[field.clone()]) {
            mask |= bit;
            let new = text_of(&target[field.clone()]);
            text::write(columns, &[text_of(&main[field.clone()])], new);
            put_text(&mut main[field], new);
        }
    }

    let (base_path, base_link) = base.map_or_else(Default::default, names::full_names);
    let (path, link) = names::full_names(head);
    if base.is_none() || path != base_path || names::path_of(&main) != names::path_of(target) {
        mask |= fact::PATH;
        text::write(columns, &[&base_path, &memory.path], &path);
        lay_path(columns, &mut main, &path, target);
    }
    if link != base_link || text_of(&main[block::LINK]) != text_of(&target[block::LINK]) {
        mask |= fact::LINK;
        let near = names::base_name(&path);
        text::write(columns, &[&base_link, &path, near, &memory.link], &link);
        lay_link(columns, &mut main, &link, target);
    }

    if has_extensions {
        mask |= fact::EXTENSIONS;
        let context = ExtensionContext { base, path: &path, link: &link, time, limit: usize::MAX };
        extensions(columns, memory, head, &context);
    }
    if patch(columns, &mut main, target) {
        mask |= fact::PATCH;
    }
    if checksum(columns, &mut main, target) {
        mask |= fact::CHECKSUM;
    }
    if base.map_or(&[][..], HeaderBlocks::map) != head.map() {
        mask |= fact::MAP;
        columns.number(Column::Lengths, (head.map().len() / block::BLOCK_BYTES) as u64);
        columns.bytes(Column::Bytes, head.map());
    }
    if head.payload_bytes() != payload_bytes {
        mask |= fact::PAYLOAD;
        columns.number(Column::Lengths, payload_bytes);
    }
    memory.note(head);
    memory.times.note(base_time, time, mask & fact::MTIME != 0);
    (memory.path, memory.link) = (path, link);
    Some(mask)
}

/// True if an extension is a block with the body's length, the body, and zeros.
fn is_codable(extension: &block::ExtensionHeader<'_>) -> bool {
    let stated = number(&extension.block[SIZE]).and_then(|size| usize::try_from(size).ok());
    stated == Some(extension.body.len()) && extension.padding.iter().all(|&byte| byte == 0)
}

fn lay_path(columns: &mut ColumnWriter, main: &mut TarBlock, path: &[u8], target: &TarBlock) {
    for rule in 0..names::PATH_RULES {
        let mut tried = *main;
        names::lay_path(&mut tried, path, rule);
        if tried[NAME] == target[NAME] && tried[block::PREFIX] == target[block::PREFIX] {
            columns.number(Column::Choices, rule);
            *main = tried;
            return;
        }
    }
    columns.number(Column::Choices, names::PATH_RULES);
    let spelled = names::path_of(target);
    text::write(columns, &[path, &names::path_of(main)], &spelled);
    let name_bytes = text_of(&target[NAME]).len();
    let prefix_bytes = spelled.len().saturating_sub(name_bytes + 1);
    columns.number(Column::Lengths, prefix_bytes as u64);
    names::put_path(main, &spelled, prefix_bytes);
}

fn lay_link(columns: &mut ColumnWriter, main: &mut TarBlock, link: &[u8], target: &TarBlock) {
    for rule in 0..names::LINK_RULES {
        let mut tried = *main;
        names::lay_link(&mut tried, link, rule);
        if tried[block::LINK] == target[block::LINK] {
            columns.number(Column::Choices, rule);
            *main = tried;
            return;
        }
    }
    columns.number(Column::Choices, names::LINK_RULES);
    let spelled = text_of(&target[block::LINK]);
    text::write(columns, &[link], spelled);
    put_text(&mut main[block::LINK], spelled);
}

fn extensions(
    columns: &mut ColumnWriter,
    memory: &HeaderMemory,
    head: &HeaderBlocks,
    context: &ExtensionContext<'_>,
) {
    columns.number(Column::Extensions, head.extensions().count() as u64);
    for (place, extension) in head.extensions().enumerate() {
        let flag = extension.block[FLAG];
        columns.bytes(Column::Flags, &[flag]);
        let known = memory.extension(context.base, place, flag);
        let mut mask = 0;
        let mut facts = ColumnWriter::default();
        if extension.body != known.body {
            let records = PaxRecords::parse(extension.body).filter(|_| block::is_pax(flag));
            if let Some(records) = records {
                mask |= extension_fact::RECORDS;
                write_records(&mut facts, &records, &known, context);
            } else {
                mask |= extension_fact::BODY;
                let path = [context.path, b"\0"].concat();
                let link = [context.link, b"\0"].concat();
                text::write(&mut facts, &[known.body, &path, &link], extension.body);
            }
        }
        let mut block = extension_reference(&known, flag, extension.body.len(), context.time);
        if block[NAME] != extension.block[NAME] {
            mask |= extension_fact::NAME;
            let kept = text_of(&known.block[NAME]);
            let derived = names::pax_name(kept, context.path);
            let plain = names::ascii(&derived);
            let candidates = [kept, &derived, &plain];
            let fits = |text: &&[u8]| {
                let mut field = [0; NAME.end];
                put_text(&mut field, text);
                field == extension.block[NAME]
            };
            let name = candidates.into_iter().find(fits);
            let name = name.unwrap_or_else(|| text_of(&extension.block[NAME]));
            text::write(&mut facts, &candidates, name);
            put_text(&mut block[NAME], name);
        }
        if patch(&mut facts, &mut block, extension.block) {
            mask |= extension_fact::PATCH;
        }
        if checksum(&mut facts, &mut block, extension.block) {
            mask |= extension_fact::CHECKSUM;
        }
        columns.number(Column::Extensions, mask);
        columns.append(&facts);
    }
}

fn write_records(
    columns: &mut ColumnWriter,
    records: &PaxRecords<'_>,
    known: &ReferenceExtension<'_>,
    context: &ExtensionContext<'_>,
) {
    let known = PaxRecords::parse(known.body).unwrap_or_default();
    columns.number(Column::Extensions, records.0.len() as u64);
    let mut before: &[u8] = b"";
    for (i, &(key, value)) in records.0.iter().enumerate() {
        if known.0.get(i).is_some_and(|(same, _)| *same == key) {
            columns.number(Column::Extensions, 0);
        } else {
            columns.number(Column::Extensions, key.len() as u64 + 1);
            columns.bytes(Column::Text, key);
        }
        let earlier = known.find(key).unwrap_or_default();
        let (mut time, names) = (Vec::new(), (context.path, context.link));
        let candidates = names::value_candidates(earlier, names, &mut time, context.time, before);
        text::write(columns, &candidates, value);
        before = value;
    }
}

/// Patches all bytes that other facts did not give, except the checksum. True if there are any.
fn patch(columns: &mut ColumnWriter, block: &mut TarBlock, target: &TarBlock) -> bool {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    let differs = |at: &usize| block[*at] != target[*at] && !CHECKSUM.contains(at);
    for at in (0..target.len()).filter(differs) {
        match ranges.last_mut() {
            Some(last) if at - last.end < MIN_GAP_BYTES => last.end = at + 1,
            _ => ranges.push(at..at + 1),
        }
    }
    if ranges.is_empty() {
        return false;
    }
    columns.number(Column::Patches, ranges.len() as u64);
    let mut at = 0;
    for range in ranges {
        columns.number(Column::Patches, (range.start - at) as u64);
        columns.number(Column::Patches, range.len() as u64);
        columns.bytes(Column::Bytes, &target[range.clone()]);
        block[range.clone()].copy_from_slice(&target[range.clone()]);
        at = range.end;
    }
    true
}

/// Stores the checksum if it does not follow from the block. True if it is stored.
fn checksum(columns: &mut ColumnWriter, block: &mut TarBlock, target: &TarBlock) -> bool {
    put_checksum(block);
    if block[CHECKSUM] == target[CHECKSUM] {
        return false;
    }
    columns.bytes(Column::Bytes, &target[CHECKSUM]);
    true
}

/// Two patches closer than this cost more than one.
const MIN_GAP_BYTES: usize = 4;
