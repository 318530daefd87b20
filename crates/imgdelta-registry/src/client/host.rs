//! State of one registry: connections, address, challenge, tokens.
//!
//! Finds the scheme, and sends nothing else.

use super::options::ClientOptions;
use crate::{
    endpoint,
    reach::Reach,
    token::{Challenge, Token},
    transport::{CONNECT_TIMEOUT, HttpRequest, Transport, TransportError},
    url::Url,
};
use hyper::{Method, StatusCode, header::HeaderValue};
use imgdelta_core::{Error, Result};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Connections, address, challenge and tokens of one registry.
pub(super) struct HostState {
    name: String,
    pub transport: Transport,
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
        let tls = options.trust.config(name)?;
        let transport = Transport::new(Arc::clone(&reach), tls, options.proxies.clone());
        Ok(Self {
            name: name.to_owned(),
            transport,
            reach,
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
                    && speaks_plain_http(&self.transport, &plain).await);
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
async fn speaks_plain_http(transport: &Transport, url: &Url) -> bool {
    let request = HttpRequest::new(Method::GET, url.clone());
    match tokio::time::timeout(CONNECT_TIMEOUT, transport.send(&request)).await {
        // A TLS server answers so, or not at all.
        Ok(Ok(response)) => response.status() != StatusCode::BAD_REQUEST,
        // Without a server, the first real request reports the connection's error.
        Ok(Err(error)) => matches!(error, TransportError::Connect(_)),
        Err(_) => false,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let error = host.transport.send(&HttpRequest::new(Method::GET, url)).await.unwrap_err();
        let TransportError::Refused(refusal) = error else { panic!("{error:?}") };
        let refusal = refusal.to_string();
        assert!(refusal.contains("leads to localhost, an address of this machine"), "{refusal}");
        assert_eq!(local.requests().len(), 0);
    }
}
