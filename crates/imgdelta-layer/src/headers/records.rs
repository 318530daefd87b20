//! The records of a PAX header as keys and values, written again byte for byte.
//! Never interprets a record, except its size: `tarscan` does.

/// PAX records: `LENGTH KEY=VALUE\n`, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords<'a>(pub(super) Vec<(&'a [u8], &'a [u8])>);

impl<'a> PaxRecords<'a> {
    /// Parses a body; `None` unless it is records in their shortest spelling.
    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let mut records = Vec::new();
        while !body.is_empty() {
            let space = body.iter().take(MAX_LENGTH_DIGITS + 1).position(|&byte| byte == b' ')?;
            let len: usize = std::str::from_utf8(&body[..space]).ok()?.parse().ok()?;
            let line = body.get(space + 1..len)?.strip_suffix(b"\n")?;
            let equals = line.iter().position(|&byte| byte == b'=')?;
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            if record_bytes(key.len(), value.len()) != len || body[0] == b'+' || body[0] == b'0' {
                return None;
            }
            records.push((key, value));
            body = &body[len..];
        }
        Some(Self(records))
    }

    /// Returns the last value of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.0.iter().rev().find(|(other, _)| *other == key).map(|&(_, value)| value)
    }

    /// Returns the value of `size` if it is a decimal number.
    pub(super) fn size(&self) -> Option<u64> {
        let digits = self.find(b"size")?;
        let plain = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
    }
}

/// Appends a record.
pub(super) fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(record_bytes(key.len(), value.len()).to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Returns the length of a record, which counts its own digits.
fn record_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    let rest = key_bytes + value_bytes + 3;
    let mut len = rest + digits(rest);
    if rest + digits(len) != len {
        len = rest + digits(len);
    }
    len
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Digits of the largest length that fits a `u64`.
const MAX_LENGTH_DIGITS: usize = 19;
