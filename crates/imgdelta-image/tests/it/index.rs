//! Segments of an index are its stream; a stored index comes back; a damaged one is refused.

use imgdelta_core::{Algorithm, DiffId, Limits, path::LayerPath, verify::Hasher};
use imgdelta_image::index::{
    FileReader, IndexBuilder, LayerIndex,
    cache::{CacheLookup, IndexCache},
};
use imgdelta_testkit::{
    Crowd,
    tar_stream::{HeaderBlock, Tar, every_variant},
};
use proptest::prelude::*;
use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

fn diff_id(stream: &[u8]) -> DiffId {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(stream);
    hasher.finish_diff_id()
}

/// Returns the default limits with a change.
fn with(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Returns the index of a stream.
fn index(stream: &[u8]) -> LayerIndex {
    index_cut(stream, stream.len().max(1))
}

fn index_cut(stream: &[u8], chunk_bytes: usize) -> LayerIndex {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    stream.chunks(chunk_bytes).for_each(|chunk| builder.feed(chunk).unwrap());
    builder.finish(diff_id(stream)).unwrap()
}

fn joined(index: &LayerIndex, stream: &[u8]) -> Vec<u8> {
    let slice = |range: Range<u64>| {
        stream[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    };
    index.segments().flat_map(|segment| slice(segment.range())).collect()
}

#[test]
fn segments_are_the_stream() {
    let stream = every_variant();
    let whole = index(&stream);
    assert_eq!(joined(&whole, &stream), stream);
    assert_eq!(whole.segments().count(), 28 + 16 + 15 + 1);
    assert_eq!(whole, index_cut(&stream, 1));
    assert_eq!(whole, index_cut(&stream, 1000));
    let ends = Tar::new().zeros(2).file("late", b"x").zeros(2).0;
    assert_eq!(joined(&index(&ends), &ends), ends);
}

#[test]
fn equal_payloads_have_equal_digests_and_sparse_ones_their_own() {
    let index = index(&every_variant());
    let digest = |path: &[u8]| {
        let found = index.entries.iter().find(|entry| entry.path.as_bytes() == path);
        found.unwrap().digest.map(|digest| digest.0)
    };
    assert_eq!(digest(b"v7"), Some(*blake3::hash(b"v7").as_bytes()));
    assert_eq!(digest(b"a/prefix/name"), Some(*blake3::hash(b"").as_bytes()));
    assert_eq!(digest(b"sparse-0.0"), digest(b"sparse-0.1"));
    assert_ne!(digest(b"sparse-0.0"), Some(*blake3::hash(b"01234").as_bytes()));
    assert_eq!(digest(b"link-with-body"), Some(*blake3::hash(b"body").as_bytes()));
    assert_eq!((digest(b"bin"), digest(b"etc")), (None, None));
}

/// Files that a reader received, as (ordinal, path, content), and those that were too large.
#[derive(Default)]
struct ReceivedFiles {
    read: Vec<(u32, String, Vec<u8>)>,
    too_large: Vec<String>,
}

struct StatusReader(Arc<Mutex<ReceivedFiles>>);

impl FileReader for StatusReader {
    fn wants(&mut self, path: &LayerPath, _: u64) -> bool {
        path.name() == b"status"
    }

    fn read(&mut self, ordinal: u32, path: &LayerPath, payload: &[u8]) {
        self.0.lock().unwrap().read.push((ordinal, path.to_string(), payload.to_vec()));
    }

    fn too_large(&mut self, _: u32, path: &LayerPath, _: u64) {
        self.0.lock().unwrap().too_large.push(path.to_string());
    }

    fn finish(self: Box<Self>) -> Arc<[u8]> {
        Arc::from(*b"findings")
    }
}

#[test]
fn wanted_payloads_are_passed_whole_and_bounded() {
    let stream = Tar::new()
        .dir("lib")
        .file("lib/status", b"Package: x")
        .file("lib/other", b"no")
        .file("big/status", &[1; 101])
        .raw(&HeaderBlock::new(b'0', b"cut/status", 50).0)
        .raw(b"too short")
        .0;
    let seen = Arc::new(Mutex::new(ReceivedFiles::default()));
    let limits = with(|limits| limits.database_bytes = 100);
    let mut builder = IndexBuilder::new(&limits, Some(Box::new(StatusReader(Arc::clone(&seen)))));
    stream.chunks(7).for_each(|chunk| builder.feed(chunk).unwrap());
    let index = builder.finish(diff_id(&stream)).unwrap();
    assert_eq!(index.damage.unwrap().offset, 512 * 7);
    assert_eq!(&index.findings[..], b"findings");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.read, [(1, "/lib/status".to_owned(), b"Package: x".to_vec())]);
    assert_eq!(seen.too_large, ["/big/status"]);
}

#[test]
fn names_without_end_meet_their_limit() {
    let limits = with(|limits| limits.layer_text_bytes = 1000);
    let mut builder = IndexBuilder::new(&limits, None);
    let stream = Tar::new().long(b'L', &[b'x'; 1001]).file("x", b"").0;
    assert!(builder.feed(&stream).unwrap_err().to_string().contains("limit of 1000"));
}

#[test]
fn an_index_takes_at_most_150_bytes_for_an_entry() {
    for crowd in Crowd::ALL {
        let index = index(&crowd.layers(5000)[0]);
        let entries = &index.entries;
        // Deep paths and attributes are text, which has a limit of its own.
        let text_bytes = usize::try_from(entries.text_bytes()).unwrap();
        let bytes = entries.memory_bytes();
        assert!(bytes <= 136 * entries.len() + text_bytes, "{crowd:?}: {bytes} bytes");
        let is_short = !matches!(crowd, Crowd::OpaqueDepths | Crowd::Attributes);
        assert!(!is_short || bytes <= 150 * entries.len(), "{crowd:?}: {bytes} bytes");
    }
}

#[test]
fn names_of_owners_are_shortened_before_they_are_copied() {
    let index = index(&Crowd::GlobalUser.layers(1000)[0]);
    assert!(index.entries.text_bytes() < 20_000, "{}", index.entries.text_bytes());
    let user = &index.entries.at(7).owner.user;
    assert!(user.starts_with(b"uuuu") && user.len() < 256, "{} bytes", user.len());
}

fn stored() -> (LayerIndex, Vec<u8>) {
    let stream = [every_variant(), vec![1; 512]].concat();
    let mut index = index(&stream);
    index.findings = Arc::from(*b"opaque findings");
    let bytes = index.to_bytes().unwrap();
    (index, bytes)
}

#[test]
fn a_stored_index_comes_back() {
    let read = |bytes: &[u8]| LayerIndex::from_bytes(bytes, &Limits::default());
    let (whole, bytes) = stored();
    assert_eq!(read(&bytes).unwrap(), whole);
    let damaged = index(&Tar::new().file("a", b"").raw(b"junk").pad(1).0);
    assert!(damaged.damage.is_some());
    assert_eq!(read(&damaged.to_bytes().unwrap()).unwrap(), damaged);
}

#[test]
fn an_index_with_any_damaged_byte_is_refused() {
    let (_, bytes) = stored();
    let refused = |bytes: &[u8]| LayerIndex::from_bytes(bytes, &Limits::default()).is_err();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(refused(&flipped), "byte {at} flipped");
        assert!(refused(&bytes[..at]), "cut at {at}");
    }
    assert!(refused(&[&bytes[..], b"\0"].concat()));
    let few = with(|limits| limits.layer_entries = 3);
    assert!(LayerIndex::from_bytes(&bytes, &few).is_err());
}

#[test]
fn a_cache_returns_only_indexes_saved_for_the_layer() {
    let directory = tempfile::tempdir().unwrap();
    let cache = IndexCache::new(directory.path().join("a/b"), &Limits::default());
    let (index, bytes) = stored();
    let other = diff_id(b"other");
    assert!(matches!(cache.load(&index.diff_id), CacheLookup::Absent));
    let folder = directory.path().join("a/b");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".imgdelta-index-abcDEF012345"), b"of a run that was killed")
        .unwrap();
    cache.save(&index).unwrap();
    cache.save(&index).unwrap();
    assert_eq!(cache.load(&index.diff_id).found().unwrap(), index);

    let files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let foreign = folder.join(format!("sha256-{}.index", other.hex()));
    std::fs::copy(file, &foreign).unwrap();
    let why = |diff_id: &DiffId| match cache.load(diff_id) {
        CacheLookup::Unusable(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why(&other).contains("diff id"));
    std::fs::remove_file(&foreign).unwrap();
    std::fs::create_dir(&foreign).unwrap();
    assert!(why(&other).contains("not a regular file"));

    std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(why(&index.diff_id).contains("not usable"));
    cache.save(&index).unwrap();
    assert_eq!(cache.load(&index.diff_id).found().unwrap(), index);
}

proptest! {
    #[test]
    fn any_bytes_are_segments_of_themselves(
        from in 0usize..60,
        junk in prop::collection::vec(any::<u8>(), 0..2000),
        blocks in 0usize..80,
    ) {
        let stream = every_variant();
        let cut = |at: usize| (at * 512).min(stream.len());
        let stream = [&stream[cut(from)..cut(from + blocks)], &junk].concat();
        let index = index(&stream);
        prop_assert_eq!(joined(&index, &stream), stream);
        let bytes = index.to_bytes().unwrap();
        prop_assert_eq!(LayerIndex::from_bytes(&bytes, &Limits::default()).unwrap(), index);
    }
}
