//! State of one registry: connections, address, challenge, tokens.
//!
//! Finds the scheme, and sends nothing else.

use super::options::ClientOptions;
use crate::{
    endpoint,
    token::{Challenge, Token},
};
use hyper::{Method, StatusCode, header::HeaderValue};
use imgdelta_core::{Error, Result};
use imgdelta_http::{
    CONNECT_TIMEOUT, HttpRequest, Reach, Transport, TransportError, Url, is_loopback,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::OnceCell;

/// Connections, address, challenge and tokens of one registry.
pub(super) struct HostState {
    name: String,
    pub transport: Transport,
    /// The servers that the registry may lead to.
    pub reach: Arc<Reach>,
    base: OnceCell<Url>,
    /// True after the first response.
    pub has_answered: AtomicBool,
    pub challenge: Mutex<Option<Challenge>>,
    /// By scopes.
    pub tokens: Mutex<HashMap<String, Token>>,
    /// Headers with user and password, by repository.
    pub basics: Mutex<HashMap<String, Option<HeaderValue>>>,
    /// The time before which the registry wants no request.
    quiet_until: Mutex<Option<Instant>>,
    referrers: Mutex<MissingReferrers>,
}

/// Answers of a registry that does not list referrers.
#[derive(Debug, Default)]
struct MissingReferrers {
    answers: u32,
    until: Option<Instant>,
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
            has_answered: AtomicBool::new(false),
            challenge: Mutex::default(),
            tokens: Mutex::default(),
            basics: Mutex::default(),
            quiet_until: Mutex::default(),
            referrers: Mutex::default(),
        })
    }

    /// Returns true if the registry has answered several times that it does not list referrers.
    pub fn lacks_referrers(&self) -> bool {
        lock(&self.referrers).until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes an answer to the question for referrers. A registry without lists has no document for
    /// it; one with lists may say so of an unknown repository.
    pub fn note_referrers(&self, is_list: bool, is_document: bool) {
        let mut referrers = lock(&self.referrers);
        if is_list || is_document {
            *referrers = MissingReferrers::default();
            return;
        }
        referrers.answers += 1;
        if referrers.answers >= MISSING_ANSWERS {
            // Registries are upgraded.
            referrers.until = Some(Instant::now() + MISSING_SPAN);
        }
    }

    /// Sends nothing for a while, as the registry asked one of the requests.
    pub fn be_quiet(&self, span: Duration) {
        let end = Instant::now() + span;
        let mut quiet_until = lock(&self.quiet_until);
        *quiet_until = Some(quiet_until.map_or(end, |until| until.max(end)));
    }

    /// Waits until the registry wants requests again.
    pub async fn until_wanted(&self) {
        loop {
            let until = *lock(&self.quiet_until);
            let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
            match rest {
                Some(rest) if rest > Duration::ZERO => tokio::time::sleep(rest).await,
                _ => return,
            }
        }
    }

    /// Returns the address of the registry's `/v2/`. An answer decides about its scheme for good; while a
    /// registry on this machine is away, each request asks again.
    pub async fn base(&self, plain_http: bool) -> Result<Url> {
        let address = endpoint::address(&self.name);
        let parse = |scheme| {
            Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|error| {
                let what = format!("{address:?} is not a valid address");
                Error::bad_input_because(&self.name, what, error)
            })
        };
        let (plain, tls) = (parse("http")?, parse("https")?);
        let decision = self.base.get_or_try_init(|| async {
            if !plain_http && !is_loopback(address) {
                return Ok(tls.clone());
            }
            let speaks_plain_http = if plain_http {
                Ok(true)
            } else {
                speaks_plain_http(&self.transport, &plain).await
            };
            if speaks_plain_http.unwrap_or_else(|guess| guess) {
                self.reach.use_plain_http();
                return speaks_plain_http.map(|_| plain.clone()).map_err(|_| plain.clone());
            }
            // Some TLS servers answer nothing to plain HTTP.
            match speaks_plain_http {
                Err(_) if !self.has_answered.load(Relaxed) => Err(tls.clone()),
                _ => Ok(tls.clone()),
            }
        });
        Ok(decision.await.cloned().unwrap_or_else(|guess| guess))
    }
}

/// Returns true if a server on this machine speaks plain HTTP; a guess without an answer is an error.
/// Sends no secret.
async fn speaks_plain_http(transport: &Transport, url: &Url) -> std::result::Result<bool, bool> {
    let request = HttpRequest::new(Method::GET, url.clone());
    match tokio::time::timeout(CONNECT_TIMEOUT, transport.send(&request)).await {
        Ok(Ok(response)) => Ok(response.status() != StatusCode::BAD_REQUEST),
        // Without a server, the first real request reports the connection's error.
        Ok(Err(error)) => Err(matches!(error, TransportError::Connect(_))),
        Err(_) => Err(false),
    }
}

/// Answers without a document after which a registry is not asked for referrers.
const MISSING_ANSWERS: u32 = 3;
const MISSING_SPAN: Duration = Duration::from_secs(3600);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Retry};
    use imgdelta_testkit::{
        Link, LinkState,
        registry::{RegistryBehaviour, TestRegistry},
    };

    #[tokio::test]
    async fn a_registry_that_is_away_at_first_is_found_later() {
        let local = TestRegistry::start(RegistryBehaviour::default());
        let link = Link::to(local.host().parse().unwrap());
        let client = Client::new(ClientOptions::default().retry(Retry::default().attempts(1)));
        let name = link.address().to_string();
        // No answer shows the scheme.
        link.set(LinkState::Closed);
        assert!(client.ping(&name).await.is_err());
        assert!(client.ping(&name).await.is_err());
        link.set(LinkState::Open);
        client.ping(&name).await.unwrap();
        client.ping(&name).await.unwrap();
        let requests = local.requests().len();
        assert_eq!(requests, 3, "the scheme is found once, with the first answer");
    }

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
