//! Requests to registries: sent, authorised, repeated when that may help.
//!
//! One client serves any number of registries and transfers at once. It knows no manifests and no
//! blobs, and looks at no body but that of an error.

mod ask;
mod authorize;
mod options;

pub(crate) use ask::{Ask, Body, Target};
pub use options::ClientOptions;

use crate::{
    endpoint,
    failure::{Failure, Result, Why, is_about_trust, words},
    retry::retry_after,
    token::{Challenge, Token},
};
use bytes::Bytes;
use imgdelta_core::Error;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, RETRY_AFTER},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// A client of registries. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    permits: Arc<Semaphore>,
    /// Held while a list of referrers is read, changed and written.
    lists: tokio::sync::Mutex<()>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    requests: AtomicU64,
}

/// What is known of one registry.
struct Host {
    name: String,
    http: reqwest::Client,
    base: OnceCell<Url>,
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<String, Token>>,
    basics: Mutex<HashMap<String, Option<HeaderValue>>>,
}

/// What went over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of bodies that were received, what had to be received again included.
    pub received_bytes: u64,
    /// Bytes of bodies that were sent.
    pub sent_bytes: u64,
    /// Requests, repeated ones included, those for tokens too.
    pub requests: u64,
}

impl Client {
    /// Makes a client.
    pub fn new(options: ClientOptions) -> Self {
        let permits = Arc::new(Semaphore::new(options.parallel.max(1)));
        Self(Arc::new(Inner {
            options,
            hosts: Mutex::default(),
            permits,
            lists: tokio::sync::Mutex::default(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }))
    }

    /// Returns what went over the network so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received_bytes: self.0.received_bytes.load(Relaxed),
            sent_bytes: self.0.sent_bytes.load(Relaxed),
            requests: self.0.requests.load(Relaxed),
        }
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// Waits until no other task of this client changes a list of referrers.
    pub(crate) async fn alone_with_lists(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.lists.lock().await
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.0.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Waits until one transfer more may run.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.0.permits);
        permits.acquire_owned().await.expect("it is never closed")
    }

    fn host(&self, name: &str) -> imgdelta_core::Result<Arc<Host>> {
        let mut hosts = lock(&self.0.hosts);
        if let Some(host) = hosts.get(name) {
            return Ok(Arc::clone(host));
        }
        let options = &self.0.options;
        let plain_http = options.plain_http;
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            // What was asked for with TLS does not come without.
            if !endpoint::is_private(attempt.url(), plain_http) {
                return attempt.error("redirected to an address without TLS");
            }
            if attempt.previous().len() > MOST_REDIRECTS {
                return attempt.error("redirected too often");
            }
            attempt.follow()
        });
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(options.trust.config(name)?)
            .redirect(redirects)
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("imgdelta/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let place = format!("client for {name}");
                Error::bad_input(place, describe(error))
            })?;
        let host = Arc::new(Host {
            name: name.to_owned(),
            http,
            base: OnceCell::new(),
            challenge: Mutex::default(),
            tokens: Mutex::default(),
            basics: Mutex::default(),
        });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// Returns the address that a registry's paths are below.
    pub(crate) async fn base(&self, ask: &Ask<'_>) -> Result<Url> {
        let host = self.host(ask.host).map_err(|error| ask.wrong(error))?;
        let base = host.base.get_or_try_init(|| async {
            let address = endpoint::address(&host.name);
            let plain = Url::parse(&format!("http://{address}/v2/"));
            let wrong = |error| {
                let what = format!("{address:?} is no address");
                ask.wrong(Error::bad_input_because(&host.name, what, error))
            };
            let plain = plain.map_err(wrong)?;
            let is_plain = self.0.options.plain_http
                || (endpoint::is_loopback(address) && answers_plainly(&host.http, &plain).await);
            if is_plain {
                return Ok(plain);
            }
            Url::parse(&format!("https://{address}/v2/")).map_err(wrong)
        });
        base.await.cloned()
    }

    /// Sends a request and returns its answer, which has one of the expected states.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let failure = match self.send_once(ask).await {
                Err(failure) if failure.is_passing() && ask.may_repeat => failure,
                outcome => return outcome,
            };
            let asked = match &failure.why {
                Why::Unavailable { retry_after, .. } => *retry_after,
                _ => None,
            };
            // A name that is wrong stays wrong, as does a certificate.
            let attempts = match &failure.why {
                Why::Unreachable { what } if is_about_trust(what) => 1,
                Why::Unreachable { .. } => MOST_CONNECTS,
                _ => u32::MAX,
            };
            let wait = self.0.options.retry.wait(attempt, asked);
            let Some(wait) = wait.filter(|_| attempt < attempts) else { return Err(failure) };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn send_once(&self, ask: &Ask<'_>) -> Result<Response> {
        let host = self.host(ask.host).map_err(|error| ask.wrong(error))?;
        let base = self.base(ask).await?;
        let url = match &ask.target {
            Target::Path(path) => {
                // Paths are made of checked names; a query is the caller's to encode.
                base.join(path).map_err(|error| {
                    ask.wrong(Error::bad_input_because(&base, format!("no path {path:?}"), error))
                })?
            }
            Target::Url(url) => url.clone(),
        };
        if !endpoint::is_private(&url, self.0.options.plain_http) {
            let what = "the registry leads to an address without TLS";
            return Err(ask.wrong(Error::bad_input(ask.place(), what)));
        }
        // An address elsewhere that the registry gave us gets no secret of the registry's.
        let is_own = endpoint::is_same_server(&url, &base);
        let mut has_asked_anew = false;
        loop {
            let authorization = if is_own { self.authorization(&host, ask).await? } else { None };
            let mut request = host.http.request(ask.method.clone(), url.clone());
            for (name, value) in &ask.headers {
                request = request.header(*name, value);
            }
            if let Some(value) = authorization {
                request = request.header(AUTHORIZATION, value);
            }
            let body_bytes = ask.body.bytes();
            if matches!(ask.method, Method::POST | Method::PUT | Method::PATCH) {
                request = request.header(CONTENT_LENGTH, body_bytes);
            }
            request = ask.body.attach(request);
            self.0.requests.fetch_add(1, Relaxed);
            self.0.sent_bytes.fetch_add(body_bytes, Relaxed);
            // Who sends much may take longer, at the slowest rate that makes sense.
            let patience =
                self.0.options.idle + Duration::from_secs(body_bytes / SLOWEST_BYTES_PER_SECOND);
            let response = match tokio::time::timeout(patience, request.send()).await {
                Err(_) => return Err(ask.network(format!("no answer in {} s", patience.as_secs()))),
                Ok(Err(error)) if error.is_connect() => {
                    return Err(ask.failure(Why::Unreachable { what: describe(error) }));
                }
                // It would lead there again.
                Ok(Err(error)) if error.is_redirect() => {
                    return Err(ask.wrong(Error::bad_input(ask.place(), describe(error))));
                }
                Ok(Err(error)) => return Err(ask.network(describe(error))),
                Ok(Ok(response)) => response,
            };
            let status = response.status();
            if ask.expected.contains(&status.as_u16()) {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && is_own && !has_asked_anew {
                has_asked_anew = true;
                if host.learn(&response, &ask.scopes()) {
                    continue;
                }
            }
            return Err(self.refusal(ask, response).await);
        }
    }

    async fn refusal(&self, ask: &Ask<'_>, response: Response) -> Failure {
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry_after(value, SystemTime::now()));
        let body = self.body(ask, response, MOST_ERROR_BYTES).await.unwrap_or_default();
        let said = words(&body);
        let why = match status {
            404 => Why::NotFound { said },
            401 | 403 => Why::Denied { status, said },
            408 | 429 | 500 | 502..=504 => Why::Unavailable { status, said, retry_after },
            _ => Why::Refused { status, said },
        };
        ask.failure(why)
    }

    /// Reads a body that must fit in memory.
    pub(crate) async fn body(
        &self,
        ask: &Ask<'_>,
        mut response: Response,
        limit: u64,
    ) -> Result<Vec<u8>> {
        let over = |found| {
            let what = "number of bytes";
            ask.wrong(Error::OverLimit { place: ask.what(), what, name: None, found, limit })
        };
        if let Some(told) = response.content_length().filter(|told| *told > limit) {
            return Err(over(told));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(ask, &mut response).await? {
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(over(bytes.len() as u64 + piece.len() as u64));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Reads the next piece of a body.
    pub(crate) async fn piece(
        &self,
        ask: &Ask<'_>,
        response: &mut Response,
    ) -> Result<Option<Bytes>> {
        let idle = self.0.options.idle;
        match tokio::time::timeout(idle, response.chunk()).await {
            Err(_) => Err(ask.network(format!("nothing came for {} s", idle.as_secs()))),
            Ok(Err(error)) => Err(ask.network(describe(error))),
            Ok(Ok(piece)) => {
                self.count_received(piece.as_ref().map_or(0, Bytes::len));
                Ok(piece)
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// Whether a server on this machine speaks without TLS. Says no secret.
async fn answers_plainly(http: &reqwest::Client, url: &Url) -> bool {
    let asked = http.get(url.clone()).send();
    match tokio::time::timeout(CONNECT_TIMEOUT, asked).await {
        // What speaks TLS answers so, or not at all.
        Ok(Ok(response)) => response.status() != StatusCode::BAD_REQUEST,
        // Where nobody answers, the error should speak of that.
        Ok(Err(error)) => error.is_connect(),
        Err(_) => false,
    }
}

/// Says what went wrong with all its causes, without the address: that may hold a secret.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of connections that cannot be made; a registry that starts anew is back by then.
const MOST_CONNECTS: u32 = 3;
const MOST_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;
const MOST_ERROR_BYTES: u64 = 64 << 10;
