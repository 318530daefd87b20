//! The service: works as they come, a look now and then, notifications, metrics.
//!
//! Its server is for one registry and one monitor, not for the public: few connections, small
//! bodies, short waits. What a notification says is only a reason to look.

use crate::{
    job::{Job, secret},
    run::Teller,
    stop::{Phase, Stop},
    webhook,
    worker::Until,
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
use imgdelta_core::{Error, Result};
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

/// What a service's parts share.
#[derive(Debug)]
struct Service {
    job: Arc<Job>,
    stop: Stop,
    secret: Option<Secret>,
    /// Repositories that were pushed to, and not yet looked into.
    pushed: Mutex<BTreeSet<String>>,
    woken: Notify,
}

impl Job {
    /// Serves until it is asked to stop; `listening` is told the address as soon as it is there.
    pub async fn serve(
        self: &Arc<Self>,
        stop: &Stop,
        teller: Teller,
        listening: impl FnOnce(SocketAddr),
    ) -> Result<()> {
        let options = &self.config.serve;
        let secret = options.secret_file.as_deref().map(secret).transpose()?;
        let place = format!("address {}", options.listen);
        let listener = TcpListener::bind(options.listen).await.map_err(Error::io(&place))?;
        let address = listener.local_addr().map_err(Error::io(&place))?;
        if secret.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "anybody who reaches this can send notifications");
        }
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
        listening(address);
        let service = Arc::new(Service {
            job: Arc::clone(self),
            stop: stop.clone(),
            secret,
            pushed: Mutex::default(),
            woken: Notify::new(),
        });
        let server = tokio::spawn(accept(Arc::clone(&service), listener));
        let looker = tokio::spawn(look(Arc::clone(&service), Arc::clone(&teller)));
        let grace = options.grace.get();
        let hurry = {
            let stop = stop.clone();
            tokio::spawn(async move {
                stop.reached(Phase::Ending).await;
                tokio::time::sleep(grace).await;
                stop.ask(Phase::Leaving);
            })
        };
        let outcome = self.labour(Until::Stopped, stop, &teller).await;
        // Works are ended or given back; nothing else holds anything.
        for task in [server, looker, hurry] {
            task.abort();
            // It ends as soon as it can, and with it what it holds: the address.
            drop(task.await);
        }
        tracing::info!("stopped");
        outcome
    }
}

/// Looks through all repositories now and then, and into those that were pushed to.
async fn look(service: Arc<Service>, teller: Teller) {
    let Service { job, stop, .. } = &*service;
    let options = &job.config.serve;
    let mut poll = tokio::time::interval(options.poll.get_ref().get());
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.reached(Phase::Ending) => return,
            _ = poll.tick() => {
                if let Err(error) = job.pass(false, &teller).await {
                    tracing::error!(%error, "the registry was not looked through");
                }
            }
            () = service.woken.notified() => {
                // An image comes with others: its index, its neighbours.
                tokio::time::sleep(options.settle.get()).await;
                let pushed = std::mem::take(&mut *service.pushed());
                for name in pushed {
                    if let Err(error) = job.want(&name, false, &teller).await {
                        tracing::warn!(repository = name, %error, "not looked into; later");
                    }
                }
            }
        }
    }
}

async fn accept(service: Arc<Service>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let (connection, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
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
                .header_read_timeout(LONGEST_REQUEST)
                .max_buf_size(MOST_HEADER_BYTES)
                .serve_connection(TokioIo::new(connection), answer);
            // Who hangs up has had enough.
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
                if self.stop.phase() > Phase::Going {
                    return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping");
                }
                match self.job.queue.counts().await {
                    Ok(_) => plain(StatusCode::OK, "ready"),
                    Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer"),
                }
            }
            (_, "/notify" | "/metrics" | "/healthz" | "/readyz") => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "not in this way")
            }
            _ => plain(StatusCode::NOT_FOUND, "not here"),
        }
    }

    /// Takes a notification in.
    async fn notify(&self, request: Request<Incoming>) -> StatusCode {
        if let Some(secret) = &self.secret {
            let given = request.headers().get(header::AUTHORIZATION);
            let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
            if !given.is_some_and(|given| is_same(given, secret.reveal().as_bytes())) {
                return StatusCode::UNAUTHORIZED;
            }
        }
        let body = Limited::new(request.into_body(), MOST_BODY_BYTES).collect();
        let body = match tokio::time::timeout(LONGEST_REQUEST, body).await {
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
            self.woken.notify_one();
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

/// Compares secrets in a time that tells only their length.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// A registry, a monitor, and some to spare.
const MOST_CONNECTIONS: usize = 64;
const MOST_HEADER_BYTES: usize = 16 << 10;
/// Registries put some events into one notification, a kilobyte each.
const MOST_BODY_BYTES: usize = 4 << 20;
const LONGEST_REQUEST: Duration = Duration::from_secs(20);
