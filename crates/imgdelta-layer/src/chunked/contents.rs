//! The table of contents: an entry for every member, and one for every further piece of a file.
//!
//! Field by field as containers/storage writes it from 1.38 on: what is zero or empty is left out.
//! Never looks at a stream.

use super::{json, recipe::Style};
use imgdelta_core::{BlobDigest, size::time_in_words};
use imgdelta_image::tarscan::{Kind, Member};

/// The text so far.
pub(super) struct Contents {
    style: Style,
    pub(super) text: Vec<u8>,
    has_entries: bool,
}

/// A piece of a file that has a frame of its own.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Where its frame begins in the blob.
    pub(super) stored: u64,
    /// Known where the file has several.
    pub(super) digest: Option<BlobDigest>,
    pub(super) is_hole: bool,
}

/// A file's content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) digest: BlobDigest,
    /// One at least.
    pub(super) pieces: Vec<Piece>,
    /// Where its last frame ends in the blob.
    pub(super) end: u64,
}

impl Contents {
    pub(super) fn new(style: Style) -> Self {
        Self { style, text: b"{\"version\":1,\"entries\":[".to_vec(), has_entries: false }
    }

    /// Adds a member; its mode is that of its header, with all bits.
    pub(super) fn entry(&mut self, member: &Member, mode: i64, content: Option<&Content>) {
        let Some(kind) = kind_in_words(member.kind) else { return };
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
            sorted.sort_by(|one, other| one.name.cmp(&other.name));
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
        json::number(out, "offset", content.pieces[0].stored);
        json::number(out, "endOffset", content.end);
        if content.pieces.len() == 1 {
            out.push(b'}');
            return;
        }
        piece(out, &content.pieces[0]);
        for next in &content.pieces[1..] {
            let out = self.begin("chunk", &member.name);
            json::number(out, "offset", next.stored);
            piece(out, next);
        }
    }

    /// Ends the text; `split` is the digest of the tar's headers, compressed.
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

/// Returns how a kind is written, if it is.
pub(super) fn kind_in_words(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::File => "reg",
        Kind::HardLink => "hardlink",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char",
        Kind::BlockDevice => "block",
        Kind::Directory => "dir",
        Kind::Fifo => "fifo",
        Kind::Other(_) => return None,
    })
}

/// Ends an entry with what is told of a piece.
fn piece(out: &mut Vec<u8>, piece: &Piece) {
    optional(out, "chunkSize", piece.bytes);
    optional(out, "chunkOffset", piece.offset);
    if let Some(digest) = &piece.digest {
        json::text(out, "chunkDigest", digest.to_string().as_bytes());
    }
    if piece.is_hole {
        json::text(out, "chunkType", b"zeros");
    }
    out.push(b'}');
}

fn optional<N: Copy + Default + PartialEq + ToString>(out: &mut Vec<u8>, name: &str, value: N) {
    if value != N::default() {
        json::number(out, name, value);
    }
}

/// Go's zero time.
const ZERO_TIME: &[u8] = b"0001-01-01T00:00:00Z";
