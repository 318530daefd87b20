//! State of one registry: connections, address, challenge, tokens.
//!
//! Finds the scheme, and sends nothing else.

use super::{cause::describe, options::ClientOptions};
use crate::{
    endpoint,
    reach::{Reach, ReachResolver},
    token::{Challenge, Token},
};
use imgdelta_core::{Error, Result};
use reqwest::{StatusCode, Url, header::HeaderValue, redirect::Policy};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::OnceCell;

/// Connections, address, challenge and tokens of one registry.
pub(super) struct HostState {
    name: String,
    pub http: reqwest::Client,
    /// Follows no redirect: for secrets of the token server.
    pub direct: reqwest::Client,
    /// The servers that the registry may lead to.
    pub reach: Arc<Reach>,
    base: OnceCell<Url>,
    pub challenge: Mutex<Option<Challenge>>,
    /// By scopes.
    pub tokens: Mutex<HashMap<String, Token>>,
    /// Headers with user and password, by repository.
    pub basics: Mutex<HashMap<String, Option<HeaderValue>>>,
}

impl HostState {
    /// Prepares connections to a registry. Sends nothing.
    pub fn new(name: &str, options: &ClientOptions) -> Result<Self> {
        endpoint::check(name)?;
        let reach = Arc::new(Reach::new(endpoint::address(name), options.plain_http));
        let leads = Arc::clone(&reach);
        let redirects = Policy::custom(move |attempt| {
            if let Err(refusal) = leads.admit(attempt.url()) {
                return attempt.error(refusal);
            }
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("too many redirects");
            }
            attempt.follow()
        });
        let tls = options.trust.config(name)?;
        let client = |redirects| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(redirects)
                .dns_resolver(ReachResolver(Arc::clone(&reach)))
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("imgdelta/", env!("CARGO_PKG_VERSION")));
            builder.build().map_err(|error| {
                let place = format!("client for {name}");
                Error::bad_input(place, describe(error))
            })
        };
        Ok(Self {
            name: name.to_owned(),
            http: client(redirects)?,
            direct: client(Policy::none())?,
            reach: Arc::clone(&reach),
            base: OnceCell::new(),
            challenge: Mutex::default(),
            tokens: Mutex::default(),
            basics: Mutex::default(),
        })
    }

    /// Returns the address of the registry's `/v2/`.
    pub async fn base(&self, plain_http: bool) -> Result<Url> {
        let base = self.base.get_or_try_init(|| async {
            let address = endpoint::address(&self.name);
            let parse = |scheme| {
                Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|error| {
                    let what = format!("{address:?} is not a valid address");
                    Error::bad_input_because(&self.name, what, error)
                })
            };
            let plain = parse("http")?;
            let is_plain = plain_http
                || (endpoint::is_loopback(address)
                    && speaks_plain_http(&self.direct, &plain).await);
            if !is_plain {
                return parse("https");
            }
            self.reach.use_plain_http();
            Ok(plain)
        });
        base.await.cloned()
    }
}

/// Returns true if a server on this machine speaks plain HTTP. Sends no secret.
async fn speaks_plain_http(http: &reqwest::Client, url: &Url) -> bool {
    let response = http.get(url.clone()).send();
    match tokio::time::timeout(CONNECT_TIMEOUT, response).await {
        // A TLS server answers so, or not at all.
        Ok(Ok(response)) => response.status() != StatusCode::BAD_REQUEST,
        // Without a server, the first real request reports the connection's error.
        Ok(Err(error)) => error.is_connect(),
        Err(_) => false,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cause::refused_address;
    use imgdelta_testkit::registry::{RegistryBehaviour, TestRegistry};

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_gets_no_request() {
        let local = TestRegistry::start(RegistryBehaviour::default());
        let options = ClientOptions::default().plain_http(true);
        let host = HostState::new("registry.example", &options).unwrap();
        host.reach.use_plain_http();
        let port = local.host().rsplit(':').next().unwrap().to_owned();
        let url = Url::parse(&format!("http://localhost:{port}/admin")).unwrap();
        // The text alone is fine: the name could be that of a content network.
        host.reach.admit(&url).unwrap();
        for client in [&host.http, &host.direct] {
            let error = client.get(url.clone()).send().await.unwrap_err();
            let refusal = refused_address(&error).unwrap().to_string();
            assert!(
                refusal.contains("leads to localhost, an address of this machine"),
                "{refusal}"
            );
        }
        assert_eq!(local.requests().len(), 0);
    }
}
