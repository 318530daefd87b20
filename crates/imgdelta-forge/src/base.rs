//! The base image of all forgeries: one layer of about a megabyte.

use imgdelta_testkit::{Blobs, Packing, TestImage, noise};
use std::sync::LazyLock;

/// Paths and lengths of the base's files, in their order.
pub const BASE_MEMBERS: [(&str, usize); 3] =
    [("usr/lib/large", 1_000_000), ("usr/share/zeros.gz", 0), ("usr/share/last", 700)];

/// Returns the stream of the base's layer.
///
/// Its first entry has a path of 200 kB, which takes an extension header. The gzip file holds a
/// mebibyte of zeros.
pub fn base_stream() -> &'static [u8] {
    // Forgeries ask for it thousands of times.
    static STREAM: LazyLock<Vec<u8>> = LazyLock::new(written);
    &STREAM
}

fn written() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "d/".repeat(100_000);
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content).expect("memory");
    };
    add(&long, b"");
    for (path, bytes) in BASE_MEMBERS {
        match bytes {
            0 => add(path, &imgdelta_testkit::gzip(&vec![0; 1 << 20])),
            _ => add(path, &noise(7, bytes)),
        }
    }
    builder.into_inner().expect("memory")
}

/// Returns the base image as the blobs of a layout, tagged `v1`.
pub fn base_image() -> Blobs {
    TestImage::new(vec![base_stream().to_vec()], Packing::Plain).blobs()
}
