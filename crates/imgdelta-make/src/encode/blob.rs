//! A blob that is read from its beginning, with lookahead.
//! Never holds more than a few megabytes.
//!
//! Reading to the end compares the digest.

use imgdelta_core::{Error, Result, verify::BlobCheck};
use imgdelta_image::{image::Image, store::Descriptor};
use std::io::{ErrorKind, Read};

pub(super) struct BlobReader {
    reader: Box<dyn Read + Send>,
    check: Option<BlobCheck>,
    place: String,
    held: Vec<u8>,
    /// Index of the next byte in `held`.
    next: usize,
    position: u64,
}

impl BlobReader {
    pub(super) fn open(image: &Image, blob: &Descriptor) -> Result<Self> {
        let reader = image.store().open(blob)?;
        let check = BlobCheck::new(blob.digest, blob.size_bytes);
        let place = check.place();
        Ok(Self { reader, check: Some(check), place, held: Vec::new(), next: 0, position: 0 })
    }

    /// Returns the bytes that are read and not consumed yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.held[self.next..]
    }

    /// True if the blob ends with [`Self::ahead`].
    pub(super) fn is_all(&self) -> bool {
        self.check.is_none()
    }

    /// Returns the number of consumed bytes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.next += bytes;
        self.position += bytes as u64;
    }

    /// Reads until `bytes` bytes are ahead, or to the end, where the digest is compared.
    pub(super) fn fill(&mut self, bytes: usize) -> Result<()> {
        if self.ahead().len() >= bytes || self.is_all() {
            return Ok(());
        }
        self.held.drain(..self.next);
        self.next = 0;
        // Reads more than requested, so that small steps do not move the buffer each time.
        let wanted = bytes + bytes / 2 + READ_BYTES;
        while self.held.len() < wanted {
            let end = self.held.len();
            self.held.resize(wanted.min(end + READ_BYTES), 0);
            let count = match self.reader.read(&mut self.held[end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.held.truncate(end);
                    continue;
                }
                outcome => outcome.map_err(Error::io(&self.place))?,
            };
            self.held.truncate(end + count);
            let Some(check) = &mut self.check else { break };
            if count > 0 {
                check.update(&self.held[end..])?;
            } else if let Some(check) = self.check.take() {
                check.finish()?;
                break;
            }
        }
        Ok(())
    }

    /// True if the blob goes on with these bytes. Consumes the equal ones.
    pub(super) fn starts_with(&mut self, mut bytes: &[u8]) -> Result<bool> {
        while !bytes.is_empty() {
            self.fill(READ_BYTES.min(bytes.len()))?;
            let now = self.ahead().len().min(bytes.len());
            if now == 0 || self.ahead()[..now] != bytes[..now] {
                return Ok(false);
            }
            self.consume(now);
            bytes = &bytes[now..];
        }
        Ok(true)
    }

    /// Reads the rest; `None` if it is longer than `most_bytes`.
    pub(super) fn rest(mut self, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let mut rest = Vec::new();
        loop {
            self.fill(READ_BYTES)?;
            if self.ahead().is_empty() {
                return Ok(Some(rest));
            }
            rest.extend_from_slice(self.ahead());
            if rest.len() as u64 > most_bytes {
                return Ok(None);
            }
            self.consume(self.ahead().len());
        }
    }
}

const READ_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_image::{image::OpenOptions, store};
    use imgdelta_testkit::{Packing, TestImage, tar_of};
    use std::sync::Arc;

    fn image() -> (tempfile::TempDir, Image, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let long: Vec<u8> =
            (0..700_000_u32).map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()[0]).collect();
        let stream = tar_of(&[("long", &long)]);
        TestImage::new(vec![stream.clone()], Packing::Plain).blobs().write_layout(dir.path());
        let reference = format!("oci:{}", dir.path().display()).parse().unwrap();
        let (store, name) = store::open(&reference, &imgdelta_core::Limits::default()).unwrap();
        let image = Image::open(Arc::clone(&store), name.as_ref(), &OpenOptions::default());
        (dir, image.unwrap(), stream)
    }

    #[test]
    fn bytes_are_seen_ahead_compared_and_consumed() {
        let (_dir, image, stream) = image();
        let blob = || BlobReader::open(&image, &image.layers[0].descriptor).unwrap();
        let mut read = blob();
        read.fill(10).unwrap();
        assert!(!read.is_all() && read.ahead().len() >= 10);
        assert!(stream.starts_with(read.ahead()));
        assert!(read.starts_with(&stream[..300_000]).unwrap());
        assert_eq!(read.position(), 300_000);
        let mut wrong = stream[300_000..400_000].to_vec();
        wrong[99_999] ^= 1;
        assert!(!read.starts_with(&wrong).unwrap());
        let mut read = blob();
        read.consume(0);
        assert!(read.starts_with(&stream).unwrap());
        assert!(!read.starts_with(b"more").unwrap() && read.is_all());
        let half = stream.len() as u64 / 2;
        assert_eq!(blob().rest(u64::MAX).unwrap().unwrap(), stream);
        assert_eq!(blob().rest(half).unwrap(), None);
    }
}
