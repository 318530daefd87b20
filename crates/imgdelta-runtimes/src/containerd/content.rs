//! The service of content: blobs by digest.
//! Never decides which blobs are wanted.

use super::{
    connection::{AnswerStream, CallError, Connection, LONG_CALL, SHORT_CALL, if_there},
    messages::{
        AbortRequest, ContentInfo, ContentInfoRequest, ContentInfoResponse, Empty, FilterRequest,
        PluginsResponse, ReadContentRequest, ReadContentResponse, WriteAction, WriteContentRequest,
        WriteContentResponse,
    },
};
use bytes::Bytes;
use imgdelta_core::BlobDigest;
use std::{
    collections::HashMap,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

/// Returns the size of a blob in the namespace; `None` if it is not there.
pub(super) async fn size(
    connection: Connection,
    digest: BlobDigest,
) -> Result<Option<u64>, CallError> {
    let info = info(connection, digest).await?;
    Ok(info.and_then(|info| u64::try_from(info.size).ok()))
}

/// Returns the blobs and snapshots that a blob keeps from garbage collection, by its labels; `None` if
/// the blob is not there.
pub(super) async fn references(
    connection: Connection,
    digest: BlobDigest,
) -> Result<Option<Vec<String>>, CallError> {
    let Some(info) = info(connection, digest).await? else { return Ok(None) };
    let labels = info.labels.into_iter();
    let references = labels.filter(|(name, _)| name.starts_with(REFERENCE_LABEL));
    Ok(Some(references.map(|(_, value)| value).collect()))
}

async fn info(
    connection: Connection,
    digest: BlobDigest,
) -> Result<Option<ContentInfo>, CallError> {
    let method = "/containerd.services.content.v1.Content/Info";
    let request = ContentInfoRequest { digest: digest.to_string() };
    let answer = connection.unary(method, request, SHORT_CALL).await;
    let answer: Option<ContentInfoResponse> = if_there(answer)?;
    Ok(answer.and_then(|answer| answer.info))
}

/// Returns the directory of the content store, as containerd names it.
pub(super) async fn directory(connection: Connection) -> Result<Option<PathBuf>, CallError> {
    let method = "/containerd.services.introspection.v1.Introspection/Plugins";
    let request = FilterRequest { filters: vec![format!("type=={CONTENT_PLUGIN}")] };
    let answer: PluginsResponse = connection.unary(method, request, SHORT_CALL).await?;
    let plugin = answer.plugins.into_iter().find(|plugin| plugin.kind == CONTENT_PLUGIN);
    let root = plugin.and_then(|mut plugin| plugin.exports.remove("root"));
    Ok(root.map(PathBuf::from).filter(|root| root.is_absolute()))
}

/// A blob that is read through calls.
#[derive(Debug)]
pub(super) struct ContentReader {
    connection: Connection,
    answers: Option<AnswerStream<ReadContentResponse>>,
    piece: Bytes,
}

impl ContentReader {
    /// Opens a blob at its first byte.
    pub(super) fn open(connection: &Connection, digest: &BlobDigest) -> Result<Self, CallError> {
        let request = ReadContentRequest { digest: digest.to_string(), offset: 0, size: 0 };
        let answers = connection.wait(|connection| async move {
            let method = "/containerd.services.content.v1.Content/Read";
            connection.download(method, request).await
        })?;
        Ok(Self { connection: connection.clone(), answers: Some(answers), piece: Bytes::new() })
    }

    /// Waits for the next bytes; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(mut answers) = self.answers.take() else { return Ok(false) };
        let (answer, answers) = self.connection.wait(|_| async move {
            let answer = answers.next(SHORT_CALL).await;
            (answer, answers)
        });
        let answer = answer.map_err(|error| io::Error::other(self.connection.error(error)))?;
        let Some(answer) = answer else { return Ok(false) };
        self.answers = Some(answers);
        self.piece = answer.data;
        Ok(true)
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A blob on its way into the content store.
///
/// One piece is on its way while the caller makes the next one. A writer that is dropped before its
/// blob was committed removes what it wrote.
#[derive(Debug)]
pub(super) struct ContentWriter {
    connection: Connection,
    name: String,
    digest: BlobDigest,
    size_bytes: u64,
    offset: u64,
    sender: mpsc::Sender<WriteContentRequest>,
    /// `None` while an answer is awaited, and after a failure.
    answers: Option<AnswerStream<WriteContentResponse>>,
    unanswered: usize,
    is_committed: bool,
}

impl ContentWriter {
    /// Opens a blob for writing under a name that nothing else uses. Returns `None` if the blob is
    /// in the store already; it is then under the connection's lease.
    pub(super) fn open(
        connection: &Connection,
        name: String,
        digest: BlobDigest,
        size_bytes: u64,
    ) -> Result<Option<Self>, CallError> {
        let (sender, receiver) = mpsc::channel(1);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: name.clone(),
            total: length(size_bytes),
            expected: digest.to_string(),
            ..WriteContentRequest::default()
        };
        let first_sender = sender.clone();
        let opened = connection.wait(|connection| async move {
            // The queue has room for one.
            let _ = first_sender.send(first).await;
            let requests = ReceiverStream::new(receiver);
            let mut answers: AnswerStream<WriteContentResponse> =
                connection.duplex(WRITE, requests).await?;
            answers.next(SHORT_CALL).await?;
            Ok(answers)
        });
        let answers = match opened {
            Err(error) if CallError::is_already_there(&error) => return Ok(None),
            opened => opened?,
        };
        Ok(Some(Self {
            connection: connection.clone(),
            name,
            digest,
            size_bytes,
            offset: 0,
            sender,
            answers: Some(answers),
            unanswered: 0,
            is_committed: false,
        }))
    }

    /// Sends a piece of at most [`MOST_PIECE_BYTES`] after the piece before was answered.
    pub(super) fn send(&mut self, data: Bytes) -> Result<(), CallError> {
        let bytes = data.len() as u64;
        let request = WriteContentRequest {
            action: WriteAction::Write.into(),
            offset: length(self.offset),
            data,
            ..WriteContentRequest::default()
        };
        self.exchange(request, 1)?;
        self.offset += bytes;
        Ok(())
    }

    /// Makes the blob visible if it has the promised digest and size, which containerd compares.
    pub(super) fn commit(mut self, labels: HashMap<String, String>) -> Result<(), CallError> {
        let request = WriteContentRequest {
            action: WriteAction::Commit.into(),
            total: length(self.size_bytes),
            expected: self.digest.to_string(),
            offset: length(self.offset),
            labels,
            ..WriteContentRequest::default()
        };
        match self.exchange(request, 0) {
            // Another writer was faster.
            Err(error) if error.is_already_there() => {}
            outcome => {
                outcome?;
                self.is_committed = true;
            }
        }
        Ok(())
    }

    /// Sends a request, and waits until at most `unanswered` requests have no answer.
    fn exchange(
        &mut self,
        request: WriteContentRequest,
        unanswered: usize,
    ) -> Result<(), CallError> {
        let lost = || CallError::incomplete(WRITE, "the end of the blob");
        let mut answers = self.answers.take().ok_or_else(lost)?;
        let (sender, mut waiting) = (self.sender.clone(), self.unanswered);
        let (outcome, answers, waiting) = self.connection.wait(|_| async move {
            let exchange = async {
                // A closed queue means that the call ended: the answer says why.
                let _ = sender.send(request).await;
                waiting += 1;
                while waiting > unanswered {
                    answers.next(LONG_CALL).await?.ok_or_else(lost)?;
                    waiting -= 1;
                }
                Ok(())
            };
            let outcome = exchange.await;
            (outcome, answers, waiting)
        });
        outcome?;
        (self.answers, self.unanswered) = (Some(answers), waiting);
        Ok(())
    }
}

impl Drop for ContentWriter {
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        let (never, _) = mpsc::channel(1);
        let sender = std::mem::replace(&mut self.sender, never);
        let (name, answers) = (std::mem::take(&mut self.name), self.answers.take());
        // The expiry of the lease covers a failure.
        self.connection.wait(|connection| async move {
            drop(sender);
            if let Some(answers) = answers {
                wait_for_the_end(answers).await;
            }
            abort(&connection, &name).await;
        });
    }
}

/// Waits until containerd has ended a write whose requests have ended. Until then it creates files next
/// to the bytes, and fails to remove their directory; on a busy disk that takes seconds.
async fn wait_for_the_end(mut answers: AnswerStream<WriteContentResponse>) {
    let end = async { while let Ok(Some(_)) = answers.next(SHORT_CALL).await {} };
    // A containerd that does not answer at all does not remove anything either.
    let _ = timeout(MOST_CLOSING_TIME, end).await;
}

/// Removes an unfinished blob. A write that containerd has not ended yet makes it fail, so a failure
/// is tried again.
async fn abort(connection: &Connection, name: &str) {
    let method = "/containerd.services.content.v1.Content/Abort";
    for pause in ABORT_PAUSES_MS {
        let request = AbortRequest { r#ref: name.to_owned() };
        match if_there(connection.unary(method, request, SHORT_CALL).await) {
            Ok(None | Some(Empty {})) => return,
            Err(_) => sleep(Duration::from_millis(pause)).await,
        }
    }
}

/// Returns a size as protobuf spells it; sizes of descriptors are at most a pebibyte.
fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

const MOST_CLOSING_TIME: Duration = Duration::from_secs(20);
const ABORT_PAUSES_MS: [u64; 5] = [20, 50, 100, 500, 1000];
/// Most bytes of one message; containerd accepts 16 MiB.
pub(super) const MOST_PIECE_BYTES: usize = 1 << 20;
/// Start of the labels that keep blobs and snapshots.
const REFERENCE_LABEL: &str = "containerd.io/gc.ref.";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
const CONTENT_PLUGIN: &str = "io.containerd.content.v1";
