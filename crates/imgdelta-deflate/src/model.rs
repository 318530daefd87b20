//! The encoders that this crate can replay, and a running encoder of any kind.
//!
//! Never detects the encoder of a stream: see `detect`.

use crate::fallback::{RecordReplay, ReplayError};
use crate::golang::GoEncoder;
use crate::klauspost::{KlauspostEncoder, KlauspostVersion, PGZIP_HISTORY_BYTES, PgzipEncoder};
use crate::miniz::MinizEncoder;
use crate::token::Token;
use crate::zlib::{
    ChromiumHash, GnuGzipEncoder, PigzBlocks, PigzEncoder, WINDOW_BITS, ZlibEncoder, ZlibStrategy,
};
use crate::zlib_ng::{CallSizes, ZlibNgEncoder, ZlibNgVersion};

/// The encoder of a deflate stream, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncoderModel {
    /// Go's `compress/flate` up to Go 1.26.
    Golang {
        /// -2 to 9. -1 is the same as 6.
        level: i8,
    },
    /// klauspost/compress, or Go from 1.27 on.
    Klauspost {
        /// The version of klauspost/compress.
        version: KlauspostVersion,
        /// -2, or 0 to 9.
        level: i8,
    },
    /// klauspost's pgzip.
    Pgzip {
        /// The version of klauspost/compress in pgzip.
        version: KlauspostVersion,
        /// -2, or 0 to 9.
        level: i8,
        /// Plain bytes in a segment.
        segment_bytes: u32,
    },
    /// zlib 1.2 or 1.3.
    Zlib {
        /// 1 to 9.
        level: u8,
        /// 1 to 9. The default is 8.
        mem_level: u8,
        /// 9 to 15. The default is 15.
        window_bits: u8,
        /// The strategy for copies.
        strategy: ZlibStrategy,
    },
    /// The zlib of Chromium and node.
    ChromiumZlib {
        /// The hash, which depends on the version.
        hash: ChromiumHash,
        /// 1 to 9.
        level: u8,
        /// 1 to 9. The default is 8.
        mem_level: u8,
    },
    /// zlib-ng or zlib-rs.
    ZlibNg {
        /// The release.
        version: ZlibNgVersion,
        /// 1 to 9.
        level: u8,
        /// The calls of the program.
        calls: CallSizes,
    },
    /// `miniz_oxide`.
    Miniz {
        /// 1 to 10.
        level: u8,
        /// True if the program flushes the stream before it ends it.
        ends_flushed: bool,
    },
    /// GNU gzip.
    GnuGzip {
        /// 1 to 9.
        level: u8,
    },
    /// GNU gzip with `--rsyncable`.
    RsyncableGzip {
        /// 1 to 9.
        level: u8,
    },
    /// pigz.
    Pigz {
        /// 1 to 9.
        level: u8,
        /// Plain bytes in a block.
        block_bytes: u32,
        /// The history of a block.
        blocks: PigzBlocks,
    },
    /// Any encoder: a record of the tokens that a prediction missed.
    Tokens(
        /// The record: see `fallback`.
        Vec<u8>,
    ),
}

/// The places where an encoder can start in the middle of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartKind {
    Nowhere,
    /// Every block: the index does not depend on the parse.
    AtBlocks,
    /// Some chunks, after parsing a few chunks in advance: see `mid_stream`.
    Warm,
}

/// An encoder while it writes a stream.
pub(crate) enum AnyEncoder {
    Golang(Box<GoEncoder>),
    Klauspost(Box<KlauspostEncoder>),
    Pgzip(Box<PgzipEncoder>),
    Zlib(Box<ZlibEncoder>),
    ZlibNg(Box<ZlibNgEncoder>),
    Miniz(Box<MinizEncoder>),
    GnuGzip(Box<GnuGzipEncoder>),
    Pigz(Box<PigzEncoder>),
    Tokens(Box<RecordReplay>),
}

impl EncoderModel {
    /// True if the encoder has these parameters.
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
            Self::Miniz { level, .. } => (1..=10).contains(&level),
            Self::ChromiumZlib { level, mem_level, .. } => {
                (1..=9).contains(&level) && (1..=9).contains(&mem_level)
            }
            Self::GnuGzip { level }
            | Self::RsyncableGzip { level }
            | Self::ZlibNg { level, .. } => (1..=9).contains(&level),
            Self::Pigz { level, block_bytes, .. } => {
                (1..=9).contains(&level) && block_bytes >= 32_768
            }
            Self::Tokens(ref record) => !record.is_empty(),
        }
    }

    /// Estimates the nanoseconds of remaking one plain byte on one core, for callers with a time
    /// budget. The numbers are rounded measurements of layers of a Linux distribution, on a machine
    /// of 2020. Input that is made to be slow takes up to twenty times longer at high levels.
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
            Self::Miniz { level, .. } => match level {
                1 => 10,
                2..=5 => 25,
                6 => 50,
                7 => 70,
                _ => 150,
            },
            Self::ZlibNg { level, .. } => match level {
                1 | 2 => 10,
                3..=5 => 20,
                6 => 35,
                7 => 60,
                8 => 120,
                _ => 200,
            },
            Self::Zlib { level, .. }
            | Self::ChromiumZlib { level, .. }
            | Self::GnuGzip { level }
            | Self::RsyncableGzip { level }
            | Self::Pigz { level, .. } => match level {
                1..=3 => 25,
                4 | 5 => 35,
                6 => 60,
                7 => 80,
                8 => 150,
                _ => 200,
            },
            Self::Tokens(_) => 150,
        }
    }

    /// Nanoseconds of starting a stream, however short it is: the encoders clear tables.
    pub const NANOSECONDS_PER_STREAM: u64 = 10_000;

    /// True if the encoder can start at a restart point.
    pub fn can_restart(&self) -> bool {
        self.restart() != RestartKind::Nowhere
    }

    pub(crate) fn restart(&self) -> RestartKind {
        match *self {
            Self::Golang { level: -1 | 4.. }
            | Self::GnuGzip { level: 4.. }
            | Self::ChromiumZlib { level: 4.., .. } => RestartKind::AtBlocks,
            Self::Zlib { level: 4.., strategy, window_bits, .. }
                if strategy.searches() && window_bits == *WINDOW_BITS.end() =>
            {
                RestartKind::AtBlocks
            }
            Self::Golang { level: 1 } | Self::Klauspost { level: 1..=6, .. } => RestartKind::Warm,
            _ => RestartKind::Nowhere,
        }
    }

    /// Starts the encoder. `None` if it does not have these parameters.
    pub(crate) fn start(&self) -> Option<AnyEncoder> {
        Some(match *self {
            Self::Golang { level } => AnyEncoder::Golang(Box::new(GoEncoder::new(level)?)),
            Self::Klauspost { version, level } => {
                AnyEncoder::Klauspost(Box::new(KlauspostEncoder::new(version, level, &[])?))
            }
            Self::Pgzip { version, level, segment_bytes } => AnyEncoder::Pgzip(Box::new(
                PgzipEncoder::new(version, level, segment_bytes as usize)?,
            )),
            Self::Zlib { level, mem_level, window_bits, strategy } => AnyEncoder::Zlib(Box::new(
                ZlibEncoder::new(level, mem_level, window_bits, strategy)?,
            )),
            Self::ChromiumZlib { hash, level, mem_level } => {
                AnyEncoder::Zlib(Box::new(ZlibEncoder::chromium(hash, level, mem_level)?))
            }
            Self::Miniz { level, ends_flushed } => {
                AnyEncoder::Miniz(Box::new(MinizEncoder::new(level, ends_flushed)?))
            }
            Self::ZlibNg { version, level, calls } => {
                AnyEncoder::ZlibNg(Box::new(ZlibNgEncoder::new(version, level, calls)?))
            }
            Self::GnuGzip { level } => AnyEncoder::GnuGzip(Box::new(GnuGzipEncoder::new(level)?)),
            Self::RsyncableGzip { level } => {
                AnyEncoder::GnuGzip(Box::new(GnuGzipEncoder::rsyncable(level)?))
            }
            Self::Pigz { level, block_bytes, blocks } => {
                AnyEncoder::Pigz(Box::new(PigzEncoder::new(level, block_bytes as usize, blocks)?))
            }
            Self::Tokens(ref misses) => {
                AnyEncoder::Tokens(Box::new(RecordReplay::new(misses.clone())?))
            }
        })
    }
}

impl AnyEncoder {
    /// Resets the encoder for another stream. False if that is not possible.
    pub(crate) fn restart(&mut self) -> bool {
        match self {
            Self::Golang(encoder) => encoder.restart(),
            Self::Klauspost(encoder) => encoder.restart(&[]),
            Self::Pgzip(encoder) => encoder.restart(),
            Self::Zlib(encoder) => encoder.restart(),
            Self::ZlibNg(encoder) => encoder.restart(),
            Self::Miniz(encoder) => encoder.restart(),
            Self::GnuGzip(encoder) => encoder.restart(),
            Self::Pigz(encoder) => encoder.restart(),
            Self::Tokens(_) => return false,
        }
        true
    }

    /// Changes an encoder of `own` to one of `wanted` that shares its tables. `None` if they differ in
    /// more than the level and the strategy.
    pub(crate) fn retune(&mut self, own: &EncoderModel, wanted: &EncoderModel) -> Option<()> {
        match (self, own, wanted) {
            (
                Self::Zlib(encoder),
                EncoderModel::Zlib { mem_level, window_bits, .. },
                &EncoderModel::Zlib { level, mem_level: wanted, window_bits: bits, strategy },
            ) if (*mem_level, *window_bits) == (wanted, bits) => encoder.retune(level, strategy),
            (
                Self::Zlib(encoder),
                EncoderModel::ChromiumZlib { hash, mem_level, .. },
                EncoderModel::ChromiumZlib { level, hash: hash_wanted, mem_level: wanted },
            ) if (hash, mem_level) == (hash_wanted, wanted) => {
                encoder.retune(*level, ZlibStrategy::Default)
            }
            (Self::Miniz(encoder), _, &EncoderModel::Miniz { level, ends_flushed }) => {
                encoder.retune(level, ends_flushed)
            }
            (Self::ZlibNg(encoder), _, &EncoderModel::ZlibNg { version, level, calls }) => {
                encoder.retune(version, level, calls)
            }
            (
                Self::GnuGzip(encoder),
                EncoderModel::GnuGzip { .. },
                &EncoderModel::GnuGzip { level },
            )
            | (
                Self::GnuGzip(encoder),
                EncoderModel::RsyncableGzip { .. },
                &EncoderModel::RsyncableGzip { level },
            ) => encoder.retune(level),
            (Self::Golang(encoder), _, &EncoderModel::Golang { level }) => encoder.retune(level),
            _ => None,
        }
    }

    /// Returns the first tokens of a stream that begins with `plain`, except for those of its last
    /// bytes. `None` if the encoder parses whole blocks. The stream cannot go on.
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> Option<&[Token]> {
        match self {
            Self::Zlib(encoder) => Some(encoder.first_tokens(plain)),
            Self::ZlibNg(encoder) => Some(encoder.first_tokens(plain)),
            Self::Miniz(encoder) => Some(encoder.first_tokens(plain)),
            Self::GnuGzip(encoder) => Some(encoder.first_tokens(plain)),
            Self::Pigz(encoder) => Some(encoder.first_tokens(plain)),
            Self::Golang(encoder) => encoder.first_tokens(plain),
            Self::Klauspost(_) | Self::Pgzip(_) | Self::Tokens(_) => None,
        }
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
            Self::ZlibNg(encoder) => {
                encoder.write(plain);
                encoder.bits.take(out);
            }
            Self::Miniz(encoder) => {
                encoder.write(plain);
                encoder.bits.take(out);
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
            Self::ZlibNg(encoder) => {
                encoder.finish();
                encoder.bits.take(out);
            }
            Self::Miniz(encoder) => {
                encoder.finish();
                encoder.bits.take(out);
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
