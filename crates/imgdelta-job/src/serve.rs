//! The service: workers, regular scans, notifications.
//!
//! Its HTTP server is for one registry and one monitor, not for the public: few connections, small
//! bodies, short timeouts. The content of a notification is not trusted; it only starts a scan.

mod pages;
mod scans;
mod sender;

use crate::{
    job::{Job, secret},
    metrics::NameSource,
    pairs::{self, WantedPair},
    policy,
    pushed::PushedTags,
    run::EventHandler,
    webhook::{self, NotifiedTags},
    worker::WorkerEnd,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use imgdelta::{Error, Result};
use imgdelta_registry::Secret;
use imgdelta_service::{
    Stop, StopPhase,
    connections::{self, ConnectionLimits, ConnectionPlace},
};
use sender::BodySignature;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
};

/// State that the parts of a service share.
#[derive(Debug)]
struct Service {
    job: Arc<Job>,
    stop: Stop,
    secret: Option<Secret>,
    pushed: Mutex<PushedTags>,
    notified: Notify,
    /// Places for requests for pairs.
    asking: Semaphore,
}

impl Job {
    /// Serves until it is asked to stop; calls `listening` with the address once it accepts
    /// connections.
    pub async fn serve(
        self: &Arc<Self>,
        stop: &Stop,
        handler: EventHandler,
        listening: impl FnOnce(SocketAddr),
    ) -> Result<()> {
        let options = &self.config.serve;
        let secret = options.secret_file.as_deref().map(secret).transpose()?;
        let place = format!("address {}", options.listen);
        if secret.is_none() && !options.listen.ip().to_canonical().is_loopback() {
            let what = "other machines reach this address, and notifications need no secret: set \
                        secret-file in [serve], or listen on 127.0.0.1";
            return Err(Error::bad_input(place, what));
        }
        let listener = TcpListener::bind(options.listen).await.map_err(Error::io(&place))?;
        let address = listener.local_addr().map_err(Error::io(&place))?;
        let (version, has_secret) = (env!("CARGO_PKG_VERSION"), secret.is_some());
        tracing::info!(%address, has_secret, version, "serving");
        listening(address);
        let service = Arc::new(Service {
            job: Arc::clone(self),
            stop: stop.clone(),
            secret,
            pushed: Mutex::default(),
            notified: Notify::new(),
            asking: Semaphore::new(MAX_ASKING),
        });
        let answering = Arc::clone(&service);
        let answer = move |request, place| {
            let service = Arc::clone(&answering);
            async move { service.answer(request, place).await }
        };
        let server =
            tokio::spawn(connections::accept(listener, ConnectionLimits::default(), answer));
        let scans = tokio::spawn(scans::run(Arc::clone(&service), Arc::clone(&handler)));
        let busy = tokio::spawn(scans::run_busy(Arc::clone(&service), Arc::clone(&handler)));
        let notifications = tokio::spawn(scans::run_notified(service, Arc::clone(&handler)));
        let grace = options.grace.duration();
        let leaving = {
            let stop = stop.clone();
            tokio::spawn(async move {
                stop.reached(StopPhase::Finishing).await;
                tokio::time::sleep(grace).await;
                stop.request(StopPhase::Leaving);
            })
        };
        let outcome = self.run_workers(WorkerEnd::Stopped, stop, &handler).await;
        // Another process may continue the scan at once.
        let leaving_scan = self.queue.end_scan(&self.worker_name, false);
        drop(tokio::time::timeout(QUEUE_TIMEOUT, leaving_scan).await);
        // All tasks are finished or given back.
        for part in [server, scans, busy, notifications, leaving] {
            part.abort();
            // Its end frees the address.
            drop(part.await);
        }
        tracing::info!("stopped");
        outcome
    }
}

impl Service {
    /// Waits for a while, or until the stop.
    async fn pause(&self, span: Duration) {
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.stop.reached(StopPhase::Finishing) => {}
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        place: ConnectionPlace,
    ) -> Response<Full<Bytes>> {
        if place == ConnectionPlace::Reserve && request.uri().path() != "/healthz" {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/notify") => {
                let status = self.notify(request).await;
                self.job.metrics.count_notification(status == StatusCode::ACCEPTED);
                plain(status, status.canonical_reason().unwrap_or_default())
            }
            (&Method::GET, "/") => self.page(&request).await,
            (&Method::GET, "/metrics") => self.metrics().await,
            (&Method::GET, "/healthz") => plain(StatusCode::OK, "alive"),
            (&Method::GET, "/readyz") => {
                if self.stop.phase() > StopPhase::Running {
                    return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping");
                }
                if self.is_ready().await {
                    plain(StatusCode::OK, "ready")
                } else {
                    plain(StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer")
                }
            }
            (&Method::POST, "/pairs") => self.pairs(request).await,
            (_, "/" | "/notify" | "/pairs" | "/metrics" | "/healthz" | "/readyz") => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
            }
            _ => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Returns true if a request has the secret, or none is needed.
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        self.secret.as_ref().is_none_or(|secret| sender::has_secret(headers, secret))
    }

    /// Asks for the pair that a request names, and answers with its states.
    async fn pairs(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.is_authorised(request.headers()) {
            return plain(StatusCode::UNAUTHORIZED, "unauthorized");
        }
        // Each request costs a few requests to the registry.
        let Ok(_place) = self.asking.try_acquire() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests for pairs at once");
        };
        let body = match read_body(request, MAX_PAIR_BYTES).await {
            Ok(body) => body,
            Err(status) => return plain(status, status.canonical_reason().unwrap_or_default()),
        };
        let answering = async {
            let wanted = WantedPair::parse(&body)?;
            let WantedPair { repository, base, target, platform } = &wanted;
            self.job.want(repository, base, target, platform.as_ref()).await
        };
        match tokio::time::timeout(PAIR_TIMEOUT, answering).await {
            Err(_) => {
                plain(StatusCode::GATEWAY_TIMEOUT, "the registry or the queue does not answer")
            }
            Ok(Ok(reports)) => json_answer(StatusCode::OK, &pairs::document(&reports)),
            Ok(Err(error)) => {
                let status = match &error {
                    Error::BadInput { .. } | Error::OverLimit { .. } => StatusCode::BAD_REQUEST,
                    Error::NotFound { .. } => StatusCode::NOT_FOUND,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                json_answer(status, &json!({ "error": error.to_string() }))
            }
        }
    }

    /// Accepts or refuses a notification.
    async fn notify(&self, request: Request<Incoming>) -> StatusCode {
        let body = match self.authorised_body(request).await {
            Ok(body) => body,
            Err(status) => return status,
        };
        let host = self.job.config.registry.host.get_ref();
        let Some(NotifiedTags { mut tags, ignored }) = webhook::pushed_tags(host, &body) else {
            return StatusCode::BAD_REQUEST;
        };
        self.job.ignore_names(NameSource::Notification, ignored);
        // Tags of no version start nothing.
        tags.retain(|name, tags| {
            let rule = self.job.config.rule(name.as_str());
            tags.retain(|tag| rule.is_some_and(|rule| policy::is_version(rule, tag)));
            !tags.is_empty()
        });
        if !tags.is_empty() {
            self.pushed().add(tags);
            self.notified.notify_one();
        }
        StatusCode::ACCEPTED
    }

    /// Reads the body of a notification from a sender that has the secret. Of a sender that only signs,
    /// the body is read before its signature is compared, and may be as large as such bodies are.
    async fn authorised_body(
        &self,
        request: Request<Incoming>,
    ) -> std::result::Result<Bytes, StatusCode> {
        if self.is_authorised(request.headers()) {
            return read_body(request, MAX_BODY_BYTES).await;
        }
        let signature = BodySignature::of(request.headers()).ok_or(StatusCode::UNAUTHORIZED)?;
        let body = read_body(request, webhook::MAX_DOCUMENT_BYTES).await?;
        let is_signed = |secret| signature.is_of(&body, secret);
        if self.secret.as_ref().is_some_and(is_signed) {
            Ok(body)
        } else {
            Err(StatusCode::UNAUTHORIZED)
        }
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, PushedTags> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body within a bound and a time.
async fn read_body(
    request: Request<Incoming>,
    most: usize,
) -> std::result::Result<Bytes, StatusCode> {
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(REQUEST_TIMEOUT, body).await {
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn json_answer(status: StatusCode, document: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(document.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// Registries put several events into one notification, a kilobyte each.
const MAX_BODY_BYTES: usize = 4 << 20;
/// A request for a pair names a repository, two images and a platform.
const MAX_PAIR_BYTES: usize = 4 << 10;
/// Requests for pairs that are answered at once.
const MAX_ASKING: usize = 8;
/// Time for the answers of registry and queue to a request for a pair.
const PAIR_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Less than the time-out of a scrape and of a probe.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);
