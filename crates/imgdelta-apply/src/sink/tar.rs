//! Headers of tar members.
//! Never writes a payload.
//!
//! The format is USTAR, with a PAX record for a name or size that does not fit.

/// Kind of a tar member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
}

/// Returns a member's header blocks.
pub(super) fn header(name: &str, kind: MemberKind, bytes: u64) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut records = Vec::new();
    if name.len() > NAME_BYTES {
        records.extend(record("path", name));
    }
    if bytes > MAX_OCTAL {
        records.extend(record("size", &bytes.to_string()));
    }
    if !records.is_empty() {
        blocks.extend(block("pax", b'x', records.len() as u64));
        blocks.extend_from_slice(&records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    let (flag, shown) = match kind {
        MemberKind::File => (b'0', bytes.min(MAX_OCTAL)),
        MemberKind::Directory => (b'5', 0),
    };
    blocks.extend(block(&name[..name.len().min(NAME_BYTES)], flag, shown));
    blocks
}

/// Rounds a length up to whole blocks.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

fn block(name: &str, flag: u8, bytes: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, if flag == b'5' { "0000755" } else { "0000644" });
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{bytes:011o}"));
    // The time is 0, so that the same image makes the same archive.
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar\x0000");
    block[156] = flag;
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Returns a PAX record, which includes its own length in decimal digits.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

pub(super) const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;
/// Eleven octal digits.
const MAX_OCTAL: u64 = (1 << 33) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_reads_names_and_sizes() {
        let long = "x".repeat(141);
        let sizes = [("largest", MAX_OCTAL), ("large", 1 << 33), ("larger", 1 << 34)];
        for (name, bytes) in [("a/b", 5), (long.as_str(), 5)].into_iter().chain(sizes) {
            let archive = header(name, MemberKind::File, bytes);
            let mut archive = ::tar::Archive::new(archive.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(name));
            assert_eq!(entry.size(), bytes);
            assert_eq!(entry.header().mode().unwrap(), 0o644);
        }
    }

    #[test]
    fn what_fits_into_a_block_needs_no_other() {
        let name = "x".repeat(NAME_BYTES);
        assert_eq!(header(&name, MemberKind::File, MAX_OCTAL).len(), BLOCK_BYTES);
        assert_eq!(header(&(name + "x"), MemberKind::File, 0).len(), 3 * BLOCK_BYTES);
        assert_eq!(header("x", MemberKind::File, 0o77_777_777_777).len(), BLOCK_BYTES);
        assert_eq!(header("x", MemberKind::File, 0o100_000_000_000).len(), 3 * BLOCK_BYTES);
        let directory = header("x/", MemberKind::Directory, 0);
        let mut archive = ::tar::Archive::new(directory.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.header().mode().unwrap(), 0o755);
    }

    #[test]
    fn a_record_counts_itself_at_every_length() {
        for length in 0..1200 {
            let record = record("path", &"x".repeat(length));
            let text = String::from_utf8(record.clone()).unwrap();
            let (number, _) = text.split_once(' ').unwrap();
            assert_eq!(number.parse::<usize>().unwrap(), record.len());
        }
    }
}
