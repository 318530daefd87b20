//! Any bytes as an ELF file with programs for graphics processors: what is opened is closed to the
//! same bytes. Any bytes as an LZ4 block, and as the content of one: it comes back.
#![no_main]

use imgdelta_core::{Result, progress::Silent};
use imgdelta_fuzz::closed;
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, InnerCoding, InnerPayloads, OpenedArchive,
};
use imgdelta_zstd::lz4::{Lz4Encoder, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(parts) = opened(bytes) {
        assert!(closed(ArchiveKind::Fatbin, &parts).expect("its own parts") == bytes);
    }
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    if let Some(plain) = decode(rest, length) {
        assert!(plain.len() == length);
    }
    for encoder in Lz4Encoder::ALL {
        let block = encoder.encode(rest).expect("a short content");
        assert!(decode(&block, rest.len()).expect("its own block") == rest);
    }
    // The rest is the first payload, and programs of other lengths.
    let mut contents = vec![rest.to_vec()];
    contents.extend((0..length % 4).map(|count| rest[..rest.len().min(count * 9)].to_vec()));
    let codings = vec![InnerCoding::Lz4(Lz4Encoder::Middle); contents.len()];
    let _ = closed(ArchiveKind::Fatbin, &GpuParts { contents, codings });
});

/// Parts of a file; the first has no compression.
struct GpuParts {
    contents: Vec<Vec<u8>>,
    codings: Vec<InnerCoding<'static>>,
}

impl InnerPayloads for GpuParts {
    fn count(&self) -> usize {
        self.contents.len()
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.contents[inner].len() as u64
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).expect("within the part");
        buffer.copy_from_slice(&self.contents[inner][at..at + buffer.len()]);
        Ok(())
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        if inner == 0 { InnerCoding::Plain } else { self.codings[inner] }
    }

    fn place(&self) -> String {
        "parts".to_owned()
    }
}

/// Opens a file; `None` if it stays closed.
fn opened(bytes: &[u8]) -> Option<GpuParts> {
    let slice = ArchiveBytes::in_memory(bytes);
    let archive = OpenedArchive::read(ArchiveKind::Fatbin, &slice).expect("readable bytes")?;
    let mut parts = GpuParts { contents: Vec::new(), codings: Vec::new() };
    for part in &archive.parts {
        let mut content = Vec::new();
        let inflated = part.inflate(&slice, 1 << 24, &Silent, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        inflated.expect("readable bytes")?;
        let stored = slice.read(part.stored.start, part.stored.end - part.stored.start);
        let stored = stored.expect("readable bytes")?;
        match Lz4Encoder::find(&content, &stored) {
            Some(encoder) => parts.codings.push(InnerCoding::Lz4(encoder)),
            None => {
                parts.codings.push(InnerCoding::Plain);
                if !parts.contents.is_empty() {
                    content = stored;
                }
            }
        }
        parts.contents.push(content);
    }
    Some(parts)
}
