//! Bodies of requests: none, bytes in memory, or a range of a file that is read while it is sent.
//!
//! A body can be sent again; reading starts from its beginning.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use imgdelta_image::store::source::ReadAt;
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Release},
    },
    task::{Context, Poll, ready},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// The body of a request.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// No body.
    None,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file.
    Range {
        /// The file.
        source: Arc<dyn ReadAt>,
        /// Start of the range.
        offset: u64,
        /// Length of the range.
        bytes: u64,
    },
}

impl RequestBody {
    /// Returns the number of bytes.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Range { bytes, .. } => *bytes,
        }
    }
}

/// A body on its way.
pub(super) struct SentBody {
    state: SentState,
    unsent_bytes: u64,
    /// Set after the last byte was handed over.
    is_sent: Arc<AtomicBool>,
}

enum SentState {
    /// Bytes that are handed over as one piece.
    Bytes(Bytes),
    /// A file, and the offset of the next piece.
    Range(Arc<dyn ReadAt>, u64),
    /// The next piece is being read, by a thread that may block.
    Reading(JoinHandle<io::Result<Bytes>>, Arc<dyn ReadAt>, u64),
}

impl SentBody {
    /// Starts a body. Returns with it a flag, which is set after the last byte was handed over.
    pub fn new(body: &RequestBody) -> (Self, Arc<AtomicBool>) {
        let state = match body {
            RequestBody::None => SentState::Bytes(Bytes::new()),
            RequestBody::Bytes(bytes) => SentState::Bytes(bytes.clone()),
            RequestBody::Range { source, offset, .. } => {
                SentState::Range(Arc::clone(source), *offset)
            }
        };
        let unsent_bytes = body.size_bytes();
        let is_sent = Arc::new(AtomicBool::new(unsent_bytes == 0));
        (Self { state, unsent_bytes, is_sent: Arc::clone(&is_sent) }, is_sent)
    }

    /// Returns the body of a request that has none.
    pub fn none() -> Self {
        Self::new(&RequestBody::None).0
    }

    fn hand_over(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, UploadSourceError>>> {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(piece.len() as u64);
        if self.unsent_bytes == 0 {
            self.is_sent.store(true, Release);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = UploadSourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadSourceError>>> {
        if self.unsent_bytes == 0 {
            return Poll::Ready(None);
        }
        loop {
            match &mut self.state {
                SentState::Bytes(bytes) => {
                    let bytes = std::mem::take(bytes);
                    return self.hand_over(bytes);
                }
                SentState::Range(source, offset) => {
                    let (source, offset) = (Arc::clone(source), *offset);
                    let length = usize::try_from(self.unsent_bytes).unwrap_or(usize::MAX);
                    let length = length.min(PIECE_BYTES);
                    let file = Arc::clone(&source);
                    let reading = spawn_blocking(move || {
                        let mut piece = vec![0; length];
                        file.fill_at(&mut piece, offset)?;
                        Ok(piece.into())
                    });
                    self.state = SentState::Reading(reading, source, offset + length as u64);
                }
                SentState::Reading(reading, source, next) => {
                    let read = ready!(Pin::new(reading).poll(context));
                    let state = SentState::Range(Arc::clone(source), *next);
                    return match read.map_err(io::Error::other).flatten() {
                        Ok(piece) => {
                            self.state = state;
                            self.hand_over(piece)
                        }
                        Err(error) => {
                            self.unsent_bytes = 0;
                            Poll::Ready(Some(Err(UploadSourceError(Arc::new(error)))))
                        }
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unsent_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.unsent_bytes)
    }
}

/// An error of the local file during an upload.
#[derive(Clone, Debug)]
pub(super) struct UploadSourceError(pub Arc<io::Error>);

impl fmt::Display for UploadSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UploadSourceError {}

const PIECE_BYTES: usize = 256 << 10;
