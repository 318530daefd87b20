//! Finds the cuts between the frames of a zstd:chunked layer.
//! Never compresses.
//!
//! There is a cut at both ends of every payload, and at both ends of 1024 zeros or more. Within a
//! payload there is a cut where a rolling sum of the last 64 bytes ends in sixteen ones. The sum is
//! bup's, which containers/storage has from Perkeep's rollsum.
//!
//! A position is *settled* once no later byte can add a cut before it.

use imgdelta_core::{Limits, Result};
use imgdelta_image::tarscan::{MemberVisitor, TarMember, TarScanner};
use std::collections::VecDeque;

/// Finder of cuts in a stream that arrives piece by piece.
pub(super) struct CutFinder {
    scanner: Option<TarScanner>,
    places: CutPlaces,
    /// Offset at which the archive ends; bytes behind it belong to the last frame.
    end: Option<u64>,
}

/// Cuts that the scanner's visits have given so far.
#[derive(Default)]
struct CutPlaces {
    /// Offsets at which frames end, ascending.
    cuts: VecDeque<u64>,
    /// The last cut so far.
    last: u64,
    /// Offset of the next byte of the stream.
    at: u64,
    /// Offset of the next byte of the payload.
    payload_at: u64,
    /// The sum over the current payload.
    sum: Option<RollingSum>,
    /// Number of zeros right before `payload_at` that may become a hole.
    zeros: u64,
}

impl CutFinder {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { scanner: Some(TarScanner::new(limits)), places: CutPlaces::default(), end: None }
    }

    /// Scans the next bytes of the stream.
    pub(super) fn push(&mut self, plain: &[u8]) -> Result<()> {
        let Some(scanner) = &mut self.scanner else { return Ok(()) };
        scanner.feed(plain, &mut self.places)?;
        self.places.at += plain.len() as u64;
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) {
        if let Some(scanner) = self.scanner.take() {
            let scan = scanner.finish(&mut self.places);
            self.end = Some((scan.tail_start + END_BYTES).min(scan.stream_bytes));
        }
        self.places.end_payload();
        self.places.cut(self.places.at);
    }

    /// Returns the first cut behind `place`, and drops the cuts before.
    pub(super) fn next_after(&mut self, place: u64) -> Option<u64> {
        while self.places.cuts.front().is_some_and(|&cut| cut <= place) {
            self.places.cuts.pop_front();
        }
        self.places.cuts.front().copied()
    }

    /// Returns the end of the archive if it lies in the frame that ends at `cut`.
    ///
    /// containers/storage flushes there, before it copies the rest of the stream.
    pub(super) fn archive_end(&self, cut: Option<u64>) -> Option<u64> {
        self.end.filter(|_| cut == Some(self.places.last))
    }

    /// Returns the offset up to which all cuts are found.
    pub(super) fn settled(&self) -> u64 {
        let places = &self.places;
        match places.zeros {
            _ if places.sum.is_none() => places.at,
            HOLE_BYTES.. => places.payload_at,
            zeros => places.payload_at - zeros,
        }
    }
}

impl CutPlaces {
    fn cut(&mut self, place: u64) {
        if place > self.last {
            self.last = place;
            self.cuts.push_back(place);
        }
    }

    /// Makes pending zeros a hole, or adds them to the sum.
    fn end_zeros(&mut self) {
        let zeros = std::mem::take(&mut self.zeros);
        let start = self.payload_at - zeros;
        let Some(mut sum) = self.sum.take() else { return };
        if zeros >= HOLE_BYTES {
            // Once the window is all zeros, further zeros do not change the sum.
            for _ in 0..WINDOW_BYTES {
                sum.roll(0);
            }
            self.cut(self.payload_at);
        } else {
            for place in start..self.payload_at {
                if sum.roll(0) {
                    self.cut(place + 1);
                }
            }
        }
        self.sum = Some(sum);
    }

    fn end_payload(&mut self) {
        self.end_zeros();
        if self.sum.take().is_some() {
            self.cut(self.payload_at);
        }
    }
}

impl MemberVisitor for CutPlaces {
    fn begin(&mut self, member: TarMember) {
        if !member.payload.is_empty() {
            self.payload_at = member.payload.start;
            self.cut(self.payload_at);
            self.sum = Some(RollingSum::new());
            self.zeros = 0;
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == 0 {
                self.zeros += 1;
                self.payload_at += 1;
                if self.zeros == HOLE_BYTES {
                    self.cut(self.payload_at - HOLE_BYTES);
                }
                continue;
            }
            if self.zeros > 0 {
                self.end_zeros();
            }
            self.payload_at += 1;
            if self.sum.as_mut().is_some_and(|sum| sum.roll(byte)) {
                self.cut(self.payload_at);
            }
        }
    }

    fn end(&mut self) {
        self.end_payload();
    }
}

/// A rolling sum over the last 64 bytes.
struct RollingSum {
    plain: u32,
    weighted: u32,
    window: [u8; WINDOW_BYTES],
    at: usize,
}

impl RollingSum {
    fn new() -> Self {
        let (plain, weighted) = (WINDOW * OFFSET, WINDOW * (WINDOW - 1) * OFFSET);
        Self { plain, weighted, window: [0; WINDOW_BYTES], at: 0 }
    }

    /// Adds a byte; true if there is a cut behind it.
    fn roll(&mut self, byte: u8) -> bool {
        let dropped = u32::from(std::mem::replace(&mut self.window[self.at], byte));
        self.at = (self.at + 1) % WINDOW_BYTES;
        self.plain = self.plain.wrapping_add(u32::from(byte)).wrapping_sub(dropped);
        let weight = WINDOW * (dropped + OFFSET);
        self.weighted = self.weighted.wrapping_add(self.plain).wrapping_sub(weight);
        self.weighted & CUT == CUT
    }
}

const WINDOW_BYTES: usize = 64;
const WINDOW: u32 = 64;
/// Number added to the value of every byte.
const OFFSET: u32 = 31;
/// One position in 65,536.
const CUT: u32 = 0xffff;
/// Two blocks of zeros end an archive.
const END_BYTES: u64 = 1 << 10;
/// Shortest run of zeros that gets a frame of its own.
const HOLE_BYTES: u64 = 1 << 10;
