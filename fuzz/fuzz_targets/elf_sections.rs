//! Any bytes as an ELF file with compressed sections: what is opened is closed to the same bytes.
//! Any bytes as the parts of one: closed to bytes or an error.
#![no_main]

use imgdelta_core::{Result, progress::Silent, scratch::Scratch};
use imgdelta_deflate::{
    DetectOptions, EncoderModel, MemberTrailer, Recipe, RecipeMember, detect_raw,
};
use imgdelta_fuzz::closed;
use imgdelta_image::volume::AddressSpace;
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, InnerCoding, InnerPayloads, OpenedArchive, section_streams,
};
use imgdelta_make::spill::SpillFile;
use libfuzzer_sys::fuzz_target;
use std::{path::Path, sync::Arc};

fuzz_target!(|bytes: &[u8]| {
    if let Some(parts) = opened(bytes) {
        assert!(closed(ArchiveKind::Elf, &parts).expect("its own parts") == bytes);
    }
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some((content, structure)) = rest.split_at_checked(length) else { return };
    let member = RecipeMember {
        header: vec![0x78, 1],
        model: EncoderModel::Golang { level: 1 },
        trailer: MemberTrailer::None,
        plain_bytes: 0,
    };
    let count = usize::from(structure.first().copied().unwrap_or(0));
    let recipe = Recipe { members: vec![member; count], tail: Vec::new() };
    let parts = ElfParts { content: content.to_vec(), structure: structure.to_vec(), recipe };
    let _ = closed(ArchiveKind::Elf, &parts);
});

struct ElfParts {
    content: Vec<u8>,
    structure: Vec<u8>,
    recipe: Recipe,
}

impl ElfParts {
    fn part(&self, inner: usize) -> &[u8] {
        if inner == 0 { &self.content } else { &self.structure }
    }
}

impl InnerPayloads for ElfParts {
    fn count(&self) -> usize {
        2
    }

    fn bytes(&self, inner: usize) -> u64 {
        self.part(inner).len() as u64
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).expect("within the part");
        buffer.copy_from_slice(&self.part(inner)[at..at + buffer.len()]);
        Ok(())
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        if inner == 0 { InnerCoding::Deflate(&self.recipe) } else { InnerCoding::Plain }
    }

    fn place(&self) -> String {
        "parts".to_owned()
    }
}

/// Opens a file; `None` if it stays closed.
fn opened(bytes: &[u8]) -> Option<ElfParts> {
    let shared_memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let directory = if shared_memory.is_dir() { shared_memory } else { &temporary };
    let spill = SpillFile::new(&Scratch::new(directory)).expect("a file");
    let range = spill.put(bytes).expect("room");
    let mut space = AddressSpace::default();
    space.push(&Arc::new(spill.finish().expect("a file")), range).expect("a small file");
    let slice = ArchiveBytes::new(&space, 0, bytes.len() as u64);
    let archive = OpenedArchive::read(ArchiveKind::Elf, &slice).expect("readable bytes")?;
    let mut content = Vec::new();
    let inflated = archive.parts[0].inflate(&slice, 1 << 24, &Silent, &mut |piece| {
        content.extend_from_slice(piece);
        Ok(())
    });
    inflated.expect("readable bytes")?;
    let mut recipe = Recipe::default();
    for range in section_streams(&slice).expect("readable bytes") {
        let stream = slice.read(range.start, range.end - range.start).expect("readable")?;
        let found = detect_raw(&stream[2..], DetectOptions::default())?;
        let [member] = &found.members[..] else { panic!("a raw stream has one member") };
        let header = stream[..2].to_vec();
        recipe.members.push(RecipeMember { header, plain_bytes: 0, ..member.clone() });
    }
    Some(ElfParts { content, structure: archive.structure, recipe })
}
