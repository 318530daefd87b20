//! Frames and files give the stream back, and nothing else.

use crate::{FrameEncoder, FrameLimits, FrameReader, FrameStore};
use imgdelta_core::{Context, DiffId, scratch::Scratch, verify::Hasher};
use imgdelta_image::store::source::ReadAt;
use imgdelta_testkit::{make_pipe, noise, tar_of};
use std::{
    fs,
    io::Read,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::PathBuf,
    time::SystemTime,
};
use tempfile::TempDir;

struct Shelf {
    store: FrameStore,
    dir: TempDir,
}

impl Shelf {
    fn new(limits: FrameLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = FrameStore::open(&dir.path().join("frames"), limits).unwrap();
        Self { store, dir }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// Takes the frames of a stream in pieces; returns its diff id, and false without frames.
    fn keep(&self, stream: &[u8], piece_bytes: usize) -> (DiffId, bool) {
        let diff_id = diff_id(stream);
        let mut writer = self.store.writer(&diff_id, "chain", stream.len() as u64).unwrap();
        for piece in stream.chunks(piece_bytes) {
            writer.feed(piece).unwrap();
        }
        let is_kept = writer.finish().unwrap();
        (diff_id, is_kept)
    }

    fn unpack(&self, stream: &[u8]) {
        tar::Archive::new(stream).unpack(self.files()).unwrap();
    }

    fn assembled(&self, diff_id: &DiffId) -> std::io::Result<Vec<u8>> {
        let reader = self.store.reader(diff_id).unwrap().unwrap();
        let mut bytes = Vec::new();
        let directory = OwnedFd::from(fs::File::open(self.files()).unwrap());
        reader.assemble(directory).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn diff_id(stream: &[u8]) -> DiffId {
    let mut hasher = Hasher::new(imgdelta_core::Algorithm::Sha256);
    hasher.update(stream);
    hasher.finish_diff_id()
}

/// A stream with directories, links, long names, an empty file and trailing zeros.
fn mixed() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    builder.append_data(&mut header, "etc/", &[][..]).unwrap();
    let long = format!("etc/{}/name", "long".repeat(50));
    for (name, content) in [
        ("etc/one", noise(1, 700)),
        (&*long, noise(2, 100_000)),
        ("etc/empty", Vec::new()),
        ("etc/block", noise(3, 1024)),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "etc/link", "one").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder.append_link(&mut header, "etc/hard", "etc/one").unwrap();
    let mut stream = builder.into_inner().unwrap();
    stream.resize(stream.len() + 9000, 0);
    stream
}

#[test]
fn frames_and_files_are_the_exact_stream_for_pieces_of_any_size() {
    let stream = mixed();
    for piece_bytes in [1, 7, 511, 512, 513, 4096, stream.len()] {
        let shelf = Shelf::new(FrameLimits::default());
        shelf.unpack(&stream);
        let (diff_id, is_kept) = shelf.keep(&stream, piece_bytes);
        assert!(is_kept);
        assert!(shelf.assembled(&diff_id).unwrap() == stream, "{piece_bytes}");
        let reader = shelf.store.reader(&diff_id).unwrap().unwrap();
        assert_eq!((reader.snapshot(), reader.stream_bytes()), ("chain", stream.len() as u64));
        // The content of files is not in the frames.
        let (files, bytes) = shelf.store.totals().unwrap();
        assert_eq!(files, 1);
        assert!(bytes < 2000, "{bytes}");
    }
}

#[test]
fn a_placed_stream_is_read_at_any_offset_and_finds_changed_lengths() {
    let stream = mixed();
    let shelf = Shelf::new(FrameLimits::default());
    shelf.unpack(&stream);
    let (diff_id, _) = shelf.keep(&stream, 4096);
    let context = Context::new(Scratch::new(shelf.dir.path())).unwrap();
    let files = || OwnedFd::from(fs::File::open(shelf.files()).unwrap());
    let place = || {
        let reader = shelf.store.reader(&diff_id).unwrap().unwrap();
        reader.place(files(), &context).unwrap()
    };
    let placed = place();
    assert_eq!(placed.size_bytes().unwrap(), stream.len() as u64);
    for bytes in [1, 300, 513, 70_000] {
        for start in (0..stream.len() - bytes).step_by(217) {
            let mut found = vec![0; bytes];
            placed.fill_at(&mut found, start as u64).unwrap();
            assert!(found == stream[start..start + bytes], "{bytes} bytes from {start}");
        }
    }
    let mut past = [0; 2];
    assert_eq!(placed.read_at(&mut past, stream.len() as u64).unwrap(), 0);
    assert!(placed.fill_at(&mut past, stream.len() as u64 - 1).is_err());
    assert_eq!(placed.read_at(&mut past, u64::MAX).unwrap(), 0);

    // An open file that becomes shorter, and one that is opened later.
    let at = stream.windows(700).position(|window| window == noise(1, 700)).unwrap() as u64;
    let mut found = [0; 700];
    placed.fill_at(&mut found, at).unwrap();
    fs::File::options()
        .write(true)
        .open(shelf.files().join("etc/one"))
        .unwrap()
        .set_len(9)
        .unwrap();
    let text = placed.fill_at(&mut found, at).unwrap_err().to_string();
    assert!(text.contains("etc/one") && text.contains("became shorter"), "{text}");
    let text = place().fill_at(&mut found, at).unwrap_err().to_string();
    assert!(text.contains("a file of another length"), "{text}");
}

/// Files of a directory with a sparse one, as GNU tar writes them in a format.
fn sparse_stream(directory: &std::path::Path, format: &str) -> Vec<u8> {
    fs::create_dir_all(directory.join("d")).unwrap();
    fs::write(directory.join("d/plain"), noise(4, 3000)).unwrap();
    let file = fs::File::create(directory.join("d/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(5, 4096), 1 << 20).unwrap();
    file.set_len(4 << 20).unwrap();
    fs::hard_link(directory.join("d/plain"), directory.join("d/zlink")).unwrap();
    let output = std::process::Command::new("tar")
        .args(["-c", "-S", "--sort=name", &format!("--format={format}"), "-C"])
        .arg(directory)
        .arg("d")
        .output();
    output.unwrap().stdout
}

#[test]
fn sparse_files_and_extended_headers_travel_in_the_frames() {
    for format in ["gnu", "pax"] {
        let shelf = Shelf::new(FrameLimits::default());
        let stream = sparse_stream(&shelf.files(), format);
        assert!(stream.len() > 8000, "tar writes {format}");
        let (diff_id, is_kept) = shelf.keep(&stream, 1000);
        assert!(is_kept);
        assert!(shelf.assembled(&diff_id).unwrap() == stream, "{format}");
        // The stored part of the sparse file, which does not compress.
        assert!(shelf.store.totals().unwrap().1 > 4096, "{format}");
    }
}

#[test]
fn frames_that_a_reader_would_refuse_as_a_bomb_are_not_kept() {
    let member = |bytes: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(b'Z'));
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, "unknown", bytes).unwrap();
        builder.into_inner().unwrap()
    };
    // The content of a member that is not a file travels in the frames.
    let shelf = Shelf::new(FrameLimits::default());
    fs::create_dir(shelf.files()).unwrap();
    let small = member(&noise(6, 5000));
    let (diff_id, is_kept) = shelf.keep(&small, 4096);
    assert!(is_kept);
    assert!(shelf.assembled(&diff_id).unwrap() == small);
    assert!(!shelf.keep(&member(&vec![1; 16 << 20]), 1 << 20).1);
}

#[test]
fn a_layer_of_several_parts_comes_back() {
    let shelf = Shelf::new(FrameLimits::default());
    let stream = mixed();
    shelf.unpack(&stream);
    for part_bytes in [1, 1500, 1 << 20] {
        let mut encoder = FrameEncoder::tuned(Vec::new(), "memory", 3, part_bytes).unwrap();
        stream.chunks(700).for_each(|piece| encoder.feed(piece).unwrap());
        let (frames, stream_bytes) = encoder.finish().unwrap().unwrap();
        let directory = OwnedFd::from(fs::File::open(shelf.files()).unwrap());
        let frames = std::io::Cursor::new(frames);
        let reader = FrameReader::open(frames, stream_bytes, "memory").unwrap();
        let mut again = Vec::new();
        reader.assemble(directory).read_to_end(&mut again).unwrap();
        assert!(again == stream, "{part_bytes}");
    }
}

#[test]
fn frames_never_give_more_than_the_length_that_was_promised() {
    let stream = mixed();
    let shelf = Shelf::new(FrameLimits::default());
    shelf.unpack(&stream);
    let mut encoder = FrameEncoder::new(Vec::new(), "memory").unwrap();
    encoder.feed(&stream).unwrap();
    let (frames, stream_bytes) = encoder.finish().unwrap().unwrap();
    for promised in [0, 511, stream_bytes - 1, stream_bytes + 1] {
        let directory = OwnedFd::from(fs::File::open(shelf.files()).unwrap());
        let frames = std::io::Cursor::new(frames.clone());
        let mut assembled =
            FrameReader::open(frames, promised, "memory").unwrap().assemble(directory);
        let mut bytes = Vec::new();
        let error = assembled.read_to_end(&mut bytes).unwrap_err();
        assert!(bytes.len() as u64 <= promised, "{promised}: {error}");
    }
    // A part that promises gigabytes takes no memory.
    let mut long = frames[..18].to_vec();
    long.extend(u32::MAX.to_le_bytes());
    let reader = FrameReader::open(std::io::Cursor::new(long), 1 << 20, "memory").unwrap();
    let directory = OwnedFd::from(fs::File::open(shelf.files()).unwrap());
    let error = reader.assemble(directory).read(&mut [0; 10]).unwrap_err();
    assert!(error.to_string().contains("a part is too long"), "{error}");
}

#[test]
fn a_layer_whose_files_do_not_last_gets_no_frames() {
    for files in [
        &[("a", &b"one"[..]), ("a", b"two")][..],
        &[("a", b"one"), ("./a", b"")],
        &[("d/a", b"one"), ("d/.wh.a", b"")],
    ] {
        let shelf = Shelf::new(FrameLimits::default());
        assert!(!shelf.keep(&tar_of(files), 512).1);
        assert_eq!(shelf.store.totals().unwrap(), (0, 0));
    }
    // A stream that is cut, or is not an archive.
    let shelf = Shelf::new(FrameLimits::default());
    assert!(!shelf.keep(&tar_of(&[("a", b"one")])[..514], 512).1);
    assert!(!shelf.keep(&noise(1, 5000), 512).1);
    assert_eq!(shelf.store.totals().unwrap(), (0, 0));
}

#[test]
fn a_file_that_is_missing_changed_or_something_else_is_an_error() {
    let stream = tar_of(&[("d/a", b"content")]);
    let shelf = Shelf::new(FrameLimits::default());
    let (diff_id, _) = shelf.keep(&stream, 512);
    let directory = shelf.files().join("d");
    let file = directory.join("a");
    fs::create_dir_all(&directory).unwrap();
    let error = || shelf.assembled(&diff_id).unwrap_err().to_string();
    assert!(error().contains("the layer's file \"d/a\""), "{}", error());
    fs::write(&file, b"longer content").unwrap();
    assert!(error().contains("a file of another length"), "{}", error());
    fs::remove_file(&file).unwrap();
    make_pipe(&file);
    assert!(error().contains("not a regular file"), "{}", error());
    // Links are not followed, neither the file nor a directory above it.
    let outside = shelf.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a"), b"content").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(outside.join("a"), &file).unwrap();
    assert!(error().contains("d/a"), "{}", error());
    fs::remove_file(&file).unwrap();
    fs::remove_dir(&directory).unwrap();
    symlink(&outside, &directory).unwrap();
    assert!(error().contains("d/a"), "{}", error());
    // Bytes of another content are another stream, which its digest shows.
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(&file, b"CONTENT").unwrap();
    assert_ne!(self::diff_id(&shelf.assembled(&diff_id).unwrap()), diff_id);
}

#[test]
fn damaged_frames_are_errors_and_end() {
    let stream = mixed();
    let shelf = Shelf::new(FrameLimits::default());
    shelf.unpack(&stream);
    let (diff_id, _) = shelf.keep(&stream, 512);
    let path = shelf
        .dir
        .path()
        .join("frames")
        .join(format!("{}.frames", diff_id.to_string().replace(':', "-")));
    let frames = fs::read(&path).unwrap();
    for at in 0..frames.len() {
        let mut damaged = frames.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        if let Ok(Some(reader)) = shelf.store.reader(&diff_id) {
            let directory = OwnedFd::from(fs::File::open(shelf.files()).unwrap());
            let limit = reader.stream_bytes().min(1 << 20);
            let mut bytes = Vec::new();
            let _ = reader.assemble(directory).take(limit).read_to_end(&mut bytes);
        }
        fs::write(&path, &frames[..at]).unwrap();
        let is_whole = match shelf.store.reader(&diff_id) {
            Ok(Some(_)) => shelf.assembled(&diff_id).is_ok(),
            _ => false,
        };
        assert!(!is_whole, "cut at {at}");
    }
}

#[test]
fn the_oldest_frames_are_removed_beyond_the_bounds() {
    let shelf = Shelf::new(FrameLimits::default().files(2));
    let streams: Vec<Vec<u8>> = (0..4).map(|n| tar_of(&[("a", &noise(n, 600))])).collect();
    let mut kept = Vec::new();
    for (age, stream) in (1..=4u64).rev().zip(&streams) {
        let (diff_id, _) = shelf.keep(stream, 512);
        let path = shelf
            .dir
            .path()
            .join("frames")
            .join(format!("{}.frames", diff_id.to_string().replace(':', "-")));
        let time = SystemTime::now() - std::time::Duration::from_secs(age * 1000);
        fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        shelf.store.trim().unwrap();
        kept.push(diff_id);
    }
    let is_there = |diff_id: &DiffId| shelf.store.reader(diff_id).unwrap().is_some();
    assert_eq!(kept.iter().map(is_there).collect::<Vec<_>>(), [false, false, true, true]);
    let store = FrameStore::open(&shelf.dir.path().join("frames"), FrameLimits::default().bytes(1));
    store.unwrap().trim().unwrap();
    assert_eq!(shelf.store.totals().unwrap(), (0, 0));
}

#[test]
fn a_sweep_removes_what_is_not_needed_or_damaged_and_nothing_else() {
    let shelf = Shelf::new(FrameLimits::default());
    let (one, _) = shelf.keep(&tar_of(&[("a", b"1")]), 512);
    let (two, _) = shelf.keep(&tar_of(&[("a", b"2")]), 512);
    let frames = shelf.dir.path().join("frames");
    fs::write(frames.join(format!("sha256-{}.frames", "00".repeat(32))), b"damaged").unwrap();
    fs::write(frames.join("notes.txt"), b"precious").unwrap();
    let removed = shelf.store.sweep(|diff_id, snapshot| {
        assert_eq!(snapshot, "chain");
        Ok(*diff_id == one)
    });
    assert_eq!(removed.unwrap(), 2);
    assert!(shelf.store.reader(&one).unwrap().is_some());
    assert!(shelf.store.reader(&two).unwrap().is_none());
    assert!(frames.join("notes.txt").exists());
}
