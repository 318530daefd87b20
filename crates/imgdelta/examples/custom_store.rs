//! A custom store: every blob passes through code of this program, which counts its bytes.
//!
//! `cargo run --example custom_store -- OLD NEW`
//!
//! A store for a service or a database implements the same four methods. It need not check digests,
//! since the reader of a blob compares size and digest.

use imgdelta::{
    Limits, Reference, Result, Session,
    store::{self, Descriptor, ImageName, Store},
};
use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Another store, and a counter of the bytes that are read from it.
#[derive(Debug)]
struct CountingStore {
    inner: Arc<dyn Store>,
    read_bytes: Arc<AtomicU64>,
}

impl Store for CountingStore {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn names(&self) -> Result<Vec<String>> {
        self.inner.names()
    }

    fn find(&self, name: Option<&ImageName>) -> Result<Vec<Descriptor>> {
        self.inner.find(name)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let (inner, read_bytes) = (self.inner.open(blob)?, Arc::clone(&self.read_bytes));
        Ok(Box::new(CountingReader { inner, read_bytes }))
    }
}

struct CountingReader {
    inner: Box<dyn Read + Send>,
    read_bytes: Arc<AtomicU64>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let references: Vec<String> = std::env::args().skip(1).collect();
    let [old, new] = &references[..] else { return Err("usage: custom_store OLD NEW".into()) };
    let read_bytes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read_bytes);
    // The session asks this function for the store of every reference.
    let open = move |reference: &Reference, limits: &Limits| {
        let (inner, name) = store::open(reference, limits)?;
        let read_bytes = Arc::clone(&counter);
        Ok((Arc::new(CountingStore { inner, read_bytes }) as Arc<dyn Store>, name))
    };
    let session = Session::new(std::env::temp_dir())?.stores(open);
    let diff = session.diff(&old.parse()?, &new.parse()?)?;
    println!("{} files differ", diff.files.len());
    println!("{} bytes were read", read_bytes.load(Relaxed));
    Ok(())
}
