//! The records of a PAX header: those that name, place or describe a member.
//!
//! Never decides what a member is: the scanner merges records with their header.

use super::{
    member::ExtendedAttribute,
    sparse::{decimal, pairs},
};
use std::collections::HashMap;

/// The records of one `x`, `X` or `g` header.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) device: (Option<u32>, Option<u32>),
    pub(super) attributes: Vec<ExtendedAttribute>,
    pub(super) sparse: Option<SparseRecords>,
}

/// The records of a sparse file.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    /// The map, or `None` if it lies before the data (version 1.0).
    pub(super) pairs: Option<Vec<(u64, u64)>>,
}

impl PaxRecords {
    /// Reads a header's body; the error is the text of a damage.
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        let mut sparse = SparseText::default();
        let mut attributes = AttributeList::default();
        while body.iter().any(|&byte| byte != 0) {
            let (key, value) = record(&mut body).ok_or("a PAX record is malformed")?;
            if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                sparse.take(key, value)?;
            } else if !attributes.take(key, value) {
                records.take(key, value)?;
            }
        }
        records.attributes = attributes.list;
        records.sparse = sparse.finish()?;
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // An empty value cancels a global record, so that the header's own field counts.
        let text = (!value.is_empty()).then(|| value.to_vec());
        let small = || decimal(value).and_then(|number| u32::try_from(number).ok());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"uname" => self.user = text.map(owner_name),
            b"gname" => self.group = text.map(owner_name),
            b"uid" => self.uid = decimal(value),
            b"gid" => self.gid = decimal(value),
            b"mtime" => self.mtime = time(value),
            b"SCHILY.devmajor" => self.device.0 = small(),
            b"SCHILY.devminor" => self.device.1 = small(),
            // The size decides the range of every later member, so an invalid one is an error.
            b"size" if !value.is_empty() => {
                self.size = Some(decimal(value).ok_or("a PAX size is not a number")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a global header's records to those of earlier ones.
    ///
    /// Only records that make sense for many members count. One path, size or map for all members
    /// would shift every range; attributes for all members would let one header of a megabyte fill
    /// memory. Go's reader applies no global record.
    pub(super) fn merge_global(&mut self, other: Self) {
        let keep = |ours: &mut Option<Vec<u8>>, theirs: Option<Vec<u8>>| {
            if theirs.is_some() {
                *ours = theirs;
            }
        };
        keep(&mut self.user, other.user);
        keep(&mut self.group, other.group);
        self.uid = other.uid.or(self.uid);
        self.gid = other.gid.or(self.gid);
        self.mtime = other.mtime.or(self.mtime);
    }
}

/// Returns a name of a user or group; a long one as its start, its length and its BLAKE3.
///
/// A global record gives its name to every member, so that a name of a megabyte would be copied,
/// compared and printed a million times.
fn owner_name(name: Vec<u8>) -> Vec<u8> {
    if name.len() <= MAX_OWNER_BYTES {
        return name;
    }
    let (bytes, digest) = (name.len(), blake3::hash(&name).to_hex());
    let rest = format!("... ({bytes} bytes, blake3 {digest})");
    [&name[..SHOWN_OWNER_BYTES], rest.as_bytes()].concat()
}

/// Splits `LENGTH KEY=VALUE\n` off the front.
fn record<'a>(body: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = body.iter().take(MAX_LENGTH_DIGITS + 1).position(|&byte| byte == b' ')?;
    let len = usize::try_from(decimal(&body[..space])?).ok()?;
    let line = body.get(space + 1..len)?.strip_suffix(b"\n")?;
    *body = &body[len..];
    let equals = line.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
    Some((&line[..equals], &line[equals + 1..]))
}

/// Reads seconds with an optional fraction, rounded down to nanoseconds.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (sign, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, value),
    };
    let mut parts = digits.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()? * sign;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |sum, place| {
        sum * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'))
    });
    // -1.25 is second -2 plus three quarters.
    match (sign, nanos) {
        (-1, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

/// Attributes by name.
///
/// A header may have one attribute in several dialects (bsdtar writes two). The most common dialect
/// wins; of two records in one dialect the later wins.
#[derive(Default)]
struct AttributeList {
    list: Vec<ExtendedAttribute>,
    places: HashMap<Box<[u8]>, (usize, u8)>,
}

impl AttributeList {
    fn take(&mut self, key: &[u8], value: &[u8]) -> bool {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.put(name, value, 2);
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            if let Some(value) = from_base64(value) {
                self.put(&from_percent(name), &value, 1);
            }
        } else if key == b"RHT.security.selinux" {
            self.put(b"security.selinux", value, 0);
        } else if key.starts_with(b"SCHILY.acl.") {
            self.put(key, value, 0);
        } else {
            return false;
        }
        true
    }

    fn put(&mut self, name: &[u8], value: &[u8], rank: u8) {
        if let Some((place, best)) = self.places.get_mut(name) {
            if rank >= *best {
                *best = rank;
                self.list[*place].value = value.into();
            }
            return;
        }
        self.places.insert(name.into(), (self.list.len(), rank));
        self.list.push(ExtendedAttribute { name: name.into(), value: value.into() });
    }
}

/// `GNU.sparse.` records before their version is known.
#[derive(Default)]
struct SparseText<'a> {
    major: &'a [u8],
    minor: &'a [u8],
    name: &'a [u8],
    size: &'a [u8],
    real_size: &'a [u8],
    numbers: Vec<u64>,
}

impl<'a> SparseText<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), &'static str> {
        match key {
            b"major" => self.major = value,
            b"minor" => self.minor = value,
            b"name" => self.name = value,
            b"size" => self.size = value,
            b"realsize" => self.real_size = value,
            b"map" => {
                self.numbers.clear();
                for number in value.split(|&byte| byte == b',').filter(|_| !value.is_empty()) {
                    self.numbers.push(decimal(number).ok_or(BROKEN_MAP)?);
                }
            }
            // Version 0.0 repeats these two, always in this order.
            b"offset" | b"numbytes" => {
                if self.numbers.len().is_multiple_of(2) != (key == b"offset") {
                    return Err(BROKEN_MAP);
                }
                self.numbers.push(decimal(value).ok_or(BROKEN_MAP)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<SparseRecords>, &'static str> {
        let is_before_data = match (self.major, self.minor) {
            (b"1", b"0") => true,
            (b"0", b"0" | b"1") => false,
            // Early writers of 0.0 and 0.1 stated no version.
            (b"", b"") if !self.numbers.is_empty() => false,
            _ => return Ok(None),
        };
        if !self.numbers.len().is_multiple_of(2) {
            return Err(BROKEN_MAP);
        }
        let size = if self.size.is_empty() { self.real_size } else { self.size };
        let size_bytes = match size {
            b"" => None,
            digits => Some(decimal(digits).ok_or("a sparse file's size is not a number")?),
        };
        Ok(Some(SparseRecords {
            name: (!self.name.is_empty()).then(|| self.name.to_vec()),
            size_bytes,
            pairs: (!is_before_data).then(|| pairs(&self.numbers)),
        }))
    }
}

/// Decodes base 64, with or without padding.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    let end = text.iter().position(|&c| c == b'=').unwrap_or(text.len());
    for &c in &text[..end] {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

/// Decodes `%41`; other text stays.
fn from_percent(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%');
        let code = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

const BROKEN_MAP: &str = "a sparse file's map is malformed";

/// Linux's bound on the name of a user.
const MAX_OWNER_BYTES: usize = 256;

/// Bytes of a longer name that are kept.
const SHOWN_OWNER_BYTES: usize = 64;

/// Bound on the digits of a record's length, far above any limit on a whole header.
const MAX_LENGTH_DIGITS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_testkit::tar_stream::records;

    #[test]
    fn times_keep_their_nanoseconds_on_both_sides_of_1970() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1700000000.123456789123"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-7"), Some((-7, 0)));
        for wrong in [&b""[..], b".5", b"1.x", b"--1", b"1e3", b"99999999999999999999"] {
            assert_eq!(time(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn attributes_of_every_dialect_are_one_list() {
        let body = records(&[
            (b"LIBARCHIVE.xattr.user.a%20b", b"aGVsbG8"),
            (b"LIBARCHIVE.xattr.user.both", b"AAAA"),
            (b"SCHILY.xattr.user.both", b"a=b\n\0"),
            (b"RHT.security.selinux", b"label"),
            (b"SCHILY.acl.access", b"user::rwx"),
            (b"comment", b"ignored"),
        ]);
        let list: Vec<_> = PaxRecords::parse(&body)
            .unwrap()
            .attributes
            .into_iter()
            .map(|attribute| (attribute.name.to_vec(), attribute.value.to_vec()))
            .collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"user.a b", b"hello"),
            (b"user.both", b"a=b\n\0"),
            (b"security.selinux", b"label"),
            (b"SCHILY.acl.access", b"user::rwx"),
        ];
        assert_eq!(list, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
    }

    #[test]
    fn a_user_name_of_a_megabyte_is_shortened_and_stays_distinct() {
        let name = |last: u8| [&vec![b'u'; 1 << 20][..], &[last]].concat();
        let user = |last| PaxRecords::parse(&records(&[(b"uname", &name(last))])).unwrap().user;
        assert!(user(b'a').unwrap().len() < MAX_OWNER_BYTES);
        assert_ne!(user(b'a'), user(b'b'));
        let usual = [b'u'; MAX_OWNER_BYTES];
        let records = PaxRecords::parse(&records(&[(b"uname", &usual)])).unwrap();
        assert_eq!(records.user.unwrap(), usual);
    }

    #[test]
    fn malformed_records_are_reported() {
        for body in
            [&b"6 a=b"[..], b"5 a=b\n", b"99 a=b\n", b"x a=b\n", b"6 =ab\n", b"6 abc\n", b"6"]
        {
            assert_eq!(
                PaxRecords::parse(body).unwrap_err(),
                "a PAX record is malformed",
                "{body:?}"
            );
        }
        assert!(PaxRecords::parse(b"6 a=b\n").is_ok());
        assert!(PaxRecords::parse(b"6 a=b\n\0\0").is_ok());
        assert!(PaxRecords::parse(&records(&[(b"size", b"-1")])).is_err());
        assert!(PaxRecords::parse(&records(&[(b"GNU.sparse.numbytes", b"1")])).is_err());
        assert!(PaxRecords::parse(&records(&[(b"GNU.sparse.map", b"1,2,x")])).is_err());
    }
}
