//! Finds the encoder of xz streams by trial.
//! Never returns a recipe that does not make every byte.
//!
//! Headers give everything except the effort of the search. Each candidate packs the content of a
//! block and is dropped at the first byte that differs, mostly within the first kilobytes. So a
//! search without a result is cheap. The right candidate packs everything once.

use crate::{
    check::CheckKind,
    container::window_bytes,
    container::{BlockHeader, EDGE_BYTES},
    decoder::{DecodeOptions, XzDecoder, XzEvent},
    encoder::SearchEffort,
    lzma2::{ChunkHeader, ChunkReset, Lzma2Decoder},
    recipe::{BlockForm, BlockRun, MOST_BLOCK_BYTES, Packing, Recipe, StreamRecipe},
    remake::{Packer, Remaker},
    state::Properties,
};

/// Limits of [`detect`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// Most plain bytes, a gigabyte by default: packing them takes about ten minutes.
    pub plain_bytes: u64,
    /// Most bytes of a window, 16 MiB by default, as in [`DecodeOptions`].
    pub window_bytes: u64,
    /// Most nanoseconds for a plain byte, by [`SearchEffort::nanoseconds_per_byte`]; slower efforts
    /// are not tried. No limit by default.
    pub nanoseconds_per_byte: u32,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { plain_bytes: 1 << 30, window_bytes: 16 << 20, nanoseconds_per_byte: u32::MAX }
    }
}

/// Finds the recipe of a file of xz streams. `None` if it is not one, or if no modelled encoder
/// packs its content to these bytes.
pub fn detect(stored: &[u8], options: DetectOptions) -> Option<Recipe> {
    let survey = Survey::of(stored, options)?;
    let mut recipe = Recipe { forms: Vec::new(), streams: Vec::new() };
    let mut last = None;
    for stream in survey.streams {
        let mut runs: Vec<BlockRun> = Vec::new();
        for block in stream.blocks {
            let form = block.form(stored, last, options)?;
            last = Some(form.packing);
            let known = recipe.forms.iter().position(|known| *known == form);
            let form = known.unwrap_or_else(|| {
                recipe.forms.push(form);
                recipe.forms.len() - 1
            });
            let plain_bytes = block.plain_bytes;
            match runs.last_mut() {
                Some(run) if run.form == form && run.plain_bytes == plain_bytes => run.count += 1,
                _ => runs.push(BlockRun { form, plain_bytes, count: 1 }),
            }
        }
        recipe.streams.push(StreamRecipe { check: stream.check, runs, padding: stream.padding });
    }
    recipe.open_last_run();
    let has_filters = recipe.forms.iter().any(|form| !form.filters.is_empty());
    // The trials have compared everything except whether filters come back.
    if has_filters && !remakes(&recipe, stored, options) {
        return None;
    }
    Some(recipe)
}

impl Recipe {
    /// Makes the last run take what is left, so that equally packed files have one recipe.
    fn open_last_run(&mut self) {
        let streams = self.streams.iter_mut().rev();
        let Some(stream) = streams.into_iter().find(|stream| !stream.runs.is_empty()) else {
            return;
        };
        let Some(mut last) = stream.runs.pop() else { return };
        let before = stream.runs.last().copied();
        if let Some(before) = before
            && last.count == 1
            && before.form == last.form
            && before.plain_bytes > last.plain_bytes
        {
            stream.runs.pop();
            last = before;
        } else if last.count == 1 {
            last.plain_bytes = 0;
        }
        stream.runs.push(BlockRun { count: 0, ..last });
    }
}

/// True if a recipe makes the stored bytes from their content.
fn remakes(recipe: &Recipe, stored: &[u8], options: DetectOptions) -> bool {
    let mut decoder = XzDecoder::new(DecodeOptions { window_bytes: options.window_bytes });
    let mut remaker = Remaker::new(recipe);
    let (mut out, mut at, mut is_same) = (Vec::new(), 0, true);
    let mut compare = |out: &mut Vec<u8>| {
        is_same &= stored.get(at..at + out.len()) == Some(&out[..]);
        at += out.len();
        out.clear();
        is_same
    };
    for piece in stored.chunks(PIECE_BYTES) {
        let mut plain = Vec::new();
        if decoder.push(piece, &mut |bytes| plain.extend_from_slice(bytes)).is_err()
            || remaker.write(&plain, &mut out).is_err()
            || !compare(&mut out)
        {
            return false;
        }
    }
    remaker.finish(&mut out).is_ok() && compare(&mut out) && at == stored.len()
}

/// Estimates the most memory that [`detect`] takes for a file, by the window of its first block.
pub fn memory_bytes(stored: &[u8]) -> u64 {
    let first = stored.get(EDGE_BYTES..).unwrap_or_default();
    let bytes = first.first().map_or(0, |size| (usize::from(*size) + 1) * 4);
    let header = first.get(..bytes).and_then(|header| BlockHeader::read(header).ok());
    let window = header.and_then(|header| window_bytes(header.window_code)).unwrap_or(0);
    window.min(MOST_BLOCK_BYTES).saturating_mul(MEMORY_PER_WINDOW) + LEAST_MEMORY
}

/// The streams and blocks of a file.
struct Survey {
    streams: Vec<StreamSurvey>,
}

struct StreamSurvey {
    check: CheckKind,
    blocks: Vec<BlockSurvey>,
    padding: u64,
}

struct BlockSurvey {
    header: BlockHeader,
    /// Offset of its chunks.
    at: usize,
    plain_bytes: u64,
}

impl Survey {
    /// Unpacks everything once; `None` if the file is damaged or exceeds a limit.
    fn of(stored: &[u8], options: DetectOptions) -> Option<Self> {
        let mut decoder = XzDecoder::new(DecodeOptions { window_bytes: options.window_bytes });
        let mut streams: Vec<StreamSurvey> = Vec::new();
        let mut plain_bytes = 0;
        for piece in stored.chunks(PIECE_BYTES) {
            let pushed = decoder.push_events(piece, &mut |event| match event {
                XzEvent::Stream(check) => {
                    streams.push(StreamSurvey { check, blocks: Vec::new(), padding: 0 });
                }
                XzEvent::Block(header, at) => {
                    if let Some(stream) = streams.last_mut() {
                        let (header, at) = (header.clone(), at as usize);
                        stream.blocks.push(BlockSurvey { header, at, plain_bytes: 0 });
                    }
                }
                XzEvent::Plain(plain) => plain_bytes += plain.len() as u64,
                XzEvent::BlockEnd(plain_bytes) => {
                    let block = streams.last_mut().and_then(|stream| stream.blocks.last_mut());
                    if let Some(block) = block {
                        block.plain_bytes = plain_bytes;
                    }
                }
                XzEvent::Padding => {
                    if let Some(stream) = streams.last_mut() {
                        stream.padding += 1;
                    }
                }
            });
            if pushed.is_err() || plain_bytes > options.plain_bytes {
                return None;
            }
        }
        decoder.finish().ok()?;
        let survey = Self { streams };
        let are_usual = survey.streams.iter().flat_map(|stream| &stream.blocks).all(|block| {
            let mut header = Vec::new();
            let is_written = block.header.write(&mut header).is_some();
            let start = block.at - block.header.header_bytes;
            // A block without content would be made by another number of blocks.
            is_written && header == stored[start..block.at] && block.plain_bytes > 0
        });
        are_usual.then_some(survey)
    }
}

impl BlockSurvey {
    /// Finds the form of the block. `last` is the packing of the block before.
    fn form(
        &self,
        stored: &[u8],
        last: Option<Packing>,
        options: DetectOptions,
    ) -> Option<BlockForm> {
        let chunks = stored.get(self.at..)?;
        if self.plain_bytes > MOST_BLOCK_BYTES {
            return None;
        }
        let efforts = EFFORTS.iter().map(|preset| SearchEffort::PRESETS[*preset]);
        let efforts =
            efforts.filter(|effort| effort.nanoseconds_per_byte() <= options.nanoseconds_per_byte);
        let properties = properties(chunks);
        let packings = efforts.map(|effort| Packing::Liblzma(properties, effort));
        let first = if chunks.first() == Some(&1) { Some(Packing::Stored) } else { None };
        // A short block may be what both write; then the file has one form.
        let candidates = last.into_iter().chain(first).chain(packings);
        let mut tried = Vec::new();
        for packing in candidates {
            if tried.contains(&packing) {
                continue;
            }
            tried.push(packing);
            let form = BlockForm {
                header_bytes: self.header.header_bytes,
                has_packed_bytes: self.header.packed_bytes.is_some(),
                has_plain_bytes: self.header.plain_bytes.is_some(),
                filters: self.header.filters.clone(),
                window_code: self.header.window_code,
                packing,
            };
            if makes(&form, chunks) {
                return Some(form);
            }
        }
        None
    }
}

/// Returns the properties that the first packed chunk has; the usual ones if there is none.
fn properties(mut chunks: &[u8]) -> Properties {
    while let Some(header) = header(chunks) {
        let (header, bytes) = header;
        match header {
            ChunkHeader::Packed {
                reset: ChunkReset::Window(properties) | ChunkReset::Properties(properties),
                ..
            } => return properties,
            ChunkHeader::Stored { .. } => {
                chunks = chunks.get(bytes + header.body_bytes()..).unwrap_or_default();
            }
            _ => break,
        }
    }
    Properties::default()
}

/// Reads the header of a chunk, with its length.
fn header(chunks: &[u8]) -> Option<(ChunkHeader, usize)> {
    let bytes = ChunkHeader::bytes(*chunks.first()?)?;
    Some((ChunkHeader::read(chunks.get(..bytes)?).ok()?, bytes))
}

/// True if a form packs the content of the chunks to these chunks.
fn makes(form: &BlockForm, chunks: &[u8]) -> bool {
    let Some(window) = window_bytes(form.window_code) else { return false };
    let mut decoder = Lzma2Decoder::new(usize::try_from(window).unwrap_or(usize::MAX));
    let mut trial = Trial { packer: Packer::new(form), chunks, compared: 0, out: Vec::new() };
    let mut left = chunks;
    loop {
        let Some((header, bytes)) = header(left) else { return false };
        let Some(body) = left.get(bytes..bytes + header.body_bytes()) else { return false };
        left = &left[bytes + body.len()..];
        if header == ChunkHeader::End {
            trial.packer.finish(&mut trial.out);
            return trial.is_same() && trial.compared == chunks.len() - left.len();
        }
        let Ok(plain) = decoder.chunk(header, body) else { return false };
        let (first, rest) = plain.split_at(plain.len().min(FIRST_BYTES));
        for piece in first.chunks(FIRST_PIECE_BYTES).chain(rest.chunks(PIECE_BYTES)) {
            trial.packer.write(piece, &mut trial.out);
            if !trial.is_same() {
                return false;
            }
        }
    }
}

/// A candidate at work.
struct Trial<'a> {
    packer: Packer,
    chunks: &'a [u8],
    /// Bytes of `chunks` that are finished and equal.
    compared: usize,
    out: Vec<u8>,
}

impl Trial<'_> {
    /// Compares what the packer has made.
    fn is_same(&mut self) -> bool {
        let end = self.compared + self.out.len();
        if self.chunks.get(self.compared..end) != Some(&self.out[..]) {
            return false;
        }
        self.compared = end;
        self.out.clear();
        let unfinished = self.packer.unfinished();
        match header(&self.chunks[end..]) {
            Some((ChunkHeader::Packed { .. }, bytes)) => {
                self.chunks[end + bytes..].starts_with(unfinished)
            }
            // Whether a chunk is stored shows at its end.
            _ => true,
        }
    }
}

/// Bytes of memory for each byte of a window: a packer with its links and tables, and an unpacker.
const MEMORY_PER_WINDOW: u64 = 14;
/// Memory that a search takes besides.
const LEAST_MEMORY: u64 = 8 << 20;
/// Presets in the order of the trials: the default and its neighbours first.
const EFFORTS: [usize; 9] = [6, 8, 3, 2, 1, 0, 5, 4, 7];
/// Bytes of each chunk in which wrong candidates mostly differ.
const FIRST_BYTES: usize = 64 << 10;
const FIRST_PIECE_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 256 << 10;
