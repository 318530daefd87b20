//! The encoders that can be replayed, by name, and one running.
//!
//! Never guesses which one it was: that is `detect`.

use crate::fallback::{Replay, ReplayError};
use crate::golang::Golang;
use crate::klauspost::{Behaviour, Klauspost, PGZIP_HISTORY_BYTES, Pgzip};
use crate::zlib::{GnuGzip, Pigz, PigzBlocks, Strategy, WINDOW_BITS, Zlib};

/// What made a deflate stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Go's `compress/flate` up to Go 1.26.
    Golang {
        /// -2 to 9; -1 is the same as 6.
        level: i8,
    },
    /// klauspost/compress, or Go from 1.27 on.
    Klauspost {
        /// Its generation.
        behaviour: Behaviour,
        /// -2, 0 to 9.
        level: i8,
    },
    /// klauspost's pgzip.
    Pgzip {
        /// Generation of the klauspost/compress inside.
        behaviour: Behaviour,
        /// -2, 0 to 9.
        level: i8,
        /// Plain bytes in a segment.
        segment_bytes: u32,
    },
    /// zlib 1.2 or 1.3.
    Zlib {
        /// 1 to 9.
        level: u8,
        /// 1 to 9; 8 unless someone chose.
        mem_level: u8,
        /// 9 to 15; 15 unless someone chose.
        window_bits: u8,
        /// How copies are chosen.
        strategy: Strategy,
    },
    /// GNU gzip.
    GnuGzip {
        /// 1 to 9.
        level: u8,
    },
    /// pigz.
    Pigz {
        /// 1 to 9.
        level: u8,
        /// Plain bytes in a block.
        block_bytes: u32,
        /// What a block knows of the bytes before it.
        blocks: PigzBlocks,
    },
    /// Anything: the tokens, as far as a prediction missed them.
    Tokens(
        /// What the prediction missed; see `fallback`.
        Vec<u8>,
    ),
}

/// Where an encoder can start in mid-stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Nowhere,
    /// At any block: its index does not depend on its parse.
    AtBlocks,
    /// At some chunks, after a few it parses in advance; see `mid_stream`.
    Warm,
}

/// A stream in the making.
pub(crate) enum Encoder {
    Golang(Box<Golang>),
    Klauspost(Box<Klauspost>),
    Pgzip(Box<Pgzip>),
    Zlib(Box<Zlib>),
    GnuGzip(Box<GnuGzip>),
    Pigz(Box<Pigz>),
    Tokens(Box<Replay>),
}

impl Model {
    /// Returns whether the encoder has these parameters.
    pub fn exists(&self) -> bool {
        match *self {
            Self::Golang { level } => (-2..=9).contains(&level),
            Self::Klauspost { level, .. } => level == -2 || (0..=9).contains(&level),
            Self::Pgzip { level, segment_bytes, .. } => {
                (level == -2 || (0..=9).contains(&level))
                    && segment_bytes as usize > PGZIP_HISTORY_BYTES
            }
            Self::Zlib { level, mem_level, window_bits, .. } => {
                (1..=9).contains(&level)
                    && (1..=9).contains(&mem_level)
                    && WINDOW_BITS.contains(&window_bits)
            }
            Self::GnuGzip { level } => (1..=9).contains(&level),
            Self::Pigz { level, block_bytes, .. } => {
                (1..=9).contains(&level) && block_bytes >= 32_768
            }
            Self::Tokens(ref record) => !record.is_empty(),
        }
    }

    /// Returns about how many nanoseconds remaking takes per plain byte on one core, for callers
    /// that set themselves a budget. Measured on layers of a Linux distribution on a machine of
    /// 2020, rounded up; bytes made to be slow take up to twenty times as long at the upper
    /// levels, whose chains are long.
    pub fn nanoseconds_per_byte(&self) -> u32 {
        match *self {
            Self::Golang { level: 0 }
            | Self::Klauspost { level: 0, .. }
            | Self::Pgzip { level: 0, .. } => 1,
            Self::Golang { level } => match level {
                -2 => 4,
                1 => 9,
                2..=4 => 20,
                7 => 60,
                8 => 120,
                9 => 150,
                _ => 35,
            },
            Self::Klauspost { level, .. } | Self::Pgzip { level, .. } => match level {
                7 => 30,
                8 => 50,
                9 => 150,
                _ => 14,
            },
            Self::Zlib { level, .. } | Self::GnuGzip { level } | Self::Pigz { level, .. } => {
                match level {
                    1..=3 => 25,
                    4 | 5 => 35,
                    6 => 60,
                    7 => 80,
                    8 => 150,
                    _ => 200,
                }
            }
            Self::Tokens(_) => 150,
        }
    }

    /// Whether the encoder can start in mid-stream, at a restart point.
    pub fn can_restart(&self) -> bool {
        self.restart() != Restart::Nowhere
    }

    pub(crate) fn restart(&self) -> Restart {
        match *self {
            Self::Golang { level: -1 | 4.. } | Self::GnuGzip { level: 4.. } => Restart::AtBlocks,
            Self::Zlib { level: 4.., strategy, window_bits, .. }
                if strategy.searches() && window_bits == *WINDOW_BITS.end() =>
            {
                Restart::AtBlocks
            }
            Self::Golang { level: 1 } | Self::Klauspost { level: 1..=6, .. } => Restart::Warm,
            _ => Restart::Nowhere,
        }
    }

    /// Starts the encoder; `None` if it has no such parameters.
    pub(crate) fn start(&self) -> Option<Encoder> {
        Some(match *self {
            Self::Golang { level } => Encoder::Golang(Box::new(Golang::new(level)?)),
            Self::Klauspost { behaviour, level } => {
                Encoder::Klauspost(Box::new(Klauspost::new(behaviour, level, &[])?))
            }
            Self::Pgzip { behaviour, level, segment_bytes } => {
                Encoder::Pgzip(Box::new(Pgzip::new(behaviour, level, segment_bytes as usize)?))
            }
            Self::Zlib { level, mem_level, window_bits, strategy } => {
                Encoder::Zlib(Box::new(Zlib::new(level, mem_level, window_bits, strategy)?))
            }
            Self::GnuGzip { level } => Encoder::GnuGzip(Box::new(GnuGzip::new(level)?)),
            Self::Pigz { level, block_bytes, blocks } => {
                Encoder::Pigz(Box::new(Pigz::new(level, block_bytes as usize, blocks)?))
            }
            Self::Tokens(ref misses) => Encoder::Tokens(Box::new(Replay::new(misses.clone())?)),
        })
    }
}

impl Encoder {
    /// Stands before another stream, wherever it stood; false if it can only be made anew.
    pub(crate) fn restart(&mut self) -> bool {
        match self {
            Self::Golang(encoder) => encoder.restart(),
            Self::Klauspost(encoder) => encoder.restart(&[]),
            Self::Pgzip(encoder) => encoder.restart(),
            Self::Zlib(encoder) => encoder.restart(),
            Self::GnuGzip(encoder) => encoder.restart(),
            Self::Pigz(encoder) => encoder.restart(),
            Self::Tokens(_) => return false,
        }
        true
    }

    pub(crate) fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ReplayError> {
        match self {
            Self::Golang(encoder) => {
                encoder.write(plain);
                encoder.bits().take(out);
            }
            Self::Klauspost(encoder) => {
                encoder.write(plain);
                encoder.bits().take(out);
            }
            Self::Pgzip(encoder) => {
                encoder.write(plain);
                encoder.take(out);
            }
            Self::Zlib(encoder) => {
                encoder.write(plain);
                encoder.bits().take(out);
            }
            Self::GnuGzip(encoder) => {
                encoder.write(plain);
                encoder.bits().take(out);
            }
            Self::Pigz(encoder) => {
                encoder.write(plain);
                encoder.take(out);
            }
            Self::Tokens(encoder) => {
                encoder.write(plain)?;
                encoder.bits().take(out);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ReplayError> {
        match self {
            Self::Golang(encoder) => {
                encoder.finish();
                encoder.bits().take(out);
            }
            Self::Klauspost(encoder) => {
                encoder.finish();
                encoder.bits().take(out);
            }
            Self::Pgzip(encoder) => {
                encoder.finish();
                encoder.take(out);
            }
            Self::Zlib(encoder) => {
                encoder.finish();
                encoder.bits().take(out);
            }
            Self::GnuGzip(encoder) => {
                encoder.finish();
                encoder.bits().take(out);
            }
            Self::Pigz(encoder) => {
                encoder.finish();
                encoder.take(out);
            }
            Self::Tokens(encoder) => {
                encoder.finish()?;
                encoder.bits().take(out);
            }
        }
        Ok(())
    }
}
