//! Connections to the service: places for them, a reserve, and limits for their time.
//!
//! Clients that are slow, silent or many cannot keep a health check out: when all places are taken,
//! the latest connections are served from a reserve. Knows no path.

mod slow_writer;

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use slow_writer::WriteTimeout;
use std::{
    collections::VecDeque, convert::Infallible, error::Error as StdError, future::Future,
    sync::Arc, time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
};

/// The place that a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPlace {
    /// One of the common places.
    Common,
    /// The reserve, for one short request.
    Reserve,
}

/// Numbers of connections, and limits for their time.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Common places: 64. A registry and a monitor need a few.
    pub common: usize,
    /// Places of the reserve: 64. When all are taken, the oldest connection is closed.
    pub reserve: usize,
    /// Time for the head of a request: 20 seconds.
    pub request: Duration,
    /// Time for a client to take more of a response: 20 seconds.
    pub write: Duration,
    /// Time of a connection: two minutes. The registry connects again.
    pub connection: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            common: 64,
            reserve: 64,
            request: Duration::from_secs(20),
            write: Duration::from_secs(20),
            connection: Duration::from_secs(120),
        }
    }
}

/// Accepts connections for ever, and has `answer` answer their requests.
pub async fn accept<Answer, Answering, Content>(
    listener: TcpListener,
    limits: ConnectionLimits,
    answer: Answer,
) where
    Answer: Fn(Request<Incoming>, ConnectionPlace) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Response<Content>> + Send + 'static,
    Content: Body + Send + 'static,
    Content::Data: Send,
    Content::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(limits.common));
    let mut reserve: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answer = answer.clone();
        if let Ok(permit) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(async move {
                serve(connection, limits, ConnectionPlace::Common, answer).await;
                drop(permit);
            });
            continue;
        }
        reserve.retain(|connection| !connection.is_finished());
        // A flood fills any reserve; the latest connection always gets a place.
        if reserve.len() >= limits.reserve
            && let Some(oldest) = reserve.pop_front()
        {
            oldest.abort();
        }
        let served = tokio::spawn(serve(connection, limits, ConnectionPlace::Reserve, answer));
        reserve.push_back(served.abort_handle());
    }
}

/// Serves one connection until it ends or its time is over.
async fn serve<Answer, Answering, Content>(
    connection: TcpStream,
    limits: ConnectionLimits,
    place: ConnectionPlace,
    answer: Answer,
) where
    Answer: Fn(Request<Incoming>, ConnectionPlace) -> Answering,
    Answering: Future<Output = Response<Content>>,
    Content: Body + 'static,
    Content::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let answer = service_fn(|request| {
        let answering = answer(request, place);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(place == ConnectionPlace::Common)
        .serve_connection(TokioIo::new(WriteTimeout::new(connection, limits.write)), answer);
    // A client that closes early, and one whose time is over, is not a failure.
    drop(tokio::time::timeout(limits.connection, connection).await);
}

const MAX_HEADER_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::body::Bytes;
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream as Client},
    };

    /// Starts a server that answers with the place of the connection.
    async fn server(limits: ConnectionLimits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, limits, |_, place| async move {
            Response::new(Full::<Bytes>::from(format!("{place:?};").repeat(1000)))
        }));
        address
    }

    fn connect(address: SocketAddr, sent: &str) -> Client {
        let mut client = Client::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.write_all(sent.as_bytes()).unwrap();
        client
    }

    fn place(address: SocketAddr) -> String {
        let mut text = String::new();
        let mut client = connect(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.read_to_string(&mut text).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        body.split(';').next().unwrap().to_owned()
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(flavor = "multi_thread")]
    async fn silent_clients_leave_a_place_for_the_next_one() {
        let limits = ConnectionLimits {
            common: 3,
            reserve: 2,
            request: LONG,
            write: LONG,
            connection: LONG,
        };
        let address = server(limits).await;
        assert_eq!(place(address), "Common");
        // Any number of clients, each in the middle of a request, for ever.
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(connect(address, "GET / HTT"));
        }
        for _ in 0..5 {
            assert_eq!(place(address), "Reserve");
            silent.push(connect(address, "GET / HTT"));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_takes_no_response_loses_its_place() {
        let limits = ConnectionLimits {
            common: 1,
            reserve: 1,
            request: LONG,
            write: Duration::from_millis(50),
            connection: LONG,
        };
        let address = server(limits).await;
        let mut greedy = connect(address, "");
        // Requests until the connection ends, and no response is read.
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        greedy.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        while greedy.write_all(request.as_bytes()).is_ok() {}
        imgdelta_testkit::wait_until("the place is free", Duration::from_secs(60), || {
            place(address) == "Common"
        });
    }
}
