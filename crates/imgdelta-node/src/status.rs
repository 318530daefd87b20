//! The status of a running mirror, asked by another process.

use crate::metrics::Status;
use hyper::{HeaderMap, Method, StatusCode};
use imgdelta_core::{
    Error, Result,
    size::{Exact, Human},
};
use imgdelta_registry::{Client, ClientOptions, ForwardRequest};
use std::{fmt, net::SocketAddr};

/// Asks the mirror at an address for its status.
pub async fn status(address: SocketAddr) -> Result<Status> {
    let place = format!("mirror {address}");
    let client = Client::new(ClientOptions::default().plain_http(true));
    let request = ForwardRequest {
        host: &address.to_string(),
        method: Method::GET,
        path: "/status",
        headers: HeaderMap::new(),
    };
    let answer = client.forward(request).await.map_err(|error| {
        let what = "no answer: start `imgdelta node serve`, or name its configuration";
        Error::bad_input_because(&place, what, error)
    })?;
    if answer.status != StatusCode::OK {
        return Err(Error::bad_input(place, format_args!("it answers {}", answer.status)));
    }
    let text = answer.read(MAX_STATUS_BYTES).await?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::bad_input_because(place, "not the status of a mirror", error))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "held     {} answers wait for {} images", self.held, self.running)?;
        writeln!(
            f,
            "pulls    {} by delta, {} whole, {} failed and pulled whole",
            self.rebuilt, self.whole, self.failed
        )?;
        let saved = self.plain_bytes.saturating_sub(self.fetched_bytes);
        writeln!(
            f,
            "fetched  {}; without deltas {}; saved {}",
            Exact(self.fetched_bytes),
            Human(self.plain_bytes),
            Human(saved)
        )?;
        writeln!(f, "kept     {} of blobs to be served", Human(self.kept_bytes))?;
        let (completed, completing) = (self.completed, self.completing);
        writeln!(f, "blobs    added to {completed} images, awaited by {completing}")?;
        writeln!(f, "link     {} Mbit/s", self.bits_per_second / 1_000_000)
    }
}

const MAX_STATUS_BYTES: u64 = 64 << 10;
