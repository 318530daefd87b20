//! Records and replays any deflate stream, for encoders without a model.
//!
//! Each token is predicted from the plain bytes and the tokens before it, and the record has only
//! the errors of the prediction, range coded. It also has the ends of blocks, the differences of
//! dynamic headers to those of zlib or Go, and padding bits that are not zero.
//! Every legal stream can be recorded, except one with a block of more than four million tokens,
//! whose replay would take too much memory.
//! Cost: 10 to 30 MB/s in both directions, 2 MiB and a block of tokens. A record can be larger than
//! the stream if the encoder searched much deeper than the prediction.
//!
//! Never trusts a record: a record that contradicts the plain bytes ends with [`ReplayError`].

mod coder;
mod header;
mod history;
mod predictor;
mod record;
mod recording;

use crate::bits::BitWriter;
use crate::huffman::{Histogram, HuffmanCodes, write_tokens};
use crate::token::Token;
use coder::{BitCoder, BitProbability, NumberModel, RangeDecoder};
use header::{DynamicCodes, HeaderModel};
use history::{LOOKAHEAD, MatchHistory};
use predictor::{RecordMismatch, SEARCH_PROFILES, TokenPredictor};

pub(crate) use record::Recorder;
pub(crate) use recording::BoundedRecorder;

/// The record does not fit the plain bytes: it is damaged, or it belongs to other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayError {
    /// Plain bytes replayed before the contradiction.
    pub plain_bytes: u64,
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token record contradicts the plain bytes near byte {}", self.plain_bytes)
    }
}

impl std::error::Error for ReplayError {}

/// Most tokens of a block. A replay holds them, which takes 16 MiB.
const MAX_BLOCK_TOKENS: usize = 1 << 22;

const STORED: usize = 0;
const FIXED: usize = 1;
const DYNAMIC: usize = 2;

/// The adaptive state along a stream, which is the same for recording and replaying.
struct RecordModel {
    history: MatchHistory,
    predictor: TokenPredictor,
    headers: HeaderModel,
    is_final: BitProbability,
    kind: [[BitProbability; 4]; 4],
    last_kind: usize,
    has_padding: BitProbability,
    padding: [BitProbability; 256],
    stored_bytes: NumberModel,
    ends: [BitProbability; 2],
    tokens_before: usize,
}

impl RecordModel {
    fn new(profile: usize) -> Self {
        Self::with(profile, MatchHistory::new())
    }

    /// Uses an empty history, whose memory may be from another stream.
    fn with(profile: usize, history: MatchHistory) -> Self {
        Self {
            history,
            predictor: TokenPredictor::new(SEARCH_PROFILES[profile % SEARCH_PROFILES.len()]),
            headers: HeaderModel::new(),
            is_final: BitProbability::EVEN,
            kind: [[BitProbability::EVEN; 4]; 4],
            last_kind: 3,
            has_padding: BitProbability::EVEN,
            padding: [BitProbability::EVEN; 256],
            stored_bytes: NumberModel::new(),
            ends: [BitProbability::EVEN; 2],
            tokens_before: 0,
        }
    }

    fn block_start<C: BitCoder>(
        &mut self,
        coder: &mut C,
        is_final: bool,
        kind: usize,
    ) -> (bool, usize) {
        let is_final = coder.bit(&mut self.is_final, is_final);
        let kind = coder.tree(&mut self.kind[self.last_kind], kind);
        self.last_kind = kind;
        (is_final, kind)
    }

    fn padding<C: BitCoder>(&mut self, coder: &mut C, padding: u8) -> u8 {
        if coder.bit(&mut self.has_padding, padding != 0) {
            coder.tree(&mut self.padding, usize::from(padding)) as u8
        } else {
            0
        }
    }

    fn stored<C: BitCoder>(&mut self, coder: &mut C, padding: u8, bytes: usize) -> (u8, usize) {
        let padding = self.padding(coder, padding);
        (padding, coder.number(&mut self.stored_bytes, bytes as u32) as usize)
    }

    fn ends<C: BitCoder>(&mut self, coder: &mut C, tokens: usize, ends: bool) -> bool {
        coder.bit(&mut self.ends[usize::from(tokens == self.tokens_before)], ends)
    }
}

/// Remakes a recorded stream.
pub(crate) struct RecordReplay {
    bits: BitWriter,
    reader: RangeDecoder,
    model: RecordModel,
    state: ReplayState,
    tokens: Vec<Token>,
    fixed: HuffmanCodes,
    plain_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReplayState {
    BlockStart,
    Stored { left: usize, is_final: bool },
    Tokens { kind: usize, is_final: bool },
    Done,
}

impl RecordReplay {
    /// Starts a replay. `None` if the record is empty or has an unknown search profile.
    pub(crate) fn new(record: Vec<u8>) -> Option<Self> {
        let profile = usize::from(*record.first()?);
        (profile < SEARCH_PROFILES.len()).then(|| Self {
            bits: BitWriter::new(),
            reader: RangeDecoder::new(record, 1),
            model: RecordModel::new(profile),
            state: ReplayState::BlockStart,
            tokens: Vec::new(),
            fixed: HuffmanCodes::fixed(),
            plain_bytes: 0,
        })
    }

    pub(crate) fn bits(&mut self) -> &mut BitWriter {
        &mut self.bits
    }

    pub(crate) fn write(&mut self, plain: &[u8]) -> Result<(), ReplayError> {
        // Small pieces keep the history small.
        for piece in plain.chunks(1 << 16) {
            self.model.history.push(piece);
            self.run(LOOKAHEAD)?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<(), ReplayError> {
        self.run(0)?;
        if self.state == ReplayState::Done && self.model.history.ahead() == 0 {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    fn error(&self) -> ReplayError {
        ReplayError { plain_bytes: self.plain_bytes }
    }

    /// Replays while at least `reserve` plain bytes are ahead.
    fn run(&mut self, reserve: usize) -> Result<(), ReplayError> {
        loop {
            if self.reader.is_exhausted() || self.tokens.len() > MAX_BLOCK_TOKENS {
                return Err(self.error());
            }
            let ahead = self.model.history.ahead();
            if ahead < reserve {
                return Ok(());
            }
            match self.state {
                ReplayState::Done => return Ok(()),
                ReplayState::BlockStart => self.block_start()?,
                ReplayState::Stored { left: 0, is_final } => self.block_end(is_final),
                ReplayState::Stored { left, is_final } => {
                    if ahead == 0 {
                        return Err(self.error());
                    }
                    let now = left.min(ahead);
                    let bytes = self.model.history.take(now);
                    self.bits.put_bytes(bytes);
                    self.plain_bytes += now as u64;
                    self.state = ReplayState::Stored { left: left - now, is_final };
                }
                ReplayState::Tokens { kind, is_final } => {
                    let count = self.tokens.len();
                    if self.model.ends(&mut self.reader, count, false) {
                        self.write_block(kind, is_final)?;
                    } else {
                        let RecordModel { predictor, history, .. } = &mut self.model;
                        let token =
                            predictor.token(&mut self.reader, history, Token::literal(0)).map_err(
                                |RecordMismatch| ReplayError { plain_bytes: self.plain_bytes },
                            )?;
                        self.plain_bytes += token.plain_bytes() as u64;
                        self.tokens.push(token);
                    }
                }
            }
        }
    }

    fn block_start(&mut self) -> Result<(), ReplayError> {
        let (is_final, kind) = self.model.block_start(&mut self.reader, false, 0);
        self.state = match kind {
            STORED => {
                let (padding, bytes) = self.model.stored(&mut self.reader, 0, 0);
                if bytes > 0xffff {
                    return Err(self.error());
                }
                self.bits.put(u32::from(is_final), 3);
                self.put_padding(padding);
                self.bits.put_bytes(&(bytes as u16).to_le_bytes());
                self.bits.put_bytes(&(!(bytes as u16)).to_le_bytes());
                self.model.predictor.jump();
                ReplayState::Stored { left: bytes, is_final }
            }
            FIXED | DYNAMIC => ReplayState::Tokens { kind, is_final },
            _ => return Err(self.error()),
        };
        Ok(())
    }

    /// Fills the current byte with padding bits, which are mostly zero.
    fn put_padding(&mut self, padding: u8) {
        let room = (8 - self.bits.phase()) % 8;
        self.bits.put(u32::from(padding) & ((1 << room) - 1), room);
    }

    fn write_block(&mut self, kind: usize, is_final: bool) -> Result<(), ReplayError> {
        if kind == DYNAMIC {
            let counts = Histogram::of(&self.tokens);
            let Some(DynamicCodes { litlen, distance, header }) =
                self.model.headers.code(&mut self.reader, &counts, None)
            else {
                return Err(self.error());
            };
            let codes = HuffmanCodes::new(&litlen, &distance);
            header.write(&mut self.bits, is_final);
            write_tokens(&mut self.bits, &codes, &self.tokens);
            codes.write_end(&mut self.bits);
        } else {
            self.bits.put(2 | u32::from(is_final), 3);
            write_tokens(&mut self.bits, &self.fixed, &self.tokens);
            self.fixed.write_end(&mut self.bits);
        }
        self.model.tokens_before = self.tokens.len();
        self.tokens.clear();
        self.block_end(is_final);
        Ok(())
    }

    fn block_end(&mut self, is_final: bool) {
        self.state = if is_final { ReplayState::Done } else { ReplayState::BlockStart };
        if is_final {
            let padding = self.model.padding(&mut self.reader, 0);
            self.put_padding(padding);
        }
    }
}
