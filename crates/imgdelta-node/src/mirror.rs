//! The mirror: requests of runtimes, relayed to the registry with their own credentials.
//!
//! Every answer is the registry's, given for this request: nothing is answered from memory, so that
//! the registry itself authorises every pull. The answer to a manifest waits until the image's
//! layers are rebuilt, for a limited time. A rebuilt blob is served after the registry has answered
//! for it. What fails here is answered so that the runtime asks the registry itself.

use crate::{
    answer::{plain, refusal, with_type},
    body::AnswerBody,
    config::{Config, RegistryConfig},
    holds::{HoldEnd, Holds},
    manifest::image_digest,
    metrics::Gauges,
    range::BlobRange,
    rebuild::{ImageRequest, Rebuilder},
    request::{MirrorRequest, ObjectName, ObjectRequest, RefusedRequest},
};
use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use imgdelta_registry::{ForwardRequest, ForwardedAnswer, ManifestReference};
use imgdelta_service::connections::ConnectionPlace;
use std::{io, sync::Arc};

/// A mirror for the runtimes of this machine.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub config: Arc<Config>,
    pub rebuilder: Arc<Rebuilder>,
    pub holds: Arc<Holds>,
}

impl Mirror {
    /// Answers a request.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        place: ConnectionPlace,
    ) -> Response<AnswerBody> {
        let (method, path) = (request.method().clone(), request.uri().path());
        if place == ConnectionPlace::Reserve && path != "/healthz" {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "too many connections");
        }
        match path {
            "/healthz" => return plain(StatusCode::OK, "alive"),
            "/readyz" => return self.ready(),
            "/metrics" => {
                let text = self.rebuilder.metrics.text(self.gauges(), self.rebuilder.traffic());
                return with_type(StatusCode::OK, "text/plain; version=0.0.4", text);
            }
            "/status" => {
                let status = self.rebuilder.metrics.status(self.gauges());
                let text = serde_json::to_string(&status).expect("numbers and texts");
                return with_type(StatusCode::OK, "application/json", text);
            }
            _ => {}
        }
        let parsed = match MirrorRequest::parse(&method, path, request.uri().query()) {
            Ok(parsed) => parsed,
            Err(refused) => return self.refuse(refused),
        };
        let Some(registry) = self.config.registry(parsed.registry()) else {
            self.rebuilder.metrics.count_refused();
            let what = "this mirror does not serve the registry";
            return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", what);
        };
        match parsed {
            MirrorRequest::Version { .. } => {
                self.relay(registry, method, "/v2/".into(), request.headers()).await
            }
            MirrorRequest::Object(object) => {
                self.object(registry, &object, method, request.headers()).await
            }
        }
    }

    async fn object(
        &self,
        registry: &RegistryConfig,
        object: &ObjectRequest,
        method: Method,
        headers: &HeaderMap,
    ) -> Response<AnswerBody> {
        match &object.object {
            ObjectName::Manifest(reference) if object.wants_body => {
                self.manifest(registry, object, reference, headers).await
            }
            ObjectName::Blob(digest) if object.wants_body => {
                let Some((file, bytes)) = self.rebuilder.blob(digest) else {
                    return self.relay(registry, method, object.path(), headers).await;
                };
                // The registry decides if this client may read the blob.
                let mut asked = headers.clone();
                asked.remove(header::RANGE);
                let asked = self.forward(registry, Method::HEAD, object.path(), &asked).await;
                match asked {
                    Ok(answer) if answer.status.is_success() || answer.status.is_redirection() => {
                        let range =
                            headers.get(header::RANGE).and_then(|range| range.to_str().ok());
                        file_answer(file, bytes, BlobRange::parse(range, bytes))
                    }
                    Ok(answer) => relayed(answer),
                    Err(refused) => refused,
                }
            }
            _ => self.relay(registry, method, object.path(), headers).await,
        }
    }

    /// Answers a request for a manifest: waits for the layers of an image.
    async fn manifest(
        &self,
        registry: &RegistryConfig,
        object: &ObjectRequest,
        reference: &ManifestReference,
        headers: &HeaderMap,
    ) -> Response<AnswerBody> {
        let answer = match self.forward(registry, Method::GET, object.path(), headers).await {
            Ok(answer) => answer,
            Err(refused) => return refused,
        };
        if answer.status != StatusCode::OK {
            return relayed(answer);
        }
        let passed = passed_headers(&answer.headers);
        let Ok(bytes) = answer.read(MAX_MANIFEST_BYTES).await else {
            return refusal(StatusCode::BAD_GATEWAY, "UNKNOWN", "the manifest did not arrive");
        };
        let requested = match reference {
            ManifestReference::Digest(digest) => Some(digest),
            ManifestReference::Tag(_) => None,
        };
        if let Some(digest) = image_digest(&bytes, requested) {
            let image = ImageRequest {
                registry: registry.host.get_ref().clone(),
                repository: object.repository.clone(),
                digest,
                authorization: headers.get(header::AUTHORIZATION).cloned(),
            };
            let rebuilder = Arc::clone(&self.rebuilder);
            let end = self.holds.wait(digest, move || rebuilder.rebuild(image)).await;
            if end != HoldEnd::Finished {
                self.rebuilder.metrics.count_released();
                tracing::warn!(image = %object, ?end, "answered before the layers were there");
            }
        }
        let mut response = Response::new(AnswerBody::bytes(bytes));
        *response.headers_mut() = passed;
        response
    }

    /// Relays a request.
    async fn relay(
        &self,
        registry: &RegistryConfig,
        method: Method,
        path: String,
        headers: &HeaderMap,
    ) -> Response<AnswerBody> {
        self.forward(registry, method, path, headers).await.map_or_else(|refused| refused, relayed)
    }

    async fn forward(
        &self,
        registry: &RegistryConfig,
        method: Method,
        path: String,
        headers: &HeaderMap,
    ) -> Result<ForwardedAnswer, Response<AnswerBody>> {
        let Some(client) = self.rebuilder.client(registry.host.get_ref()) else {
            return Err(refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such registry"));
        };
        let mut sent = HeaderMap::new();
        for name in REQUEST_HEADERS {
            for value in headers.get_all(&name) {
                sent.append(name.clone(), value.clone());
            }
        }
        let host = registry.address();
        let request = ForwardRequest { host, method, path: &path, headers: sent };
        client.forward(request).await.map_err(|error| {
            tracing::warn!(%error, "the registry did not answer");
            refusal(StatusCode::BAD_GATEWAY, "UNKNOWN", "the registry did not answer")
        })
    }

    fn refuse(&self, refused: RefusedRequest) -> Response<AnswerBody> {
        self.rebuilder.metrics.count_refused();
        match refused {
            RefusedRequest::Method => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                "the mirror is for pulls only",
            ),
            RefusedRequest::Path => {
                refusal(StatusCode::NOT_FOUND, "NAME_INVALID", "not an object of a repository")
            }
            RefusedRequest::Query => {
                refusal(StatusCode::BAD_REQUEST, "NAME_INVALID", "ns is not the name of a registry")
            }
        }
    }

    fn ready(&self) -> Response<AnswerBody> {
        if self.rebuilder.is_stopping() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping");
        }
        plain(StatusCode::OK, "ready")
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            held: self.holds.waiting(),
            running: self.holds.running(),
            completing: self.rebuilder.completing(),
            kept_bytes: self.rebuilder.kept_bytes(),
            bits_per_second: self.rebuilder.bits_per_second(),
        }
    }
}

/// Passes a registry's answer on, while it arrives.
fn relayed(answer: ForwardedAnswer) -> Response<AnswerBody> {
    let (status, headers) = (answer.status, passed_headers(&answer.headers));
    let size =
        headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    let mut response = if answer.has_body {
        let (sender, body) = AnswerBody::pieces(size);
        tokio::spawn(async move {
            let mut answer = answer;
            loop {
                let piece = match answer.piece().await {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => return,
                    Err(error) => Err(io::Error::other(error)),
                };
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        Response::new(body)
    } else {
        Response::new(AnswerBody::bytes(Bytes::new()))
    };
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Answers with a range of a blob.
fn file_answer(file: std::fs::File, bytes: u64, range: BlobRange) -> Response<AnswerBody> {
    let (status, start, end) = match range {
        BlobRange::Whole => (StatusCode::OK, 0, bytes),
        BlobRange::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        BlobRange::Unsatisfiable => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            let value = HeaderValue::from_str(&format!("bytes */{bytes}")).expect("digits");
            response.headers_mut().insert(header::CONTENT_RANGE, value);
            return response;
        }
    };
    let mut response = Response::new(AnswerBody::file(file, start, end - start));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{bytes}", end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits"));
    }
    response
}

/// Returns the headers of a registry's answer that concern its client.
fn passed_headers(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in ANSWER_HEADERS {
        for value in headers.get_all(&name) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

/// Headers of a request that the registry must see.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
];

/// Headers of an answer that the runtime must see.
const ANSWER_HEADERS: [HeaderName; 13] = [
    header::ACCEPT_RANGES,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("docker-content-digest"),
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderName::from_static("oci-filters-applied"),
];

/// Registries accept manifests of this size.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
