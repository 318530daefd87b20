//! Options of a client, with the reason for each default.
//!
//! Sends nothing.

use super::events::EventListener;
use imgdelta_credentials::{Credentials, Trust};
use imgdelta_http::Proxies;
use imgdelta_http::Retry;
use std::time::Duration;

/// Options of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Logins. None: requests are anonymous.
    pub credentials: Credentials,
    /// Certificates. The machine's authorities.
    pub trust: Trust,
    /// Proxies. None: a program decides about its user's variables ([`Proxies::of_user`]).
    pub proxies: Proxies,
    /// Uses plain HTTP for other machines, too. No: anybody on the way could read passwords. This
    /// machine is always tried without TLS first.
    pub plain_http: bool,
    /// Retries of failed requests.
    pub retry: Retry,
    /// Time in which the answer to the first attempt of a request that only reads must begin: 10
    /// seconds. The second attempt has twice as long, and so on.
    pub answer: Duration,
    /// Time after which a silent connection is given up during a transfer, and without an answer to a
    /// request that writes: one minute.
    pub idle: Duration,
    /// Time after which the listener hears that a registry is silent: 5 seconds, before a person
    /// begins to wonder.
    pub quiet: Duration,
    /// Listener for answers, silence and retries. None.
    pub events: EventListener,
    /// Time that a small document may take: 30 seconds, and a second for each 16 kB of it. Documents
    /// are manifests, configs, tokens, and lists.
    pub document_wait: Duration,
    /// Time over which a blob must have a kilobyte for each second: one minute.
    pub blob_window: Duration,
    /// Blobs that are transferred at the same time: 8.
    pub parallel: usize,
    /// Bytes of one upload request: 32 MiB. After a cut, no more is sent twice.
    pub chunk_bytes: u64,
    /// Bytes of a manifest or a list of referrers: 4 MiB, the limit of registries.
    pub manifest_bytes: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            trust: Trust::default(),
            proxies: Proxies::none(),
            plain_http: false,
            retry: Retry::default(),
            answer: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            quiet: Duration::from_secs(5),
            events: EventListener::default(),
            document_wait: Duration::from_secs(30),
            blob_window: Duration::from_secs(60),
            parallel: 8,
            chunk_bytes: 32 << 20,
            manifest_bytes: 4 << 20,
        }
    }
}

impl ClientOptions {
    /// Sets the logins.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the certificates.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Sets the proxies.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Allows plain HTTP for other machines, too.
    #[must_use]
    pub fn plain_http(mut self, plain_http: bool) -> Self {
        self.plain_http = plain_http;
        self
    }

    /// Sets the retries of failed requests.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the time in which the answer to the first attempt of a request that only reads must begin.
    #[must_use]
    pub fn answer(mut self, answer: Duration) -> Self {
        self.answer = answer;
        self
    }

    /// Sets the time after which a silent connection is given up.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the time after which the listener hears that a registry is silent.
    #[must_use]
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Sets the listener for answers, silence and retries.
    #[must_use]
    pub fn events(mut self, events: EventListener) -> Self {
        self.events = events;
        self
    }

    /// Sets the time that a small document may take.
    #[must_use]
    pub fn document_wait(mut self, wait: Duration) -> Self {
        self.document_wait = wait;
        self
    }

    /// Sets the time over which the rate of a blob is measured.
    #[must_use]
    pub fn blob_window(mut self, window: Duration) -> Self {
        self.blob_window = window;
        self
    }

    /// Sets the bytes of one upload request.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: u64) -> Self {
        self.chunk_bytes = bytes.max(1);
        self
    }
}
