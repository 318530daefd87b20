//! The service: workers, regular scans, notifications, metrics.
//!
//! Its HTTP server is for one registry and one monitor, not for the public: few connections, small
//! bodies, short timeouts. The content of a notification is not trusted; it only starts a scan.

use crate::{
    job::{Job, secret},
    metrics::NameSource,
    pushed::PushedRepositories,
    run::EventHandler,
    webhook::{self, NotifiedRepositories},
    worker::WorkerEnd,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use imgdelta::{Error, Result};
use imgdelta_registry::Secret;
use imgdelta_service::{
    Stop, StopPhase,
    connections::{self, ConnectionLimits, ConnectionPlace},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify};

/// State that the parts of a service share.
#[derive(Debug)]
struct Service {
    job: Arc<Job>,
    stop: Stop,
    secret: Option<Secret>,
    pushed: Mutex<PushedRepositories>,
    notified: Notify,
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
        });
        let answering = Arc::clone(&service);
        let answer = move |request, place| {
            let service = Arc::clone(&answering);
            async move { service.answer(request, place).await }
        };
        let server =
            tokio::spawn(connections::accept(listener, ConnectionLimits::default(), answer));
        let scans = tokio::spawn(run_scans(Arc::clone(&service), Arc::clone(&handler)));
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
        // All tasks are finished or given back.
        for part in [server, scans, leaving] {
            part.abort();
            // Its end frees the address.
            drop(part.await);
        }
        tracing::info!("stopped");
        outcome
    }
}

/// Scans all repositories at an interval, and single repositories after a push.
async fn run_scans(service: Arc<Service>, handler: EventHandler) {
    let Service { job, stop, .. } = &*service;
    let options = &job.config.serve;
    let mut poll = tokio::time::interval(options.poll.get_ref().duration());
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.reached(StopPhase::Finishing) => return,
            _ = poll.tick() => {
                if let Err(error) = job.scan(false, &handler).await {
                    tracing::error!(%error, "the scan failed");
                }
            }
            () = service.notified.notified() => {
                // An image is often pushed with others: its index, other platforms.
                tokio::time::sleep(options.settle.duration()).await;
                let pushed = service.pushed().take();
                match pushed {
                    PushedRepositories::Named(names) => {
                        for name in names {
                            if stop.phase() > StopPhase::Running {
                                return;
                            }
                            if let Err(error) = job.add_wanted(&name, false, &handler).await {
                                tracing::warn!(repository = %name, %error, "not scanned; will be retried");
                            }
                        }
                    }
                    PushedRepositories::All => {
                        tracing::warn!("too many notifications: scanning all repositories");
                        if let Err(error) = job.scan(false, &handler).await {
                            tracing::error!(%error, "the scan failed");
                        }
                        poll.reset();
                    }
                }
            }
        }
    }
}

impl Service {
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
            (&Method::GET, "/metrics") => {
                let counts = self.job.queue.counts().await.ok();
                let text = self.job.metrics.text(counts, self.job.client.traffic());
                let mut response = plain(StatusCode::OK, "");
                *response.body_mut() = text.into();
                let kind = header::HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            (&Method::GET, "/healthz") => plain(StatusCode::OK, "alive"),
            (&Method::GET, "/readyz") => {
                if self.stop.phase() > StopPhase::Running {
                    return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping");
                }
                match self.job.queue.counts().await {
                    Ok(_) => plain(StatusCode::OK, "ready"),
                    Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer"),
                }
            }
            (_, "/notify" | "/metrics" | "/healthz" | "/readyz") => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
            }
            _ => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Accepts or refuses a notification.
    async fn notify(&self, request: Request<Incoming>) -> StatusCode {
        if let Some(secret) = &self.secret {
            let given = request.headers().get(header::AUTHORIZATION);
            let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
            if !given.is_some_and(|given| is_same(given, secret.reveal().as_bytes())) {
                return StatusCode::UNAUTHORIZED;
            }
        }
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
        let body = match tokio::time::timeout(REQUEST_TIMEOUT, body).await {
            Err(_) => return StatusCode::REQUEST_TIMEOUT,
            Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
            Ok(Ok(body)) => body.to_bytes(),
        };
        let host = self.job.config.registry.host.get_ref();
        let Some(NotifiedRepositories { mut names, ignored }) = webhook::repositories(host, &body)
        else {
            return StatusCode::BAD_REQUEST;
        };
        self.job.ignore_names(NameSource::Notification, ignored);
        names.retain(|name| self.job.config.rule(name.as_str()).is_some());
        if !names.is_empty() {
            self.pushed().add(names);
            self.notified.notify_one();
        }
        StatusCode::ACCEPTED
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, PushedRepositories> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// Compares secrets in a time that depends only on their length.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// Registries put several events into one notification, a kilobyte each.
const MAX_BODY_BYTES: usize = 4 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
