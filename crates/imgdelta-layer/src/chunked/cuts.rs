//! Where a chunked layer is cut into frames: around every payload, and within it where a rolling sum
//! of the last 64 bytes ends in sixteen ones, and around 1024 zeros or more.
//!
//! The sum is bup's, as Perkeep's rollsum has it and containers/storage took it over. Settled is a
//! place once no later byte can bring a cut before it. Never compresses.

use imgdelta_core::{Limits, Result};
use imgdelta_image::tarscan::{Member, Scanner, Visitor};
use std::collections::VecDeque;

pub(super) struct Cuts {
    scanner: Option<Scanner>,
    places: Places,
    /// Where the archive ends; what follows is the last frame's too.
    end: Option<u64>,
}

/// What the scanner's visits come to.
#[derive(Default)]
struct Places {
    /// Where frames end, ascending.
    cuts: VecDeque<u64>,
    /// The last of them that was found.
    last: u64,
    /// Where in the stream the next byte lies.
    at: u64,
    /// Where the next payload byte lies.
    payload_at: u64,
    /// The sum over the running payload.
    sum: Option<Sum>,
    /// Zeros right before `payload_at` of which it is open whether they are a hole.
    zeros: u64,
}

impl Cuts {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { scanner: Some(Scanner::new(limits)), places: Places::default(), end: None }
    }

    /// Looks at the stream's next bytes.
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

    /// Returns the first cut behind `place`; those before are forgotten.
    pub(super) fn next_after(&mut self, place: u64) -> Option<u64> {
        while self.places.cuts.front().is_some_and(|&cut| cut <= place) {
            self.places.cuts.pop_front();
        }
        self.places.cuts.front().copied()
    }

    /// Returns where the archive ends within the frame that ends at `cut`.
    ///
    /// Its writer has read that far when it copies the rest, and flushes what it has.
    pub(super) fn archive_end(&self, cut: Option<u64>) -> Option<u64> {
        self.end.filter(|_| cut == Some(self.places.last))
    }

    /// Returns up to where all cuts are known.
    pub(super) fn settled(&self) -> u64 {
        let places = &self.places;
        match places.zeros {
            _ if places.sum.is_none() => places.at,
            HOLE_BYTES.. => places.payload_at,
            zeros => places.payload_at - zeros,
        }
    }
}

impl Places {
    fn cut(&mut self, place: u64) {
        if place > self.last {
            self.last = place;
            self.cuts.push_back(place);
        }
    }

    /// Decides about zeros that another byte, or the end, stands behind.
    fn end_zeros(&mut self) {
        let zeros = std::mem::take(&mut self.zeros);
        let start = self.payload_at - zeros;
        let Some(mut sum) = self.sum.take() else { return };
        if zeros >= HOLE_BYTES {
            // Behind as many zeros as it looks at, further ones change nothing.
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

impl Visitor for Places {
    fn begin(&mut self, member: Member) {
        if !member.payload.is_empty() {
            self.payload_at = member.payload.start;
            self.cut(self.payload_at);
            self.sum = Some(Sum::new());
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
struct Sum {
    plain: u32,
    weighted: u32,
    window: [u8; WINDOW_BYTES],
    at: usize,
}

impl Sum {
    fn new() -> Self {
        let (plain, weighted) = (WINDOW * OFFSET, WINDOW * (WINDOW - 1) * OFFSET);
        Self { plain, weighted, window: [0; WINDOW_BYTES], at: 0 }
    }

    /// Takes a byte; returns whether to cut behind it.
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
/// What every byte counts beside its value.
const OFFSET: u32 = 31;
/// One place in 65,536.
const CUT: u32 = 0xffff;
/// The two blocks of zeros that end an archive.
const END_BYTES: u64 = 1 << 10;
/// So many zeros are a frame of their own.
const HOLE_BYTES: u64 = 1 << 10;
