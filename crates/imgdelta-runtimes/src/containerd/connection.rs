//! A connection to containerd's socket: calls with namespace and lease, bounded in time and size.
//! Never knows a service.
//!
//! The connection is opened by the first call and opened again after containerd restarted.

use super::{ContainerdOptions, codec::MessageCodec};
use crate::threads::CallThreads;
use hyper_util::rt::TokioIo;
use imgdelta_core::{Error, Result, path::escaped};
use prost::Message;
use std::{
    future::Future,
    io::{self, ErrorKind},
    os::unix::net::UnixStream as StdUnixStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{net::UnixStream, time::timeout};
use tokio_stream::Stream;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// A connection with a namespace and perhaps a lease. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
    threads: CallThreads,
    place: Arc<str>,
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

/// Failure of one call.
#[derive(Debug)]
pub(super) struct CallError {
    method: &'static str,
    code: Code,
    message: String,
}

impl Connection {
    /// Opens the socket once, so that a mistake is reported now, and makes a connection.
    pub(super) fn open(options: &ContainerdOptions) -> Result<Self> {
        let ContainerdOptions { socket, socket_setting, namespace, .. } = options;
        let place = format!("containerd at {}", socket.display());
        let opened = StdUnixStream::connect(socket);
        opened.map_err(|error| unreachable_socket(&place, socket_setting, &error))?;
        let in_namespace = MetadataValue::try_from(&**namespace).ok();
        let Some(namespace_value) = in_namespace.filter(|_| is_identifier(namespace)) else {
            let namespace = escaped(namespace.as_bytes());
            let what = format_args!(
                "{namespace:?} is not a namespace: expected at most {MAX_NAMESPACE} letters, \
                 digits, `.`, `_` and `-`, such as k8s.io"
            );
            return Err(Error::bad_input(place, what));
        };
        let threads =
            CallThreads::start().map_err(Error::io("threads for calls to the runtime"))?;
        let socket: Arc<PathBuf> = Arc::new(socket.to_owned());
        let connector = tower::service_fn(move |_| {
            let socket = Arc::clone(&socket);
            async move { UnixStream::connect(&*socket).await.map(TokioIo::new) }
        });
        // Only the authority of the address is sent, and containerd ignores it.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(CONNECT_TIMEOUT);
        let channel = threads.enter(|| endpoint.connect_with_connector_lazy(connector));
        let place = format!("{place}, namespace {namespace}").into();
        Ok(Self { channel, threads, place, namespace: namespace_value, lease: None })
    }

    /// Returns a connection whose calls put what they create under a lease.
    pub(super) fn with_lease(&self, id: &str) -> Self {
        let lease = MetadataValue::try_from(id).expect("ids of leases are made of ASCII letters");
        Self { lease: Some(lease), ..self.clone() }
    }

    /// Returns the name of the socket and namespace in errors.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Runs calls and blocks this thread until they end.
    pub(super) fn wait<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        calls: impl FnOnce(Self) -> F,
    ) -> T {
        self.threads.wait(calls(self.clone()))
    }

    /// Runs calls as [`Connection::wait`] does, and turns their failure into an error.
    pub(super) fn call<T: Send + 'static, F>(&self, calls: impl FnOnce(Self) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, CallError>> + Send + 'static,
    {
        self.wait(calls).map_err(|error| self.error(error))
    }

    /// Sends one message and receives one.
    pub(super) async fn unary<Q, A>(
        &self,
        method: &'static str,
        request: Q,
        limit: Duration,
    ) -> std::result::Result<A, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let grpc = self.grpc();
        let request = self.request(request);
        let call =
            async { ready(grpc).await?.unary(request, path(method), MessageCodec::new()).await };
        let answer = within(method, limit, call).await?;
        Ok(answer.into_inner())
    }

    /// Sends one message and receives a stream.
    pub(super) async fn download<Q, A>(
        &self,
        method: &'static str,
        request: Q,
    ) -> std::result::Result<AnswerStream<A>, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let grpc = self.grpc();
        let request = self.request(request);
        let call = async {
            ready(grpc).await?.server_streaming(request, path(method), MessageCodec::new()).await
        };
        let stream = within(method, SHORT_CALL, call).await?.into_inner();
        Ok(AnswerStream { method, stream })
    }

    /// Sends a stream and receives one. `requests` must hold the first message already.
    pub(super) async fn duplex<Q, A>(
        &self,
        method: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> std::result::Result<AnswerStream<A>, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let grpc = self.grpc();
        let request = self.request(requests);
        let call = async {
            ready(grpc).await?.streaming(request, path(method), MessageCodec::new()).await
        };
        let stream = within(method, SHORT_CALL, call).await?.into_inner();
        Ok(AnswerStream { method, stream })
    }

    /// Makes an error of a failed call.
    pub(super) fn error(&self, error: CallError) -> Error {
        let CallError { method, code, message } = error;
        let kind = match code {
            Code::DeadlineExceeded => ErrorKind::TimedOut,
            Code::Unavailable => ErrorKind::NotConnected,
            Code::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        let advice = match code {
            Code::Unavailable => "; check that containerd runs and try again",
            Code::Unimplemented => "; containerd 1.6 or later is needed",
            _ => "",
        };
        let text = format!("{method}: {message}{advice}");
        Error::io(&self.place)(io::Error::new(kind, text))
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        request
    }
}

/// Answers that arrive one by one.
#[derive(Debug)]
pub(super) struct AnswerStream<A> {
    method: &'static str,
    stream: Streaming<A>,
}

impl<A> AnswerStream<A> {
    /// Returns the next answer; `None` at the end.
    pub(super) async fn next(
        &mut self,
        limit: Duration,
    ) -> std::result::Result<Option<A>, CallError> {
        within(self.method, limit, self.stream.message()).await
    }
}

impl CallError {
    /// Makes the failure of an answer that lacks something.
    pub(super) fn incomplete(method: &'static str, what: &str) -> Self {
        let message = format!("the answer lacks {what}");
        Self { method, code: Code::DataLoss, message }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }

    pub(super) fn is_already_there(&self) -> bool {
        self.code == Code::AlreadyExists
    }
}

/// Turns "not found" into `None`.
pub(super) fn if_there<T>(
    outcome: std::result::Result<T, CallError>,
) -> std::result::Result<Option<T>, CallError> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Waits until the connection takes a call.
async fn ready(mut grpc: Grpc<Channel>) -> std::result::Result<Grpc<Channel>, Status> {
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(grpc)
}

async fn within<T>(
    method: &'static str,
    limit: Duration,
    call: impl Future<Output = std::result::Result<T, Status>>,
) -> std::result::Result<T, CallError> {
    let Ok(outcome) = timeout(limit, call).await else {
        let message = format!("no answer within {} s", limit.as_secs());
        return Err(CallError { method, code: Code::DeadlineExceeded, message });
    };
    outcome.map_err(|status| {
        let message: String = status.message().chars().take(MOST_MESSAGE_CHARS).collect();
        let message = escaped(message.as_bytes()).into_owned();
        CallError { method, code: status.code(), message }
    })
}

fn path<P: std::str::FromStr<Err: std::fmt::Debug>>(method: &'static str) -> P {
    method.parse().expect("methods are constants and valid paths")
}

/// Makes the error for a socket that cannot be opened.
fn unreachable_socket(place: &str, setting: &str, error: &io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::NotFound => {
            format!("no such socket; start containerd, or set {setting} to its socket")
        }
        ErrorKind::ConnectionRefused => {
            format!("containerd does not run; start it, or set {setting} to the socket of another")
        }
        ErrorKind::PermissionDenied => "permission denied; run as root".to_owned(),
        _ => return Error::io(place)(io::Error::new(error.kind(), error.to_string())),
    };
    Error::io(place)(io::Error::new(error.kind(), advice))
}

/// True if a text may be a namespace: parts of letters and digits with single separators.
fn is_identifier(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric());
    text.len() <= MAX_NAMESPACE && text.split(['.', '_', '-']).all(is_part)
}

const MAX_NAMESPACE: usize = 76;

/// Lists of images are a few hundred bytes each; this admits some ten thousand.
const MOST_ANSWER_BYTES: usize = 16 << 20;
const MOST_MESSAGE_CHARS: usize = 500;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of a call that reads or writes a record. A loaded node with a slow disk needs seconds.
pub(super) const SHORT_CALL: Duration = Duration::from_secs(60);
/// Limit of a call that syncs or unpacks a layer: 10 GB at 10 MB/s take 17 minutes.
pub(super) const LONG_CALL: Duration = Duration::from_secs(1800);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_that_is_not_there_is_named_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c.sock");
        let options = ContainerdOptions::default().socket(&socket);
        let error = Connection::open(&options).unwrap_err().to_string();
        assert!(error.contains(&socket.display().to_string()), "{error}");
        assert!(error.ends_with("set CONTAINERD_ADDRESS to its socket"), "{error}");
        let configured = options.clone().socket_setting("[containerd] socket");
        let error = Connection::open(&configured).unwrap_err().to_string();
        assert!(error.ends_with("or set [containerd] socket to its socket"), "{error}");
        drop(UnixListener::bind(&socket).unwrap());
        let error = Connection::open(&options).unwrap_err().to_string();
        assert!(error.contains("containerd does not run; start it"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_a_namespace_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        for name in ["", "a b", "a/b", "a..b", "-a", "a\nb", &"x".repeat(77)] {
            let options = ContainerdOptions::default().socket(&socket).namespace(name);
            let error = Connection::open(&options).unwrap_err().to_string();
            assert!(error.contains("is not a namespace"), "{name}: {error}");
        }
        assert!(["default", "k8s.io", "moby", "a_b-c"].into_iter().all(is_identifier));
    }

    #[test]
    fn a_server_that_speaks_something_else_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let options = ContainerdOptions::default().socket(&socket);
        let connection = Connection::open(&options).unwrap();
        // Every connection is closed at once.
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                drop(stream);
            }
        });
        let answer = connection.wait(|connection| async move {
            let request = super::super::messages::Empty {};
            let method = "/containerd.services.version.v1.Version/Version";
            let answer = connection.unary(method, request, SHORT_CALL).await;
            answer.map(|_: super::super::messages::VersionResponse| ())
        });
        let error = connection.error(answer.unwrap_err()).to_string();
        assert!(error.contains("namespace default: /containerd.services.version"), "{error}");
        server.join().unwrap();
    }
}
