//! One HTTP request to one server, over a pooled connection.
//!
//! Knows neither redirects, nor logins, nor retries, except that of a request that a closing
//! connection did not take.

mod body;
mod connect;
mod error;
mod pool;
mod response;
mod stream;
mod tunnel;

pub use body::RequestBody;
pub use connect::CONNECT_TIMEOUT;
pub use error::TransportError;
pub use response::Response;

use crate::{
    proxies::{Proxies, Proxy},
    reach::Reach,
    url::Url,
};
use body::SentBody;
use connect::Connector;
use error::describe;
use hyper::{
    HeaderMap, Method, Uri,
    header::{ACCEPT, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT},
};
use pool::ConnectionPool;
use std::sync::Arc;

/// A request with everything that its server gets.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// The headers, which replace those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
}

impl HttpRequest {
    /// Makes a request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: RequestBody::None }
    }
}

/// Connections to a registry and to the servers that it leads to.
pub struct Transport {
    connector: Connector,
    pool: Arc<ConnectionPool>,
}

impl Transport {
    /// Prepares connections. Opens none.
    pub fn new(reach: Arc<Reach>, tls: rustls::ClientConfig, proxies: Proxies) -> Self {
        Self { connector: Connector::new(reach, tls, proxies), pool: Arc::default() }
    }

    /// Sends a request and waits for the head of the response, whatever its status.
    pub async fn send(&self, request: &HttpRequest) -> Result<Response, TransportError> {
        let (url, origin) = (&request.url, request.url.origin());
        let proxy = self.connector.proxy(url)?;
        loop {
            let pooled = self.pool.take(&origin).await;
            let is_pooled = pooled.is_some();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => self.connector.connect(url, proxy).await?,
            };
            let (body, is_sent) = SentBody::new(&request.body);
            let message = message(request, proxy, body)?;
            match sender.try_send_request(message).await {
                Ok(response) => {
                    let lease = pool::Lease::new(&self.pool, origin, sender, is_sent);
                    return Ok(Response::new(response, url.host(), lease));
                }
                // The server closed the connection before it got anything of the request.
                Err(refused) if is_pooled && refused.message().is_some() => {}
                Err(refused) => return Err(TransportError::of(&refused.into_error())),
            }
        }
    }
}

/// Returns a request as a connection sends it. A proxy gets the whole address.
fn message(
    request: &HttpRequest,
    proxy: Option<&Proxy>,
    body: SentBody,
) -> Result<hyper::Request<SentBody>, TransportError> {
    let url = &request.url;
    let proxy = proxy.filter(|_| url.scheme() == "http");
    let target = match proxy {
        Some(_) => format!("{}{}", url.origin(), url.target()),
        None => url.target().to_owned(),
    };
    let cannot_be_sent = |error: &dyn std::error::Error| {
        TransportError::Broken(format!("the address cannot be sent: {}", describe(error)))
    };
    let mut message = hyper::Request::new(body);
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = Uri::try_from(target).map_err(|error| cannot_be_sent(&error))?;
    let headers = message.headers_mut();
    // Some servers require it as the first header.
    let host = HeaderValue::try_from(url.authority()).map_err(|error| cannot_be_sent(&error))?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for name in request.headers.keys() {
        headers.remove(name);
    }
    // A name may have several values: podman sends a line of `Accept` for each kind of manifest.
    for (name, value) in &request.headers {
        headers.append(name, value.clone());
    }
    if let Some((name, value)) = proxy.and_then(proxy_authorization) {
        headers.insert(name, value);
    }
    Ok(message)
}

/// Returns the header with the login at a proxy.
fn proxy_authorization(proxy: &Proxy) -> Option<(HeaderName, HeaderValue)> {
    let secret = proxy.authorization.as_ref()?;
    let mut value = HeaderValue::from_str(secret.reveal()).expect("a word and base64");
    value.set_sensitive(true);
    Some((PROXY_AUTHORIZATION, value))
}

const AGENT: &str = concat!("imgdelta/", env!("CARGO_PKG_VERSION"));
