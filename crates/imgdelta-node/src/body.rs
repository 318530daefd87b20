//! Bodies of the mirror's answers: bytes in memory, or pieces that arrive while they are sent.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// Bytes in memory; `None` once they are sent.
    Bytes(Option<Bytes>),
    /// Pieces of a body of known or unknown length.
    Pieces { pieces: mpsc::Receiver<io::Result<Bytes>>, left: Option<u64> },
}

impl AnswerBody {
    /// Makes a body of bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Makes a body of pieces. Sending a piece waits until the client has taken earlier ones.
    pub fn pieces(size: Option<u64>) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        (sender, Self::Pieces { pieces, left: size })
    }

    /// Makes a body of a range of a file, which is read while it is sent.
    pub fn file(mut file: File, start: u64, bytes: u64) -> Self {
        let (sender, body) = Self::pieces(Some(bytes));
        tokio::task::spawn_blocking(move || {
            let mut send = || -> io::Result<()> {
                file.seek(SeekFrom::Start(start))?;
                let mut left = bytes;
                while left > 0 {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                    let mut piece = vec![0; length];
                    file.read_exact(&mut piece)?;
                    left -= length as u64;
                    if sender.blocking_send(Ok(piece.into())).is_err() {
                        // The client is gone.
                        return Ok(());
                    }
                }
                Ok(())
            };
            if let Err(error) = send() {
                drop(sender.blocking_send(Err(error)));
            }
        });
        body
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces { pieces, left } => {
                let piece = ready!(pieces.poll_recv(context));
                if let (Some(Ok(piece)), Some(left)) = (&piece, left) {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Pieces { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Pieces { left: Some(left), .. } => SizeHint::with_exact(*left),
            Self::Pieces { left: None, .. } => SizeHint::default(),
        }
    }
}

/// Pieces that wait for a slow client.
const PIECES_AHEAD: usize = 2;
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_range_of_a_file_is_sent() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let body = AnswerBody::file(file.try_clone().unwrap(), 7, 900_000);
        assert_eq!(body.size_hint().exact(), Some(900_000));
        assert_eq!(body.collect().await.unwrap().to_bytes(), &bytes[7..900_007]);
        // A file that became shorter is an error, not a shorter body.
        file.set_len(10).unwrap();
        assert!(AnswerBody::file(file, 7, 900_000).collect().await.is_err());
    }
}
