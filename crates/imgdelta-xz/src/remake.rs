//! Remakes xz streams from their plain bytes, by a recipe.
//! Never decides how: the recipe has all choices.

use crate::{
    check::Check,
    container::{BlockHeader, BlockRecord, index, stream_footer, stream_header},
    encoder::Lzma2Encoder,
    error::RemakeError,
    filters::{Direction, FilterChain},
    recipe::{BlockForm, BlockRun, MOST_BLOCK_BYTES, MOST_HELD_BYTES, Recipe},
};

/// Remakes a file of xz streams while its plain bytes pass.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// The current stream and run, and the blocks of the run that are done.
    stream: usize,
    run: usize,
    done: u64,
    is_in_stream: bool,
    records: Vec<BlockRecord>,
    block: Option<BlockWriter<'a>>,
}

/// A block that is being packed.
struct BlockWriter<'a> {
    form: &'a BlockForm,
    filters: FilterChain,
    check: Check,
    packer: Packer,
    plain_bytes: u64,
    /// Packed bytes that wait for the header, which has their length.
    held: Vec<u8>,
    /// Packed bytes that were passed on.
    passed_bytes: u64,
}

/// Packs the filtered bytes of a block.
pub(crate) enum Packer {
    Liblzma(Box<Lzma2Encoder>),
    /// Bytes of the chunk that is not full, and whether it is the first.
    Stored(Vec<u8>, bool),
}

impl<'a> Remaker<'a> {
    /// Starts before the first stream.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self {
            recipe,
            stream: 0,
            run: 0,
            done: 0,
            is_in_stream: false,
            records: Vec::new(),
            block: None,
        }
    }

    /// Takes the next plain bytes, and appends the finished part of the file to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            let run = self.run(out).ok_or(RemakeError::TooLong)?;
            if self.block.is_none() {
                let form = self.recipe.forms.get(run.form).ok_or(RemakeError::TooLong)?;
                self.block = Some(BlockWriter::new(form, self.check(), out)?);
            }
            let Some(block) = &mut self.block else { break };
            let left = match run.plain_bytes {
                0 => u64::MAX,
                bytes => bytes - block.plain_bytes,
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(plain.len());
            block.write(&plain[..count], out)?;
            plain = &plain[count..];
            if count as u64 == left {
                self.end_block(out)?;
            }
        }
        Ok(())
    }

    /// Ends the last stream, and appends the rest of the file to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        if self.block.is_some() {
            let is_open = self.run(out).is_some_and(|run| run.count == 0);
            if !is_open {
                return Err(RemakeError::TooShort);
            }
            self.end_block(out)?;
        }
        if self.run(out).is_some_and(|run| run.count == 0) {
            self.run += 1;
        }
        match self.run(out) {
            Some(_) => Err(RemakeError::TooShort),
            None => Ok(()),
        }
    }

    fn check(&self) -> Check {
        let stream = self.recipe.streams.get(self.stream);
        stream.map_or(Check::None, |stream| Check::new(stream.check))
    }

    /// Returns the run of the next block; ends and starts streams before it.
    fn run(&mut self, out: &mut Vec<u8>) -> Option<BlockRun> {
        loop {
            let stream = self.recipe.streams.get(self.stream)?;
            if !self.is_in_stream {
                out.extend(stream_header(stream.check));
                self.is_in_stream = true;
            }
            match stream.runs.get(self.run) {
                Some(run) if run.count == 0 || self.done < run.count => return Some(*run),
                Some(_) => {
                    self.run += 1;
                    self.done = 0;
                }
                None => {
                    let index = index(&self.records);
                    out.extend_from_slice(&index);
                    out.extend(stream_footer(stream.check, index.len()));
                    out.resize(out.len() + stream.padding as usize * 4, 0);
                    self.records.clear();
                    (self.stream, self.run, self.is_in_stream) = (self.stream + 1, 0, false);
                }
            }
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        if let Some(block) = self.block.take() {
            self.records.push(block.finish(out)?);
            self.done += 1;
        }
        Ok(())
    }
}

impl<'a> BlockWriter<'a> {
    fn new(form: &'a BlockForm, check: Check, out: &mut Vec<u8>) -> Result<Self, RemakeError> {
        let packer = Packer::new(form);
        let filters = FilterChain::new(&form.filters, Direction::Encode);
        let held = Vec::new();
        let block = Self { form, filters, check, packer, plain_bytes: 0, held, passed_bytes: 0 };
        if !block.has_lengths() {
            block.header(0, out)?;
        }
        Ok(block)
    }

    fn has_lengths(&self) -> bool {
        self.form.has_packed_bytes || self.form.has_plain_bytes
    }

    /// Appends the header to `out`, and returns its length.
    fn header(&self, packed_bytes: u64, out: &mut Vec<u8>) -> Result<u64, RemakeError> {
        let form = self.form;
        let header = BlockHeader {
            header_bytes: form.header_bytes,
            packed_bytes: form.has_packed_bytes.then_some(packed_bytes),
            plain_bytes: form.has_plain_bytes.then_some(self.plain_bytes),
            filters: form.filters.clone(),
            window_code: form.window_code,
        };
        header.write(out).ok_or(RemakeError::Header { header_bytes: form.header_bytes })?;
        Ok(form.header_bytes as u64)
    }

    fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.check.update(plain);
        self.plain_bytes += plain.len() as u64;
        let most = if self.has_lengths() { MOST_HELD_BYTES } else { MOST_BLOCK_BYTES };
        if self.plain_bytes > most {
            return Err(RemakeError::BlockTooLong { expected: most });
        }
        if self.filters.is_empty() {
            self.packer.write(plain, &mut self.held);
        } else {
            let filtered = self.filters.push(plain.to_vec());
            self.packer.write(&filtered, &mut self.held);
        }
        if !self.has_lengths() {
            self.passed_bytes += self.held.len() as u64;
            out.append(&mut self.held);
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Vec<u8>) -> Result<BlockRecord, RemakeError> {
        let filtered = self.filters.finish();
        self.packer.write(&filtered, &mut self.held);
        self.packer.finish(&mut self.held);
        let packed_bytes = self.passed_bytes + self.held.len() as u64;
        if self.has_lengths() {
            self.header(packed_bytes, out)?;
        }
        out.append(&mut self.held);
        let padding = packed_bytes.next_multiple_of(4) - packed_bytes;
        out.resize(out.len() + padding as usize, 0);
        let check = self.check.finish();
        out.extend_from_slice(&check);
        let stored_bytes = self.form.header_bytes as u64 + packed_bytes + check.len() as u64;
        Ok(BlockRecord { stored_bytes, plain_bytes: self.plain_bytes })
    }
}

impl Packer {
    pub(crate) fn new(form: &BlockForm) -> Self {
        match form.settings() {
            Some(settings) => Self::Liblzma(Box::new(Lzma2Encoder::new(settings))),
            None => Self::Stored(Vec::new(), true),
        }
    }

    /// Returns the bytes of the chunk that is not finished, without its header.
    pub(crate) fn unfinished(&self) -> &[u8] {
        match self {
            Self::Liblzma(encoder) => encoder.unfinished(),
            Self::Stored(..) => &[],
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Liblzma(encoder) => encoder.write(bytes, out),
            Self::Stored(chunk, is_first) => {
                chunk.extend_from_slice(bytes);
                let full = chunk.len() / STORED_BYTES * STORED_BYTES;
                for piece in chunk[..full].chunks(STORED_BYTES) {
                    store(piece, is_first, out);
                }
                chunk.drain(..full);
            }
        }
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Liblzma(encoder) => encoder.finish(out),
            Self::Stored(chunk, is_first) => {
                if !chunk.is_empty() {
                    store(chunk, is_first, out);
                }
                out.push(0);
            }
        }
    }
}

/// Writes a stored chunk. The first one forgets what is before it.
fn store(piece: &[u8], is_first: &mut bool, out: &mut Vec<u8>) {
    out.push(if std::mem::take(is_first) { 1 } else { 2 });
    out.extend_from_slice(&((piece.len() - 1) as u16).to_be_bytes());
    out.extend_from_slice(piece);
}

/// Plain bytes of a stored chunk.
const STORED_BYTES: usize = 1 << 16;
