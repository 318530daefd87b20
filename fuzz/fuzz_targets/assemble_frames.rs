//! Any bytes are frames that give a stream within the promised length, or an error.
#![no_main]

use imgdelta_frames::{FrameReader, LayerFiles};
use libfuzzer_sys::fuzz_target;
use std::io::{self, Cursor, Read};

/// Has every file, full of the same byte.
struct AnyFiles;

impl LayerFiles for AnyFiles {
    fn open(&self, _: &[u8], bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::repeat(7).take(bytes)))
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The first bytes are the promised length; the rest are parts, each with its length in front.
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let promised = u64::from(u16::from_le_bytes(*length)) << 6;
    let frames = [b"imgdelta frames 2\n", rest].concat();
    let Ok(reader) = FrameReader::open(Cursor::new(frames), promised, "fuzz") else { return };
    let mut stream = reader.assemble(AnyFiles);
    let (mut buffer, mut total) = ([0; 4096], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        total += count as u64;
        assert!(total <= promised);
    }
});
