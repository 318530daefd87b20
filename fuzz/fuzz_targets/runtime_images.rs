//! Any bytes as a runtime image of Java: what is opened is closed to the same bytes. Any bytes as the
//! list of its resources: the file that is made of them is opened to a list of the same file, or stays closed.
#![no_main]

use imgdelta_core::{Result, progress::Silent};
use imgdelta_fuzz::closed;
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, InnerCoding, InnerPayloads, OpenedArchive,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(parts) = opened(bytes) {
        assert!(closed(ArchiveKind::Jimage, &parts).expect("its own parts") == bytes);
    }
    let parts = ImageParts([bytes.to_vec(), b"resources".to_vec()]);
    if let Ok(made) = closed(ArchiveKind::Jimage, &parts)
        && let Some(parts) = opened(&made)
    {
        assert!(closed(ArchiveKind::Jimage, &parts).expect("its own parts") == made);
    }
});

/// A list and resources.
struct ImageParts([Vec<u8>; 2]);

impl InnerPayloads for ImageParts {
    fn count(&self) -> usize {
        2
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.0[inner].len() as u64
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).expect("within the part");
        buffer.copy_from_slice(&self.0[inner][at..at + buffer.len()]);
        Ok(())
    }

    fn coding(&self, _: usize) -> InnerCoding<'_> {
        InnerCoding::Plain
    }

    fn place(&self) -> String {
        "parts".to_owned()
    }
}

/// Opens a file; `None` if it stays closed.
fn opened(bytes: &[u8]) -> Option<ImageParts> {
    let slice = ArchiveBytes::in_memory(bytes);
    let archive = OpenedArchive::read(ArchiveKind::Jimage, &slice).expect("readable bytes")?;
    let mut parts = ImageParts([Vec::new(), Vec::new()]);
    for (part, content) in archive.parts.iter().zip(&mut parts.0) {
        let inflated = part.inflate(&slice, 1 << 24, &Silent, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        inflated.expect("readable bytes").expect("a part of an archive that is read");
    }
    Some(parts)
}
