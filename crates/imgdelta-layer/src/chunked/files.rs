//! Members and frames brought together: what the texts say of each file.
//!
//! Told of the stream in blocks, and of frames where they begin and end. Never compresses.

use super::{
    contents::{Content, Contents, Piece, kind_in_words},
    recipe::Style,
    split::{Checksum, Split, checksum},
};
use imgdelta_core::{Algorithm, BlobDigest, Limits, verify::Hasher};
use imgdelta_image::tarscan::{Member, Scan, Visitor, number};
use std::ops::Range;

pub(super) struct Files {
    contents: Contents,
    split: Option<Split>,
    /// Bytes since the last payload, and where they start.
    gap: Vec<u8>,
    gap_start: u64,
    most_gap_bytes: u64,
    /// Where in the stream the next byte lies.
    at: u64,
    /// What the running payload lacks.
    payload_bytes: u64,
    file: Option<File>,
    /// Plain bytes of the running frame, if they are known, and where it begins in the blob.
    frame_bytes: Option<u64>,
    frame_start: u64,
    is_unlike: bool,
}

/// A file whose content passes, or has passed up to the end of its last frame.
struct File {
    member: Member,
    mode: i64,
    digest: Hasher,
    checksum: Option<Checksum>,
    pieces: Vec<Piece>,
    piece: Option<Running>,
    passed_bytes: u64,
    is_whole: bool,
}

/// The piece of a file that passes.
struct Running {
    bytes: u64,
    /// None where the piece is the file.
    digest: Option<Hasher>,
    is_zero: bool,
}

impl Files {
    pub(super) fn new(style: Style, has_split: bool, limits: &Limits) -> Self {
        Self {
            contents: Contents::new(style),
            split: has_split.then(Split::default),
            gap: Vec::new(),
            gap_start: 0,
            most_gap_bytes: limits.extension_bytes.saturating_add(MOST_GAP_BYTES),
            at: 0,
            payload_bytes: 0,
            file: None,
            frame_bytes: None,
            frame_start: 0,
            is_unlike: false,
        }
    }

    /// Whether something turned up that these texts do not tell, or in another way.
    pub(super) fn is_unlike(&self) -> bool {
        self.is_unlike
    }

    /// What was written since it was last taken.
    pub(super) fn texts(&mut self) -> (&mut Vec<u8>, Option<&mut Vec<u8>>) {
        (&mut self.contents.text, self.split.as_mut().map(|split| &mut split.text))
    }

    /// Returns how many of the next bytes may be passed at once: payload, or a block of headers.
    pub(super) fn next_bytes(&self, most: usize) -> usize {
        let left = match self.payload_bytes {
            0 => BLOCK_BYTES - self.at % BLOCK_BYTES,
            left => left,
        };
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    /// Tells of bytes right before they are scanned.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.at += count;
        if self.payload_bytes > 0 {
            self.payload_bytes -= count;
            self.gap_start = self.at;
        } else if !self.is_unlike {
            self.gap.extend_from_slice(bytes);
            self.is_unlike |= self.gap.len() as u64 > self.most_gap_bytes;
        }
    }

    pub(super) fn begin_frame(&mut self, plain_bytes: Option<u64>) {
        self.frame_bytes = plain_bytes;
    }

    pub(super) fn end_frame(&mut self, end: u64) {
        let start = std::mem::replace(&mut self.frame_start, end);
        let Some(file) = &mut self.file else { return };
        if let Some(piece) = file.piece.take() {
            file.pieces.push(Piece {
                offset: file.passed_bytes - piece.bytes,
                bytes: piece.bytes,
                stored: start,
                digest: piece.digest.map(Hasher::finish_blob),
                is_hole: piece.is_zero && piece.bytes >= LEAST_HOLE_BYTES,
            });
        }
        if !file.is_whole {
            return;
        }
        let Some(file) = self.file.take() else { return };
        let content = Content { digest: file.digest.finish_blob(), pieces: file.pieces, end };
        if content.pieces.is_empty() {
            self.is_unlike = true;
        } else {
            self.contents.entry(&file.member, file.mode, Some(&content));
        }
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self, scan: &Scan) {
        self.is_unlike |= scan.damage.is_some() || self.file.is_some();
        // Its reader takes two blocks of zeros for the end, and what follows for itself.
        let end = scan.tail_start.saturating_sub(self.gap_start) + 2 * BLOCK_BYTES;
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(self.gap.len());
        if let Some(split) = &mut self.split {
            split.segment(&self.gap[..end]);
            split.segment(&self.gap[end..]);
        }
    }

    /// Ends the table of contents.
    pub(super) fn finish_contents(&mut self, split: Option<BlobDigest>) {
        self.contents.finish(split);
    }
}

impl Visitor for Files {
    fn begin(&mut self, mut member: Member) {
        let payload_bytes = member.payload.end - member.payload.start;
        let headers = member.payload.start.checked_sub(self.gap_start);
        let headers = headers.and_then(|bytes| usize::try_from(bytes).ok());
        let headers = headers.filter(|&bytes| bytes <= self.gap.len() && bytes >= BLOCK);
        let is_known = kind_in_words(member.kind).is_some()
            && member.sparse.is_none()
            && !member.is_after_end
            && self.file.is_none()
            && (payload_bytes == 0 || member.payload.start == self.at);
        let (Some(headers), true) = (headers, is_known) else {
            self.is_unlike = true;
            return;
        };
        let header = &self.gap[headers - BLOCK..];
        let mode = number(&header[MODE]).unwrap_or(0);
        if member.link.is_empty() {
            // Told of what is no link as well.
            let link = header[LINK].split(|&byte| byte == 0).next();
            member.link = link.unwrap_or_default().to_vec();
        }
        if let Some(split) = &mut self.split {
            split.segment(&self.gap[..headers]);
        }
        self.gap.drain(..headers);
        self.gap_start += headers as u64;
        if payload_bytes == 0 {
            if let Some(split) = &mut self.split {
                split.member(&member.name, 0, None);
            }
            self.contents.entry(&member, mode, None);
            return;
        }
        self.payload_bytes = payload_bytes;
        self.file = Some(File {
            member,
            mode,
            digest: Hasher::new(Algorithm::Sha256),
            checksum: self.split.is_some().then(checksum),
            pieces: Vec::new(),
            piece: None,
            passed_bytes: 0,
            is_whole: false,
        });
    }

    fn payload(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let frame_bytes = self.frame_bytes;
        let piece = file.piece.get_or_insert_with(|| Running {
            bytes: 0,
            digest: (frame_bytes != Some(file.member.size_bytes))
                .then(|| Hasher::new(Algorithm::Sha256)),
            is_zero: true,
        });
        file.digest.update(bytes);
        if let Some(checksum) = &mut file.checksum {
            checksum.update(bytes);
        }
        if let Some(digest) = &mut piece.digest {
            digest.update(bytes);
        }
        piece.is_zero = piece.is_zero && bytes.iter().all(|&byte| byte == 0);
        piece.bytes += bytes.len() as u64;
        file.passed_bytes += bytes.len() as u64;
    }

    fn end(&mut self) {
        let Some(file) = &mut self.file else { return };
        file.is_whole = true;
        let checksum = file.checksum.take();
        if let Some(split) = &mut self.split {
            split.member(&file.member.name, file.member.size_bytes, checksum);
        }
    }
}

/// What tar counts in.
const BLOCK_BYTES: u64 = 512;
const BLOCK: usize = 512;
/// Where a header keeps its mode, and where a link leads.
const MODE: Range<usize> = 100..108;
const LINK: Range<usize> = 157..257;
/// So many zeros are a piece of their own, which is told to be one.
const LEAST_HOLE_BYTES: u64 = 1024;
/// Headers of one member, beside its extensions, and what fills up an archive's end.
const MOST_GAP_BYTES: u64 = 1 << 20;
