//! HTTP requests to registries: authorization, retries, traffic counts.
//!
//! One client serves any number of registries and transfers. It knows neither manifests nor blobs,
//! and reads no body except that of an error.

mod authorize;
mod events;
mod forward;
mod host;
mod options;
mod request;

pub use events::{ClientEvent, EventListener};
pub use forward::{ForwardRequest, ForwardedAnswer};
pub use options::ClientOptions;
pub(crate) use request::{Request, RequestTarget};

use crate::rate::{TransferRate, Transfers};
use crate::{
    error::{RequestError, RequestErrorKind, Result, is_about_certificates, registry_message},
    token::Actions,
};
use authorize::{Authorization, Login};
use bytes::Bytes;
use host::{HostState, lock};
use hyper::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER},
};
use imgdelta_core::Error;
use imgdelta_http::{
    HttpRequest, Response, Url,
    pace::{DocumentPace, SlowTransfer},
    retry_after, send_and_follow,
};
use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An HTTP client for registries. Clones share connections, tokens and counts.
#[derive(Clone)]
pub struct Client {
    state: Arc<ClientState>,
    /// Authorization of somebody else's request, in place of a login of its own.
    forwarded: Option<HeaderValue>,
}

struct ClientState {
    options: ClientOptions,
    hosts: Mutex<HashMap<String, Arc<HostState>>>,
    permits: Arc<Semaphore>,
    /// Held while a list of referrers is read, changed and written.
    lists: tokio::sync::Mutex<()>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    requests: AtomicU64,
    transfers: TransferRate,
}

/// Network traffic of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of received bodies, retries included.
    pub received_bytes: u64,
    /// Bytes of sent bodies, retries included.
    pub sent_bytes: u64,
    /// Requests, with retries and those for tokens.
    pub requests: u64,
}

impl Client {
    /// Makes a client. Sends nothing.
    pub fn new(options: ClientOptions) -> Self {
        let permits = Arc::new(Semaphore::new(options.parallel.max(1)));
        let state = ClientState {
            options,
            hosts: Mutex::default(),
            permits,
            lists: tokio::sync::Mutex::default(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            transfers: TransferRate::default(),
        };
        Self { state: Arc::new(state), forwarded: None }
    }

    /// Returns a client that sends this header with its requests to the registry, and uses no login
    /// of its own. It shares connections and counts with this client, and no token.
    ///
    /// A node does so with the credentials of a runtime's request.
    #[must_use]
    pub fn with_authorization(&self, header: Option<HeaderValue>) -> Self {
        let forwarded = header.map(|mut header| {
            header.set_sensitive(true);
            header
        });
        Self { state: Arc::clone(&self.state), forwarded }
    }

    /// Returns the traffic so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received_bytes: self.state.received_bytes.load(Relaxed),
            sent_bytes: self.state.sent_bytes.load(Relaxed),
            requests: self.state.requests.load(Relaxed),
        }
    }

    /// Returns the bytes of all transfers, and the time in which at least one of them waited for the
    /// network.
    pub fn transfers(&self) -> Transfers {
        self.state.transfers.sum()
    }

    /// Returns the rate of all transfers together, once enough bytes have arrived.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.state.transfers.bytes_per_second()
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.state.options
    }

    /// Waits until no other task of this client changes a list of referrers.
    pub(crate) async fn lock_lists(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.state.lists.lock().await
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.state.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Waits until another transfer may run.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.state.permits);
        permits.acquire_owned().await.expect("the semaphore is never closed")
    }

    fn host(&self, name: &str) -> imgdelta_core::Result<Arc<HostState>> {
        let mut hosts = lock(&self.state.hosts);
        if let Some(host) = hosts.get(name) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(HostState::new(name, &self.state.options)?);
        hosts.insert(name.to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// Returns the address of a registry's `/v2/`.
    pub(crate) async fn base(&self, request: &Request<'_>) -> Result<Url> {
        let host = self.host(request.host).map_err(|error| request.invalid(error))?;
        host.base(self.state.options.plain_http).await.map_err(|error| request.invalid(error))
    }

    /// Returns true if a registry is known not to list referrers.
    pub(crate) fn lacks_referrers(&self, host: &str) -> bool {
        lock(&self.state.hosts).get(host).is_some_and(|host| host.lacks_referrers())
    }

    pub(crate) fn note_referrers(&self, host: &str, is_list: bool, is_document: bool) {
        if let Some(host) = lock(&self.state.hosts).get(host) {
            host.note_referrers(is_list, is_document);
        }
    }

    /// Probes a registry once. An answer without a login counts, too.
    pub async fn ping(&self, host: &str) -> Result<()> {
        let target = RequestTarget::Path(String::new());
        let object = "a probe".to_owned();
        let mut request = Request::new(host, "", Method::GET, target, Actions::Pull, object);
        request.expected = &[200, 401, 403, 404];
        request.may_retry = false;
        self.send(&request).await?;
        Ok(())
    }

    /// Sends a request and returns a response with one of the expected statuses.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let error = match self.send_watched(request, attempt).await {
                Err(error) if error.is_transient() && request.may_retry => error,
                outcome => return outcome,
            };
            let requested = match &error.kind {
                RequestErrorKind::Unavailable { retry_after, .. } => *retry_after,
                _ => None,
            };
            let attempts = self.attempts(request.host, &error);
            let wait = self.state.options.retry.wait(attempt, requested);
            let Some(wait) = wait.filter(|_| attempt < attempts) else { return Err(error) };
            attempt += 1;
            self.report_and_wait(&error, wait, [attempt, attempts]).await;
        }
    }

    /// Returns the most attempts for a request with this failure.
    fn attempts(&self, host: &str, error: &RequestError) -> u32 {
        let retry = &self.state.options.retry;
        let most = match &error.kind {
            // A wrong name stays wrong, as does a certificate. A registry that answered before comes
            // back.
            RequestErrorKind::Unreachable { message } if is_about_certificates(message) => 1,
            RequestErrorKind::Unreachable { .. } if !self.has_answered(host) => MAX_CONNECTS,
            RequestErrorKind::Silent { .. } => retry.silent_attempts,
            _ => u32::MAX,
        };
        most.min(retry.attempts)
    }

    /// Reports a failure, and waits before the attempt of this number.
    pub(crate) async fn wait_to_retry(&self, error: &RequestError, wait: Duration, attempt: u32) {
        self.report_and_wait(error, wait, [attempt, self.state.options.retry.attempts]).await;
    }

    async fn report_and_wait(&self, error: &RequestError, wait: Duration, attempts: [u32; 2]) {
        self.state.options.events.retrying(error, wait, attempts);
        tokio::time::sleep(wait).await;
    }

    /// Sends a request once, and reports that the registry is silent.
    async fn send_watched(&self, request: &Request<'_>, attempt: u32) -> Result<Response> {
        let ClientOptions { quiet, events, .. } = &self.state.options;
        let mut sending = pin!(self.send_once(request, attempt));
        // A large body takes its time.
        let is_small = request.body.size_bytes() <= MAX_ERROR_BYTES;
        let outcome = match tokio::time::timeout(*quiet, &mut sending).await {
            Ok(outcome) => outcome,
            Err(_) if !is_small => sending.await,
            Err(_) => {
                events.silent(request, *quiet);
                sending.await
            }
        };
        if let Ok(response) = &outcome {
            events.answered(request, response.status().as_u16());
        }
        outcome
    }

    fn has_answered(&self, host: &str) -> bool {
        lock(&self.state.hosts).get(host).is_some_and(|host| host.has_answered.load(Relaxed))
    }

    async fn send_once(&self, request: &Request<'_>, attempt: u32) -> Result<Response> {
        let host = self.host(request.host).map_err(|error| request.invalid(error))?;
        host.until_wanted().await;
        let base = self.base(request).await?;
        let url = match &request.target {
            RequestTarget::Path(path) => {
                // Paths consist of names whose types have checked them, and of encoded queries.
                base.join(path).map_err(|error| {
                    let what = format!("{path:?} is not a valid path");
                    request.invalid(Error::bad_input_because(base.origin(), what, error))
                })?
            }
            RequestTarget::Url(url) => url.clone(),
        };
        // Another server gets no secret of the registry.
        let is_registry = url.is_same_server(&base);
        if !is_registry {
            host.reach.admit(&url).map_err(|refusal| {
                request.invalid(Error::bad_input(request.object_place(), refusal))
            })?;
        }
        let patience = self.patience(request, attempt);
        let mut has_accepted_challenge = false;
        loop {
            let authorization = if is_registry {
                self.authorization(&host, request, patience).await?
            } else {
                Authorization::NONE
            };
            let mut sent = HttpRequest::new(request.method.clone(), url.clone());
            for (name, value) in &request.headers {
                let value = HeaderValue::try_from(value).map_err(|error| {
                    let what = format!("the header {name} cannot have this value");
                    request.invalid(Error::bad_input_because(request.object_place(), what, error))
                })?;
                sent.headers.insert(HeaderName::from_static(name), value);
            }
            if let Some(value) = authorization.header {
                sent.headers.insert(AUTHORIZATION, value);
            }
            sent.body = request.body.clone();
            let response = self.exchange(&host, request, sent, patience).await?;
            let status = response.status();
            if request.expected.contains(&status.as_u16()) {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED
                && is_registry
                && self.forwarded.is_none()
                && !has_accepted_challenge
            {
                has_accepted_challenge = true;
                if host.accept_challenge(&response, &request.scopes()) {
                    continue;
                }
            }
            return Err(self.refusal(request, response, authorization.login).await);
        }
    }

    /// Returns the time in which the answer to an attempt must begin.
    fn patience(&self, request: &Request<'_>, attempt: u32) -> Duration {
        let ClientOptions { answer, idle, .. } = self.state.options;
        if matches!(request.method, Method::GET | Method::HEAD) {
            return answer.saturating_mul(attempt).min(idle);
        }
        // A large body takes longer, at the slowest rate that makes sense.
        idle + Duration::from_secs(request.body.size_bytes() / SLOWEST_BYTES_PER_SECOND)
    }

    /// Sends a request with its body, follows redirects, and waits for the response's head.
    async fn exchange(
        &self,
        host: &HostState,
        request: &Request<'_>,
        mut sent: HttpRequest,
        patience: Duration,
    ) -> Result<Response> {
        let body_bytes = request.body.size_bytes();
        if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            sent.headers.insert(CONTENT_LENGTH, body_bytes.into());
        }
        self.state.requests.fetch_add(1, Relaxed);
        self.state.sent_bytes.fetch_add(body_bytes, Relaxed);
        let started = Instant::now();
        let sending = send_and_follow(&host.transport, &host.reach, sent);
        let outcome = tokio::time::timeout(patience, sending).await;
        let status = match &outcome {
            Ok(Ok(response)) => Some(response.status().as_u16()),
            _ => None,
        };
        self.state.options.events.exchanged(request, status, started.elapsed());
        let silent = RequestErrorKind::Silent { waited: patience };
        let outcome = outcome.map_err(|_| request.error(silent))?;
        host.has_answered.fetch_or(outcome.is_ok(), Relaxed);
        outcome.map_err(|error| request.transport_error(error))
    }

    async fn refusal(
        &self,
        request: &Request<'_>,
        response: Response,
        login: Login,
    ) -> RequestError {
        use RequestErrorKind::{NotFound, Refused, Unavailable};
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry_after(value, SystemTime::now()));
        if let Some(wait) = retry_after.filter(|wait| *wait <= self.state.options.retry.longest)
            && let 429 | 503 = status
            && let Ok(host) = self.host(request.host)
        {
            // All requests to this registry wait: the others would be refused as well.
            host.be_quiet(wait);
        }
        let body = self.body(request, response, MAX_ERROR_BYTES).await.unwrap_or_default();
        let message = registry_message(&body);
        request.error(match status {
            404 => NotFound { message },
            401 | 403 => login.refused(status, message),
            408 | 429 | 500 | 502..=504 => Unavailable { status, message, retry_after },
            _ => Refused { status, message },
        })
    }

    /// Reads a body that must fit in memory.
    pub(crate) async fn body(
        &self,
        request: &Request<'_>,
        mut response: Response,
        limit: u64,
    ) -> Result<Vec<u8>> {
        let over = |found| {
            let (place, what) = (request.object_place(), "number of bytes");
            request.invalid(Error::OverLimit { place, what, name: None, found, limit })
        };
        if let Some(length) = response.content_length().filter(|length| *length > limit) {
            return Err(over(length));
        }
        let pace = DocumentPace { wait: self.state.options.document_wait };
        let (mut bytes, started) = (Vec::new(), Instant::now());
        loop {
            let rest = pace.limit(bytes.len() as u64).saturating_sub(started.elapsed());
            let piece = tokio::time::timeout(rest, self.piece(request, &mut response)).await;
            let Ok(piece) = piece else {
                let slow = DocumentPace::slow(bytes.len() as u64, started.elapsed());
                return Err(too_slow(request, Some(&response), slow));
            };
            let Some(piece) = piece? else { return Ok(bytes) };
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(over(bytes.len() as u64 + piece.len() as u64));
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// Reads the next piece of a body.
    pub(crate) async fn piece(
        &self,
        request: &Request<'_>,
        response: &mut Response,
    ) -> Result<Option<Bytes>> {
        let ClientOptions { idle, quiet, events, .. } = &self.state.options;
        let transfer = self.state.transfers.begin();
        let mut chunk = pin!(response.chunk());
        let outcome = match tokio::time::timeout((*quiet).min(*idle), &mut chunk).await {
            Err(_) if quiet < idle => {
                events.silent(request, *quiet);
                tokio::time::timeout(idle.saturating_sub(*quiet), chunk).await
            }
            outcome => outcome,
        };
        let piece_bytes = match &outcome {
            Ok(Ok(Some(piece))) => piece.len(),
            _ => 0,
        };
        transfer.end(piece_bytes as u64);
        match outcome {
            Err(_) => Err(request.network_error(format!("no data for {} s", idle.as_secs()))),
            Ok(Err(error)) => Err(request.transport_error(error)),
            Ok(Ok(piece)) => {
                self.count_received(piece.as_ref().map_or(0, Bytes::len));
                Ok(piece)
            }
        }
    }
}

/// Returns the error for a server that sends too slowly. Another attempt would be as slow.
pub(crate) fn too_slow(
    request: &Request<'_>,
    response: Option<&Response>,
    slow: SlowTransfer,
) -> RequestError {
    let server = response.map(Response::server);
    let server = server.unwrap_or(request.host).to_owned();
    let SlowTransfer { bytes, millis, least_bytes_per_second } = slow;
    request.error(RequestErrorKind::TooSlow { server, bytes, millis, least_bytes_per_second })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.state.options).finish_non_exhaustive()
    }
}

/// Attempts to connect. A registry that restarts is back by then.
const MAX_CONNECTS: u32 = 3;
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;
const MAX_ERROR_BYTES: u64 = 64 << 10;
