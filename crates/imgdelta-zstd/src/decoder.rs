//! Decodes zstd files that come in pieces.
//!
//! Never holds more than a window and a block, and never allocates a window that is too large.

use crate::file::MOST_FILE_WINDOW;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Decodes frames one after another, and passes over skippable frames.
pub struct FileDecoder {
    decoder: DCtx<'static>,
    buffer: Vec<u8>,
    /// True behind a frame, and at the start of the file.
    is_between: bool,
}

impl FileDecoder {
    /// Makes a decoder for one file; `None` without memory for it.
    pub fn new() -> Option<Self> {
        let mut decoder = DCtx::try_create()?;
        decoder.set_parameter(DParameter::WindowLogMax(MOST_FILE_WINDOW.ilog2())).ok()?;
        let buffer = Vec::with_capacity(DCtx::out_size());
        Some(Self { decoder, buffer, is_between: true })
    }

    /// Decodes the next bytes, and passes plain bytes to `sink` until that returns false. Returns
    /// false then, and if the file is damaged, needs a dictionary, or has a window above 32 MiB.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut input = InBuffer::around(bytes);
        loop {
            self.buffer.clear();
            let mut output = OutBuffer::around(&mut self.buffer);
            let Ok(hint) = self.decoder.decompress_stream(&mut output, &mut input) else {
                return false;
            };
            self.is_between = hint == 0;
            let is_full = self.buffer.len() == self.buffer.capacity();
            if !self.buffer.is_empty() && !sink(&self.buffer) {
                return false;
            }
            // A full buffer may hide more output, unless the frame is complete.
            if input.pos() == bytes.len() && (!is_full || self.is_between) {
                return true;
            }
        }
    }

    /// True if the file may end here: behind a frame.
    pub fn finish(self) -> bool {
        self.is_between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(file: &[u8], piece: usize) -> Option<Vec<u8>> {
        let (mut plain, mut decoder) = (Vec::new(), FileDecoder::new().unwrap());
        for piece in file.chunks(piece) {
            let mut sink = |bytes: &[u8]| {
                plain.extend_from_slice(bytes);
                true
            };
            if !decoder.push(piece, &mut sink) {
                return None;
            }
        }
        decoder.finish().then_some(plain)
    }

    #[test]
    fn frames_come_back_in_pieces_of_any_length() {
        let text: Vec<u8> = (0..400_000_u32).map(|at| (at.wrapping_mul(at) >> 11) as u8).collect();
        let frames = [&text[..300_000], &text[300_000..], b""]
            .map(|plain| zstd::encode_all(plain, 3).unwrap());
        let skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello";
        let file = [&frames[0], &skippable[..], &frames[1], &frames[2], skippable].concat();
        for piece in [1, 7, 4096, file.len()] {
            assert!(decoded(&file, piece).as_ref() == Some(&text), "pieces of {piece}");
        }
        assert_eq!(decoded(&file[..file.len() - 1], 100), None);
        assert_eq!(decoded(&file[..frames[0].len() - 1], 100), None);
        assert_eq!(decoded(&[&file[..], b"more"].concat(), 100), None);
        let mut damaged = file.clone();
        damaged[9] ^= 0x40;
        assert_eq!(decoded(&damaged, 100), None);
    }

    #[test]
    fn large_windows_are_refused() {
        // A frame of raw blocks with a window of 32 MiB, and one of 64 MiB.
        for (window, is_read) in [(0x78, true), (0x80, false)] {
            let file = [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x09, 0, 0, b'x'];
            assert_eq!(decoded(&file, 3).is_some(), is_read);
        }
    }

    #[test]
    fn a_sink_stops_a_file_that_expands() {
        let file = zstd::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
        let (mut taken, mut decoder) = (0, FileDecoder::new().unwrap());
        let all = decoder.push(&file, &mut |plain| {
            taken += plain.len();
            taken < 1 << 20
        });
        assert!(!all && taken < 2 << 20, "{taken} bytes");
    }
}
