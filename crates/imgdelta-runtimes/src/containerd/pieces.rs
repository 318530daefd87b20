//! Bytes of a blob on their way to the content store, in pieces of one size.
//! Never decides which blob is written.

use super::{
    connection::{CallError, Connection},
    content::{ContentWriter, MOST_PIECE_BYTES},
    leases,
};
use bytes::BytesMut;
use imgdelta_core::Result;
use imgdelta_image::store::Descriptor;
use std::{collections::HashMap, fmt};

/// A blob that is written in pieces. Writes nothing if the blob is in the store already.
#[derive(Debug)]
pub(super) struct BlobPieces {
    connection: Connection,
    content: Option<ContentWriter>,
    buffer: BytesMut,
}

impl BlobPieces {
    /// Opens a blob for writing, under the lease of the connection.
    pub(super) fn open(connection: Connection, blob: &Descriptor) -> Result<Self> {
        let name = format!("imgdelta-{}-{}", leases::unique(), blob.digest);
        let content = ContentWriter::open(&connection, name, blob.digest, blob.size_bytes);
        let content = content.map_err(|error| connection.error(error))?;
        Ok(Self { connection, content, buffer: BytesMut::new() })
    }

    /// Takes the next bytes; returns the number of bytes that were sent.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut sent_bytes = 0;
        while !bytes.is_empty() && self.content.is_some() {
            let count = bytes.len().min(MOST_PIECE_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.buffer.len() == MOST_PIECE_BYTES {
                sent_bytes += self.send()?;
            }
        }
        Ok(sent_bytes)
    }

    /// Makes the blob visible with labels, after containerd compared its digest; returns the number
    /// of bytes that were sent.
    pub(super) fn commit(mut self, labels: HashMap<String, String>) -> Result<u64> {
        let sent_bytes = self.send()?;
        if let Some(content) = self.content.take() {
            content.commit(labels).map_err(|error| self.connection.error(error))?;
        }
        Ok(sent_bytes)
    }

    fn send(&mut self) -> Result<u64> {
        let piece = self.buffer.split().freeze();
        let bytes = piece.len() as u64;
        let Some(content) = self.content.as_mut().filter(|_| bytes > 0) else { return Ok(0) };
        content.send(piece).map_err(|error: CallError| self.connection.error(error))?;
        Ok(bytes)
    }
}

/// Returns the label that says which stream a blob holds, as containerd's own unpacker sets it.
pub(super) fn stream_label(stream: &impl fmt::Display) -> (String, String) {
    (STREAM_LABEL.to_owned(), stream.to_string())
}

const STREAM_LABEL: &str = "containerd.io/uncompressed";
