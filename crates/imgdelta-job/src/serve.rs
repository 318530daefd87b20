//! The service: workers, regular scans, notifications, metrics.
//!
//! Its HTTP server is for one registry and one monitor, not for the public: few connections, small
//! bodies, short timeouts. The content of a notification is not trusted; it only starts a scan.

use crate::{
    job::{Job, secret},
    run::EventHandler,
    stop::{Stop, StopPhase},
    webhook,
    worker::WorkerEnd,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use imgdelta::{Error, Result};
use imgdelta_registry::Secret;
use std::{
    collections::BTreeSet,
    convert::Infallible,
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
    /// Repositories with pushes that no scan has seen.
    pushed: Mutex<BTreeSet<String>>,
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
        let listener = TcpListener::bind(options.listen).await.map_err(Error::io(&place))?;
        let address = listener.local_addr().map_err(Error::io(&place))?;
        if secret.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "no secret-file: anybody can send notifications");
        }
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
        listening(address);
        let service = Arc::new(Service {
            job: Arc::clone(self),
            stop: stop.clone(),
            secret,
            pushed: Mutex::default(),
            notified: Notify::new(),
        });
        let server = tokio::spawn(accept(Arc::clone(&service), listener));
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
                let pushed = std::mem::take(&mut *service.pushed());
                for name in pushed {
                    if let Err(error) = job.add_wanted(&name, false, &handler).await {
                        tracing::warn!(repository = name, %error, "not scanned; will be retried");
                    }
                }
            }
        }
    }
}

async fn accept(service: Arc<Service>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit =
            Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (connection, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(connection), answer);
            // A client that closes early is not a failure.
            drop(connection.await);
            drop(permit);
        });
    }
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
        let Some(mut names) = webhook::repositories(&body) else {
            return StatusCode::BAD_REQUEST;
        };
        names.retain(|name| self.job.config.rule(name).is_some());
        if !names.is_empty() {
            self.pushed().extend(names);
            self.notified.notify_one();
        }
        StatusCode::ACCEPTED
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
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

/// A registry and a monitor need a few.
const MAX_CONNECTIONS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Registries put several events into one notification, a kilobyte each.
const MAX_BODY_BYTES: usize = 4 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
