//! Places of bytes in instructions or numbers: the context of literals and matches.
//! Never looks ahead, and never fails: any bytes have places.
//!
//! Most codes are short, and end before many contexts have learnt. The place says more about a byte than
//! the bits of the byte before it do.

use imgdelta_instructions::CodePhase;

/// The kind of the raw bytes of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawKind {
    /// Anything: the place is the highest bit of the byte before, which says if a number goes on.
    Bytes,
    /// Code of x86-64.
    X86_64,
    /// Code of `AArch64`, from the start of an instruction on.
    Aarch64,
}

/// Number of places.
pub(crate) const PLACES: usize = 8;

impl RawKind {
    /// Returns the number of places that bytes of this kind have.
    pub(crate) fn places(self) -> usize {
        match self {
            Self::Bytes => 2,
            Self::X86_64 => PLACES,
            Self::Aarch64 => 4,
        }
    }
}

/// The place of the next byte.
#[derive(Debug, Clone)]
pub(crate) struct PlaceReader {
    kind: RawKind,
    phase: CodePhase,
    place: u8,
}

impl PlaceReader {
    pub(crate) fn new(kind: RawKind) -> Self {
        Self { kind, phase: CodePhase::default(), place: 0 }
    }

    /// Returns the place of the next byte.
    #[inline]
    pub(crate) fn place(&self) -> usize {
        usize::from(self.place) % PLACES
    }

    /// Reads a byte.
    #[inline]
    pub(crate) fn step(&mut self, byte: u8) {
        match self.kind {
            RawKind::Bytes => self.place = byte >> 7,
            RawKind::X86_64 => {
                self.phase.step(byte);
                self.place = self.phase.part();
            }
            RawKind::Aarch64 => self.place = (self.place + 1) % 4,
        }
    }

    /// Reads some bytes.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        match self.kind {
            RawKind::Bytes => self.place = bytes.last().map_or(self.place, |&last| last >> 7),
            RawKind::X86_64 => bytes.iter().for_each(|&byte| self.step(byte)),
            RawKind::Aarch64 => self.place = ((usize::from(self.place) + bytes.len()) % 4) as u8,
        }
    }
}

/// The places of all raw bytes.
#[cfg(feature = "encode")]
#[derive(Debug)]
pub(crate) struct RawPlaces {
    start: usize,
    places: Vec<u8>,
}

#[cfg(feature = "encode")]
impl RawPlaces {
    /// Reads the bytes from `start` on.
    pub(crate) fn read(kind: RawKind, bytes: &[u8], start: usize) -> Self {
        let mut reader = PlaceReader::new(kind);
        let place = |&byte: &u8| {
            let place = reader.place;
            reader.step(byte);
            place
        };
        let places = bytes[start..].iter().map(place).collect();
        Self { start, places }
    }

    /// Returns the place of a byte.
    #[inline]
    pub(crate) fn at(&self, at: usize) -> usize {
        self.places.get(at - self.start).map_or(0, |&place| usize::from(place) % PLACES)
    }
}
