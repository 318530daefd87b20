//! The range of a blob that a request asks for.
//!
//! Runtimes continue a download that was cut with `bytes=N-`. Several ranges in one request are
//! answered with the whole blob, as the specification of HTTP allows.

/// The part of a blob to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobRange {
    /// All of it.
    Whole,
    /// Bytes from `start` up to, and without, `end`.
    Part {
        /// The first byte.
        start: u64,
        /// The byte after the last one.
        end: u64,
    },
    /// Nothing: the range lies beyond the blob.
    Unsatisfiable,
}

impl BlobRange {
    /// Parses the header `Range` of a request for a blob of `size` bytes.
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(range) = header.and_then(|header| header.strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = range.split_once('-') else { return Self::Whole };
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        };
        let (start, end) = match (first.trim(), last.trim()) {
            ("", last) => match number(last) {
                Some(0) => return Self::Unsatisfiable,
                Some(bytes) => (size.saturating_sub(bytes), size),
                None => return Self::Whole,
            },
            (first, "") => match number(first) {
                Some(start) => (start, size),
                None => return Self::Whole,
            },
            (first, last) => match number(first).zip(number(last)) {
                Some((start, last)) if start <= last => (start, last.saturating_add(1).min(size)),
                _ => return Self::Whole,
            },
        };
        if start < size { Self::Part { start, end } } else { Self::Unsatisfiable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_defines_them() {
        let part = |start, end| BlobRange::Part { start, end };
        for (header, expected) in [
            ("bytes=0-", part(0, 10)),
            ("bytes=3-", part(3, 10)),
            ("bytes=3-5", part(3, 6)),
            ("bytes=3-500", part(3, 10)),
            ("bytes=-4", part(6, 10)),
            ("bytes=-400", part(0, 10)),
            ("bytes=10-", BlobRange::Unsatisfiable),
            ("bytes=-0", BlobRange::Unsatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", BlobRange::Unsatisfiable),
            ("bytes=0-1,3-4", BlobRange::Whole),
            ("bytes=5-3", BlobRange::Whole),
            ("bytes=x-", BlobRange::Whole),
            ("bytes=+3-5", BlobRange::Whole),
            ("lines=0-1", BlobRange::Whole),
        ] {
            assert_eq!(BlobRange::parse(Some(header), 10), expected, "{header}");
        }
        assert_eq!(BlobRange::parse(None, 10), BlobRange::Whole);
        assert_eq!(BlobRange::parse(Some("bytes=0-"), 0), BlobRange::Unsatisfiable);
    }
}
