//! The pages of the service: metrics for Prometheus, and the state of the job for people.
//!
//! Reads only. A queue that does not answer within seconds counts as away, so that a page is always
//! an answer.

use super::{QUEUE_TIMEOUT, Service, plain};
use crate::{
    admin::QueueAdmin,
    metrics::{Gauges, QueueGauges},
};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use imgdelta::Result;
use std::{future::Future, sync::Arc};

impl Service {
    /// Answers with the metrics.
    pub(super) async fn metrics(&self) -> Response<Full<Bytes>> {
        let job = &self.job;
        let queue = &job.queue;
        let figures = async {
            Ok(QueueGauges {
                counts: queue.counts().await?,
                oldest_waiting: queue.oldest_waiting().await?.unwrap_or_default(),
                is_paused: queue.paused().await?.is_some(),
            })
        };
        let (scratch_bytes, scratch_limit_bytes) = job.maker.scratch_bytes();
        let gauges = Gauges {
            queue: in_time(figures).await,
            traffic: job.client.traffic(),
            scratch_bytes,
            scratch_limit_bytes,
            scan_interval: job.config.serve.poll.get_ref().duration(),
        };
        let text = job.metrics.text(&gauges);
        with_headers(text, &[(header::CONTENT_TYPE, "text/plain; version=0.0.4")])
    }

    /// Returns true if the queue answers.
    pub(super) async fn is_ready(&self) -> bool {
        in_time(self.job.queue.counts()).await.is_some()
    }

    /// Answers with the page for people. It names repositories, so that it needs the secret of
    /// notifications where other machines may connect.
    pub(super) async fn page(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.is_authorised(request.headers()) {
            let text = "the password is the content of secret-file in [serve]; any user name\n";
            let mut response = plain(StatusCode::UNAUTHORIZED, text);
            let challenge = HeaderValue::from_static("Basic realm=\"imgdelta\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
        let admin = QueueAdmin::of(Arc::clone(&self.job.queue), &self.job.config);
        match in_time(admin.status()).await {
            Some(status) => {
                with_headers(imgdelta_report::job_page(&status.json()), &page_headers())
            }
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer\n"),
        }
    }
}

/// Returns the answer of the queue, if one comes in time.
async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Option<T> {
    match tokio::time::timeout(QUEUE_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn with_headers(text: String, headers: &[(HeaderName, &'static str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns the headers of the page, which has a policy of its own that forbids requests. It is renewed
/// once a minute.
fn page_headers() -> [(HeaderName, &'static str); 6] {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::REFRESH, "60"),
    ]
}
