//! How registries are spoken to, with a reason for each number.

use crate::{Credentials, Retry, Trust};
use std::time::Duration;

/// How registries are spoken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Who one is. Nobody.
    pub credentials: Credentials,
    /// Which certificates count. The machine's authorities.
    pub trust: Trust,
    /// Whether to speak without TLS also to other machines. No: anybody between could read
    /// passwords. This machine is tried without in any case.
    pub plain_http: bool,
    /// When to ask again.
    pub retry: Retry,
    /// How long a silent connection is waited for: a minute.
    pub idle: Duration,
    /// Transfers of blobs at once: 8.
    pub parallel: usize,
    /// Bytes that are uploaded in one request: 32 MiB. After a cut no more is sent twice.
    pub chunk_bytes: u64,
    /// Bytes of a manifest or a list of referrers: 4 MiB, what registries take.
    pub manifest_bytes: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            trust: Trust::default(),
            plain_http: false,
            retry: Retry::default(),
            idle: Duration::from_mins(1),
            parallel: 8,
            chunk_bytes: 32 << 20,
            manifest_bytes: 4 << 20,
        }
    }
}

impl ClientOptions {
    /// Sets who one is.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets which certificates count.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Sets whether to speak without TLS also to other machines.
    pub fn plain_http(mut self, plain_http: bool) -> Self {
        self.plain_http = plain_http;
        self
    }

    /// Sets when to ask again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long a silent connection is waited for.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets how many bytes are uploaded in one request.
    pub fn chunk_bytes(mut self, bytes: u64) -> Self {
        self.chunk_bytes = bytes.max(1);
        self
    }
}
