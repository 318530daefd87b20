//! The tar headers as tar-split writes them: one line for every segment, and one for every member.
//! Never looks at a stream.
//!
//! A segment is the bytes between two payloads. A member's line has its payload's checksum.

use super::json;
use imgdelta_core::crc64::Crc64;

/// Writer of the tar headers, as lines of JSON.
#[derive(Default)]
pub(super) struct TarSplitText {
    pub(super) text: Vec<u8>,
    lines: u64,
}

impl TarSplitText {
    /// Adds bytes that are not payload.
    pub(super) fn segment(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.text.extend(b"{\"type\":2");
            self.payload(Some(bytes));
        }
    }

    /// Adds a member with its payload's length and checksum.
    pub(super) fn member(&mut self, name: &[u8], bytes: u64, checksum: Option<Crc64>) {
        self.text.extend(b"{\"type\":1");
        if std::str::from_utf8(name).is_err() {
            json::key(&mut self.text, "name_raw");
            json::base64(&mut self.text, name);
        } else if !name.is_empty() {
            json::text(&mut self.text, "name", name);
        }
        if bytes > 0 {
            json::number(&mut self.text, "size", bytes);
        }
        let checksum = checksum.map(|checksum| checksum.finish().to_be_bytes());
        self.payload(checksum.as_ref().map(|bytes| &bytes[..]));
    }

    /// Ends a line with its payload field.
    fn payload(&mut self, bytes: Option<&[u8]>) {
        json::key(&mut self.text, "payload");
        match bytes {
            Some(bytes) => json::base64(&mut self.text, bytes),
            None => self.text.extend(b"null"),
        }
        json::number(&mut self.text, "position", self.lines);
        self.text.extend(b"}\n");
        self.lines += 1;
    }
}
