//! Records a stream: inflates it and codes each token.
//!
//! The search profile is the one with the shortest record of the first 256 KiB. Never holds more
//! than the inflater's window, the history and the tokens of one block.

use super::coder::RangeEncoder;
use super::header::DynamicCodes;
use super::history::LOOKAHEAD;
use super::predictor::SEARCH_PROFILES;
use super::{DYNAMIC, FIXED, MAX_BLOCK_TOKENS, RecordModel, STORED};
use crate::huffman::{DynamicHeader, Histogram};
use crate::inflate::{BlockHeader, BlockKind, InflateObserver, InflateStream};
use crate::token::Token;
use std::collections::VecDeque;

/// Compressed bytes of the sample that chooses the search profile.
pub(super) const SAMPLE_BYTES: usize = 256 * 1024;
/// Compressed bytes inflated at a time. Few, because each may become a thousand plain bytes.
const PIECE_BYTES: usize = 4096;

/// A record and the size of its stream.
pub(crate) struct TokenRecord {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the input that belong to the stream.
    pub(crate) stream_bytes: usize,
}

/// Records the deflate stream at the start of `body`, and passes the plain bytes to `each`. `None`
/// if there is no complete stream, or if a block is too large.
pub(crate) fn record(body: &[u8], each: impl FnMut(&[u8])) -> Option<TokenRecord> {
    let sample = &body[..body.len().min(SAMPLE_BYTES)];
    let profile = (0..SEARCH_PROFILES.len()).min_by_key(|&profile| {
        run(sample, profile, |_| {}).map_or(usize::MAX, |run| run.0.len())
    })?;
    let (writer, stream_bytes, is_done) = run(body, profile, each)?;
    if !is_done {
        return None;
    }
    let mut bytes = vec![profile as u8];
    bytes.extend(writer.finish());
    Some(TokenRecord { bytes, stream_bytes })
}

/// Records the bytes of `body`. Returns the record so far, the bytes read, and true at the end of
/// the stream.
pub(super) fn run(
    body: &[u8],
    profile: usize,
    mut each: impl FnMut(&[u8]),
) -> Option<(RangeEncoder, usize, bool)> {
    let mut stream = InflateStream::new();
    let mut events = StreamEvents::default();
    let mut recorder = TokenRecorder::new(profile);
    let (read, is_done) = recorder.take(&mut stream, &mut events, body, &mut each)?;
    if is_done {
        recorder.end_stream(&stream, &mut events)?;
    }
    Some((recorder.writer, read, is_done))
}

/// Blocks and tokens from the inflater, which wait for their plain bytes.
#[derive(Default)]
pub(super) struct StreamEvents {
    queue: VecDeque<StreamEvent>,
}

enum StreamEvent {
    Start { is_final: bool, kind: BlockStart },
    Token(Token),
    End,
}

enum BlockStart {
    Stored { padding: u8, bytes: usize },
    Fixed,
    Dynamic(Box<DynamicCodes>),
}

impl InflateObserver for StreamEvents {
    const TOKENS: bool = true;

    fn block(&mut self, block: &BlockHeader<'_>) {
        let kind = match block.kind {
            BlockKind::Stored { padding, plain_bytes } => {
                BlockStart::Stored { padding, bytes: usize::from(plain_bytes) }
            }
            BlockKind::Fixed => BlockStart::Fixed,
            BlockKind::Dynamic(dynamic) => BlockStart::Dynamic(Box::new(DynamicCodes {
                litlen: dynamic.litlen_lengths.to_vec(),
                distance: dynamic.distance_lengths.to_vec(),
                header: DynamicHeader::from_stream(&dynamic),
            })),
        };
        self.queue.push_back(StreamEvent::Start { is_final: block.is_final, kind });
    }

    fn token(&mut self, token: Token) {
        self.queue.push_back(StreamEvent::Token(token));
    }

    fn block_end(&mut self, _bit: u64, _plain_bytes: u64) {
        self.queue.push_back(StreamEvent::End);
    }
}

/// Codes the events of a stream.
pub(super) struct TokenRecorder {
    model: RecordModel,
    writer: RangeEncoder,
    /// The codes of the current block. `None` if it is fixed or stored.
    tables: Option<Box<DynamicCodes>>,
    tokens: Vec<Token>,
    /// Bytes of the current stored block that are still to come.
    stored_left: usize,
}

impl TokenRecorder {
    pub(super) fn new(profile: usize) -> Self {
        Self {
            model: RecordModel::new(profile),
            writer: RangeEncoder::new(),
            tables: None,
            tokens: Vec::new(),
            stored_left: 0,
        }
    }

    /// Inflates and codes the bytes of `body`. Returns the number of bytes in the stream, and true
    /// at its end.
    pub(super) fn take(
        &mut self,
        stream: &mut InflateStream,
        events: &mut StreamEvents,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Option<(usize, bool)> {
        let mut read = 0;
        let mut is_done = false;
        while !is_done && read < body.len() {
            let piece = &body[read..body.len().min(read + PIECE_BYTES)];
            let mut plain = Vec::new();
            let (taken, done) = stream
                .push(piece, events, |bytes| {
                    plain.extend_from_slice(bytes);
                    each(bytes);
                })
                .ok()?;
            read += taken;
            is_done = done;
            for bytes in plain.chunks(1 << 16) {
                self.model.history.push(bytes);
                self.code_events(&mut events.queue, LOOKAHEAD)?;
            }
        }
        Some((read, is_done))
    }

    /// Codes the remaining events after the end of the stream.
    pub(super) fn end_stream(
        &mut self,
        stream: &InflateStream,
        events: &mut StreamEvents,
    ) -> Option<()> {
        self.code_events(&mut events.queue, 0)?;
        let padding = stream.inflater().final_padding();
        self.model.padding(&mut self.writer, padding.0);
        Some(())
    }

    /// Returns the length of the record so far.
    pub(super) fn len(&self) -> usize {
        self.writer.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }

    /// Codes events while at least `reserve` plain bytes are ahead.
    fn code_events(&mut self, queue: &mut VecDeque<StreamEvent>, reserve: usize) -> Option<()> {
        loop {
            let now = self.stored_left.min(self.model.history.ahead());
            self.model.history.take(now);
            self.stored_left -= now;
            if self.stored_left > 0 || self.model.history.ahead() < reserve {
                return Some(());
            }
            match queue.pop_front() {
                None => return Some(()),
                Some(StreamEvent::Start { is_final, kind }) => self.start(is_final, kind),
                Some(StreamEvent::Token(token)) => self.token(token)?,
                Some(StreamEvent::End) => self.end(),
            }
        }
    }

    fn start(&mut self, is_final: bool, kind: BlockStart) {
        let Self { model, writer, .. } = self;
        match kind {
            BlockStart::Stored { padding, bytes } => {
                model.block_start(writer, is_final, STORED);
                model.stored(writer, padding, bytes);
                model.predictor.jump();
                self.stored_left = bytes;
            }
            BlockStart::Fixed => {
                model.block_start(writer, is_final, FIXED);
            }
            BlockStart::Dynamic(tables) => {
                model.block_start(writer, is_final, DYNAMIC);
                self.tables = Some(tables);
            }
        }
    }

    fn token(&mut self, token: Token) -> Option<()> {
        let Self { model, writer, tokens, .. } = self;
        model.ends(writer, tokens.len(), false);
        model.predictor.token(writer, &mut model.history, token).ok()?;
        tokens.push(token);
        (tokens.len() <= MAX_BLOCK_TOKENS).then_some(())
    }

    fn end(&mut self) {
        let Self { model, writer, tokens, .. } = self;
        if model.last_kind != STORED {
            model.ends(writer, tokens.len(), true);
            if let Some(tables) = self.tables.take() {
                let counts = Histogram::of(tokens);
                model.headers.code(writer, &counts, Some(&tables));
            }
            model.tokens_before = tokens.len();
            tokens.clear();
        }
    }
}
