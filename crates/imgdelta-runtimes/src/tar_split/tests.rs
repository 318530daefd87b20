use super::*;
use flate2::{Compression, write::GzEncoder};
use imgdelta_testkit::{noise, tar_of};
use std::{fs, io::Write, os::unix::fs::symlink};
use tempfile::TempDir;

/// A layer with its tar-split and a directory of files.
struct Layer {
    dir: TempDir,
}

impl Layer {
    /// Unpacks files, and writes the records of their archive.
    fn new(files: &[(&str, &[u8])]) -> (Self, Vec<u8>) {
        let layer = Self { dir: tempfile::tempdir().unwrap() };
        let stream = tar_of(files);
        let (mut lines, mut at) = (Vec::new(), 0);
        for (name, content) in files {
            let path = layer.files().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            lines.push(segment(&stream[at..at + 512]));
            lines.push(member(name, content));
            let end = at + 512 + content.len();
            at = at + 512 + content.len().next_multiple_of(512);
            lines.push(segment(&stream[end..at]));
        }
        lines.push(segment(&stream[at..]));
        layer.write(&lines.join("\n"));
        (layer, stream)
    }

    fn files(&self) -> std::path::PathBuf {
        self.dir.path().join("files")
    }

    fn write(&self, lines: &str) {
        let file = File::create(self.dir.path().join("split")).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(lines.as_bytes()).unwrap();
        encoder.finish().unwrap();
    }

    fn split(&self) -> TarSplit {
        TarSplit::new(File::open(self.dir.path().join("split")).unwrap(), "split".into())
    }

    /// Reads the stream in small pieces.
    fn assembled(&self) -> io::Result<Vec<u8>> {
        let mut stream = self.split().assemble(&self.files(), "layer x").unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 700]);
        loop {
            match stream.read(&mut piece)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn error(&self) -> String {
        self.assembled().unwrap_err().to_string()
    }
}

fn segment(bytes: &[u8]) -> String {
    format!("{{\"type\":2,\"payload\":\"{}\",\"position\":0}}", BASE64_STANDARD.encode(bytes))
}

fn member(name: &str, content: &[u8]) -> String {
    if content.is_empty() {
        return format!("{{\"type\":1,\"name\":{name:?},\"payload\":null}}");
    }
    let mut checksum = Crc64::new();
    checksum.update(content);
    let checksum = BASE64_STANDARD.encode(checksum.finish().to_be_bytes());
    format!("{{\"type\":1,\"name\":{name:?},\"size\":{},\"payload\":{checksum:?}}}", content.len())
}

#[test]
fn records_and_files_are_the_exact_stream() {
    let large = noise(1, 100_000);
    let (layer, stream) =
        Layer::new(&[("a", b"one"), ("d/empty", b""), ("d/large", &large), ("d/b", &[7; 512])]);
    assert!(layer.assembled().unwrap() == stream);
    assert_eq!(layer.split().stream_bytes().unwrap(), stream.len() as u64);
}

#[test]
fn names_are_paths_below_the_directory_whatever_their_spelling() {
    let (layer, _) = Layer::new(&[("d/a", b"one")]);
    let raw = BASE64_STANDARD.encode("d/a");
    for name in ["\"name\":\"./d/a\"", "\"name\":\"/d//a\"", &format!("\"name_raw\":\"{raw}\"")] {
        layer.write(&format!("{{\"type\":1,{name},\"size\":3,\"payload\":null}}"));
        assert_eq!(layer.assembled().unwrap(), b"one", "{name}");
    }
    fs::write(layer.dir.path().join("outside"), b"one").unwrap();
    layer.write("{\"type\":1,\"name\":\"../outside\",\"size\":3,\"payload\":null}");
    assert!(layer.error().contains("layer x, files in"), "{}", layer.error());
}

#[test]
fn a_file_that_changed_or_occurs_twice_is_named() {
    let (layer, _) = Layer::new(&[("d/a", b"content"), ("b", b"x")]);
    fs::write(layer.files().join("d/a"), b"CONTENT").unwrap();
    assert!(layer.error().contains("\"d/a\": its content is not the layer's"), "{}", layer.error());
    fs::write(layer.files().join("d/a"), b"longer content").unwrap();
    assert!(layer.error().contains("\"d/a\": a file of another length"), "{}", layer.error());
    fs::remove_file(layer.files().join("d/a")).unwrap();
    assert!(layer.error().contains("\"d/a\": No such file"), "{}", layer.error());
    symlink(layer.files().join("b"), layer.files().join("d/a")).unwrap();
    assert!(layer.error().contains("\"d/a\": "), "{}", layer.error());
    let (twice, _) = Layer::new(&[("a", b"one"), ("a", b"two")]);
    assert!(twice.error().contains("the layer has this path twice"), "{}", twice.error());
}

#[test]
fn damaged_records_are_errors_and_end() {
    let (layer, stream) = Layer::new(&[("a", b"one"), ("b", &noise(1, 2000))]);
    for (lines, expected) in [
        ("{\"type\":3}", "a record of kind 3"),
        ("[1]", "not records of tar-split"),
        ("{\"type\":2,\"payload\":\"!\"}", "not records of tar-split"),
        ("{\"type\":1,\"name\":\"a\",\"size\":-1}", "not records of tar-split"),
    ] {
        layer.write(lines);
        assert!(layer.error().contains(expected), "{}", layer.error());
    }
    let (layer, _) = Layer::new(&[("a", b"one"), ("b", &noise(1, 2000))]);
    let path = layer.dir.path().join("split");
    let split = fs::read(&path).unwrap();
    for at in 0..split.len() {
        let mut damaged = split.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        // Some bytes do not matter, such as the time in gzip's header, or a distance within zeros.
        assert!(layer.assembled().map_or(true, |bytes| bytes == stream), "changed at {at}");
        fs::write(&path, &split[..at]).unwrap();
        assert!(layer.assembled().map_or(true, |bytes| bytes != stream), "cut at {at}");
    }
}

#[test]
fn a_record_without_end_takes_bounded_memory() {
    let (layer, _) = Layer::new(&[("a", b"one")]);
    let bytes = usize::try_from(MOST_LINE_BYTES).unwrap();
    layer.write(&"x".repeat(bytes + 10));
    assert!(layer.error().contains("a record is too long"), "{}", layer.error());
}
