//! Combines tar members with frames to the entries of the texts.
//! Never compresses.
//!
//! The caller passes the stream in blocks, and reports the start and the end of every frame.

use super::{
    contents::{ContentsText, FileChunk, FileContent, type_name},
    recipe::TextStyle,
    split::TarSplitText,
};
use imgdelta_core::{Algorithm, BlobDigest, Limits, crc64::Crc64, verify::Hasher};
use imgdelta_image::tarscan::{MemberVisitor, ScanSummary, TarMember, number};
use std::ops::Range;

/// Writer of the texts' entries from members and frames.
pub(super) struct FileRecorder {
    contents: ContentsText,
    split: Option<TarSplitText>,
    /// Bytes since the last payload.
    gap: Vec<u8>,
    /// Offset of `gap` in the stream.
    gap_start: u64,
    most_gap_bytes: u64,
    /// Offset of the next byte of the stream.
    at: u64,
    /// Bytes of the current payload that are left.
    payload_bytes: u64,
    file: Option<OpenFile>,
    /// Plain bytes of the current frame, if their number is known.
    frame_bytes: Option<u64>,
    /// Offset of the current frame in the blob.
    frame_start: u64,
    is_unsupported: bool,
}

/// A file of which content or the end of the last frame is still to come.
struct OpenFile {
    member: TarMember,
    mode: i64,
    digest: Hasher,
    checksum: Option<Crc64>,
    chunks: Vec<FileChunk>,
    chunk: Option<OpenChunk>,
    passed_bytes: u64,
    is_whole: bool,
}

/// The current chunk of a file.
struct OpenChunk {
    bytes: u64,
    /// None if the chunk is the whole file.
    digest: Option<Hasher>,
    is_zero: bool,
}

impl FileRecorder {
    pub(super) fn new(style: TextStyle, has_split: bool, limits: &Limits) -> Self {
        Self {
            contents: ContentsText::new(style),
            split: has_split.then(TarSplitText::default),
            gap: Vec::new(),
            gap_start: 0,
            most_gap_bytes: limits.extension_bytes.saturating_add(MOST_GAP_BYTES),
            at: 0,
            payload_bytes: 0,
            file: None,
            frame_bytes: None,
            frame_start: 0,
            is_unsupported: false,
        }
    }

    /// True if the stream has something that these texts cannot express.
    pub(super) fn is_unsupported(&self) -> bool {
        self.is_unsupported
    }

    /// Returns both texts as far as they are written; the caller empties them.
    pub(super) fn texts(&mut self) -> (&mut Vec<u8>, Option<&mut Vec<u8>>) {
        (&mut self.contents.text, self.split.as_mut().map(|split| &mut split.text))
    }

    /// Returns the number of bytes that may be passed at once: payload, or a block of headers.
    pub(super) fn next_bytes(&self, most: usize) -> usize {
        let left = match self.payload_bytes {
            0 => BLOCK_BYTES - self.at % BLOCK_BYTES,
            left => left,
        };
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    /// Records bytes right before they are scanned.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.at += count;
        if self.payload_bytes > 0 {
            self.payload_bytes -= count;
            self.gap_start = self.at;
        } else if !self.is_unsupported {
            self.gap.extend_from_slice(bytes);
            self.is_unsupported |= self.gap.len() as u64 > self.most_gap_bytes;
        }
    }

    pub(super) fn begin_frame(&mut self, plain_bytes: Option<u64>) {
        self.frame_bytes = plain_bytes;
    }

    pub(super) fn end_frame(&mut self, end: u64) {
        let start = std::mem::replace(&mut self.frame_start, end);
        let Some(file) = &mut self.file else { return };
        if let Some(chunk) = file.chunk.take() {
            file.chunks.push(FileChunk {
                offset: file.passed_bytes - chunk.bytes,
                bytes: chunk.bytes,
                stored: start,
                digest: chunk.digest.map(Hasher::finish_blob),
                is_hole: chunk.is_zero && chunk.bytes >= LEAST_HOLE_BYTES,
            });
        }
        if !file.is_whole {
            return;
        }
        let Some(file) = self.file.take() else { return };
        let content = FileContent { digest: file.digest.finish_blob(), chunks: file.chunks, end };
        if content.chunks.is_empty() {
            self.is_unsupported = true;
        } else {
            self.contents.entry(&file.member, file.mode, Some(&content));
        }
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self, scan: &ScanSummary) {
        self.is_unsupported |= scan.damage.is_some() || self.file.is_some();
        // Go's reader ends at two blocks of zeros; the bytes behind are a segment of their own.
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

impl MemberVisitor for FileRecorder {
    fn begin(&mut self, mut member: TarMember) {
        let payload_bytes = member.payload.end - member.payload.start;
        let headers = member.payload.start.checked_sub(self.gap_start);
        let headers = headers.and_then(|bytes| usize::try_from(bytes).ok());
        let headers = headers.filter(|&bytes| bytes <= self.gap.len() && bytes >= BLOCK);
        let is_supported = type_name(member.kind).is_some()
            && member.sparse.is_none()
            && !member.is_after_end
            && self.file.is_none()
            && (payload_bytes == 0 || member.payload.start == self.at);
        let (Some(headers), true) = (headers, is_supported) else {
            self.is_unsupported = true;
            return;
        };
        let header = &self.gap[headers - BLOCK..];
        let mode = number(&header[MODE]).unwrap_or(0);
        if member.link.is_empty() {
            // The table has a link name even for entries that are not links.
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
        self.file = Some(OpenFile {
            member,
            mode,
            digest: Hasher::new(Algorithm::Sha256),
            checksum: self.split.is_some().then(Crc64::new),
            chunks: Vec::new(),
            chunk: None,
            passed_bytes: 0,
            is_whole: false,
        });
    }

    fn payload(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let frame_bytes = self.frame_bytes;
        let chunk = file.chunk.get_or_insert_with(|| OpenChunk {
            bytes: 0,
            digest: (frame_bytes != Some(file.member.size_bytes))
                .then(|| Hasher::new(Algorithm::Sha256)),
            is_zero: true,
        });
        file.digest.update(bytes);
        if let Some(checksum) = &mut file.checksum {
            checksum.update(bytes);
        }
        if let Some(digest) = &mut chunk.digest {
            digest.update(bytes);
        }
        chunk.is_zero = chunk.is_zero && bytes.iter().all(|&byte| byte == 0);
        chunk.bytes += bytes.len() as u64;
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

/// The unit of a tar archive.
const BLOCK_BYTES: u64 = 512;
const BLOCK: usize = 512;
/// The mode and link name fields of a header.
const MODE: Range<usize> = 100..108;
const LINK: Range<usize> = 157..257;
/// Shortest run of zeros that the table marks as a hole.
const LEAST_HOLE_BYTES: u64 = 1024;
/// Room for headers without extensions, and for the padding at an archive's end.
const MOST_GAP_BYTES: u64 = 1 << 20;
