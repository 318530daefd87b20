//! Takes the frames of each layer of an image, puts the stream together again with content from the
//! layer itself, and prints sizes and processor time.
//!
//!     frames IMAGE [LEVEL]
//!
//! IMAGE is an OCI layout or an archive; LEVEL is one of zstd.

use imgdelta_core::{Error, Result, progress::Silent};
use imgdelta_frames::{FrameEncoder, FrameReader, LayerFiles};
use imgdelta_image::{
    image::{self, OpenOptions},
    index::IndexBuilder,
};
use std::{
    collections::HashMap,
    io::{self, Read},
    time::Instant,
};

/// Files of a layer in memory, by path.
struct MemoryFiles(HashMap<Vec<u8>, Vec<u8>>);

impl LayerFiles for MemoryFiles {
    fn open(&self, path: &[u8], bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let file = self.0.get(path).filter(|file| file.len() as u64 == bytes);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(file.clone())))
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [image, rest @ ..] = &args[..] else {
        return Err(Error::bad_input("usage", "frames IMAGE [LEVEL]"));
    };
    let level = rest.first().and_then(|level| level.parse().ok()).unwrap_or(9);
    let image = image::open(&image.parse()?, &OpenOptions::default())?;
    let (mut streams, mut frames, mut taking, mut reading) = (0, 0, 0.0, 0.0);
    for layer in &image.layers {
        let mut stream = Vec::new();
        let mut builder = IndexBuilder::new(image.limits(), None);
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |piece| {
            stream.extend_from_slice(piece);
            builder.feed(piece)
        })?;
        let index = builder.finish(layer.diff_id)?;
        let started = Instant::now();
        let mut encoder = FrameEncoder::tuned(Vec::new(), "memory", level, 32 << 20)?;
        stream.chunks(64 << 10).try_for_each(|piece| encoder.feed(piece))?;
        let Some((bytes, stream_bytes)) = encoder.finish()? else {
            println!("{}: no frames", layer.diff_id);
            continue;
        };
        taking += started.elapsed().as_secs_f64();
        let mut files = HashMap::new();
        for ordinal in 0..index.entries.len() {
            let payload = index.entries.payload(ordinal);
            let at = |at| usize::try_from(at).expect("a stream in memory");
            let content = &stream[at(payload.start)..at(payload.end)];
            let path = index.entries.path(ordinal).as_bytes().to_vec();
            files.insert(path, content.to_vec());
        }
        let length = bytes.len();
        let reader = FrameReader::open(io::Cursor::new(bytes), stream_bytes, "memory")?;
        let started = Instant::now();
        let mut again = Vec::with_capacity(stream.len());
        let assembled = reader.assemble(MemoryFiles(files)).read_to_end(&mut again);
        assembled.map_err(Error::io("memory"))?;
        reading += started.elapsed().as_secs_f64();
        assert!(again == stream, "{} comes back", layer.diff_id);
        println!("{}: {} entries, {stream_bytes} -> {length}", layer.diff_id, index.entries.len());
        streams += stream_bytes;
        frames += length;
    }
    println!("total: {streams} -> {frames} bytes; taken in {taking:.2} s, read in {reading:.2} s");
    Ok(())
}
