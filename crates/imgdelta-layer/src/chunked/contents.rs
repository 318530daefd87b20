//! The table of contents: an entry for every member, and one for every further chunk of a file.
//! Never looks at a stream.
//!
//! The fields and their order are those of containers/storage from 1.38 on. Fields that are zero or
//! empty are left out.

use super::{json, recipe::TextStyle};
use imgdelta_core::{BlobDigest, size::time_in_words, sort::SharedSort};
use imgdelta_image::tarscan::{EntryKind, TarMember};

/// Writer of the table of contents, as JSON.
pub(super) struct ContentsText {
    style: TextStyle,
    pub(super) text: Vec<u8>,
    has_entries: bool,
}

/// A part of a file that has a frame of its own.
#[derive(Debug)]
pub(super) struct FileChunk {
    /// Offset in the file.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Offset of its frame in the blob.
    pub(super) stored: u64,
    /// None if the chunk is the whole file.
    pub(super) digest: Option<BlobDigest>,
    pub(super) is_hole: bool,
}

/// The content of a file.
#[derive(Debug)]
pub(super) struct FileContent {
    pub(super) digest: BlobDigest,
    /// At least one chunk.
    pub(super) chunks: Vec<FileChunk>,
    /// Offset in the blob at which the last frame ends.
    pub(super) end: u64,
}

impl ContentsText {
    pub(super) fn new(style: TextStyle) -> Self {
        Self { style, text: b"{\"version\":1,\"entries\":[".to_vec(), has_entries: false }
    }

    /// Adds a member; `mode` is the whole number from its header.
    pub(super) fn entry(&mut self, member: &TarMember, mode: i64, content: Option<&FileContent>) {
        let Some(kind) = type_name(member.kind) else { return };
        let zero_times = self.style.has_zero_times;
        let out = self.begin(kind, &member.name);
        if !member.link.is_empty() {
            json::text(out, "linkName", &member.link);
        }
        optional(out, "mode", mode);
        optional(out, "size", member.size_bytes);
        optional(out, "uid", member.uid);
        optional(out, "gid", member.gid);
        json::text(out, "modtime", time_in_words(member.mtime).as_bytes());
        if zero_times {
            json::text(out, "accesstime", ZERO_TIME);
            json::text(out, "changetime", ZERO_TIME);
        }
        let (major, minor) = member.device.unwrap_or_default();
        optional(out, "devMajor", major);
        optional(out, "devMinor", minor);
        if !member.attributes.is_empty() {
            let mut sorted: Vec<_> = member.attributes.iter().collect();
            sorted.shared_sort_by(|one, other| one.name.cmp(&other.name));
            json::key(out, "xattrs");
            out.push(b'{');
            for attribute in sorted {
                if out.last() != Some(&b'{') {
                    out.push(b',');
                }
                json::string(out, &attribute.name);
                let value = &attribute.value;
                out.push(b':');
                json::base64(out, value);
            }
            out.push(b'}');
        }
        let Some(content) = content else {
            out.push(b'}');
            return;
        };
        json::text(out, "digest", content.digest.to_string().as_bytes());
        json::number(out, "offset", content.chunks[0].stored);
        json::number(out, "endOffset", content.end);
        if content.chunks.len() == 1 {
            out.push(b'}');
            return;
        }
        finish_chunk(out, &content.chunks[0]);
        for next in &content.chunks[1..] {
            let out = self.begin("chunk", &member.name);
            json::number(out, "offset", next.stored);
            finish_chunk(out, next);
        }
    }

    /// Ends the text; `split` is the digest of the compressed tar headers.
    pub(super) fn finish(&mut self, split: Option<BlobDigest>) {
        self.text.push(b']');
        if let Some(split) = split.filter(|_| self.style.has_split_digest) {
            json::text(&mut self.text, "tarSplitDigest", split.to_string().as_bytes());
        }
        self.text.push(b'}');
    }

    fn begin(&mut self, kind: &str, name: &[u8]) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.has_entries, true) {
            self.text.push(b',');
        }
        self.text.push(b'{');
        json::text(&mut self.text, "type", kind.as_bytes());
        json::text(&mut self.text, "name", name);
        &mut self.text
    }
}

/// Returns the name of an entry's type; `None` if the table has no such type.
pub(super) fn type_name(kind: EntryKind) -> Option<&'static str> {
    Some(match kind {
        EntryKind::File => "reg",
        EntryKind::HardLink => "hardlink",
        EntryKind::Symlink => "symlink",
        EntryKind::CharDevice => "char",
        EntryKind::BlockDevice => "block",
        EntryKind::Directory => "dir",
        EntryKind::Fifo => "fifo",
        EntryKind::Other(_) => return None,
    })
}

/// Ends an entry with the fields of a chunk.
fn finish_chunk(out: &mut Vec<u8>, chunk: &FileChunk) {
    optional(out, "chunkSize", chunk.bytes);
    optional(out, "chunkOffset", chunk.offset);
    if let Some(digest) = &chunk.digest {
        json::text(out, "chunkDigest", digest.to_string().as_bytes());
    }
    if chunk.is_hole {
        json::text(out, "chunkType", b"zeros");
    }
    out.push(b'}');
}

fn optional<N: Copy + Default + PartialEq + ToString>(out: &mut Vec<u8>, name: &str, value: N) {
    if value != N::default() {
        json::number(out, name, value);
    }
}

/// The zero time of Go.
const ZERO_TIME: &[u8] = b"0001-01-01T00:00:00Z";
