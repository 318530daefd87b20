//! State of one registry: connections, address, challenge, tokens.
//!
//! Sends single requests. Knows neither retries nor logins.

use super::{
    connect::{Connector, connector, proxy_login},
    options::ClientOptions,
    request::UploadSourceError,
};
use crate::{
    address::Address,
    endpoint,
    token::{Challenge, Token},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT},
};
use hyper_util::{
    client::{
        legacy::{self, Error as ConnectionError},
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use imgdelta_core::{Error, Result};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::OnceCell;

/// The head of a response, with a body that is still to be read.
pub(crate) type Response = hyper::Response<Incoming>;

/// A body of a request.
pub(super) type Body = BoxBody<Bytes, UploadSourceError>;

/// Connections, address, challenge and tokens of one registry.
pub(super) struct HostState {
    name: String,
    http: legacy::Client<Connector, Body>,
    proxies: Matcher,
    base: OnceCell<Address>,
    pub challenge: Mutex<Option<Challenge>>,
    /// By scopes.
    pub tokens: Mutex<HashMap<String, Token>>,
    /// Headers with user and password, by repository.
    pub basics: Mutex<HashMap<String, Option<HeaderValue>>>,
}

impl HostState {
    /// Prepares connections to a registry. Sends nothing.
    pub fn new(name: &str, options: &ClientOptions) -> Result<Self> {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector(&options.trust.config(name)?));
        Ok(Self {
            name: name.to_owned(),
            http,
            proxies: Matcher::from_env(),
            base: OnceCell::new(),
            challenge: Mutex::default(),
            tokens: Mutex::default(),
            basics: Mutex::default(),
        })
    }

    /// Sends a request and returns the response's head.
    pub async fn send(
        &self,
        mut request: Request<Body>,
    ) -> std::result::Result<Response, ConnectionError> {
        let login = proxy_login(&self.proxies, request.uri());
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(login) = login {
            headers.insert(PROXY_AUTHORIZATION, login);
        }
        self.http.request(request).await
    }

    /// Returns the address of the registry's `/v2/`.
    pub async fn base(&self, plain_http: bool) -> Result<Address> {
        let base = self.base.get_or_try_init(|| async {
            let host = endpoint::address(&self.name);
            let parse = |scheme| {
                Address::parse(&format!("{scheme}://{host}/v2/")).ok_or_else(|| {
                    Error::bad_input(&self.name, format!("{host:?} is not a valid host"))
                })
            };
            let plain = parse("http")?;
            let is_plain = plain_http
                || (endpoint::is_loopback(host) && self.speaks_plain_http(&plain).await);
            if is_plain { Ok(plain) } else { parse("https") }
        });
        base.await.cloned()
    }

    /// Returns true if a server on this machine speaks plain HTTP. Sends no secret.
    async fn speaks_plain_http(&self, address: &Address) -> bool {
        let body = Empty::new().map_err(|never| match never {}).boxed();
        let request = Request::builder().method(Method::GET).uri(address.uri());
        let request = request.body(body).expect("a parsed address is valid in a request");
        match tokio::time::timeout(PROBE_TIMEOUT, self.send(request)).await {
            // A TLS server answers so, or not at all.
            Ok(Ok(response)) => response.status() != StatusCode::BAD_REQUEST,
            // Without a server, the first real request reports the connection's error.
            Ok(Err(error)) => error.is_connect(),
            Err(_) => false,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const AGENT: &str = concat!("imgdelta/", env!("CARGO_PKG_VERSION"));
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// Servers close idle connections after a minute or more.
const POOL_IDLE: Duration = Duration::from_secs(50);
