//! Arbitrary bytes as the documents of an image: index, manifest and config.
//!
//! Split at the first NUL into two. The first is the root and may name the second as CONFIG with
//! SIZE, which are filled in, so that the fuzzer need not guess hashes.

#![no_main]

use imgdelta_core::{Algorithm, BlobDigest, Error, Result, verify::Hasher};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, Store},
};
use libfuzzer_sys::fuzz_target;
use std::{
    io::{Cursor, Read},
    sync::Arc,
};

/// The root first.
#[derive(Debug)]
struct Documents(Vec<(BlobDigest, Vec<u8>)>);

impl Store for Documents {
    fn place(&self) -> String {
        "fuzz".into()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn find(&self, _: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        let (digest, bytes) = &self.0[0];
        Ok(vec![Descriptor::new(None, *digest, bytes.len() as u64)])
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self.0.iter().find(|(digest, _)| *digest == blob.digest) {
            Some((_, bytes)) => Ok(Box::new(Cursor::new(bytes.clone()))),
            None => Err(Error::bad_input("fuzz", "no such blob")),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (root, config) = match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b"{}"[..]),
    };
    let digest = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish_blob()
    };
    let config_digest = digest(config);
    let root = String::from_utf8_lossy(root)
        .replace("CONFIG", &config_digest.to_string())
        .replace("SIZE", &config.len().to_string())
        .into_bytes();
    let store = Documents(vec![(digest(&root), root), (config_digest, config.to_vec())]);
    let _ = Image::open(Arc::new(store), None, &OpenOptions::default());
});
