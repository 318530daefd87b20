//! Byte streams to a server: TCP, TLS over it, and TLS over a proxy's tunnel.
//!
//! Sends nothing.

use super::pool::RequestSender;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to a server.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Starts HTTP on a stream. A task moves bytes until the connection ends.
pub(super) async fn start_http(stream: Box<dyn ByteStream>) -> hyper::Result<RequestSender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn(connection);
    Ok(sender)
}

/// Starts HTTP on a stream that becomes a tunnel.
pub(super) async fn start_tunnel(stream: Box<dyn ByteStream>) -> hyper::Result<RequestSender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn(connection.with_upgrades());
    Ok(sender)
}

fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    // An error reaches the request that waits, or nobody.
    tokio::spawn(async move { drop(connection.await) });
}
