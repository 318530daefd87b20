//! Records a stream: inflates it and codes each token.
//!
//! The search profile is found in rounds: all profiles record a small sample of the start, and the
//! best ones a larger sample. Never holds more than the inflater's window, the history and the tokens
//! of one block.

use super::coder::RangeEncoder;
use super::header::DynamicCodes;
use super::history::{LOOKAHEAD, MatchHistory};
use super::predictor::SEARCH_PROFILES;
use super::{DYNAMIC, FIXED, MAX_BLOCK_TOKENS, RecordModel, STORED};
use crate::huffman::{DynamicHeader, Histogram};
use crate::inflate::{BlockHeader, BlockKind, InflateObserver, InflateStream};
use crate::token::Token;
use std::collections::VecDeque;

/// The rounds that choose a search profile: the number of profiles that take part, the fewest and the
/// most bytes of the sample, and its share of the stream.
const ROUNDS: [(usize, usize, usize, usize); 3] =
    [(SEARCH_PROFILES.len(), 256, 2 << 10, 64), (4, 512, 8 << 10, 32), (2, 1 << 10, 32 << 10, 8)];
/// Most bytes of a sample.
pub(super) const SAMPLE_BYTES: usize = ROUNDS[2].2;
/// Streams up to this length are recorded with the profile of the stream before: samples would take
/// longer than the record.
const SHORT_BYTES: usize = 1024;
/// Streams up to this length take the profile of the stream before, too, while samples have more than
/// a quarter of all bytes that were recorded.
const MIDDLE_BYTES: usize = 32 << 10;
/// Compressed bytes of samples that are free of that limit: the samples of a few streams.
const FREE_SAMPLE_BYTES: u64 = 64 << 10;
/// Compressed bytes inflated at a time. Few, because each may become a thousand plain bytes.
const PIECE_BYTES: usize = 4096;

/// A record and the size of its stream.
pub(crate) struct TokenRecord {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the input that belong to the stream.
    pub(crate) stream_bytes: usize,
}

/// Records streams one after another, and reuses its memory.
pub(crate) struct Recorder {
    history: MatchHistory,
    stream: InflateStream,
    /// The profile of the last stream.
    last_profile: Option<usize>,
    sample_bytes: u64,
    recorded_bytes: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let (history, stream) = (MatchHistory::new(), InflateStream::new());
        Self { history, stream, last_profile: None, sample_bytes: 0, recorded_bytes: 0 }
    }

    /// Returns the compressed bytes of all samples so far.
    pub(crate) fn sample_bytes(&self) -> u64 {
        self.sample_bytes
    }

    /// Records the deflate stream at the start of `body`, and passes the plain bytes to `each`.
    /// `None` if the stream ends early, or if a block is too large.
    pub(crate) fn record(&mut self, body: &[u8], each: impl FnMut(&[u8])) -> Option<TokenRecord> {
        let profile = match self.last_profile {
            Some(profile) if !self.is_worth_samples(body.len()) => profile,
            _ => self.choose(body, body.len()),
        };
        self.last_profile = Some(profile);
        self.recorded_bytes += body.len() as u64;
        let (writer, stream_bytes, is_done) = self.run(body, profile, each)?;
        if !is_done {
            return None;
        }
        let mut bytes = vec![profile as u8];
        bytes.extend(writer.finish());
        Some(TokenRecord { bytes, stream_bytes })
    }

    /// True if samples of a stream take little time compared with the records so far.
    fn is_worth_samples(&self, stream_bytes: usize) -> bool {
        let most = FREE_SAMPLE_BYTES + (self.recorded_bytes + stream_bytes as u64) / 4;
        stream_bytes > MIDDLE_BYTES || stream_bytes > SHORT_BYTES && self.sample_bytes <= most
    }

    /// Returns the best search profile for a stream of `stream_bytes` that begins with `start`.
    pub(super) fn choose(&mut self, start: &[u8], stream_bytes: usize) -> usize {
        let mut profiles: Vec<usize> = (0..SEARCH_PROFILES.len()).collect();
        let mut sampled_bytes = 0;
        for (count, fewest, most, share) in ROUNDS {
            let bytes = (stream_bytes / share).clamp(fewest, most).min(start.len());
            profiles.truncate(count);
            if bytes == sampled_bytes {
                continue;
            }
            sampled_bytes = bytes;
            self.sample_bytes += (profiles.len() * bytes) as u64;
            let mut lengths: Vec<(usize, usize)> = profiles
                .iter()
                .map(|&profile| {
                    let run = self.run(&start[..bytes], profile, |_| {});
                    (run.map_or(usize::MAX, |run| run.0.len()), profile)
                })
                .collect();
            lengths.sort_unstable();
            profiles = lengths.into_iter().map(|(_, profile)| profile).collect();
        }
        profiles[0]
    }

    /// Records the bytes of `body`. Returns the record so far, the bytes read, and true at the end of
    /// the stream.
    fn run(
        &mut self,
        body: &[u8],
        profile: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Option<(RangeEncoder, usize, bool)> {
        self.stream.reset();
        let mut events = StreamEvents::default();
        let mut history = std::mem::replace(&mut self.history, MatchHistory::empty());
        history.reset();
        let mut recorder = TokenRecorder::with(profile, history);
        let taken = recorder.take(&mut self.stream, &mut events, body, &mut each);
        let is_ended = match taken {
            Some((_, true)) => recorder.end_stream(&self.stream, &mut events).is_some(),
            _ => true,
        };
        let TokenRecorder { model, writer, .. } = recorder;
        self.history = model.history;
        let (read, is_done) = taken.filter(|_| is_ended)?;
        Some((writer, read, is_done))
    }
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
        Self::with(profile, MatchHistory::new())
    }

    fn with(profile: usize, history: MatchHistory) -> Self {
        Self {
            model: RecordModel::with(profile, history),
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
