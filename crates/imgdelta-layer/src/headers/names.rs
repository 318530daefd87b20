//! The rules by which tar writers derive one text of a header from another.
//! Rules are guesses: `encode` checks each, so a wrong one costs bytes and nothing else.

use super::{
    block::{FLAG, HeaderBlocks, LINK, MAGIC, NAME, PREFIX, TarBlock, is_pax, put_text, text},
    records::PaxRecords,
};

/// True if a block has a prefix field.
pub(super) fn has_prefix(block: &TarBlock) -> bool {
    block[MAGIC] == *b"ustar\0"
}

/// Returns a block's path: prefix and name.
pub(super) fn path_of(block: &TarBlock) -> Vec<u8> {
    let name = text(&block[NAME]);
    let prefix = if has_prefix(block) { text(&block[PREFIX]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Writes a path: its first `prefix_bytes` to the prefix field, the slash to neither field.
pub(super) fn put_path(block: &mut TarBlock, path: &[u8], prefix_bytes: usize) {
    let is_split = prefix_bytes > 0 && prefix_bytes < path.len();
    if has_prefix(block) {
        put_text(&mut block[PREFIX], if is_split { &path[..prefix_bytes] } else { b"" });
    }
    let name = if is_split { &path[prefix_bytes + 1..] } else { path };
    put_text(&mut block[NAME], name);
}

/// Returns the length of the prefix in Go's and GNU's writers, which take the longest.
pub(super) fn longest_prefix(path: &[u8]) -> usize {
    if path.len() <= NAME.len() {
        return 0;
    }
    let end = (path.len() - 1).min(PREFIX.len() + 1);
    path[..end].iter().rposition(|&byte| byte == b'/').unwrap_or(0)
}

/// Returns the length of the prefix in other writers, which take the shortest that leaves a fitting
/// name.
pub(super) fn shortest_prefix(path: &[u8]) -> usize {
    if path.len() <= NAME.len() {
        return 0;
    }
    let start = path.len() - NAME.len() - 1;
    path[start..path.len() - 1].iter().position(|&byte| byte == b'/').map_or(0, |at| start + at)
}

/// Returns a path as Go writes it to a field for ASCII: without all other bytes.
pub(super) fn ascii(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(u8::is_ascii).collect()
}

/// Returns a path as Python writes it to such a field: other characters become question marks.
pub(super) fn questioned(path: &[u8]) -> Vec<u8> {
    // Continuation bytes of UTF-8 give no question mark.
    let kept = path.iter().filter(|&&byte| byte & 0xc0 != 0x80);
    kept.map(|&byte| if byte.is_ascii() { byte } else { b'?' }).collect()
}

/// Returns the name of the PAX header of `path`: the marker directory before the last component.
///
/// The marker is the one of `earlier`, the name of an earlier PAX header.
pub(super) fn pax_name(earlier: &[u8], path: &[u8]) -> Vec<u8> {
    let marker = earlier
        .split(|&byte| byte == b'/')
        .find(|part| part.starts_with(b"PaxHeaders"))
        .unwrap_or(b"PaxHeaders.0");
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let (dir, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    [dir, marker, b"/", name].concat()
}

/// Returns the part behind the last slash.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Number of rules for splitting a path into prefix and name.
pub(super) const PATH_RULES: u64 = 4;

/// Writes a path to a block by a rule below [`PATH_RULES`].
pub(super) fn lay_path(block: &mut TarBlock, path: &[u8], rule: u64) {
    match rule {
        0 => put_path(block, path, longest_prefix(path)),
        1 => put_path(block, path, shortest_prefix(path)),
        2 => put_path(block, &ascii(path), 0),
        _ => put_path(block, &questioned(path), 0),
    }
}

/// Number of rules for spelling a link target.
pub(super) const LINK_RULES: u64 = 3;

/// Writes a link target to a block by a rule below [`LINK_RULES`].
pub(super) fn lay_link(block: &mut TarBlock, link: &[u8], rule: u64) {
    let field = &mut block[LINK];
    match rule {
        0 => put_text(field, link),
        1 => put_text(field, &ascii(link)),
        _ => put_text(field, &questioned(link)),
    }
}

/// Returns the path and the link target of a header; those of extensions take precedence.
pub(super) fn full_names(head: &HeaderBlocks) -> (Vec<u8>, Vec<u8>) {
    let (mut long, mut recorded) = ((None, None), (None, None));
    for extension in head.extensions() {
        let body = extension.body;
        match extension.block[FLAG] {
            b'L' => long.0 = Some(text(body)),
            b'K' => long.1 = Some(text(body)),
            flag if is_pax(flag) => {
                let records = PaxRecords::parse(body).unwrap_or_default();
                recorded.0 = recorded.0.or(records.find(b"path"));
                recorded.1 = recorded.1.or(records.find(b"linkpath"));
            }
            _ => {}
        }
    }
    let (path, link) = (long.0.or(recorded.0), long.1.or(recorded.1));
    (
        path.map_or_else(|| path_of(head.main()), <[u8]>::to_vec),
        link.unwrap_or(text(&head.main()[LINK])).to_vec(),
    )
}

/// Returns the candidates for the value of a PAX record.
///
/// They are the reference's value of this record, path, link target, the main block's time with the
/// reference's fraction, and the previous record's value.
pub(super) fn value_candidates<'a>(
    earlier: &'a [u8],
    names: (&'a [u8], &'a [u8]),
    time: &'a mut Vec<u8>,
    seconds: i64,
    before: &'a [u8],
) -> [&'a [u8]; 5] {
    time.extend_from_slice(seconds.to_string().as_bytes());
    if let Some(dot) = earlier.iter().position(|&byte| byte == b'.') {
        time.extend_from_slice(&earlier[dot..]);
    }
    [earlier, names.0, names.1, time, before]
}
